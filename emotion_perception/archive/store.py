"""The files of an archive's data set, which also record the progress of a run.

::

    archive.json                                  settings and models of the rows; a run with different ones is refused
    segments/recording=ID/part-NNNNN.parquet      a recording's rows, one file per part
    arcs/recording=ID/arc.parquet, arc.html       its emotional arc, as data and as a report
    recordings/ID.json                            its marker: done or failed, the reason, and a summary

Every file is written atomically, under a name that follows from its content. A part is finished when its file exists, a
recording when its marker does: after a kill at any time, existing files are valid, and the next run makes the missing
ones.
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
# Metadata of a part's file: its end, s of the recording; number of frames and packets that could not be decoded.
END, ERRORS = b"end_s", b"errors"
MARKER_VERSION = 1


class ArchiveError(RuntimeError):
    """The data set cannot be read or written, or has other settings; the message gives the reason and the remedy."""


class Store:
    """The data set in a folder, possibly on a disk that many machines share."""

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
        """The folder of a recording's arc."""
        return self.arcs / f"recording={recording}"

    def marker_path(self, recording: str) -> Path:
        """A recording's marker."""
        return self.folder / "recordings" / f"{recording}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the data set, so that no two runs write it.

        Raises:
            ArchiveError: another process has locked it, or the folder cannot be made.
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
                raise ArchiveError(
                    f"{self.folder}: another emotion-archive is writing it; wait for it or stop it"
                ) from None
            yield

    def claim(self, made_by: dict[str, Any]) -> None:
        """Write the settings and models of the rows, or check that existing rows have the same.

        Raises:
            ArchiveError: they differ, or the folder cannot be written.
        """
        path = self.folder / "archive.json"
        if path.exists():
            existing = self.settings()
            differing = [key for key in made_by if existing.get(key) != made_by[key]]
            if differing:
                reason = "; ".join(f"{key} {existing.get(key)} there, {made_by[key]} here" for key in differing)
                raise ArchiveError(f"{self.folder} has other settings ({reason}): choose another --out or the same")
            return
        self._write(path, json.dumps(made_by, indent=1) + "\n")

    def settings(self) -> dict[str, Any]:
        """Settings and models of the rows.

        Raises:
            ArchiveError: the file is missing or damaged.
        """
        return self._json(self.folder / "archive.json")

    def parts_done(self, recording: str) -> frozenset[int]:
        """Numbers of the finished parts of a recording."""
        folder = self.segments / f"recording={recording}"
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        return frozenset(int(match[1]) for match in map(_PART.fullmatch, names) if match)

    def write_part(self, recording: str, part: int, end: float, errors: int, rows: pa.Table) -> None:
        """Write the rows of a part; ``end`` is its end, s, ``errors`` the number of its decoding errors.

        Raises:
            ArchiveError: writing failed.
        """
        metadata = {END: repr(float(end)).encode(), ERRORS: str(errors).encode()}
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), **metadata})
        self._write_table(self.part_path(recording, part), rows)

    def read_parts(self, recording: str) -> Iterator[tuple[float, int, pa.Table]]:
        """End (s), errors and rows of each part, in order, one at a time.

        Raises:
            ArchiveError: a file is damaged.
        """
        for number in sorted(self.parts_done(recording)):
            path = self.part_path(recording, number)
            try:
                rows = pq.ParquetFile(path).read()
                metadata = rows.schema.metadata or {}
                end, errors = float(metadata[END]), int(metadata[ERRORS])
            except (OSError, pa.ArrowException, KeyError) as error:
                raise ArchiveError(f"{path}: cannot be read ({error}); remove it and run again") from error
            yield end, errors, rows

    def write_arc(self, recording: str, arc: pa.Table, page: str) -> None:
        """Write the arc of a recording as a table and as a report.

        Raises:
            ArchiveError: writing failed.
        """
        self._write(self.arc_folder(recording) / "arc.html", page)
        self._write_table(self.arc_folder(recording) / "arc.parquet", arc)

    def write_marker(self, recording: str, fields: dict[str, Any]) -> None:
        """Mark a recording as done, damaged or failed.

        Raises:
            ArchiveError: writing failed.
        """
        text = json.dumps({"format": MARKER_VERSION, **fields}, indent=1, allow_nan=False) + "\n"
        self._write(self.marker_path(recording), text)

    def markers(self) -> Iterator[dict[str, Any]]:
        """The marker of each recording, sorted by its id.

        Raises:
            ArchiveError: a marker is damaged.
        """
        for path in sorted((self.folder / "recordings").glob("*.json")):
            yield self._json(path)

    def remove(self, recording: str) -> None:
        """Remove a recording from the data set, its marker first, so that a partial removal does not count as done."""
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
    """Remove recordings whose file has changed: same path, different id. Returns their number.

    Args:
        store: the data set.
        wanted: path and current id of each recording.
    """
    now = dict(wanted)
    old = [m["recording"] for m in store.markers() if now.get(m["path"], m["recording"]) != m["recording"]]
    for recording in old:
        store.remove(recording)
    return len(old)
