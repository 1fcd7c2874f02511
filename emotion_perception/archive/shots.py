"""Where a film is cut: one picture is unlike the one before it, by more than what moves changes pictures around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emotion_perception.media.items import LazyFrame


@dataclass(frozen=True)
class ShotConfig:
    """When a change is a cut; changes are in levels of 255, see :func:`change`.

    Five clips of one actor before one wall (CREMA-D), joined and encoded anew: the joints change by 0.26 to 0.42 and
    stick out 3.6 times or more, no other picture more than 2.1 times. Other scenes change by 10 to 30. The demo clip,
    in motion all over, changes by up to 3.4, and no picture sticks out more than 1.3 times.
    """

    least: float = 0.2  # a smaller change is no cut, however quiet it is around it
    ratio: float = 2.5  # times the largest change of the pictures before it and of the one after it
    sure: float = 15.0  # so large a change is a cut whatever is around it
    memory: int = 12  # pictures that "before" means; half a second at 25 a second
    shortest: float = 0.3  # s; a change sooner after a cut belongs to it, as with a flash


def mark_cuts(
    frames: Iterable[LazyFrame], on_error: Callable[[], None] = lambda: None, config: ShotConfig | None = None
) -> Iterator[tuple[LazyFrame, bool]]:
    """The pictures of a film, each with whether a shot begins with it; the first of all begins none.

    Args:
        frames: in the order of time; one is read ahead.
        on_error: told of each picture that cannot be converted; it is left out.
    """
    config = config or ShotConfig()
    before: np.ndarray | None = None  # (24, 32) float32
    held: LazyFrame | None = None  # waits for what comes after it
    led = 0.0  # the change that led to it
    changes: deque[float] = deque(maxlen=config.memory)
    cut_at = -np.inf  # s

    def is_cut(frame: LazyFrame, after: float) -> bool:
        # One change may be a moment of rest in much motion.
        around = max(*changes, after) if len(changes) >= 2 else np.inf
        return (
            led >= max(config.least, min(config.sure, config.ratio * around)) and frame.time - cut_at >= config.shortest
        )

    for frame in frames:
        try:
            picture = frame.thumbnail().astype(np.float32)
        except (ValueError, MemoryError, OSError):
            on_error()
            continue
        if held is None or before is None:
            cut_at = frame.time
            held, before = frame, picture
            continue
        after = change(before, picture)
        cut = is_cut(held, after)
        yield held, cut
        if cut:
            cut_at = held.time
            changes.clear()
        elif led:
            changes.append(led)
        held, before, led = frame, picture, after
    if held is not None:
        yield held, is_cut(held, 0.0)


def change(before: np.ndarray, after: np.ndarray) -> float:
    """How unlike two thumbnails are, levels: the square of the mean of the square roots of their differences.

    Roots, because a cut changes a little of everything, and what moves much of something. What all of the picture has
    in common, as the exposure, is taken out.
    """
    differences = after - before
    return float(np.sqrt(np.abs(differences - np.median(differences))).mean() ** 2)
