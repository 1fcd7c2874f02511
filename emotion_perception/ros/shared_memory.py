"""Shared memory of Fast DDS that dead processes left behind.

Each process with a DDS participant has a segment ``/dev/shm/fastrtps_<16 hex digits>`` (``fastdds_...`` from Fast DDS 3
on) with the messages that it publishes, and removes it when the participant is destroyed. A process that is killed
leaves its segment, 17.5 MB with our profile, there until the next boot. Each segment has a lock file
``<segment>_el``, on which the owner holds a ``flock`` as long as it lives; ``fastdds shm clean`` looks at it, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
# s. Fast DDS creates a lock file and then locks it: a file this young may belong to a process that is just starting.
MIN_AGE = 5.0
_PORT_NAME = re.compile(r"(?:sem\.)?(?:fastrtps|fastdds)_port\d+(?:_mutex|_el|_sl)?")
_LOCK_NAME = re.compile(r"(?:fastrtps|fastdds)_[0-9a-f]{16}_el")


def tidy_shared_memory(folder: Path = SHARED_MEMORY) -> None:
    """Do what each process that joins the graph does first: remove orphaned segments, make old port files private.

    Port files outlive their process, and Fast DDS reuses them with the mode they have. They are as large as a queue of
    message addresses and hold no message. One that other users may write is meant to be shared and stays as it is.
    """
    remove_orphaned_segments(folder)
    for entry in _entries(folder, _PORT_NAME):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                os.chmod(entry.path, stat.S_IMODE(status.st_mode) & 0o700)


def _entries(folder: Path, name: re.Pattern[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if name.fullmatch(entry.name)]
    except OSError:
        return []


def remove_orphaned_segments(folder: Path = SHARED_MEMORY, min_age: float = MIN_AGE) -> list[str]:
    """Remove this user's shared-memory segments whose process is gone.

    Never touches other users' files, a segment whose owner is alive, or one without a lock file. The ``fastrtps_port*``
    files stay: they are small, and Fast DDS reuses them.

    Args:
        folder: where the segments are; one that does not exist has none.
        min_age: s; younger lock files are left alone.

    Returns:
        The names of the removed segments.
    """
    names = [entry.name.removesuffix("_el") for entry in _entries(folder, _LOCK_NAME)]
    return [name for name in names if _remove_if_orphaned(folder, name, min_age)]


def _remove_if_orphaned(folder: Path, name: str, min_age: float) -> bool:
    lock, segment = folder / f"{name}_el", folder / name
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # its owner has just removed it, or it is another user's
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return False
        if time.time() - status.st_mtime < min_age:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The lock is ours, so the owner is dead. The segment goes first: without its lock file it would not be found
        # again.
        with contextlib.suppress(FileNotFoundError):
            segment.unlink()
        lock.unlink()
    except OSError:  # BlockingIOError: the owner is alive
        return False
    finally:
        os.close(descriptor)
    return True
