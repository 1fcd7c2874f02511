"""The files of an archive's data set, and what they say of how far it has come.

::

    archive.json                                  how the rows were made; other settings do not go on here
    segments/recording=ID/part-NNNNN.parquet      a recording's rows, a file a part
    arcs/recording=ID/arc.parquet, arc.html       its emotional arc, for machines and for people
    recordings/ID.json                            its marker: done or failed, why, and a summary

Every file appears as a whole, under a name that follows from what is in it. A part is done when its file is there, a
recording when its marker is: whoever is killed, and whenever, what is there is right, and what is missing is done next.
"""

from __future__ import annotations

import fcntl
import io
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emotion_perception.files import write_atomically

_PART = re.compile(r"part-(\d{5,})\.parquet")
# In a part file's metadata: where the part ends, s of the recording; pictures and packets that could not be used.
END, ERRORS = b"end_s", b"errors"
MARKER_VERSION = 1


class ArchiveError(RuntimeError):
    """The data set cannot be read or written, or was made otherwise; the message says what, and what to do."""


class Store:
    """The data set in a folder, which may be on a disk that many machines share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def segments(self) -> Path:
        """The folder of the rows."""
        return self.folder / "segments"

    @property
    def arcs(self) -> Path:
        """The folder of the arcs."""
        return self.folder / "arcs"

    def part_path(self, recording: str, part: int) -> Path:
        """A part's file."""
        return self.segments / f"recording={recording}" / f"part-{part:05d}.parquet"

    def arc_folder(self, recording: str) -> Path:
        """Where a recording's arc lies."""
        return self.arcs / f"recording={recording}"

    def marker_path(self, recording: str) -> Path:
        """A recording's marker."""
        return self.folder / "recordings" / f"{recording}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the data set: two that write one would do everything twice.

        Raises:
            ArchiveError: another process holds it, or the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.folder / ".lock").open("w")
        except OSError as error:
            raise ArchiveError(f"{self.folder}: {error.strerror or error}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ArchiveError(f"{self.folder}: another emotion-archive writes it; wait or end that one") from None
            yield

    def claim(self, made_by: dict[str, Any]) -> None:
        """Note how the rows are made, or see that those there were made so.

        Raises:
            ArchiveError: they were made otherwise, or the folder cannot be written.
        """
        path = self.folder / "archive.json"
        if path.exists():
            there = self.settings()
            differing = [key for key in made_by if there.get(key) != made_by[key]]
            if differing:
                told = "; ".join(f"{key} {there.get(key)} there, {made_by[key]} here" for key in differing)
                raise ArchiveError(
                    f"{self.folder} was made otherwise ({told}): choose another --out or the same settings"
                )
            return
        self._write(path, json.dumps(made_by, indent=1) + "\n")

    def settings(self) -> dict[str, Any]:
        """How the rows were made.

        Raises:
            ArchiveError: that is not there, or damaged.
        """
        return self._json(self.folder / "archive.json")

    def parts_done(self, recording: str) -> frozenset[int]:
        """The numbers of a recording's parts that are there."""
        folder = self.segments / f"recording={recording}"
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        return frozenset(int(match[1]) for match in map(_PART.fullmatch, names) if match)

    def write_part(self, recording: str, part: int, end: float, errors: int, rows: pa.Table) -> None:
        """Write a part's rows; ``end`` is where it ends, s, ``errors`` how much of it could not be used.

        Raises:
            ArchiveError: the disk does not take them.
        """
        told = {END: repr(float(end)).encode(), ERRORS: str(errors).encode()}
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), **told})
        self._write_table(self.part_path(recording, part), rows)

    def read_parts(self, recording: str) -> Iterator[tuple[float, int, pa.Table]]:
        """Each part's end, s, errors and rows, in order, one at a time.

        Raises:
            ArchiveError: a file is damaged.
        """
        for number in sorted(self.parts_done(recording)):
            path = self.part_path(recording, number)
            try:
                rows = pq.ParquetFile(path).read()
                told = rows.schema.metadata or {}
                end, errors = float(told[END]), int(told[ERRORS])
            except (OSError, pa.ArrowException, KeyError) as error:
                raise ArchiveError(f"{path}: cannot be read ({error}); remove it and run again") from error
            yield end, errors, rows

    def write_arc(self, recording: str, arc: pa.Table, page: str) -> None:
        """Write a recording's arc as a table and as a page.

        Raises:
            ArchiveError: the disk does not take it.
        """
        self._write(self.arc_folder(recording) / "arc.html", page)
        self._write_table(self.arc_folder(recording) / "arc.parquet", arc)

    def write_marker(self, recording: str, fields: dict[str, Any]) -> None:
        """Say that a recording is done, or why it could not be.

        Raises:
            ArchiveError: the disk does not take it.
        """
        text = json.dumps({"format": MARKER_VERSION, **fields}, indent=1, allow_nan=False) + "\n"
        self._write(self.marker_path(recording), text)

    def markers(self) -> Iterator[dict[str, Any]]:
        """What is said of each recording, in the order of their names.

        Raises:
            ArchiveError: a marker is damaged.
        """
        for path in sorted((self.folder / "recordings").glob("*.json")):
            yield self._json(path)

    def remove(self, recording: str) -> None:
        """Take a recording out of the data set, its marker first: what is half removed is not taken for done."""
        self.marker_path(recording).unlink(missing_ok=True)
        for folder in (self.segments / f"recording={recording}", self.arc_folder(recording)):
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{path}: cannot be read ({error}); remove it and run again") from error

    def _write_table(self, path: Path, rows: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd")
        self._write(path, buffer.getvalue())

    def _write(self, path: Path, content: str | bytes) -> None:
        try:
            write_atomically(path, [content])
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be written ({error.strerror or error})") from error


def removed_before(store: Store, wanted: Sequence[tuple[str, str]]) -> int:
    """Takes out recordings whose file has changed since: same path, another identity. How many there were.

    Args:
        store: the data set.
        wanted: path and identity of each recording as it is now.
    """
    now = dict(wanted)
    old = [m["recording"] for m in store.markers() if now.get(m["path"], m["recording"]) != m["recording"]]
    for recording in old:
        store.remove(recording)
    return len(old)
