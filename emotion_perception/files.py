"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o600  # readable by the robot's own user alone


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` when the block ends well, and is removed otherwise.

    It has the same ending, as some writers choose the format by it. The folder must exist.
    """
    partial = path.with_name(f".part.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, chunks: Iterable[str | bytes]) -> None:
    """Write what people said or showed: as a whole or not at all, also after a power cut, for the own user alone.

    Args:
        path: folders that are missing are made.
        chunks: of one file in order; text becomes UTF-8 with its line ends as they are.

    Raises:
        OSError: the disk does not take it; nothing of it is left.
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
    """Force a folder's entries onto the disk, where the system can."""
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:  # some network disks refuse; the file itself is synced
        pass
    finally:
        os.close(fd)
