"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o600  # readable by the robot's own user only


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that replaces ``path`` when the block succeeds, and is removed when it raises.

    It has the same suffix, because some writers choose the format by it. The folder must exist.

    Example:
        >>> with replacing(Path("notes.txt")) as partial:
        ...     _ = partial.write_text("complete")
        >>> Path("notes.txt").read_text()
        'complete'
    """
    partial = path.with_name(f".part.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, chunks: Iterable[str | bytes]) -> None:
    """Write a file completely or not at all, even in a power cut, readable only by its owner: for personal data.

    Args:
        path: missing folders are made.
        chunks: contents in order; text is encoded as UTF-8 with its line ends unchanged.

    Raises:
        OSError: writing failed; nothing of the file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with replacing(path) as partial, open(os.open(partial, flags, MODE), "wb") as file:
        for chunk in chunks:
            file.write(chunk.encode() if isinstance(chunk, str) else chunk)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, if the system can."""
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:  # some network disks refuse; the file itself is synced
        pass
    finally:
        os.close(fd)
