"""Whole files: written completely or not at all, private, and bounded when they are read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODE = 0o600  # readable by the robot's own user only
FOLDER_MODE = 0o700
MAX_JSON = 8_000_000  # bytes; a conversation summary of 1200 bins has a tenth


def printable(path: str | os.PathLike[str]) -> str:
    r"""A path as text that can be encoded: bytes of a file name that are not UTF-8 become ``\xNN``.

    Example:
        >>> print(printable(os.fsdecode(b"caf\xe9.jpg")))
        caf\xe9.jpg
    """
    return os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents, all of them for the robot's own user alone.

    ``Path.mkdir(parents=True, mode=...)`` gives the mode to the last one only.
    """
    for path in [*reversed(folder.parents), folder]:
        if not path.exists():
            path.mkdir(exist_ok=True, mode=FOLDER_MODE)


def read_json(path: Path) -> Any:
    """The value in a JSON file that may come from another program.

    Raises:
        ValueError: too large, not UTF-8, not JSON (NaN and Infinity are none), or nested too deeply.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        raise ValueError(f"larger than {MAX_JSON / 1e6:g} MB")
    return parse_json(data)


def parse_json(data: str | bytes) -> Any:
    """As :func:`read_json`, of text or UTF-8 bytes.

    Raises:
        ValueError: see :func:`read_json`.
    """
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_number(value: float, digits: int = 4) -> float | None:
    """A number rounded for JSON; None for NaN and infinity, which JSON does not have."""
    return round(float(value), digits) if math.isfinite(value) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


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
    make_private_folder(path.parent)
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
