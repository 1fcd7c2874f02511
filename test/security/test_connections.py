"""Nobody can take the page down by holding connections open, and the log stays short."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from page_world import TOKEN
from served_dashboard import served

from emotion_perception.dashboard import connections
from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.connections import MAX_IDLE, ConnectionGuard
from emotion_perception.dashboard.routes import common, uploads
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.token_limit import BurstLog
from emotion_perception.dashboard.uploads import UploadAnalyzer


def answer_time(port: int) -> float:
    """Seconds until the page is there, over a new connection."""
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - start


@contextlib.contextmanager
def many_files(count: int) -> Iterator[None]:
    """Let this process open so many files; skips where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_page_answers_within_a_second_while_1100_connections_send_their_headers_slowly():
    with many_files(2000), served(1024) as (process, port):
        undisturbed = min(answer_time(port) for _ in range(3))
        held = []
        try:
            for _ in range(1100):
                attacker = socket.create_connection(("127.0.0.1", port), timeout=10)
                attacker.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
                held.append(attacker)
            times = []
            for _ in range(5):
                for attacker in held[-MAX_IDLE:]:  # those that are still open send one more byte now and then
                    with contextlib.suppress(OSError):
                        attacker.send(b"a")
                times.append(answer_time(port))
                time.sleep(0.2)
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
        finally:
            for attacker in held:
                attacker.close()
        process.stdin.close()
        lines = process.stdout.read().splitlines()
    assert max(times) < max(1.0, 10 * undisturbed), times
    assert files < 300, f"{files} open files"
    assert len(lines) <= 3, lines[:5]


def test_a_connection_that_sends_no_whole_header_in_time_is_closed(serve, monkeypatch):
    from emotion_perception.dashboard import server

    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.5)
    client = serve()
    with socket.create_connection(("127.0.0.1", client.server.port), timeout=5) as attacker:
        start = time.monotonic()
        attacker.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(3):
            time.sleep(0.1)
            attacker.send(b"X-Slow: 1\r\n")  # a byte now and then does not prolong it
        assert attacker.recv(100) == b""
        assert 0.3 < time.monotonic() - start < 3.0
    with socket.create_connection(("127.0.0.1", client.server.port), timeout=5) as attacker:
        attacker.send(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while attacker.recv(65536):  # the answer, then the end: also between two requests
            pass


def test_a_request_body_that_does_not_come_is_refused_in_time(serve, monkeypatch):
    monkeypatch.setattr(common, "BODY_TIMEOUT_S", 0.3)
    client = serve(token=TOKEN)
    with socket.create_connection(("127.0.0.1", client.server.port), timeout=10) as attacker:
        attacker.send(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken="
        )
        assert attacker.recv(1000).startswith(b"HTTP/1.1 408")


def test_an_upload_that_does_not_come_is_refused_in_time(serve, monkeypatch):
    monkeypatch.setattr(uploads, "TRANSFER_S", 0.3)
    client = serve(Parts(Store(), analyzer=UploadAnalyzer()))
    with socket.create_connection(("127.0.0.1", client.server.port), timeout=10) as attacker:
        attacker.send(b"POST /api/try HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Dashboard: 1\r\nContent-Length: 100\r\n\r\nBM")
        assert attacker.recv(1000).startswith(b"HTTP/1.1 408")


def test_failed_accepts_are_logged_once_per_burst_and_the_page_recovers():
    """Where nearly no file can be opened, 60 connections fail; a line each time would fill the disk."""
    with served(64) as (process, port):
        free = 64 - len(os.listdir(f"/proc/{process.pid}/fd"))
        # Another part of the process takes the rest: here the limit itself is lowered under what is open.
        soft = 64 - free
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, 64))
        held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
        time.sleep(1.5)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (64, 64))
        for attacker in held:
            attacker.close()
        recovered = answer_time(port)
        process.stdin.close()
        lines = process.stdout.read().splitlines()
    assert recovered < 5.0
    assert len([line for line in lines if line.startswith("cannot accept a connection: Too many open files")]) == 1
    assert len(lines) <= 3, lines


class Protocols:
    """Makes protocols and knows their order."""

    def __init__(self) -> None:
        self.made: list[asyncio.Protocol] = []

    def __call__(self) -> asyncio.Protocol:
        self.made.append(asyncio.Protocol())
        return self.made[-1]


def guarded(test) -> list[str]:
    """Run ``test(guard, protocols, port)`` with a guard that accepts on loopback; what was logged."""
    log: list[str] = []

    async def run() -> None:
        protocols = Protocols()
        guard = ConnectionGuard(protocols, warn=log.append)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        serving = asyncio.create_task(guard.serve(listener))
        try:
            await test(guard, protocols, listener.getsockname()[1])
        finally:
            serving.cancel()

    asyncio.run(run())
    return log


async def is_closed(reader: asyncio.StreamReader, wait: float = 0.3) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), wait) == b""
    except asyncio.TimeoutError:
        return False
    except ConnectionError:
        return True


def test_the_oldest_idle_connection_makes_room_and_a_busy_one_stays(monkeypatch):
    monkeypatch.setattr(connections, "MAX_IDLE", 3)

    async def attack(guard, protocols, port) -> None:
        readers = [(await asyncio.open_connection("127.0.0.1", port)) for _ in range(3)]
        await asyncio.sleep(0.2)
        with guard.request(protocols.made[0]):
            readers += [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            await asyncio.sleep(0.2)
            closed = [await is_closed(reader) for reader, _ in readers]
            assert closed == [False, True, True, False, False, False]
        for _, writer in readers:
            writer.close()

    assert guarded(attack) == ["closed an idle connection of 127.0.0.1 to make room for others"]


def test_an_address_with_too_many_requests_in_progress_gets_no_more_connections(monkeypatch):
    monkeypatch.setattr(connections, "MAX_BUSY", 2)

    async def attack(guard, protocols, port) -> None:
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.2)
        with guard.request(protocols.made[0]), guard.request(protocols.made[1]):
            refused = await asyncio.open_connection("127.0.0.1", port)
            assert await is_closed(refused[0], 2.0)
        taken = await asyncio.open_connection("127.0.0.1", port)
        assert not await is_closed(taken[0])
        for _, writer in (*first, refused, taken):
            writer.close()

    assert guarded(attack) == ["refused a connection of 127.0.0.1: it has 2 requests in progress"]


def test_a_repeated_problem_is_logged_once_and_then_with_its_number(clock):
    lines: list[str] = []
    log = BurstLog(lines.append, period_s=60, clock=clock)
    for _ in range(100):
        log("cannot accept")
    assert lines == ["cannot accept"]
    clock.now += 61
    log("cannot accept")
    assert lines[1:] == ["cannot accept (99 more since the last line)"]
