"""A conversation's journal on disk: JSON lines, append-only, readable after a kill or a power cut.

Guarantees:

- Each record is handed to the operating system before :meth:`Journal.append` returns, so a process killed at any
  moment (SIGKILL, crash, out of memory) loses no record.
- The first and the last record are synced to disk (fsync), and otherwise one every ``sync_s`` seconds: a power cut
  loses that much at most.
- If the disk is full or not writable, records wait in memory and are written in order once it works again.
  ``problem`` gives the reason. Up to ``MAX_WAITING`` bytes wait (some four hours); beyond, new ones are dropped and
  counted.
- A reader skips lines that are no JSON object: a torn last line, or blocks that a power cut left empty.

A journal is locked while it is written, so that a recovery in another process does not touch it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from emotion_perception.files import MODE, make_private_folder, parse_json, sync_folder

try:
    import fcntl
except ImportError:  # no such locks on Windows: there, two nodes must not share a folder
    fcntl = None  # type: ignore[assignment]

MAX_WAITING = 16 * 1024 * 1024  # bytes
RETRY_S = 1.0  # time between two attempts on a disk that failed


class Journal:
    """One journal being written. Never raises because of the disk: see :attr:`problem`.

    Args:
        path: the file; a missing folder is made. An existing file is appended to.
        sync_s: shortest time between two fsyncs, s; 0 syncs every record.
        clock: monotonic seconds; for tests.
    """

    def __init__(self, path: Path, sync_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.problem = ""  # why records wait in memory; empty if none do
        self.dropped = 0  # records lost because too many were waiting
        self._sync_s, self._clock = sync_s, clock
        self._fd: int | None = None
        self._waiting = bytearray()
        self._first = b""  # record without which the others cannot be read
        self._synced = -float("inf")
        self._dirty = False
        self._retry_at = -float("inf")

    @property
    def waiting(self) -> int:
        """Bytes in memory that are not written yet."""
        return len(self._waiting)

    def append(self, record: Mapping[str, Any], sync: bool = False) -> bool:
        """Write one record; with ``sync``, force it onto the disk. True if all is written."""
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._first = self._first or line
        if len(self._waiting) + len(line) > MAX_WAITING:
            self.dropped += 1
        else:
            self._waiting += line
        return self.flush(sync)

    def flush(self, sync: bool = False) -> bool:
        """Try to write waiting records, and sync if due or requested. True if none is left waiting."""
        now = self._clock()
        if self.problem and now < self._retry_at and not sync:
            return not self._waiting
        try:
            self._write()
            if self._dirty and (sync or now - self._synced >= self._sync_s):
                self._sync(now)
        except OSError as error:
            self._fail(error)
        else:
            self.problem = ""
        return not self._waiting

    def close(self) -> None:
        """Write, sync and close the file; records that cannot be written keep waiting."""
        self.flush(sync=True)
        self._release()

    def delete(self) -> None:
        """Close and remove the file, as its contents are stored elsewhere."""
        self._waiting.clear()
        self._release()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        if not self._waiting:
            return
        if self._fd is None:
            make_private_folder(self.path.parent)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), MODE)
            lock(self._fd)
            sync_folder(self.path.parent)
        while self._waiting:  # a nearly full disk takes only a part
            written = os.write(self._fd, self._waiting)
            del self._waiting[:written]
            self._dirty = True

    def _sync(self, now: float) -> None:
        assert self._fd is not None
        os.fsync(self._fd)
        self._synced, self._dirty = now, False
        if not os.fstat(self._fd).st_nlink:
            self._release()  # the next record makes a new file with the same first record
            self._waiting[:0] = self._first
            raise OSError(f"{self.path} was deleted while it was written")

    def _fail(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        self.problem = reason if str(self.path) in reason else f"{self.path}: {reason}"
        self._retry_at = self._clock() + RETRY_S

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._dirty = False


def lock(fd: int) -> bool:
    """Lock an open file against other processes; False if another holds it, True on a disk without locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk
        return True
    return True


def is_locked(path: Path) -> bool:
    """Whether another process (or another open journal of this one) is writing this journal."""
    with path.open("rb+") as file:
        return not lock(file.fileno())


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal, oldest first; lines that are no JSON object are skipped.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            try:
                record = parse_json(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record
