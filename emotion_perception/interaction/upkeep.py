"""Upkeep of the store in the background: follow the files, delete old conversations every day."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.store_database import StoreError
from emotion_perception.interaction.store_records import ConversationQuery, Deletion

DAY = 86400.0  # s
CHECK_S = 600.0  # between two looks at the files and the clock, and two attempts after a failure


class StoreUpkeep:
    """A thread that works for one process; several processes may do so for one folder.

    Args:
        store: of the conversations.
        retention_days: age at which conversations are deleted; 0: never.
        now: s since the epoch, by the clock of the conversations.
        record: called with the proof of each deletion.
        warn: called with each problem.
    """

    def __init__(
        self,
        store: ConversationStore,
        retention_days: float,
        now: Callable[[], float],
        record: Callable[[Deletion], object] = lambda deletion: None,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._store, self._retention_days, self._now = store, retention_days, now
        self._record, self._warn = record, warn
        self._stopping = threading.Event()
        self._swept: float | None = None  # when old conversations were last deleted
        self._thread = threading.Thread(target=self._run, name="store upkeep", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the step in progress, and close the database."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self._store.close()

    def sweep(self) -> Deletion | None:
        """Delete what is older than the retention allows, at most once a day; None if it is not due.

        Raises:
            StoreError: something could not be deleted; the next call tries again.
        """
        now = self._now()
        oldest = now - self._retention_days * DAY
        if not self._retention_days or oldest < 0 or (self._swept is not None and 0 <= now - self._swept < DAY):
            return None
        done = self._store.delete(ConversationQuery(end=datetime.fromtimestamp(oldest).astimezone()), "retention")
        self._swept = now
        if done.conversations:
            self._record(done)
        return done

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._store.sync(self._stopping.is_set)
                self.sweep()
            except StoreError as error:
                self._warn(str(error))
            self._store.close()  # leaves the write-ahead log empty, and other processes undisturbed
            self._stopping.wait(CHECK_S)
