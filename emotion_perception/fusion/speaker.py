"""Whose voice is it? Probabilities for the faces in view. No ROS.

Ids decide, where ROS4HRI knows that a voice and a face are one person's. Else three things tell, as independent
evidence: the mouths, of which the speaker's moves while the voice is heard and opens as it gets loud; the direction
that the sound came from against where each face is; and nearness: who stands before the robot speaks with it more
often than who stands behind. What is left over to 1 is that nobody in view speaks. Where several faces are as likely,
the most likely one has the voice, and it weighs there by its probability alone: ambiguity is said, not decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PARTNER_ODDS = 2.0  # of the person spoken with, over another as near
STRAY = 0.02  # share of directions that are wrong: an echo, a loudspeaker
NOBODY = 0.1  # odds of a speaker out of sight where direction or mouths tell; a face in it, or of unknown mouth, has 1
# Log-likelihood ratio that a mouth is the speaker's: MOTION * ln(motion + STILL) + TOGETHER * r + BASE, as
# scripts/measure_mouths.py fits it (docs/fusion.md), of one actor; so the slopes are cut, and no mouth decides alone.
MOTION, TOGETHER, BASE = 3.0, 3.0, 3.6
STILL = 0.02  # motion that a picture of a still mouth may have
MOST_TOLD = 3.0  # nats, the most that a mouth says for or against
LAGS = np.arange(-3, 4) * 0.04  # s that the picture may be later than the sound, in which both go together best
LOUDNESS_RANGE = 35.0  # dB under the loudest that count
LEAST_LEVELS, LEAST_PICTURES = 8, 4  # of a stretch of speech that is compared
LEAST_COVERED = 0.6  # of it, by pictures of the mouth


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


def who_speaks(
    candidates: Sequence[Candidate], direction: float, spread: float, mouths: Sequence[float] = ()
) -> list[float]:
    """The probability of each candidate, in their order; what they lack to 1 is a speaker out of sight.

    Args:
        direction: rad, that the voice came from, left positive; NaN where it is not known.
        spread: rad, standard deviation of such directions.
        mouths: of each candidate the log-likelihood ratio that this mouth speaks, NaN where it is not known; none of
            any where left out.
    """
    if not candidates:
        return []
    largest = max(candidate.size for candidate in candidates)
    told = not math.isnan(direction) and not any(math.isnan(candidate.bearing) for candidate in candidates)
    seen = not all(math.isnan(mouth) for mouth in mouths)
    odds = []
    for candidate, mouth in zip(candidates, mouths or [math.nan] * len(candidates), strict=True):
        near = candidate.size / largest if largest > 0 else 1.0
        odd = near * (PARTNER_ODDS if candidate.partner else 1.0)
        if told:
            off = math.remainder(candidate.bearing - direction, 2 * math.pi)
            odd *= STRAY + (1 - STRAY) * math.exp(-0.5 * (off / spread) ** 2)
        if not math.isnan(mouth):
            odd *= math.exp(mouth)
        odds.append(odd)
    total = sum(odds) + (NOBODY if told or seen else 0.0)
    return [odd / total for odd in odds]


def mouths_speak(mouths: Sequence[np.ndarray], duration: float, level_db: np.ndarray) -> list[float]:
    """For each face the log-likelihood ratio, nats, that its mouth is the one that speaks; NaN where that is not known.

    Args:
        mouths: of each face ``(N, 3)``: time from the beginning of the stretch of speech, s, rising; opening; motion
            (NaN where it is not known). Pictures a little before and after the stretch are of use.
        duration: of the stretch, s.
        level_db: ``(K,)`` how loud the voice was, in equal parts of the stretch.
    """
    told = []
    for motion, together in mouth_measures(mouths, duration, level_db):
        ratio = math.nan if math.isnan(motion) else MOTION * math.log(motion + STILL) + TOGETHER * together + BASE
        told.append(ratio if math.isnan(ratio) else min(MOST_TOLD, max(-MOST_TOLD, ratio)))
    return told


def mouth_measures(mouths: Sequence[np.ndarray], duration: float, level_db: np.ndarray) -> list[tuple[float, float]]:
    """Of each mouth its mean motion while the voice was heard, and the correlation of its opening with the loudness, at
    the lag where that is largest; both NaN where too little was seen or heard. Arguments as :func:`mouths_speak`."""
    motions = [_mean_motion(mouth, duration) for mouth in mouths]
    if len(level_db) < LEAST_LEVELS:
        motions = [math.nan] * len(mouths)
    known = [face for face, motion in enumerate(motions) if not math.isnan(motion)]
    together = [math.nan] * len(mouths)
    if known:
        found = _go_together([mouths[face] for face in known], duration, level_db)
        for face, r in zip(known, found.tolist(), strict=True):
            together[face] = r
    return list(zip(motions, together, strict=True))


def _mean_motion(mouth: np.ndarray, duration: float) -> float:
    """Over a stretch, of a mouth ``(N, 3)``; NaN where not enough of it was seen."""
    if not (len(mouth) and duration > 0):
        return math.nan
    first, last = mouth[:, 0].searchsorted((0.0, duration)).tolist()
    seen = mouth[first:last]
    seen = seen[seen[:, 2] == seen[:, 2]]  # without NaN
    if len(seen) < LEAST_PICTURES or seen[-1, 0] - seen[0, 0] < LEAST_COVERED * duration:
        return math.nan
    return float(seen[:, 2].sum()) / len(seen)


def _go_together(mouths: Sequence[np.ndarray], duration: float, level_db: np.ndarray) -> np.ndarray:
    """``(F,)`` correlation of each mouth's opening with the loudness, at the lag where it is largest."""
    parts = len(level_db)
    when = (np.arange(parts) + 0.5) * (duration / parts) + LAGS[:, np.newaxis]  # (lags, K)
    opening = np.stack([np.interp(when, mouth[:, 0], mouth[:, 1]) for mouth in mouths])  # (F, lags, K)
    loud = np.maximum(level_db, level_db.max() - LOUDNESS_RANGE).astype(np.float64)
    loud -= loud.mean()  # so the mean of the opening does not matter to the product
    spread = np.sqrt((opening**2).sum(-1) - opening.sum(-1) ** 2 / parts + 1e-12) * math.sqrt(
        float(loud @ loud) + 1e-12
    )
    return np.asarray((opening @ loud / spread).max(1))
