"""The recordings of an archive: found in files, folders and globs, identified by path, size and modification time."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from pathlib import Path

from emotion_perception.files import printable
from emotion_perception.media.formats import is_media_name
from emotion_perception.media.opening import is_recording
from emotion_perception.media.rosbag import Recording
from emotion_perception.media.source import StoredMedia

# A date and time in a file name, as cameras and recorders write it: 2026-11-25_14-30-00, 20261125T143000, …
_STAMP = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)[-_.T ]*([0-2]\d)[-_.:h]?([0-5]\d)(?:[-_.:m]?([0-5]\d))?"
)


@dataclass(frozen=True)
class ArchiveRecording:
    """One recording of an archive."""

    id: str  # 16 hexadecimal digits: hash of path, size and modification time
    path: str  # absolute; bytes that are not UTF-8 are surrogates, as in all paths of Python
    place: str
    size: int  # bytes
    modified_ns: int  # since 1970

    @property
    def shown_path(self) -> str:
        """The path as text for files, pages and messages."""
        return printable(self.path)


@dataclass(frozen=True)
class Found:
    """The result of :func:`find_recordings`."""

    recordings: tuple[ArchiveRecording, ...]  # by path, each once
    missing: tuple[str, ...]  # paths and globs without a match
    unreadable: tuple[tuple[str, str], ...]  # links and folders that cannot be followed, and the reason
    other: Counter[str]  # files in folders that are not media by their names: number by suffix

    @property
    def passed_over(self) -> int:
        """Number of files in folders that are not media by their names."""
        return self.other.total()


def find_recordings(paths: Sequence[str]) -> Found:
    """The recordings in files, folders (searched recursively) and globs (``**`` matches subfolders).

    The place of a recording is the name of the subfolder of the given folder that contains it; for a recording directly
    in the given folder, or given as a file, the name of its own folder. A linked folder is searched once, under its own
    path if that is searched too. Nothing in an archive ends the search.
    """
    search = _Search()
    for given in paths:
        matches = [given] if os.path.lexists(given) else sorted(glob.glob(given, recursive=True))
        if not matches:
            search.missing.append(given)
        for match in matches:
            search.add(Path(os.path.abspath(match)))
    found = search.found
    return Found(
        tuple(found[path] for path in sorted(found)),
        tuple(search.missing),
        tuple(sorted(search.unreadable.items())),
        search.other,
    )


class _Search:
    """What :func:`find_recordings` collects."""

    def __init__(self) -> None:
        self.found: dict[str, ArchiveRecording] = {}
        self.missing: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.other: Counter[str] = Counter()

    def add(self, given: Path) -> None:
        """Add a file, or the recordings of a folder."""
        try:
            is_folder = stat.S_ISDIR(given.stat().st_mode) and not is_recording(given)
        except OSError as error:
            self._refuse(given, error)
            return
        if not is_folder:
            self._take(given, given)
            return
        visited: set[tuple[int, int]] = set()
        linked: list[Path] = []
        self._walk(given, given, visited, linked)
        while linked:  # after the folders that are in the archive themselves
            self._walk(linked.pop(0), given, visited, linked)

    def _walk(self, folder: Path, given: Path, visited: set[tuple[int, int]], linked: list[Path]) -> None:
        """Take the recordings below a folder that was not visited yet; hidden files are ignored."""
        for name, folders, names in os.walk(folder, onerror=lambda error: self._refuse(Path(error.filename), error)):
            here = Path(name)
            try:
                state = here.stat()
            except OSError as error:
                self._refuse(here, error)
                continue
            if (state.st_dev, state.st_ino) in visited:
                folders.clear()
                continue
            visited.add((state.st_dev, state.st_ino))
            folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
            bags = [entry for entry in folders if is_recording(here / entry)]
            linked += [here / entry for entry in folders if entry not in bags and os.path.islink(here / entry)]
            folders[:] = [entry for entry in folders if entry not in bags]  # os.walk does not follow links
            for entry in (*bags, *sorted(names)):
                if entry.startswith("."):
                    continue
                if entry in bags or is_media_name(entry) or _was_folder(here / entry):
                    self._take(here / entry, given)
                else:
                    self.other[Path(printable(entry)).suffix.lower() or "no suffix"] += 1

    def _take(self, file: Path, given: Path) -> None:
        try:
            self.found.setdefault(str(file), _describe(file, _place(file, given)))
        except OSError as error:
            self._refuse(file, error)

    def _refuse(self, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error)
        if os.path.islink(path):
            reason = f"a link to {os.readlink(path)}: {reason}"
        self.unreadable[str(path)] = reason


def _was_folder(path: Path) -> bool:
    """Whether a path is a dead link that may have led to a folder, such as a disk that is not mounted."""
    return not path.suffix and os.path.islink(path) and not os.path.exists(path)


def _place(file: Path, given: Path) -> str:
    inside = file.parent.relative_to(given).parts if given != file else ()
    return printable(inside[0] if inside else file.parent.name)


def _describe(path: Path, place: str) -> ArchiveRecording:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    states = [file.stat() for file in files]
    size, modified = sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)
    identity = hashlib.sha256(f"{path}\0{size}\0{modified}".encode(errors="surrogateescape")).hexdigest()[:16]
    return ArchiveRecording(identity, str(path), place, size, modified)


def recorded_at(recording: ArchiveRecording, media: StoredMedia, zone: tzinfo | None = None) -> tuple[int | None, str]:
    """When a recording began, ns since 1970, and the source of that time.

    ``stamps``: the messages of a rosbag2; ``container``: its creation time; ``name``: a date and time in the file name,
    as local time; ``file``: the modification time minus the duration. ``(None, "")`` if all are missing.

    Args:
        recording: as found.
        media: the opened recording.
        zone: time zone of file names; None: this machine's.
    """
    if isinstance(media, Recording):
        return media.start_ns, "stamps"
    if media.created:
        try:
            created = datetime.fromisoformat(media.created.replace("Z", "+00:00"))
            if created.year > 1990:  # cameras without a clock write 1904 or 1970
                return _ns(created if created.tzinfo else created.replace(tzinfo=timezone.utc)), "container"
        except ValueError:
            pass
    if named := _named(Path(recording.path).name):
        return _ns(named.replace(tzinfo=zone) if zone else named.astimezone()), "name"
    if media.duration is not None and recording.modified_ns > 0:
        return recording.modified_ns - round(media.duration * 1e9), "file"
    return None, ""


def _named(name: str) -> datetime | None:
    for match in _STAMP.finditer(name):
        try:
            return datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]
        except ValueError:
            continue
    return None


def _ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000_000


def batches(recordings: Sequence[ArchiveRecording], most: int, most_bytes: int) -> Iterator[list[ArchiveRecording]]:
    """Recordings in their order, small ones grouped: at most ``most``, with ``most_bytes`` in total."""
    batch: list[ArchiveRecording] = []
    size = 0
    for recording in recordings:
        if batch and (len(batch) == most or size + recording.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(recording)
        size += recording.size
    if batch:
        yield batch
