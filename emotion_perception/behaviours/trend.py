"""Trend of valence, a score for :class:`.decision.Judge`. No ROS, no py_trees."""

from __future__ import annotations

from collections import deque

from emotion_perception.behaviours.decision import Snapshot
from emotion_perception.types import SECOND


class ValenceTrend:
    """Change of valence over ``window`` s by a straight line through all states in it (least squares), 0..2.

    Args:
        window: s; with less than half of it observed, the score is 0.
        direction: ``falling`` or ``rising``: which change is positive.
        below: mean valence of the last ``RECENT`` s, -1..1, from which the score is 0: a fall from delighted to content
            is not a reason to react, and the valence of an expressionless face is rarely estimated as exactly 0.

    Raises:
        ValueError: the window is not longer than 1 s, or another direction.
    """

    STEP = 0.2  # s; states closer than this count once, which bounds memory and cost
    RECENT = 2.0  # s

    def __init__(self, window: float = 20.0, direction: str = "falling", below: float = -0.15) -> None:
        if not window > 1.0:
            raise ValueError(f"window must be more than 1 s, got {window:g}")
        if direction not in ("falling", "rising"):
            raise ValueError(f"direction must be falling or rising, got {direction!r}")
        self.window, self.direction, self.below = window, direction, below
        self._valences: deque[tuple[float, float]] = deque()  # s, -1..1

    def score(self, snapshot: Snapshot) -> float:
        """Change of valence, 0..2 in the wanted direction; negative against it."""
        now, valences = snapshot.received_ns / SECOND, self._valences
        if not valences or now - valences[-1][0] >= self.STEP:
            valences.append((now, snapshot.state.emotion.valence))
            while now - valences[0][0] > self.window:
                valences.popleft()
        span = valences[-1][0] - valences[0][0]
        if len(valences) < 3 or span < self.window / 2:
            return 0.0
        recent = [valence for when, valence in valences if now - when <= self.RECENT]
        if not recent or sum(recent) / len(recent) >= self.below:
            return 0.0
        middle = sum(when for when, _ in valences) / len(valences)
        slope = sum((when - middle) * valence for when, valence in valences) / sum(
            (when - middle) ** 2 for when, _ in valences
        )
        # Over the observed part only: nothing is extrapolated.
        return (-slope if self.direction == "falling" else slope) * span

    def reset(self) -> None:
        """Drop the person's history."""
        self._valences.clear()
