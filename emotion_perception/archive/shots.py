"""Detection of cuts in a video: frames that differ from the previous one by more than motion explains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emotion_perception.media.items import LazyFrame


@dataclass(frozen=True)
class ShotConfig:
    """When a change between two frames is a cut; changes are in levels of 255, see :func:`change`.

    Measured on five clips of one actor before one wall (CREMA-D), joined and re-encoded: the changes at the cuts are
    0.26 to 0.42 and at least 3.6 times those of the neighbouring frames, all others at most 2.1 times. Cuts between
    different scenes change by 10 to 30. The demo clip, in motion throughout, changes by up to 3.4, at most 1.3 times
    its neighbours.
    """

    least: float = 0.2  # a smaller change is never a cut
    ratio: float = 2.5  # least ratio to the largest change of the frames before and of the one after
    sure: float = 15.0  # a larger change is always a cut
    memory: int = 12  # number of frames before that are compared; half a second at 25 frames/s
    shortest: float = 0.3  # s, least duration of a shot; a flash, for example, is not one


def mark_cuts(
    frames: Iterable[LazyFrame], on_error: Callable[[], None] = lambda: None, config: ShotConfig | None = None
) -> Iterator[tuple[LazyFrame, bool]]:
    """The frames of a video, each with whether a shot begins with it; False for the first frame.

    Args:
        frames: in the order of time; one is read ahead.
        on_error: called for each frame that cannot be converted; it is left out.
        config: thresholds; None: the defaults.
    """
    config = config or ShotConfig()
    before: np.ndarray | None = None  # (24, 32) float32
    pending: LazyFrame | None = None  # waits for the frame after it
    change_before = 0.0  # the change from the frame before it
    changes: deque[float] = deque(maxlen=config.memory)
    cut_at = -np.inf  # s

    def is_cut(frame: LazyFrame, after: float) -> bool:
        # A single small change may be a moment of rest during motion.
        around = max(*changes, after) if len(changes) >= 2 else np.inf
        return (
            change_before >= max(config.least, min(config.sure, config.ratio * around))
            and frame.time - cut_at >= config.shortest
        )

    for frame in frames:
        try:
            thumbnail = frame.thumbnail().astype(np.float32)
        except (ValueError, MemoryError, OSError):
            on_error()
            continue
        if pending is None or before is None:
            cut_at = frame.time
            pending, before = frame, thumbnail
            continue
        after = change(before, thumbnail)
        cut = is_cut(pending, after)
        yield pending, cut
        if cut:
            cut_at = pending.time
            changes.clear()
        elif change_before:
            changes.append(change_before)
        pending, before, change_before = frame, thumbnail, after
    if pending is not None:
        yield pending, is_cut(pending, 0.0)


def change(before: np.ndarray, after: np.ndarray) -> float:
    """Difference of two thumbnails, in levels: the square of the mean square root of the pixels' differences.

    The square root favours small changes everywhere (a cut) over large changes in some places (motion). A change of the
    whole image, such as its exposure, is removed first.
    """
    differences = after - before
    return float(np.sqrt(np.abs(differences - np.median(differences))).mean() ** 2)
