"""Where the numbers of the page may come from: this robot, other folders of this machine, archives, imported files.

All of them answer the same two questions, statistics by hour and of a period, so that a place is compared with another
by the same numbers. Nothing is written except imported files, and those only if a folder for them is configured.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from emotion_perception.dashboard.archive_source import ArchiveSource, is_archive
from emotion_perception.dashboard.place_file import (
    MAX_BYTES,
    MAX_CONVERSATIONS,
    MAX_NAME,
    PlaceFile,
    PlaceFileError,
    check_name,
    read_place,
    write_place,
)
from emotion_perception.files import write_atomically
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import NotStored
from emotion_perception.interaction.hour_sums import HourTable, from_store
from emotion_perception.interaction.store_database import StoreError
from emotion_perception.interaction.store_records import (
    MAX_PAGE,
    ConversationQuery,
    HourStatistics,
    PeriodStatistics,
)

OWN = ""  # id of this robot
MAX_FILES = 50  # imported
MAX_FOLDERS = 50
SYNC_S = 30.0  # between two looks for new conversations in large folders
_FIRST = datetime(1971, 1, 1)
_LAST = datetime(2998, 1, 1)


class Statistics(Protocol):
    """What every source can say."""

    def hours(self, start: datetime, end: datetime) -> list[HourStatistics]:
        """Statistics of each hour with conversations that began in ``start <= t < end``, oldest first."""

    def period(self, start: datetime, end: datetime) -> PeriodStatistics:
        """Statistics of all conversations that began in ``start <= t < end``."""


@dataclass(frozen=True)
class Source:
    """A robot or place."""

    id: str  # in addresses
    name: str  # empty: this robot
    kind: str  # own, folder, archive or file
    statistics: Statistics
    made: float | None = None  # of a file, s since the epoch: nothing later is in it
    problem: str = ""  # why there are no numbers
    lines: tuple[Mapping[str, Any], ...] = ()  # conversations of a file: start, score, wait and others, no id


def parse_places(text: str) -> list[tuple[str, Path]]:
    """Folders by name, written ``till=/data/till, door=~/door``.

    Raises:
        ValueError: an item is not of that form, a name occurs twice, or there are too many.
    """
    found: dict[str, Path] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, equals, folder = (part.strip() for part in item.partition("="))
        if not equals or not name or not folder or len(name) > MAX_NAME or not name.isprintable():
            raise ValueError(f"other_places: {item!r} is not of the form name=folder")
        if name in found:
            raise ValueError(f"other_places: {name!r} occurs twice")
        found[name] = Path(folder).expanduser()
    if len(found) > MAX_FOLDERS:
        raise ValueError(f"other_places: at most {MAX_FOLDERS} are possible, got {len(found)}")
    return list(found.items())


class Places:
    """All sources. Safe to use from several threads.

    Args:
        own: the conversations of this robot; None if they are not stored.
        name: of this robot, for its exports.
        others: names and folders: of conversations, or data sets of ``emotion-archive``.
        imports: folder of imported files; None: nothing can be imported.
        warn: called with each file that cannot be read.
        clock: s since the epoch; for tests.
    """

    def __init__(
        self,
        own: ConversationStore | None,
        name: str,
        others: Sequence[tuple[str, Path]] = (),
        imports: Path | None = None,
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.imports = check_name(name), imports
        self._own, self._warn, self._clock = own, warn, clock
        self._lock = threading.Lock()
        self._others: list[tuple[str, Path, ConversationStore | ArchiveSource]] = [
            (name, folder, ArchiveSource(folder, warn) if is_archive(folder) else ConversationStore(folder, warn))
            for name, folder in others
        ]
        self._read: dict[Path, tuple[tuple[int, int], Source | None]] = {}  # None: it cannot be read
        self._synced = -float("inf")

    @property
    def several(self) -> bool:
        """Whether there is more to show than this robot, or may be."""
        return bool(self._others) or self.imports is not None

    def sources(self) -> list[Source]:
        """All sources: this robot first, folders in their order, imported files by name."""
        self._sync()
        found = [] if self._own is None else [Source(OWN, "", "own", self._own)]
        for name, folder, one in self._others:
            found += self._of_folder(name, folder, one)
        return found + sorted(self._imported(), key=lambda source: source.name.casefold())

    def source(self, source_id: str) -> Source:
        """The source with an id.

        Raises:
            NotStored: there is none.
        """
        for source in self.sources():
            if source.id == source_id:
                return source
        raise NotStored(f"there is no place {source_id[:40]!r}")

    def _sync(self) -> None:
        with self._lock:
            now = time.monotonic()
            due = now - self._synced >= SYNC_S
            self._synced = now if due else self._synced
        for _, _, one in self._others if due else ():
            if isinstance(one, ConversationStore):
                with contextlib.suppress(StoreError):  # the source itself reports it
                    one.sync()

    def _of_folder(self, name: str, folder: Path, one: ConversationStore | ArchiveSource) -> list[Source]:
        if not folder.is_dir():
            return [Source(_id("folder", name), name, "folder", HourTable(), problem=f"there is no folder {folder}")]
        if isinstance(one, ConversationStore):
            return [Source(_id("folder", name), name, "folder", one)]
        try:
            places = one.places()
        except OSError as error:
            problem = f"{folder} cannot be read ({error.strerror or error})"
            return [Source(_id("archive", name), name, "archive", HourTable(), problem=problem)]
        if len(places) == 1:
            return [Source(_id("archive", name), name, "archive", table) for table in places.values()]
        return [
            Source(_id("archive", f"{name}/{place}"), f"{name}: {place}", "archive", table)
            for place, table in places.items()
        ] or [Source(_id("archive", name), name, "archive", HourTable(), problem="no recording has a known time")]

    # --- imported files -------------------------------------------------------------------------------------------

    def add(self, data: bytes) -> Source:
        """Keep an export of another robot; it replaces an older one of the same name.

        Raises:
            PlaceFileError: it is none, is damaged, is older than the one that is here, or there are too many.
            OSError: it cannot be written.
        """
        if self.imports is None:
            raise PlaceFileError("this page keeps no files of other robots; set imported_places_directory")
        place = read_place(data)
        path = self.imports / f"{_id('file', place.name)}.json"
        with self._lock:
            files = self._files()
            if path not in files and len(files) >= MAX_FILES:
                raise PlaceFileError(f"{MAX_FILES} places are imported already; remove one first")
            if path in files and (here := self._load(path)) is not None and (here.made or 0) > place.made:
                raise PlaceFileError(f"a newer file of {place.name!r} is here already")
            write_atomically(path, [data])
        return _source(path, place)

    def remove(self, source_id: str) -> None:
        """Delete an imported file.

        Raises:
            NotStored: there is none with that id.
        """
        with self._lock:
            for path in self._files():
                if path.stem == source_id:
                    path.unlink(missing_ok=True)
                    self._read.pop(path, None)
                    return
        raise NotStored(f"no imported place {source_id[:40]!r} is here")

    def export(self, with_conversations: bool) -> bytes:
        """The file that hands the numbers of this robot to another robot's page.

        Raises:
            NotStored: conversations are not stored here.
            StoreError: the store cannot be used now.
        """
        if self._own is None:
            raise NotStored("conversations are not stored; set conversations_directory")
        table = from_store(self._own.hour_sums(_FIRST.astimezone(), _LAST.astimezone()))
        lines: list[dict[str, Any]] = []
        while with_conversations and len(lines) < MAX_CONVERSATIONS:
            page = self._own.page(ConversationQuery(limit=MAX_PAGE, offset=len(lines)))
            lines += page.conversations
            if len(page.conversations) < MAX_PAGE:
                break
        return write_place(self.name, self._clock(), table, lines[:MAX_CONVERSATIONS][::-1])

    def _imported(self) -> list[Source]:
        with self._lock:
            return [source for path in self._files() if (source := self._load(path)) is not None]

    def _files(self) -> list[Path]:
        return sorted(self.imports.glob("*.json")) if self.imports is not None else []

    def _load(self, path: Path) -> Source | None:
        try:
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size)
            known, source = self._read.get(path), None
            if known is not None and known[0] == version:
                return known[1]
            with path.open("rb") as file:
                source = _source(path, read_place(file.read(MAX_BYTES + 1)))
        except OSError:
            return None  # removed meanwhile
        except PlaceFileError as error:
            self._warn(f"{path} is skipped: {error}")
        self._read[path] = (version, source)
        return source


def _source(path: Path, place: PlaceFile) -> Source:
    return Source(path.stem, place.name, "file", place.table, place.made, lines=place.conversations)


def _id(kind: str, name: str) -> str:
    """The same for the same name, so that an address stays valid."""
    return hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:12]
