"""Active-speaker detection: the probability of each face in view that a voice is its own.

Independent cues are combined by Bayes' rule: mouth motion (:mod:`emotion_perception.fusion.mouth_motion`), the
direction of arrival of the sound against the bearing of each face, and proximity, as people in front of the robot talk
to it more often than those behind them.

A speaker out of view is one more hypothesis. It explains a voice to which no visible mouth moves, and a direction in
which there is no face. Its prior is the share of the recent voices that it explained
(:func:`out_of_view_rate`): where a performer beside the audience has spoken for a while, one more utterance is the
performer's even if a listener smiles; where the visible person has spoken, an utterance with hardly moving lips is
that person's. Without any cue, every voice is of a face in view.

The voice is assigned to the most probable hypothesis and weighted by its probability, so that an ambiguous assignment
counts less instead of being decided.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from emotion_perception.types import VoiceObservation, to_nanoseconds, to_seconds

PARTNER_ODDS = 2.0  # of the conversation partner against another face of equal size
FALSE_DIRECTION = 0.02  # share of wrong directions of arrival: echoes, loudspeakers
OUT_OF_VIEW_RATE = 0.15  # share of the voices that are of a speaker out of view, before any was heard
RATE_PRIOR_S = 6.0  # s of speech that this share counts for against the voices that were heard
RATE_MEMORY_S = 20.0  # s after which an utterance counts for 1/e of a new one
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
    """The probability of each candidate to be the speaker, before anything else was heard; what their sum lacks to 1
    is a speaker out of view. The sum is 1 where neither direction nor any mouth is known.

    Args:
        candidates: the faces in view.
        direction: direction of arrival of the voice, rad, left positive; NaN where unknown.
        spread: standard deviation of such directions, rad.
        mouth_ratios: log-likelihood ratio of each candidate's mouth, nats, NaN where unknown; empty: all unknown.

    Example:
        >>> near, far = Candidate("near", 9000.0, True, 0.3), Candidate("far", 4500.0, False, -0.3)
        >>> [round(p, 2) for p in speaker_posterior([near, far], -0.25, 0.25)]
        [0.25, 0.68]
    """
    if not candidates:
        return []
    largest = max(candidate.size for candidate in candidates)
    has_direction = not math.isnan(direction) and not any(math.isnan(candidate.bearing) for candidate in candidates)
    has_mouths = not all(math.isnan(ratio) for ratio in mouth_ratios)
    odds, prior = [], 0.0
    for candidate, ratio in zip(candidates, mouth_ratios or [math.nan] * len(candidates), strict=True):
        proximity = candidate.size / largest if largest > 0 else 1.0
        odd = proximity * (PARTNER_ODDS if candidate.partner else 1.0)
        prior += odd
        if has_direction:
            odd *= _direction_ratio(candidate.bearing - direction, spread)
        if not math.isnan(ratio):
            odd *= math.exp(ratio)
        odds.append(odd)
    total = sum(odds)
    if has_direction or has_mouths:
        total += prior * OUT_OF_VIEW_RATE / (1 - OUT_OF_VIEW_RATE)
    return [odd / total for odd in odds]


def _direction_ratio(difference: float, spread: float) -> float:
    """Likelihood of a direction of arrival, rad from a face, if that face speaks, over that of a speaker anywhere."""
    deviations = math.remainder(difference, 2 * math.pi) / spread
    peak = max(1.0, math.sqrt(2 * math.pi) / spread)  # of the normal distribution, over the uniform one on the circle
    return FALSE_DIRECTION + (1 - FALSE_DIRECTION) * peak * math.exp(-0.5 * deviations**2)


def out_of_view_rate(voice: VoiceObservation, spoken: Iterable[tuple[VoiceObservation, float]]) -> float:
    """Expected share of the voices that are of a speaker out of view, 0..1, at the beginning of an utterance.

    Args:
        voice: the newest decision about the utterance.
        spoken: recent utterances, and the probability by :func:`speaker_posterior` that their speaker was out of view;
            0 where there was no cue. It does not depend on other utterances, so that a doubtful one does not confirm
            itself. Those that had not ended when ``voice`` began are left out.
    """
    start_ns = voice.stamp_ns - to_nanoseconds(voice.duration)
    seconds, out = RATE_PRIOR_S, RATE_PRIOR_S * OUT_OF_VIEW_RATE
    for earlier, probability in spoken:
        age_ns = start_ns - earlier.stamp_ns
        if age_ns >= 0 and 0 < probability < 1:
            counted = earlier.duration * math.exp(-to_seconds(age_ns) / RATE_MEMORY_S)
            seconds += counted
            out += counted * probability
    return out / seconds


def with_out_of_view_rate(probabilities: Mapping[str, float], rate: float) -> dict[str, float]:
    """Probabilities of the speakers of an utterance under another share of speakers out of view.

    Args:
        probabilities: by face id ("": out of view), from :func:`speaker_posterior`.
        rate: by :func:`out_of_view_rate`.

    Example:
        >>> {face: round(p, 2) for face, p in with_out_of_view_rate({"a": 0.4, "b": 0.1, "": 0.5}, 0.5).items()}
        {'a': 0.12, 'b': 0.03, '': 0.85}
    """
    factor = rate / (1 - rate) * (1 - OUT_OF_VIEW_RATE) / OUT_OF_VIEW_RATE
    total = 1 + probabilities[""] * (factor - 1)
    return {face_id: p / total * (factor if face_id == "" else 1.0) for face_id, p in probabilities.items()}


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
