"""Where the time goes: processor time by stage, of this process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

STAGES = {
    "pictures": "decode pictures",
    "shots": "compare pictures for cuts",
    "faces": "convert pictures, find and follow faces",
    "expressions": "read expressions",
    "sound": "decode sound",
    "voices": "find speech, clean and judge it",
    "rows": "make and write rows",
    "arcs": "fuse and make arcs",
    "models": "load models (once a worker)",
    "probe": "open recordings",
}


class Profile:
    """Seconds of processor time by stage; what a stage calls that is a stage of its own is not counted twice."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = 0.0  # s, of stages within the one under way

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the block as a stage."""
        before, self._inner = self._inner, 0.0
        begin = time.process_time()
        try:
            yield
        finally:
            elapsed = time.process_time() - begin
            self.seconds[name] += elapsed - self._inner  # type: ignore[assignment]
            self._inner = before + elapsed

    def take(self) -> Counter[str]:
        """What was counted since the last time."""
        taken, self.seconds = self.seconds, Counter()
        return taken

    def through(self, items: Iterator[T], name: str) -> Iterator[T]:
        """The items; what it takes to make them is counted as a stage."""
        while True:
            with self.stage(name):
                item = next(items, None)
            if item is None:
                return
            yield item


def profile_table(seconds: Counter[str], media_s: float, wall_s: float) -> str:
    """The profile as text: stages, seconds, share, and how many times real time one core does each."""
    total = sum(seconds.values())
    lines = [f"{'stage':<42}{'CPU s':>10}{'share':>8}{'x real time':>13}"]
    for name, text in STAGES.items():
        if seconds[name] > 0:
            speed = f"{media_s / seconds[name]:,.0f}" if media_s else ""
            lines.append(f"{text:<42}{seconds[name]:>10.2f}{seconds[name] / total:>8.1%}{speed:>13}")
    if total and media_s:
        lines.append(f"{'all, one core':<42}{total:>10.2f}{1:>8.0%}{media_s / total:>13,.1f}")
        lines.append(
            f"{media_s:,.0f} s of recordings in {wall_s:,.1f} s by the clock: {media_s / wall_s:,.1f}x real time"
        )
    return "\n".join(lines)
