"""Where a film is cut: the picture changes at once, and by more than what moves in it has changed it so far."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShotConfig:
    """When a change is a cut. Differences are means over the thumbnail, in levels of 255."""

    # In CREMA-D's clips of one actor before one wall, pictures of a clip differ by 0.2 (0.5 at most), the last of one
    # clip and the first of the next by 1.1 to 1.6; in the demo clip, which is in motion all over, by 4.3 (7.1 at most).
    least: float = 0.9  # a smaller change is no cut, however quiet it was before
    ratio: float = 3.5  # times the mean change of the pictures before it
    sure: float = 40.0  # so large a change is a cut whatever happened before
    memory: int = 12  # pictures that "before" means; half a second at 25 a second
    shortest: float = 0.3  # s; a change sooner after a cut belongs to it, as with a flash


class ShotDetector:
    """Finds cuts by the difference of thumbnails of brightness, picture by picture."""

    def __init__(self, config: ShotConfig | None = None) -> None:
        self.config = config or ShotConfig()
        self.reset()

    def reset(self) -> None:
        """Another film."""
        self._before: np.ndarray | None = None  # (24, 32) float32
        self._changes: deque[float] = deque(maxlen=self.config.memory)
        self._cut_at: float | None = None  # s

    def is_cut(self, thumbnail: np.ndarray, time: float) -> bool:
        """Whether a shot begins with this picture; the first of all begins none.

        Args:
            thumbnail: uint8 ``(24, 32)``.
            time: s.
        """
        picture = thumbnail.astype(np.float32)
        before, self._before = self._before, picture
        if before is None:
            self._cut_at = time
            return False
        change = float(np.abs(picture - before).mean())
        config = self.config
        needed = config.sure
        if len(self._changes) >= 2:  # one may be a moment of rest in much motion
            needed = min(needed, config.ratio * sum(self._changes) / len(self._changes))
        cut = change >= max(config.least, needed)
        if self._cut_at is not None and time - self._cut_at < config.shortest:
            cut = False
        if cut:
            self._changes.clear()
            self._cut_at = time
        else:
            self._changes.append(change)
        return cut
