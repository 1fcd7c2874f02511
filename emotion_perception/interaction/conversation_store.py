"""The stored conversations of a folder: listed, searched, counted, read. Scales to hundreds of thousands.

The JSON files that ``interaction_node`` writes are the source of truth. A SQLite database in the same folder indexes
them: one row per conversation with what lists and statistics need. It is filled from the files at the first use,
follows files that appear, change or disappear, and is rebuilt from them if it is lost or damaged. Several processes may
use a folder at the same time.

Example:
    >>> from datetime import datetime, timedelta
    >>> store = ConversationStore(Path("conversations"))
    >>> store.page(ConversationQuery(sort="worst", limit=10)).total
    0
    >>> today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    >>> store.period(today, today + timedelta(days=1)).conversations
    0
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from emotion_perception.files import read_json
from emotion_perception.interaction.history import NotStored, Period, is_conversation_id, local_midnight
from emotion_perception.interaction.store_database import (
    DamagedError,
    Database,
    StoreError,
    as_store_error,
    delete,
    insert,
    transaction,
)
from emotion_perception.interaction.store_files import Version, files_by_id, json_versions, matches_unread, remove
from emotion_perception.interaction.store_records import (
    SORTS,
    STATISTICS_SQL,
    ConversationPage,
    ConversationQuery,
    DayTotal,
    Deletion,
    HourStatistics,
    PeriodStatistics,
    entry,
    persons,
    row,
    statistics_fields,
)
from emotion_perception.interaction.summary_check import check_summary

SMALL_SCAN_S = 0.005  # CPU time; a folder scanned in less is scanned before each query, a larger one by `sync`
BATCH = 200  # files read between two transactions, so that others can write and read in between
DELETED_S = 400 * 86400.0  # how long `deleted_ids` are kept if nobody asks; pictures are kept for a shorter time
PROGRESS_S = 5.0  # between two lines of progress in the log
_DAY = "date(start, 'unixepoch', 'localtime')"
# The distinct places, each found by one search in the index: `SELECT DISTINCT` would read all rows.
_PLACES = """
WITH RECURSIVE places (place) AS (
    SELECT min(place) FROM conversation WHERE place > ''
    UNION ALL
    SELECT (SELECT min(place) FROM conversation WHERE place > places.place) FROM places WHERE places.place IS NOT NULL
)
SELECT place FROM places WHERE place IS NOT NULL LIMIT 100
"""

Result = TypeVar("Result")


class ConversationStore:
    """Safe to use from several threads. Nothing is opened or read before the first call.

    Args:
        folder: that of ``interaction_node``; it may not exist yet.
        warn: called with each file that cannot be read, once per file, and with problems of the database.
        inform: called with the progress of a long import.
    """

    def __init__(
        self,
        folder: Path,
        warn: Callable[[str], object] = lambda text: None,
        inform: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.folder = folder
        self._warn, self._inform = warn, inform
        self._database = Database(folder, lambda text: self._warn(text))
        self._lock = threading.RLock()  # of the connection
        self._syncing = threading.Lock()
        self._damaged: dict[str, Version] = {}  # files that cannot be read, and their version
        self._scan_s = 0.0  # how long the last scan of the folder took
        self._compared = False  # whether the versions of all files were compared since the database was opened
        self._progress: tuple[int, int] | None = None

    @property
    def importing(self) -> tuple[int, int] | None:
        """Files read and files to read while many new ones are indexed; the numbers are incomplete until then."""
        return self._progress

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        with self._lock:
            self._database.close()

    # --- statistics and lists -----------------------------------------------------------------------------------

    def hours(self, start: datetime, end: datetime) -> list[HourStatistics]:
        """Statistics of each hour with conversations that began in ``start <= t < end``, oldest first.

        Hours are full ones of the local clock. Each hour has 3600 s; the one that a change from summer time repeats is
        listed twice.

        Raises:
            StoreError: the database cannot be used now.
        """
        return [
            HourStatistics(**statistics_fields(datetime.fromtimestamp(hour).astimezone(), values))
            for hour, values in self.hour_sums(start, end)
        ]

    def hour_sums(self, start: datetime, end: datetime) -> list[tuple[float, tuple[Any, ...]]]:
        """Start (s since the epoch) and values of :data:`STATISTICS_SQL` of each hour as in :meth:`hours`.

        Raises:
            StoreError: the database cannot be used now.
        """
        first = start.astimezone().replace(minute=0, second=0, microsecond=0)
        base = first.timestamp()
        sql = (
            f"SELECT CAST((start - :base) / 3600 AS INTEGER) AS hour, {STATISTICS_SQL} FROM conversation "
            "WHERE start >= :start AND start < :end GROUP BY hour ORDER BY hour"
        )
        rows = self._query(sql, {"base": base, "start": start.timestamp(), "end": end.timestamp()})
        return [(base + 3600 * hour, tuple(values)) for hour, *values in rows]

    def period(self, start: datetime, end: datetime) -> PeriodStatistics:
        """Statistics of all conversations that began in ``start <= t < end``.

        Raises:
            StoreError: the database cannot be used now.
        """
        sql = f"SELECT {STATISTICS_SQL} FROM conversation WHERE start >= ? AND start < ?"
        (values,) = self._query(sql, (start.timestamp(), end.timestamp()))
        return PeriodStatistics(**statistics_fields(start.astimezone(), tuple(values)), end=end.astimezone())

    def page(self, query: ConversationQuery | None = None) -> ConversationPage:
        """A part of the conversations that match a query, and how many match.

        Raises:
            StoreError: the database cannot be used now.
        """
        query = query or ConversationQuery()
        where, values = query.where()
        # "+": no use of the index of starts, which would look up all rows in scattered order to find a few names.
        order = f"+{SORTS[query.sort]}" if query.text else SORTS[query.sort]
        found = self._query(
            f"SELECT * FROM conversation WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset",
            values | {"limit": query.limit, "offset": query.offset},
        )
        ((total,),) = self._query(f"SELECT count(*) FROM conversation WHERE {where}", values, sync=False)
        places = tuple(place for (place,) in self._query(_PLACES, (), sync=False))
        entries = tuple(map(entry, found))
        days = self._days(where, values, entries) if entries and query.sort in ("newest", "oldest") else []
        return ConversationPage(conversations=entries, total=total, places=places, days=tuple(days))

    def within(self, wanted: Period) -> list[dict[str, Any]]:
        """The lines of the conversations that began in a day or week, oldest first.

        Raises:
            StoreError: the database cannot be used now.
        """
        sql = f"SELECT * FROM conversation WHERE start >= ? AND start < ? ORDER BY {SORTS['oldest']}"
        return [entry(found) for found in self._query(sql, (wanted.start.timestamp(), wanted.end.timestamp()))]

    def version(self) -> dict[str, Any]:
        """Changes whenever a conversation is added or deleted: number of conversations, and the last addition's."""
        ((stored, newest),) = self._query("SELECT count(*), coalesce(max(number), 0) FROM conversation", ())
        return {"stored": stored, "newest": newest}

    def read(self, interaction_id: str) -> dict[str, Any]:
        """All that is stored of a conversation except its samples; checked: numbers are finite, lists equally long.

        Raises:
            NotStored: there is no such conversation, or its file is damaged.
        """
        path = self.path(interaction_id, "json")
        try:
            fields = read_json(path)
            check_summary(fields)
        except OSError:
            raise NotStored(f"no conversation {interaction_id!r} is stored") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else f"{error}"[:200]
            raise NotStored(f"conversation {interaction_id!r} cannot be read: its file is damaged ({reason})") from None
        return fields

    def path(self, interaction_id: str, suffix: str) -> Path:
        """The path of a file of a conversation.

        Raises:
            NotStored: that is no id.
        """
        if not is_conversation_id(interaction_id):
            raise NotStored(f"{interaction_id[:100]!r} is no conversation's id")
        return self.folder / f"{interaction_id}.{suffix}"

    # --- changes ------------------------------------------------------------------------------------------------

    def add(self, interaction_id: str) -> None:
        """Index a conversation whose JSON file was just written.

        Raises:
            NotStored: there is no such file, or it is damaged.
            StoreError: the database cannot be used now; the next :meth:`sync` indexes the file.
        """
        try:
            status = self.path(interaction_id, "json").stat()
        except OSError:
            raise NotStored(f"no conversation {interaction_id!r} is stored") from None
        indexed, those = self._read_row(interaction_id, (status.st_mtime_ns, status.st_size))
        self._change(lambda connection: insert(connection, [indexed], [those]))

    def delete(
        self, query: ConversationQuery, asked_by: str, delete_pictures: Callable[[Sequence[str]], int] | None = None
    ) -> Deletion:
        """Delete all conversations that match: every file, their rows, and what SQLite left of these on the disk.

        Files that are not indexed (a journal that nobody is writing, a damaged file) are deleted too if the query
        covers them. Sort, limit and offset of the query do not matter. A deletion that was interrupted can be repeated.

        Args:
            query: which; without any condition: everything.
            asked_by: who or what asked, for the proof: "page" or "retention".
            delete_pictures: deletes the stored pictures of conversations and returns their number. None: the ids are
                kept for :meth:`deleted_ids`, because another process stores pictures.

        Raises:
            StoreError: something could not be deleted; the text names what and why.
        """
        where, values = query.where()
        indexed = {name for (name,) in self._query(f"SELECT id FROM conversation WHERE {where}", values)}
        known = {name for (name,) in self._query("SELECT id FROM conversation", (), sync=False)}
        paths = files_by_id(self.folder)
        chosen = {name: paths.get(name, []) for name in indexed} | {
            name: those for name, those in paths.items() if name not in known and matches_unread(query, name, those)
        }
        pictures = delete_pictures(list(chosen)) if delete_pictures is not None else 0
        removed = remove(chosen)

        def forget(connection: sqlite3.Connection) -> None:
            delete(connection, removed.ids)
            if delete_pictures is None:
                now = time.time()
                connection.execute("DELETE FROM deleted WHERE time < ?", (now - DELETED_S,))
                connection.executemany("INSERT OR REPLACE INTO deleted VALUES (?, ?)", [(i, now) for i in removed.ids])

        self._change(forget)
        if removed.problem:
            raise StoreError(f"{len(removed.ids)} of {len(chosen)} conversations were deleted; {removed.problem}")
        try:
            stale = self._run(lambda connection: self._database.has_traces(), sync=False)
            if chosen or stale:
                self._run(lambda connection: self._database.erase(), sync=False)
        except StoreError as error:
            self._warn(f"traces of deleted conversations stay in the database until the next deletion: {error}")
        return Deletion(
            conversations=len(removed.ids),
            files=removed.files,
            pictures=pictures,
            running=removed.running,
            start=query.start,
            end=query.end,
            what=query.subject,
            asked_by=asked_by,
        )

    def deleted_ids(self) -> list[str]:
        """Conversations deleted by a process that does not know where their pictures are stored."""
        return [name for (name,) in self._query("SELECT id FROM deleted", ())]

    def forget_deleted(self, ids: Sequence[str]) -> None:
        """To be called when the pictures of :meth:`deleted_ids` are deleted."""
        self._change(lambda connection: connection.executemany("DELETE FROM deleted WHERE id = ?", [(i,) for i in ids]))

    def sync(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Make the database agree with the files: index new and changed ones, forget those that were removed.

        Reading a new file takes about 1 ms. Returns at once if another thread is doing it.

        Args:
            stop: asked between batches whether to give up.

        Raises:
            StoreError: the database cannot be used now.
        """
        if not self._syncing.acquire(blocking=False):
            return
        try:
            self._sync(stop)
        finally:
            self._progress = None
            self._syncing.release()

    def _sync(self, stop: Callable[[], bool]) -> None:
        known = {
            name: (modified_ns, size)
            for name, modified_ns, size in self._run(
                lambda connection: connection.execute("SELECT id, modified_ns, size FROM conversation").fetchall(),
                sync=False,
            )
        }
        began = time.thread_time()
        compare = not self._compared or self._scan_s < SMALL_SCAN_S
        files = json_versions(self.folder, None if compare else known)
        self._scan_s = time.thread_time() - began
        if gone := known.keys() - files.keys():
            self._change(lambda connection: delete(connection, gone))
        self._damaged = {name: version for name, version in self._damaged.items() if name in files}
        new = [item for item in files.items() if known.get(item[0]) != item[1] != self._damaged.get(item[0])]
        reported = time.monotonic()
        for i in range(0, len(new), BATCH):
            if stop():
                return
            if len(new) > BATCH:
                self._progress = (i, len(new))
            if time.monotonic() - reported > PROGRESS_S:
                reported = time.monotonic()
                self._inform(f"indexing conversations in {self.folder}: {i} of {len(new)}")
            self._index(new[i : i + BATCH])
        self._compared = True

    def _index(self, files: Sequence[tuple[str, Version]]) -> None:
        rows, those = [], []
        for interaction_id, version in files:
            try:
                indexed, present = self._read_row(interaction_id, version)
            except NotStored as error:
                self._damaged[interaction_id] = version
                self._warn(f"{self.folder / interaction_id}.json is skipped: {error}")
                continue
            rows.append(indexed)
            those.append(present)
        self._change(lambda connection: insert(connection, rows, those))

    def _read_row(self, interaction_id: str, version: Version) -> tuple[dict[str, Any], set[str]]:
        fields = self.read(interaction_id)
        return row(interaction_id, fields, *version), persons(fields)

    def _days(self, where: str, values: dict[str, Any], entries: Sequence[dict[str, Any]]) -> list[DayTotal]:
        times = [one["start"] for one in entries]
        first, last = (datetime.fromtimestamp(time).date() for time in (min(times), max(times)))
        sql = (
            f"SELECT {_DAY} AS day, count(*), count(score), avg(score) FROM conversation "
            f"WHERE start >= :first AND start < :after AND {where} GROUP BY day ORDER BY day"
        )
        span = {
            "first": local_midnight(first).timestamp(),
            "after": local_midnight(last + timedelta(days=1)).timestamp(),
        }
        return [
            DayTotal(day=day, conversations=count, scored=scored, satisfaction_mean=mean)
            for day, count, scored, mean in self._query(sql, values | span, sync=False)
        ]

    # --- the connection -----------------------------------------------------------------------------------------

    def _query(self, sql: str, values: Any, sync: bool = True) -> list[Any]:
        return self._run(lambda connection: connection.execute(sql, values).fetchall(), sync)

    def _change(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def changed(connection: sqlite3.Connection) -> Result:
            with transaction(connection):
                return work(connection)

        return self._run(changed, sync=False)

    def _run(self, work: Callable[[sqlite3.Connection], Result], sync: bool = True) -> Result:
        """Call ``work`` with the connection; a damaged database is replaced and filled, and ``work`` called again."""
        for _ in range(2):
            try:
                with self._lock:
                    connection, opened = self._database.connect()
                    connection.row_factory = sqlite3.Row
                    if opened:
                        self._compared, self._scan_s = False, 0.0
                if sync and self._scan_s < SMALL_SCAN_S:
                    self.sync()
                with self._lock:
                    return work(self._database.connect()[0])
            except DamagedError:
                self._repair()
            except sqlite3.Error as error:
                problem = as_store_error(error, self._database.path)
                if not isinstance(problem, DamagedError):
                    raise problem from error
                self._repair()
        raise StoreError(f"{self._database.path} is damaged and could not be made again")

    def _repair(self) -> None:
        with self._lock:
            self._database.set_aside()
