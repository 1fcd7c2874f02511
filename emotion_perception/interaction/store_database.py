"""The SQLite database of a folder of conversations: opened, versioned, set aside if it is damaged.

The database is an index of the JSON files in the folder and can be rebuilt from them at any time. So a damaged one is
renamed and a new one is filled, and on a disk that cannot be written the index is built in memory.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import MODE

DATABASE = "conversations.sqlite"
SCHEMA_VERSION = 1  # in PRAGMA user_version; 0 is a new, empty database
BUSY_S = 5.0  # how long a process waits while another one writes
RETRY_S = 30.0  # between two attempts to replace an index in memory by one on the disk

_SECONDS = ",\n".join(f"    seconds_{label} REAL NOT NULL" for label in EMOTIONS)
SCHEMA = f"""
CREATE TABLE conversation (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    modified_ns INTEGER NOT NULL,  -- of the JSON file when it was read
    size INTEGER NOT NULL,  -- bytes, of that file
    start REAL NOT NULL,  -- s since the epoch
    duration REAL NOT NULL,  -- s
    wait REAL,  -- s from the start to the first voice, NULL without a voice
    name TEXT NOT NULL,
    folded_name TEXT NOT NULL,  -- without differences of case, to search in
    person_id TEXT NOT NULL,
    place TEXT NOT NULL,
    score REAL,  -- satisfaction, 0..100, NULL with too little evidence
    margin REAL,  -- half-width of its 95 % interval
    verdict TEXT NOT NULL,
    coverage REAL NOT NULL,  -- share of the time with evidence
    label TEXT,  -- dominant emotion, NULL without evidence
    valence REAL NOT NULL,
    valence_change REAL,
    shape TEXT NOT NULL,
    recovered INTEGER NOT NULL,
{_SECONDS},
    line BLOB NOT NULL  -- int16, smoothed valence at up to 40 points
);
CREATE INDEX conversation_start ON conversation (start);
CREATE INDEX conversation_name ON conversation (name);
CREATE INDEX conversation_place ON conversation (place);
CREATE TABLE person (
    conversation INTEGER NOT NULL REFERENCES conversation (number) ON DELETE CASCADE,
    person_id TEXT NOT NULL,
    PRIMARY KEY (conversation, person_id)
) WITHOUT ROWID;
CREATE INDEX person_id ON person (person_id);
CREATE TABLE deleted (id TEXT PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
"""


class StoreError(OSError):
    """The database cannot be used now; the text gives the reason and what to do."""

    status = 503


class DamagedError(Exception):
    """The database file is damaged."""


class Database:
    """One connection to the database of a folder, opened when it is needed. Not thread-safe.

    Args:
        folder: of the conversations; it may not exist yet.
        warn: called with each problem once.
        clock: monotonic seconds.
    """

    def __init__(
        self, folder: Path, warn: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = folder / DATABASE
        self._warn, self._clock = warn, clock
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._opened = -float("inf")
        self.in_memory = False  # True: the disk cannot be written, changes last as long as this object

    def connect(self) -> tuple[sqlite3.Connection, bool]:
        """The connection, and whether it is the first one to this file.

        Raises:
            StoreError: another process holds the database, or it was written by a newer version of this package.
            DamagedError: it is damaged; see :meth:`set_aside`.
        """
        if self._connection is not None and not self._replaced():
            return self._connection, False
        self.close()
        before = None if self.in_memory else self._inode
        try:
            self._connection = self._on_disk()
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            if self.path.parent.is_dir():
                self._warn(f"{self.path} cannot be written ({error.strerror or error}); it is made in memory")
            self._connection = self._copy_in_memory()
        self._opened = self._clock()
        return self._connection, self.in_memory or self._inode != before

    def close(self) -> None:
        """Close the connection; the next :meth:`connect` opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def set_aside(self) -> None:
        """Rename a damaged database; the next :meth:`connect` makes a new one."""
        self.close()
        if self._current_inode() != self._inode:
            return  # another process has already replaced it
        aside = self.path.with_name(f"{self.path.name}.damaged")
        self._warn(f"{self.path} is damaged; kept as {aside.name}, and made again from the files of the conversations")
        try:
            os.replace(self.path, aside)
            for suffix in ("-wal", "-shm"):  # they belong to the damaged one and must not reach the new one
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} is damaged and cannot be renamed: {error.strerror or error}") from error

    def erase(self) -> None:
        """Remove what deleted rows left in the file and in its write-ahead log.

        ``secure_delete`` has overwritten the rows themselves with zeros; ``VACUUM`` rewrites the file without gaps.

        Raises:
            sqlite3.Error: another process reads for too long, or the disk is full. :meth:`has_traces` stays true.
        """
        connection, _ = self.connect()
        if self.in_memory:
            return
        self._truncate_log(connection)  # first, as it makes room on a full disk
        connection.execute("VACUUM")
        self._truncate_log(connection)
        self.path.with_name(f"{self.path.name}.damaged").unlink(missing_ok=True)

    def has_traces(self) -> bool:
        """Whether deleted rows may have left something on the disk."""
        connection, _ = self.connect()
        log = self.path.with_name(f"{self.path.name}-wal")
        unused = connection.execute("PRAGMA freelist_count").fetchone()[0]
        return not self.in_memory and (unused > 0 or (log.exists() and log.stat().st_size > 0))

    def _truncate_log(self, connection: sqlite3.Connection) -> None:
        end = self._clock() + BUSY_S
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # another process is reading
            if self._clock() > end:
                raise sqlite3.OperationalError("database is locked")
            time.sleep(0.05)

    def _replaced(self) -> bool:
        """Whether the file is no longer that which is open, or the disk may be tried again."""
        if self.in_memory:
            return self._clock() - self._opened > RETRY_S or (self._inode == -2 and self.path.parent.is_dir())
        return self._current_inode() != self._inode

    def _current_inode(self) -> int:
        try:
            return self.path.stat().st_ino
        except OSError:
            return -1

    def _on_disk(self) -> sqlite3.Connection:
        # SQLite would make the file readable by everybody; its other files get the mode of this one.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), MODE))
        self._inode = self._current_inode()
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # A power cut may lose the last rows, never the file; the next start reads them from the JSON files.
            connection.execute("PRAGMA synchronous = NORMAL")
            self._prepare(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error):
                raise as_store_error(error, self.path) from error
            raise OSError(0, str(error)) from error  # full or read-only: an index in memory does
        except sqlite3.DatabaseError as error:
            connection.close()
            raise as_store_error(error, self.path) from error
        except BaseException:
            connection.close()
            raise
        self.in_memory = False
        return connection

    def _copy_in_memory(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        if self.path.is_file():
            try:
                uri = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
                with closing(sqlite3.connect(uri, uri=True)) as disk:
                    disk.backup(connection)
            except sqlite3.Error:  # damaged: begin with an empty one
                connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._prepare(connection)
        self.in_memory = True
        self._inode = self._current_inode() if self.path.parent.is_dir() else -2
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA secure_delete = ON")  # deleted rows are overwritten with zeros
        connection.execute("PRAGMA foreign_keys = ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")  # one of two processes that start at once makes the tables
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
            connection.execute("COMMIT")
        elif version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}, made by a newer version of this package, which knows "
                f"version {SCHEMA_VERSION}; update the package, or move the file away: it is then made again from the "
                "JSON files"
            )


