"""A thread that processes the newest input, so that a slow one neither blocks the executor nor makes a queue grow."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls ``process`` for one item after another in its own thread.

    Args:
        process: handles an item; an exception is passed to ``on_error`` and the thread continues.
        depth: queue length. 1: only the newest item is kept; audio, where every chunk counts, needs a long queue. If
            the queue is full, the oldest item is dropped and ``on_drop`` is called.
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
        """Queue an item; never blocks."""
        with self._wake:
            dropped = len(self._waiting) >= self._depth
            if dropped:
                self._waiting.popleft()
            self._waiting.append(item)
            self._wake.notify()
        if dropped:
            self._on_drop()

    def stop(self, timeout: float = 2.0) -> bool:
        """Clear the queue and finish the current item; False if that takes longer than ``timeout`` seconds."""
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
