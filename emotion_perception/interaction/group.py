"""Group emotion: mean, agreement and outliers of the states of all people in view. Independent of ROS.

Only faces in the newest image count, so that a face that returns under a new id is not counted twice. The weight of a
face is that of its evidence, at most 1: a person who also speaks does not count more than others.

- **Mean**: the linear mean of the distributions, not the product of :mod:`fusion.pooling`, because the faces are not
  several observations of one emotion. An audience half happy and half angry is reported as such.
- **Agreement** = 1 - the mean Jensen-Shannon divergence (Lin 1991, in bits: 0..1) between two of the faces, each pair
  weighted by the product of its weights. A mean over pairs can be compared between 2 faces and 30, unlike the
  divergence of all faces, whose maximum grows with their number.
- **Outliers**: with three faces or more, a face whose divergence from the mean of the others is at least
  ``DIFFERS_FROM`` and ``DIFFERS_RATIO`` times the group's median, whose label differs from theirs, and whose confidence
  is at least ``DIFFERS_CONFIDENCE``. A group divided into two halves has no outliers, but a low agreement.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_perception.fusion.pooling import merge_intensities
from emotion_perception.types import EmotionEstimate, EmotionState

DIFFERS_FROM = 0.2  # bits of Jensen-Shannon divergence
DIFFERS_RATIO = 2.0
DIFFERS_CONFIDENCE = 0.35  # an uncertain estimate may differ although the person does not


@dataclass(frozen=True)
class GroupEmotion:
    """The emotion of all people in view."""

    stamp_ns: int  # of the newest evidence used; without faces, of the query
    faces_counted: int  # if 0, the other fields are not valid
    emotion: EmotionEstimate  # weighted mean; `EmotionEstimate.unknown()` without faces
    valence_spread: float  # weighted standard deviation, 0..1; NaN with fewer than two faces
    agreement: float  # 0..1; NaN with fewer than two faces
    differing: tuple[str, ...]  # face ids of the outliers, largest divergence first


def group_emotion(states: Sequence[EmotionState], in_view: Collection[str], now_ns: int) -> GroupEmotion:
    """Compute the group emotion.

    Args:
        states: of all people, in any order; states without evidence or without a face are ignored.
        in_view: face ids in the newest image.
        now_ns: time of the query, ns.
    """
    # Sorted, so that rounding does not depend on the order of the states.
    found = {state.face_id: state for state in states if state.face_id in in_view and state.evidence}
    counted = [found[face_id] for face_id in sorted(found)]
    w = np.array([min(1.0, sum(evidence.weight for evidence in state.evidence)) for state in counted])
    counted = [state for state, weight in zip(counted, w, strict=True) if weight > 0]
    w = w[w > 0]
    if not counted:
        return GroupEmotion(now_ns, 0, EmotionEstimate.unknown(), math.nan, math.nan, ())

    w /= w.sum()
    p = np.array([state.emotion.probabilities for state in counted], dtype=np.float64)  # (N, 8)
    p /= p.sum(axis=1, keepdims=True)
    valence = np.array([state.emotion.valence for state in counted])
    mean_valence = float(w @ valence)
    stamp_ns = max(state.stamp_ns for state in counted)
    emotion = _mean([state.emotion for state in counted], p, w, mean_valence)
    if len(counted) == 1:
        return GroupEmotion(stamp_ns, 1, emotion, math.nan, math.nan, ())
    spread = math.sqrt(float(w @ (valence - mean_valence) ** 2))
    return GroupEmotion(stamp_ns, len(counted), emotion, spread, _agreement(p, w), _differing(counted, p, w))


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence, bits, 0..1, of distributions ``(..., 8)`` with broadcasting."""
    return np.clip(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2, 0.0, 1.0)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in bits: ``(..., 8)`` to ``(...)``."""
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=-1)


def _mean(emotions: Sequence[EmotionEstimate], p: np.ndarray, w: np.ndarray, valence: float) -> EmotionEstimate:
    mean = w @ p
    # As in pooling: the label's probability, scaled by the mean ratio of confidence to largest probability.
    trust = w @ (np.array([emotion.confidence for emotion in emotions]) / p.max(axis=1))
    return EmotionEstimate(
        mean.astype(np.float32),
        merge_intensities([emotion.intensities for emotion in emotions], w.tolist()),
        float(np.clip(mean.max() * trust, 0.0, 1.0)),
        valence,
        float(w @ np.array([emotion.arousal for emotion in emotions])),
        emotions[0].prior,
    )


def _agreement(p: np.ndarray, w: np.ndarray) -> float:
    one, other = np.triu_indices(len(p), k=1)
    pairs = w[one] * w[other]
    return 1.0 - float(pairs @ divergence(p[one], p[other]) / pairs.sum())


def _differing(states: Sequence[EmotionState], p: np.ndarray, w: np.ndarray) -> tuple[str, ...]:
    if len(states) < 3:
        return ()
    others = (w @ p - w[:, None] * p) / (1.0 - w)[:, None]  # (N, 8) mean of all others, for each
    others = np.clip(others, 0.0, None)
    apart = divergence(p, others)
    least = max(DIFFERS_FROM, DIFFERS_RATIO * float(np.median(apart)))
    differs = (apart >= least) & (p.argmax(axis=1) != others.argmax(axis=1))
    order = sorted(np.flatnonzero(differs).tolist(), key=lambda i: -apart[i])
    return tuple(states[i].face_id for i in order if states[i].emotion.confidence >= DIFFERS_CONFIDENCE)
