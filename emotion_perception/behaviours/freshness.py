"""Freshness: whether the age of what was received allows acting on it. No ROS, no py_trees."""

from __future__ import annotations

import math
from enum import Enum
from typing import Generic, Protocol, TypeVar

from emotion_perception.types import SECOND


class Freshness(Enum):
    """Whether the age of a state allows acting on it."""

    FRESH = "fresh"
    NOTHING_YET = "nothing received yet"
    STALE = "stale"
    FUTURE = "from the future"


class Stamped(Protocol):
    """Anything with a time of capture."""

    @property
    def stamp_ns(self) -> int:
        """Time of capture, ns."""


Held = TypeVar("Held", bound=Stamped)


def judge_freshness(
    snapshot: Stamped | None, now_ns: int, max_age: float = 2.0, future_tolerance: float = 0.5
) -> tuple[Freshness, float]:
    """Freshness of a state at ``now_ns``, and its age in s since its stamp (infinite without a state)."""
    if snapshot is None:
        return Freshness.NOTHING_YET, math.inf
    age = (now_ns - snapshot.stamp_ns) / SECOND
    if age < -future_tolerance:
        return Freshness.FUTURE, age
    if age > max_age:
        return Freshness.STALE, age
    return Freshness.FRESH, age


def describe_freshness(freshness: Freshness, age: float) -> str:
    """A short description for logs, such as ``stale: 3.2 s old``."""
    if freshness is Freshness.FUTURE:
        return f"stamp is {-age:.1f} s ahead of the clock (clock set back, or use_sim_time differs)"
    if freshness is Freshness.NOTHING_YET:
        return freshness.value
    return f"{freshness.value}: {age:.1f} s old"


class StateWatch(Generic[Held]):
    """Holds the newest snapshot and drops it when the clock jumps back.

    Otherwise a state from before the jump would become fresh again when the clock passes its stamp.
    """

    def __init__(self, max_age: float = 2.0, future_tolerance: float = 0.5) -> None:
        self.max_age = max_age
        self.future_tolerance = future_tolerance
        self.clock_jumps = 0
        self.snapshot: Held | None = None
        self._last_ns: int | None = None

    def offer(self, snapshot: Held, now_ns: int) -> None:
        """Store a snapshot that arrived at ``now_ns``."""
        self._notice_jump(now_ns)
        self.snapshot = snapshot

    def look(self, now_ns: int) -> tuple[Freshness, float]:
        """Freshness and age (s) of :attr:`snapshot` now."""
        self._notice_jump(now_ns)
        return judge_freshness(self.snapshot, now_ns, self.max_age, self.future_tolerance)

    def _notice_jump(self, now_ns: int) -> None:
        if self._last_ns is not None and now_ns < self._last_ns - self.future_tolerance * SECOND:
            self.clock_jumps += 1
            self.snapshot = None
        self._last_ns = now_ns
