"""The audit log: JSON lines about the operation of the system. No image, sound, emotion of a person, or person id.

Several processes append to one file. Each line is written at once under a lock, so lines are never mixed, and a line
that does not fit on the disk is taken back as a whole. A disk that refuses is reported and never stops a node.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from emotion_perception.files import MODE, make_private_folder

MAX_BYTES = 1_000_000  # of the file, before it is renamed to FILE.1
KEPT_FILES = 9  # FILE.1 (newest) .. FILE.9; older ones are deleted
MAX_TEXT = 500  # characters of a value


class AuditLog:
    """Appends events to a file; thread-safe, and safe beside other processes.

    Args:
        path: of the file; missing folders are made, readable by this user only. None: nothing is recorded.
        warn: called once when the disk refuses, and again after it has worked in between.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        path: Path | None,
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._warn, self._clock = path, warn, clock
        self._lock = threading.Lock()
        self._failing = False

    def started(
        self, node: str, version: str, model: str, prior: str, deployment_context: str, deployment_reason: str
    ) -> None:
        """A node began to process.

        Args:
            node: its name.
            version: of this package.
            model: name and version of its models.
            prior: the class prior in force; empty if the node applies none.
            deployment_context, deployment_reason: as configured.
        """
        self._append(
            "start",
            node=node,
            version=version,
            model=model,
            prior=prior,
            deployment_context=deployment_context or "not stated",
            deployment_reason=deployment_reason,
        )

    def stopped(self, node: str) -> None:
        """A node no longer processes."""
        self._append("stop", node=node)

    def access_granted(self, interface: str, client: str) -> None:
        """A client proved that it knows the token of an interface ("dashboard" or "mcp"); ``client`` is its address."""
        self._append("access", interface=interface, client=client)

    def correction(self, action: str, modality: str) -> None:
        """A correction of a "face" or "voice" was "stored" for review or "accepted" for training; not of whom."""
        self._append("correction", action=action, modality=modality)

    def learning(self, action: str, modality: str, detail: str) -> None:
        """A training from corrections of a "face" or "voice" model, or a return to an earlier version.

        Args:
            action: "started", "installed", "refused", "failed", "cancelled" or "rolled back".
            modality: "face" or "voice".
            detail: the version in use afterwards, or the reason of a refusal or failure.
        """
        self._append("learning", action=action, modality=modality, detail=detail)

    def deletion(
        self,
        what: str,
        asked_by: str,
        conversations: int,
        pictures: int,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        """Stored conversations were deleted; of whom is not recorded.

        Args:
            what: "conversation", "person", "period", "selection" or "everything".
            asked_by: "page" or "retention".
            conversations, pictures: how many were deleted.
            start, end: the period that was asked for; None: unlimited.
        """
        self._append(
            "deletion",
            what=what,
            asked_by=asked_by,
            conversations=str(conversations),
            pictures=str(pictures),
            period_start="" if start is None else start.isoformat(timespec="seconds"),
            period_end="" if end is None else end.isoformat(timespec="seconds"),
        )

    def _append(self, event: str, **fields: str) -> None:
        path = self._path
        if path is None:
            return
        now = datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="milliseconds")
        known = {name: " ".join(value.split())[:MAX_TEXT] for name, value in fields.items() if value}
        line = json.dumps({"time": now, "event": event, **known}, ensure_ascii=False) + "\n"
        with self._lock:
            try:
                self._write(path, line.encode("utf-8", "replace"))
            except OSError as error:
                if not self._failing:
                    self._failing = True
                    self._warn(f"the audit log {path} cannot be written ({error.strerror or error}); going on")
                return
            self._failing = False

    def _write(self, path: Path, line: bytes) -> None:
        make_private_folder(path.parent)
        descriptor = _open_locked(path)
        try:
            size = os.fstat(descriptor).st_size
            if size and size + len(line) > MAX_BYTES:
                _rotate(path)
                os.close(descriptor)
                descriptor = _open_locked(path)
                size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(0, "the disk is full")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)  # no part of a line stays
                raise
        finally:
            os.close(descriptor)


def _open_locked(path: Path) -> int:
    """The file, locked; opened again if another process has rotated it in the meantime."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _rotate(path: Path) -> None:
    for number in range(KEPT_FILES, 0, -1):
        newer = _numbered(path, number - 1)
        if newer.exists():
            os.replace(newer, _numbered(path, number))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path