def as_store_error(error: sqlite3.Error, path: Path) -> Exception:
    """:class:`DamagedError`, or a :class:`StoreError` with the reason and what to do."""
    text = str(error)
    if type(error) is sqlite3.DatabaseError:  # SQLITE_CORRUPT and SQLITE_NOTADB; all others have classes of their own
        return DamagedError(text)
    if "locked" in text or "busy" in text:
        return StoreError(f"{path} is in use by another process for more than {BUSY_S:.0f} s; try again")
    if "full" in text:
        return StoreError(f"{path} cannot be written: the disk is full")
    if "readonly" in text or "read-only" in text:
        return StoreError(f"{path} cannot be written: the disk or the file is read-only")
    return StoreError(f"{path}: {text}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that is undone if the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself ends it on some errors
            connection.execute("ROLLBACK")
        raise


def insert(connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]], persons: Sequence[Iterable[str]]) -> None:
    """Insert rows, each with the ids of its persons; a row with the same id is replaced."""
    if not rows:
        return
    delete(connection, [row["id"] for row in rows])
    names = list(rows[0])
    connection.executemany(
        f"INSERT INTO conversation ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})", rows
    )
    connection.executemany(
        "INSERT OR IGNORE INTO person SELECT number, ? FROM conversation WHERE id = ?",
        [(person, row["id"]) for row, those in zip(rows, persons, strict=True) for person in those],
    )


def delete(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Delete the rows of conversations."""
    connection.executemany("DELETE FROM conversation WHERE id = ?", [(name,) for name in ids])
