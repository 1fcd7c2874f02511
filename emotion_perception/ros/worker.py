"""A thread that works on the newest input, so that a slow frame never blocks the executor nor makes a queue grow."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls ``process`` for one item after the other in a thread of its own.

    Args:
        process: the work; an exception is handed to ``on_error`` and the thread goes on.
        depth: items that may wait. 1 is "newest frame wins"; for sound, where every chunk counts, make it long. Where
            the queue is full the oldest goes, and ``on_drop`` is called.
    """

    def __init__(
        self,
        process: Callable[[Item], None],
        depth: int,
        on_drop: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._process, self._on_drop, self._on_error = process, on_drop, on_error
        self._waiting: deque[Item] = deque()
        self._depth = depth
        self._stopping = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Hand over an item; never blocks."""
        with self._wake:
            dropped = len(self._waiting) >= self._depth
            if dropped:
                self._waiting.popleft()
            self._waiting.append(item)
            self._wake.notify()
        if dropped:
            self._on_drop()

    def stop(self, timeout: float = 2.0) -> bool:
        """Forget what waits, let the item in hand finish; whether the thread has ended within ``timeout`` seconds."""
        with self._wake:
            self._stopping = True
            self._waiting.clear()
            self._wake.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                if self._stopping:
                    return
                item = self._waiting.popleft()
            try:
                self._process(item)
            except Exception as error:
                self._on_error(error)
