"""CPU time of this process by stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

STAGES = {
    "pictures": "decode frames",
    "shots": "compare frames to find cuts",
    "faces": "convert frames, detect and track faces",
    "expressions": "classify expressions",
    "sound": "decode sound",
    "voices": "voice activity, noise, classification",
    "rows": "make and write rows",
    "arcs": "fuse and make arcs",
    "models": "load models (once per worker)",
    "probe": "open recordings",
}


class Profile:
    """Seconds of CPU time by stage; a stage within a stage is counted once."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = 0.0  # s, of stages within the running one

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block as a stage."""
        before, self._inner = self._inner, 0.0
        begin = time.process_time()
        try:
            yield
        finally:
            elapsed = time.process_time() - begin
            self.seconds[name] += elapsed - self._inner  # type: ignore[assignment]
            self._inner = before + elapsed

    def take(self) -> Counter[str]:
        """The seconds since the last call."""
        taken, self.seconds = self.seconds, Counter()
        return taken

    def through(self, items: Iterator[T], name: str) -> Iterator[T]:
        """The items; the time to produce them is counted as a stage."""
        while True:
            with self.stage(name):
                item = next(items, None)
            if item is None:
                return
            yield item


def profile_table(seconds: Counter[str], media_s: float, wall_s: float) -> str:
    """The profile as text: stages, seconds, share, and speed of one core relative to real time."""
    total = sum(seconds.values())
    lines = [f"{'stage':<42}{'CPU s':>10}{'share':>8}{'x real time':>13}"]
    for name, text in STAGES.items():
        if seconds[name] > 0:
            speed = f"{media_s / seconds[name]:,.0f}" if media_s else ""
            lines.append(f"{text:<42}{seconds[name]:>10.2f}{seconds[name] / total:>8.1%}{speed:>13}")
    if total and media_s:
        lines.append(f"{'all, one core':<42}{total:>10.2f}{1:>8.0%}{media_s / total:>13,.1f}")
        lines.append(
            f"{media_s:,.0f} s of recordings in {wall_s:,.1f} s (wall-clock): {media_s / wall_s:,.1f}x real time"
        )
    return "\n".join(lines)
