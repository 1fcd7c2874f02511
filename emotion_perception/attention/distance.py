"""Distance, zone and approach speed of one person."""

from __future__ import annotations

import math
from collections import deque
from itertools import combinations
from statistics import median

from emotion_perception.types import SECOND, DistanceZone

ZONE_LIMITS = ((1.2, DistanceZone.PERSONAL), (3.6, DistanceZone.SOCIAL), (20.0, DistanceZone.PUBLIC))  # m
ZONE_MARGIN = 1.05  # factor beyond a limit at which a zone is left, so that it does not flicker
SAMPLE_NS = SECOND // 10  # distances within this time are averaged
WINDOW_S = 1.5  # over which the speed is estimated
SMOOTH_S = 0.5  # over which the distance is smoothed
LEAST_SPAN_S = 0.7  # with less, the speed is not known
LEAST_STEP_S = 0.25  # pairs of samples closer than this say nothing about the speed
FASTEST = 8.0  # m/s; faster than anybody runs


class DistanceTrack:
    """The recent distances of one person.

    The distance is the median of half a second; the speed the median of the slopes between all pairs of samples (Theil
    1950, Sen 1968), which a quarter of wrong distances does not disturb.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()  # s, m
        self._zone = DistanceZone.UNKNOWN
        self._sum, self._count, self._slot = 0.0, 0, -1
        self.distance = math.nan  # m
        self.approach_speed = math.nan  # m/s

    def add(self, stamp_ns: int, distance: float) -> None:
        """The distance in one image, m; NaN: not known there."""
        slot = stamp_ns // SAMPLE_NS
        if slot != self._slot:
            self._close_slot(stamp_ns)
            self._slot = slot
        if distance > 0 and math.isfinite(distance):
            self._sum += distance
            self._count += 1
            if math.isnan(self.distance):
                self._set_distance(distance)

    @property
    def zone(self) -> DistanceZone:
        """The zone of the distance, with hysteresis."""
        return self._zone

    def _close_slot(self, stamp_ns: int) -> None:
        now = stamp_ns / SECOND
        if self._count:
            self._samples.append(((self._slot + 0.5) * SAMPLE_NS / SECOND, self._sum / self._count))
            self._sum, self._count = 0.0, 0
        while self._samples and now - self._samples[0][0] > WINDOW_S + 0.1:
            self._samples.popleft()
        recent = [distance for when, distance in self._samples if now - when <= SMOOTH_S + 0.1]
        self._set_distance(median(recent) if recent else math.nan)
        self.approach_speed = self._speed()

    def _speed(self) -> float:
        samples = self._samples
        if len(samples) < 4 or samples[-1][0] - samples[0][0] < LEAST_SPAN_S:
            return math.nan
        slopes = [
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for earlier, later in combinations(samples, 2)
            if later[0] - earlier[0] >= LEAST_STEP_S
        ]
        return max(-FASTEST, min(FASTEST, -median(slopes)))

    def _set_distance(self, distance: float) -> None:
        self.distance = distance
        for limit, zone in ZONE_LIMITS:
            if distance < limit * (ZONE_MARGIN if self._zone == zone else 1.0):
                self._zone = zone
                return
        self._zone = DistanceZone.UNKNOWN
