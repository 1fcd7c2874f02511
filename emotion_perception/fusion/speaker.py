"""Whose voice is it? Probabilities for the faces in view. No ROS.

Three things tell, in this order: ids (ROS4HRI knows that a voice and a face are one person's), the direction that the
sound came from against where each face is, and nearness: who stands before the robot speaks with it more often than
who stands behind. What is left over to 1 is that nobody in view speaks. Where several faces are as likely, the
most likely one has the voice, and it weighs there by its probability alone: ambiguity is said, not decided.

The motion of the mouth is not used. On crops of 48 px, as the classifier sees them, no measure of it (difference of
frames, registered or against the upper face; optical flow; opening) told speech from silence in the six CREMA-D clips
with an area under the curve above 0.63.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PARTNER_ODDS = 2.0  # of the person spoken with, over another as near
STRAY = 0.02  # share of directions that are wrong: an echo, a loudspeaker
NOBODY = 0.1  # odds of a speaker out of sight where a direction is told; a face in it has 1


@dataclass(frozen=True)
class Candidate:
    """A face that may be the speaker's."""

    face_id: str
    size: float  # px^2
    partner: bool  # the person spoken with
    bearing: float  # rad, left of the camera's axis positive; NaN where the camera is not known


def bearing(x: float, focal: float, centre: float) -> float:
    """Direction, rad, left positive (REP-103), of a picture's column ``x``; focal length and centre in px, too."""
    return -math.atan((x - centre) / focal)


def mean_direction(angles: Sequence[float]) -> float:
    """The circular mean of angles, rad, -pi..pi; NaN of none."""
    if not angles:
        return math.nan
    return math.atan2(sum(math.sin(angle) for angle in angles), sum(math.cos(angle) for angle in angles))


def who_speaks(candidates: Sequence[Candidate], direction: float, spread: float) -> list[float]:
    """The probability of each candidate, in their order; what they lack to 1 is a speaker out of sight.

    Args:
        direction: rad, that the voice came from, left positive; NaN where it is not known.
        spread: rad, standard deviation of such directions.
    """
    if not candidates:
        return []
    largest = max(candidate.size for candidate in candidates)
    told = not math.isnan(direction) and not any(math.isnan(candidate.bearing) for candidate in candidates)
    odds = []
    for candidate in candidates:
        near = candidate.size / largest if largest > 0 else 1.0
        odd = near * (PARTNER_ODDS if candidate.partner else 1.0)
        if told:
            off = math.remainder(candidate.bearing - direction, 2 * math.pi)
            odd *= STRAY + (1 - STRAY) * math.exp(-0.5 * (off / spread) ** 2)
        odds.append(odd)
    total = sum(odds) + (NOBODY if told else 0.0)
    return [odd / total for odd in odds]
