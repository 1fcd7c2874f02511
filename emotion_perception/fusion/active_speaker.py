"""Active-speaker detection: the probability of each face in view that a voice is its own.

Independent cues are combined by Bayes' rule: mouth motion (:mod:`emotion_perception.fusion.mouth_motion`), the
direction of arrival of the sound against the bearing of each face, and proximity, as people in front of the robot talk
to it more often than those behind them. The remainder to 1 is the probability of a speaker out of view.

The voice is assigned to the most probable face and weighted there by that probability, so that an ambiguous
assignment counts less instead of being decided.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

from emotion_perception.types import VoiceObservation, to_nanoseconds

PARTNER_ODDS = 2.0  # of the conversation partner against another face of equal size
FALSE_DIRECTION = 0.02  # share of wrong directions of arrival: echoes, loudspeakers
OUT_OF_VIEW_ODDS = 0.1  # of a speaker out of view, where direction or mouths are known; a face has 1 before these cues
MAX_DIRECTIONS = 1024


class Candidate(NamedTuple):
    """A face that may be the speaker's."""

    face_id: str
    size: float  # px^2
    partner: bool  # the conversation partner
    bearing: float  # rad, left of the camera's axis positive; NaN where the camera is not known


def bearing(x: float, focal: float, centre: float) -> float:
    """Direction of an image column, rad, left of the camera's axis positive (REP-103).

    Args:
        x: the column, px.
        focal: focal length, px.
        centre: column of the principal point, px.
    """
    return -math.atan((x - centre) / focal)


def mean_direction(angles: Sequence[float]) -> float:
    """The circular mean of angles, rad, -pi..pi; NaN if there are none."""
    if not angles:
        return math.nan
    return math.atan2(sum(math.sin(angle) for angle in angles), sum(math.cos(angle) for angle in angles))


def speaker_posterior(
    candidates: Sequence[Candidate], direction: float, spread: float, mouth_ratios: Sequence[float] = ()
) -> list[float]:
    """The probability of each candidate to be the speaker; what their sum lacks to 1 is a speaker out of view.

    Args:
        candidates: the faces in view.
        direction: direction of arrival of the voice, rad, left positive; NaN where unknown.
        spread: standard deviation of such directions, rad.
        mouth_ratios: log-likelihood ratio of each candidate's mouth, nats, NaN where unknown; empty: all unknown.

    Example:
        >>> near, far = Candidate("near", 9000.0, True, 0.3), Candidate("far", 4500.0, False, -0.3)
        >>> [round(p, 2) for p in speaker_posterior([near, far], -0.25, 0.25)]
        [0.27, 0.61]
    """
    if not candidates:
        return []
    largest = max(candidate.size for candidate in candidates)
    has_direction = not math.isnan(direction) and not any(math.isnan(candidate.bearing) for candidate in candidates)
    has_mouths = not all(math.isnan(ratio) for ratio in mouth_ratios)
    odds = []
    for candidate, ratio in zip(candidates, mouth_ratios or [math.nan] * len(candidates), strict=True):
        proximity = candidate.size / largest if largest > 0 else 1.0
        odd = proximity * (PARTNER_ODDS if candidate.partner else 1.0)
        if has_direction:
            difference = math.remainder(candidate.bearing - direction, 2 * math.pi)
            odd *= FALSE_DIRECTION + (1 - FALSE_DIRECTION) * math.exp(-0.5 * (difference / spread) ** 2)
        if not math.isnan(ratio):
            odd *= math.exp(ratio)
        odds.append(odd)
    total = sum(odds) + (OUT_OF_VIEW_ODDS if has_direction or has_mouths else 0.0)
    return [odd / total for odd in odds]


class SoundDirections:
    """Directions of arrival over the last seconds."""

    def __init__(self) -> None:
        self._directions: list[tuple[int, float]] = []  # stamp, ns, and angle, rad

    def add(self, stamp_ns: int, angle: float) -> None:
        """A direction of arrival, rad, left positive; not finite: ignored."""
        if math.isfinite(angle):
            insort(self._directions, (stamp_ns, angle))
            del self._directions[:-MAX_DIRECTIONS]

    def keep_until(self, newest_ns: int) -> None:
        """Drop directions later than a stamp."""
        self._directions = [held for held in self._directions if held[0] <= newest_ns]

    def clear(self) -> None:
        """Forget all directions."""
        self._directions.clear()

    def mean_during(self, voice: VoiceObservation) -> float:
        """Mean direction during the segment of a voice decision, rad; NaN where there was none."""
        first = voice.stamp_ns - to_nanoseconds(voice.duration)
        return mean_direction([angle for stamp, angle in self._directions if first <= stamp <= voice.stamp_ns])
