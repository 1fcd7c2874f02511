"""Uploads: bounded before a byte is read, one worker process, memory that is given back, no hostile file decoded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from page_world import Client
from served_dashboard import served

from emotion_perception.dashboard import uploads
from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.file_types import UploadError
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import MAX_UPLOADS, MemoryFile, UploadAnalyzer

MB = 1_000_000


def workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("upload_worker" in word for word in process.cmdline()):
                found.append(process)
    return found


def wait_until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_eight_concurrent_prepare_calls_start_one_process_that_is_ended_at_its_limit(serve, monkeypatch):
    monkeypatch.setattr(uploads, "SPARE_S", 3.0)
    client = serve(Parts(Store(), analyzer=UploadAnalyzer()))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/api/try/prepare").status, range(8)))
    assert answers == [200] * 8
    most = 0
    for _ in range(10):
        most = max(most, len(workers()))
        time.sleep(0.05)
    assert most == 1
    wait_until(lambda: not workers(), 15.0)


def test_a_process_that_waits_is_ended_with_the_server(serve):
    client = serve(Parts(Store(), analyzer=UploadAnalyzer()))
    client.post("/api/try/prepare")
    assert len(workers()) == 1
    client.server.stop()
    wait_until(lambda: not workers(), 10.0)


def begin_upload(port: int, size: int) -> socket.socket:
    """An upload that announces ``size`` bytes."""
    attacker = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = f"POST /api/try HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Dashboard: 1\r\nContent-Length: {size}\r\n\r\n"
    attacker.send(head.encode())
    return attacker


def test_thirty_unfinished_uploads_take_little_memory_and_give_it_back():
    size = 48 * MB
    with served(256, "uploads") as (server, port):
        process = psutil.Process(server.pid)

        def memory() -> int:
            """Resident bytes, and the memfds, which the system counts as shared memory."""
            held = 0
            for descriptor in memfds(server.pid):
                with contextlib.suppress(OSError):  # closed meanwhile
                    held += Path(f"/proc/{server.pid}/fd/{descriptor}").stat().st_size
            return process.memory_info().rss + held

        before = memory()
        attackers, most, statuses = [], before, []
        part = bytes(MB)
        for _ in range(30):
            attackers.append(begin_upload(port, size))
        for attacker in attackers:
            with contextlib.suppress(OSError):  # most are refused meanwhile
                attacker.settimeout(2.0)
                for _ in range(size // MB - 1):
                    attacker.send(part)
            most = max(most, memory())
        for attacker in attackers:
            attacker.settimeout(0.05)
            with contextlib.suppress(OSError):
                statuses.append(attacker.recv(100)[9:12])
            attacker.close()
        bound = MAX_UPLOADS * size + 40 * MB
        assert most - before <= bound, f"{(most - before) / 1e6:.0f} MB more"
        assert statuses.count(b"503") + statuses.count(b"") >= 20, "who gets no place learns it"
        wait_until(lambda: memory() - before <= 30 * MB, 20.0)
        assert not memfds(server.pid)


def memfds(pid: int) -> list[str]:
    """Descriptors of a process' anonymous files."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if "memfd:upload" in str(link.readlink()):
                found.append(link.name)
    return found


def test_places_are_taken_before_the_body_is_read(serve):
    client = serve(Parts(Store(), analyzer=UploadAnalyzer()))
    held = [begin_upload(client.server.port, MB) for _ in range(MAX_UPLOADS)]
    wait_until(lambda: client.server.parts.analyzer._reserved == MAX_UPLOADS, 10.0)
    late = begin_upload(client.server.port, MB)
    assert late.recv(1000).startswith(b"HTTP/1.1 503"), "before it sent a byte"
    for attacker in (*held, late):
        attacker.close()
    wait_until(lambda: client.server.parts.analyzer._reserved == 0, 10.0)


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415, "text or a web page"),
        (b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>", 415, "text"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n", 415, "text or a web page"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, "text or a web page"),
        (b"<MPD><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>", 415, "text or a web page"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (65_000).to_bytes(4, "big") * 2 + bytes(50), 413, "65000 x 65000"),
        (b"GIF89a" + b"\xff\xff\xff\xff" + bytes(50), 413, "65535 x 65535"),
        (b"PK\x03\x04" + bytes(100), 415, "ZIP archive"),
        (b"\x1f\x8b\x08" + bytes(100), 415, "gzip archive"),
    ],
    ids=["svg", "xxe", "playlist", "concat", "dash", "png bomb", "gif bomb", "zip", "gzip"],
)
def test_hostile_files_are_refused_before_a_decoder_sees_them(serve, data, status, reason):
    client: Client = serve(Parts(Store(), analyzer=UploadAnalyzer()))
    answer = client.post("/api/try", data)
    assert (answer.status, reason in answer.error) == (status, True), answer.error
    assert not workers(), "no process was started"


def test_a_sealed_file_cannot_be_changed_by_who_decodes_it():
    with MemoryFile() as file:
        file.write(b"BM" + bytes(100))
        file.seal()
        with pytest.raises(PermissionError):
            file.write(b"more")
        with pytest.raises(UploadError, match="damaged"):
            file.file_type()


def test_an_answer_without_end_is_cut_off(monkeypatch, tmp_path):
    """A decoder that is taken over can write what it likes: not more than a bounded answer."""
    monkeypatch.setattr(uploads, "MAX_ANSWER", 100_000)
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nexec yes\n")
    endless.chmod(0o700)
    monkeypatch.setattr(uploads.sys, "executable", str(endless))

    async def analyze() -> None:
        analyzer = UploadAnalyzer(seconds=20)
        with MemoryFile() as file:
            file.write(b"RIFF\0\0\0\0WAVE" + bytes(100))
            with pytest.raises(UploadError, match="too large to show"):
                await analyzer.analyze(file)

    asyncio.run(analyze())
