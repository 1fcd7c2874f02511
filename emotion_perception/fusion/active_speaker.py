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
from itertools import pairwise
from typing import NamedTuple

import numpy as np

PARTNER_ODDS = 2.0  # of the person spoken with, over another as near
STRAY = 0.02  # share of directions that are wrong: an echo, a loudspeaker
NOBODY = 0.1  # odds of a speaker out of sight where direction or mouths tell; a face in it, or of unknown mouth, has 1
# Log-likelihood ratio that a mouth is the speaker's: MOTION * ln(motion + STILL) + TOGETHER * r + BASE, as
# scripts/measure_mouths.py fits it (docs/fusion.md), of one actor; so the slopes are cut, and no mouth decides alone.
MOTION, TOGETHER, BASE = 3.0, 3.0, 3.6
STILL = 0.02  # motion that a picture of a still mouth may have
MOST_TOLD = 3.0  # nats, the most that a mouth says for or against
LAGS = 3  # parts of the loudness, of 40 ms, that the picture may be earlier or later than the sound
LOUDNESS_RANGE = 35.0  # dB under the loudest that count
LEAST_LEVELS, LEAST_PICTURES = 8, 4  # of a stretch of speech that is compared
LEAST_COVERED = 0.6  # of it, by pictures of the mouth


class Candidate(NamedTuple):
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


@dataclass(frozen=True)
class MouthPictures:
    """Pictures of F mouths during a stretch of speech and a little before and after it, those of one after another's,
    each mouth's in their order."""

    time: np.ndarray  # (N,) s since the beginning of the stretch
    opening: np.ndarray  # (N,)
    motion: np.ndarray  # (N,), NaN where it is not known
    ends: np.ndarray  # (F + 1,) int, where each mouth's begin and, last, N

    @classmethod
    def of(cls, mouths: Sequence[np.ndarray]) -> MouthPictures:
        """Those of tables ``(N, 3)``, one a mouth: time, opening, motion."""
        time, opening, motion = np.concatenate([np.zeros((0, 3)), *mouths]).T
        return cls(time, opening, motion, np.array([0, *(len(mouth) for mouth in mouths)]).cumsum())


def mouths_speak(mouths: MouthPictures, duration: float, level_db: np.ndarray) -> list[float]:
    """For each face the log-likelihood ratio, nats, that its mouth is the one that speaks; NaN where that is not known.

    Args:
        duration: of the stretch of speech, s.
        level_db: ``(K,)`` how loud the voice was, in equal parts of the stretch, of about 40 ms each.
    """
    told = []
    for motion, together in mouth_measures(mouths, duration, level_db):
        ratio = math.nan if math.isnan(motion) else MOTION * math.log(motion + STILL) + TOGETHER * together + BASE
        told.append(ratio if math.isnan(ratio) else min(MOST_TOLD, max(-MOST_TOLD, ratio)))
    return told


def mouth_measures(mouths: MouthPictures, duration: float, level_db: np.ndarray) -> list[tuple[float, float]]:
    """Of each mouth its mean motion while the voice was heard, and the correlation of its opening with the loudness, at
    the lag where that is largest; both NaN where too little was seen or heard. Arguments as :func:`mouths_speak`."""
    unknown = (math.nan, math.nan)
    faces = len(mouths.ends) - 1
    if len(level_db) < LEAST_LEVELS or not duration > 0:
        return [unknown] * faces
    motions = _mean_motions(mouths, duration)
    if all(math.isnan(motion) for motion in motions):
        return [unknown] * faces
    together = _go_together(mouths, duration, level_db).tolist()
    return [unknown if math.isnan(told[0]) else told for told in zip(motions, together, strict=True)]


def _mean_motions(mouths: MouthPictures, duration: float) -> list[float]:
    """Over a stretch, of each mouth; NaN where not enough of it was seen."""
    inside = (mouths.time >= 0) & (mouths.time < duration) & (mouths.motion == mouths.motion)  # known, so not NaN
    rows = np.flatnonzero(inside)
    time, sums = mouths.time[rows], np.append(0.0, mouths.motion[rows].cumsum())
    motions = []
    for first, stop in pairwise(rows.searchsorted(mouths.ends).tolist()):
        seen = stop - first
        enough = seen >= LEAST_PICTURES and time[stop - 1] - time[first] >= LEAST_COVERED * duration
        motions.append(float(sums[stop] - sums[first]) / seen if enough else math.nan)
    return motions


def _go_together(mouths: MouthPictures, duration: float, level_db: np.ndarray) -> np.ndarray:
    """``(F,)`` correlation of each mouth's opening with the loudness, at the lag where it is largest. There must be a
    picture; of a mouth without any, the number means nothing."""
    parts, begins, ends = len(level_db), mouths.ends[:-1], mouths.ends[1:]
    when = (np.arange(-LAGS, parts + LAGS) + 0.5) * (duration / parts)  # (K + 2 LAGS,)
    first, last = mouths.time[np.minimum(begins, len(mouths.time) - 1)], mouths.time[ends - 1]
    asked = np.minimum(np.maximum(when, first[:, np.newaxis]), last[:, np.newaxis])
    # One interpolation for all mouths: each has a time of its own, in which no other's picture is a neighbour.
    own = np.arange(len(begins)) * (float(mouths.time.max() - mouths.time.min()) + 1.0)
    opening = np.interp(asked + own[:, np.newaxis], mouths.time + own.repeat(ends - begins), mouths.opening)
    loud = np.maximum(level_db, level_db.max() - LOUDNESS_RANGE).astype(np.float64)
    loud -= loud.mean()  # so the mean of the opening does not matter to the product
    compared = _at_each_lag(np.ones(parts))
    spread = (opening**2) @ compared - (opening @ compared) ** 2 / parts
    scale = np.sqrt(spread + 1e-12) * math.sqrt(float(loud @ loud) + 1e-12)
    return np.asarray((opening @ _at_each_lag(loud) / scale).max(1))


def _at_each_lag(values: np.ndarray) -> np.ndarray:
    """``(K + 2 LAGS, 2 LAGS + 1)``: in each column the values ``(K,)`` one row lower, else 0."""
    rows, lags = len(values) + 2 * LAGS, 2 * LAGS + 1
    skewed = np.zeros((lags, rows + 1))
    skewed[:, : len(values)] = values
    return skewed.ravel()[: lags * rows].reshape(lags, rows).T
