"""Time limits that hold on a slow or busy machine: seconds of an idle machine of known speed, not wall-clock time.

A small process does a fixed piece of work ten times a second, and measures how long that takes and how late it wakes
up. While it takes three times as long as on an idle machine of the reference speed, three seconds count as one. So a
limit is as strict as it reads on an idle machine, and on a busy one it follows the load at that moment.

    began = time.monotonic()
    ...
    assert elapsed(began) < 1.5
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

REFERENCE_S = 0.010  # s, the work on the machine for which the limits in the tests were set, idle, with some margin
PAUSE_S = 0.09  # s between two pieces of work: a tenth of one core
KEPT = 36_000  # samples, an hour


def work() -> int:
    """A fixed piece of arithmetic."""
    total = 0
    for number in range(250_000):
        total += number & 7
    return total


def probe(out: IO[str]) -> None:
    """Write a line with the end of the interval (monotonic s) and the slowness during it, ten times a second."""
    while True:
        began = time.monotonic()
        time.sleep(PAUSE_S)
        woken = time.monotonic()
        work()
        end = time.monotonic()
        slowness = max((end - woken) / REFERENCE_S, (woken - began) / PAUSE_S)
        print(end, max(1.0, slowness), file=out, flush=True)


@dataclass(frozen=True)
class Sample:
    """How slow the machine was until ``end``, from the end of the sample before on."""

    end: float  # monotonic s
    slowness: float  # 1 is the reference, idle; never less


class Machine:
    """The machine's slowness over time, as the probe measures it."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        atexit.register(self._process.kill)

    def _read(self) -> None:
        for line in self._process.stdout:
            end, slowness = map(float, line.split())
            self._samples.append(Sample(end, slowness))

    def elapsed(self, begin: float, end: float) -> float:
        """Seconds from ``begin`` to ``end`` (monotonic s), each divided by the slowness at that moment."""
        samples = list(self._samples)
        if samples and samples[-1].end < end:
            # Not measured yet. A probe that is overdue says itself that the machine is slow.
            overdue = (end - samples[-1].end) / (PAUSE_S + REFERENCE_S)
            samples.append(Sample(end, max(samples[-1].slowness, overdue)))
        return scaled(samples, begin, end)


def scaled(samples: list[Sample], begin: float, end: float) -> float:
    """The integral of 1 / slowness from ``begin`` to ``end``; where nothing was measured, slowness is 1."""
    total = end - begin
    for before, sample in itertools.pairwise(samples):
        overlap = min(end, sample.end) - max(begin, before.end)
        if overlap > 0:
            total -= overlap * (1 - 1 / sample.slowness)
    return total


_machine: Machine | None = None


def elapsed(begin: float, end: float | None = None) -> float:
    """Seconds from ``begin`` to ``end`` (monotonic s; now where None) on an idle machine of the reference speed."""
    global _machine
    if _machine is None:
        _machine = Machine()
    return _machine.elapsed(begin, time.monotonic() if end is None else end)


def slowness(begin: float, end: float | None = None) -> float:
    """How many times as long everything took from ``begin`` to ``end`` as on an idle machine; 1 or more."""
    end = time.monotonic() if end is None else end
    return (end - begin) / max(elapsed(begin, end), 1e-9)


def in_time(condition: Callable[[], object], seconds: float, period: float = 0.05) -> bool:
    """Whether ``condition`` comes to hold within ``seconds`` of an idle machine."""
    began = time.monotonic()
    while elapsed(began) < seconds:
        if condition():
            return True
        time.sleep(period)
    return bool(condition())


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        probe(sys.stdout)
