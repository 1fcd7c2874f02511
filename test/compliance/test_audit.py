"""The audit log: what is recorded, by several processes at once, on a disk that may be full."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from emotion_perception.compliance import audit
from emotion_perception.compliance.audit import AuditLog


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_one_json_line(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    log = AuditLog(path, clock=lambda: 1_800_000_000.0)
    log.started("visual_node", "0.1.0", "expression 5", "service", "workplace", "fatigue of crane\noperators – safety")
    log.access_granted("dashboard", "192.0.2.7")
    log.correction("accepted", "face")
    log.learning("refused", "face", "accuracy fell")
    log.stopped("visual_node")
    found = entries(path)
    assert [one["event"] for one in found] == ["start", "access", "correction", "learning", "stop"]
    assert found[0] == {
        "time": "2027-01-15T08:00:00.000+00:00",
        "event": "start",
        "node": "visual_node",
        "version": "0.1.0",
        "model": "expression 5",
        "prior": "service",
        "deployment_context": "workplace",
        "deployment_reason": "fatigue of crane operators – safety",
    }
    assert found[2].keys() == {"time", "event", "action", "modality"}, "nothing says whose face it is"


def test_only_this_user_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    AuditLog(path).stopped("fusion_node")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_rotated_and_old_files_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 400)
    monkeypatch.setattr(audit, "KEPT_FILES", 2)
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    for number in range(40):
        log.stopped(f"node_{number}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    names = [
        one["node"] for file in ("audit.jsonl.2", "audit.jsonl.1", "audit.jsonl") for one in entries(tmp_path / file)
    ]
    assert names == [f"node_{number}" for number in range(40 - len(names), 40)], "in order, none lost"
    assert all(one.stat().st_size <= 400 for one in tmp_path.iterdir())


def test_lines_of_several_processes_are_never_mixed_or_lost(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path; from emotion_perception.compliance import audit; "
        "audit.MAX_BYTES = 2000; audit.KEPT_FILES = 99; log = audit.AuditLog(Path(sys.argv[1]))\n"
        "for number in range(30): log.stopped(f'{sys.argv[2]}_{number}')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("a", "b", "c")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    names = [one["node"] for file in tmp_path.iterdir() for one in entries(file)]
    assert sorted(names) == sorted(f"{name}_{number}" for name in "abc" for number in range(30))


def test_full_disk_is_reported_once_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, warned = tmp_path / "audit.jsonl", []
    log = AuditLog(path, warned.append)
    log.stopped("before")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.stopped("lost")
    log.stopped("lost, too")
    monkeypatch.setattr(os, "write", write)
    log.stopped("after")
    assert [one["node"] for one in entries(path)] == ["before", "after"]
    assert len(warned) == 1 and "No space left on device" in warned[0]


def test_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    warned: list[str] = []
    AuditLog(tmp_path / "file" / "audit.jsonl", warned.append).stopped("fusion_node")
    assert len(warned) == 1


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "audit.jsonl").symlink_to(target)
    warned: list[str] = []
    AuditLog(tmp_path / "audit.jsonl", warned.append).stopped("fusion_node")
    assert target.read_text() == "precious" and len(warned) == 1


def test_long_values_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    AuditLog(path).started("visual_node", "0.1.0", "m", "", "workplace", "safety " * 1000)
    assert len(entries(path)[0]["deployment_reason"]) <= audit.MAX_TEXT


def test_a_deletion_is_recorded_in_numbers(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", clock=lambda: 1_800_000_000.0)
    day = datetime(2026, 11, 23, tzinfo=timezone.utc)
    log.deletion("period", "page", 112, 40, day, day + timedelta(days=1))
    log.deletion("person", "retention", 0, 0)
    first, second = entries(tmp_path / "audit.jsonl")
    assert first == {
        "time": "2027-01-15T08:00:00.000+00:00",
        "event": "deletion",
        "what": "period",
        "asked_by": "page",
        "conversations": "112",
        "pictures": "40",
        "period_start": "2026-11-23T00:00:00+00:00",
        "period_end": "2026-11-24T00:00:00+00:00",
    }
    assert second.keys() == {"time", "event", "what", "asked_by", "conversations", "pictures"}
