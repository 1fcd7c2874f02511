"""Late fusion of calibrated distributions by log-linear pooling.

``p(e) ~ product over i of p_i(e) ** w_i`` (Genest & Zidek 1986, "Combining probability distributions", section 3): with
weights 1 it is Bayes' rule for senses that are independent given the emotion, under a uniform prior; a weight under 1
takes a source less seriously than it takes itself, and 0 leaves it out. Weights need not sum to 1.

Neutral and calm: a face does not tell them apart, so its "neutral" is neutral-or-calm. Sources are pooled over seven
classes with the two as one, then that class is divided:

- a source that tells them apart (the voice) divides it in its own ratio, several in the pooled ratio;
- beside a face the calm part is multiplied by ``min(1, weight of the voice)``: as trust in the voice fades, what is
  left is what a face alone gives;
- a face alone: all of it stays neutral.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emotion_perception.emotions import CALM, EMOTIONS, NEUTRAL, valence_arousal
from emotion_perception.types import EmotionEstimate

FLOOR = 1e-3  # no source is ever surer than this that an emotion is impossible: none can veto the others
_CLASSES = len(EMOTIONS) - 1  # neutral and calm as one


def half_life_decay(age: float, fresh: float, half_life: float, max_age: float) -> float:
    """Trust left in evidence by age, 1..0: 1 while fresh, then halved every half-life, 0 from ``max_age`` on.

    All times are in s. A negative age (a source clock that is ahead) counts as 0.
    """
    if age >= max_age:
        return 0.0
    return float(0.5 ** (max(0.0, age - fresh) / half_life))


def ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, straight between; NaN gives 0."""
    if not value > low:
        return 0.0
    return 1.0 if value >= high else (value - low) / (high - low)


def merge_intensities(intensities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of ``(N, 8)`` intensities over the sources that know them; NaN ``(8,)`` where none does."""
    unknown = np.isnan(intensities)
    if unknown.all():
        return np.full(intensities.shape[1], np.nan, np.float32)
    total = weights @ ~unknown
    summed = weights @ np.where(unknown, 0.0, intensities)
    merged = np.full(intensities.shape[1], np.nan, np.float32)
    known = total > 0
    merged[known] = np.minimum(np.maximum(summed[known] / total[known], 0.0), 1.0)  # np.clip takes three times as long
    return merged


def pool(estimates: Sequence[EmotionEstimate], weights: Sequence[float], tells_calm: Sequence[bool]) -> EmotionEstimate:
    """Pool N estimates into one.

    Args:
        estimates: calibrated distributions over the vocabulary, each finite, >= 0, with a positive sum.
        weights: exponents, >= 0, finite.
        tells_calm: per source, whether it tells calm from neutral (voice: yes, face: no).

    Returns:
        The pooled estimate. Its confidence is the pooled probability of the label, times the weighted mean of what the
        sources themselves make of theirs (confidence / largest probability): one source at weight 1 keeps its own
        confidence, agreement raises it, contradiction and small weights lower it. `EmotionEstimate.unknown()` where the
        weights sum to 0.

    Raises:
        ValueError: lengths differ, or a weight is negative or not finite.
    """
    if not len(estimates) == len(weights) == len(tells_calm):
        raise ValueError(f"{len(estimates)} estimates, {len(weights)} weights, {len(tells_calm)} flags; must be equal")
    if len(estimates) == 1 and 0 < weights[0] < math.inf and (tells_calm[0] or estimates[0].probabilities[CALM] == 0):
        return estimates[0] if weights[0] == 1.0 else _tempered(estimates[0], weights[0])
    return pool_rows([estimate_row(estimate) for estimate in estimates], weights, tells_calm)


def _tempered(estimate: EmotionEstimate, weight: float) -> EmotionEstimate:
    """:func:`pool_rows` of one source, in Python's own arithmetic, which is quicker for a handful of numbers."""
    p = estimate.probabilities.tolist()
    total = sum(p)
    keep, both = (1 - _CLASSES * FLOOR) / total, p[NEUTRAL] + p[CALM]
    mass = [(value * keep + FLOOR) ** weight for value in (both, *p[CALM + 1 :])]
    scale = 1.0 / sum(mass)
    calm = 0.0
    if p[CALM] > 0:  # in its own ratio
        calm = mass[0] * (p[CALM] / total + FLOOR) / (both / total + 2 * FLOOR)
    told = [value * scale for value in (mass[0] - calm, calm, *mass[1:])]
    confidence = min(1.0, max(0.0, max(told) * estimate.confidence * total / max(p)))
    pooled = np.array(told, np.float32)
    valence, arousal = valence_arousal(pooled, estimate.intensities)
    return EmotionEstimate(pooled, estimate.intensities, confidence, valence, arousal)


def estimate_row(estimate: EmotionEstimate) -> np.ndarray:
    """An estimate as ``(17,)`` float64 for :func:`pool_rows`: 8 probabilities, 8 intensities, confidence."""
    return np.concatenate((estimate.probabilities, estimate.intensities, (estimate.confidence,)), dtype=np.float64)


def pool_rows(rows: Sequence[np.ndarray], weights: Sequence[float], tells_calm: Sequence[bool]) -> EmotionEstimate:
    """:func:`pool` for estimates already made into rows, which is quicker where each is pooled many times."""
    # A handful of numbers: Python's own arithmetic is quicker on them than numpy's.
    if not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(f"weights must be finite and >= 0, got {list(weights)}")
    total = float(sum(weights))
    if total <= 0:
        return EmotionEstimate.unknown()
    w = np.array(weights, dtype=np.float64)
    table = np.array(rows)  # (N, 17)
    p = table[:, : len(EMOTIONS)]
    p /= p.sum(axis=1, keepdims=True)
    merged = p[:, CALM:].copy()  # (N, 7): neutral-or-calm, happy, ... surprised
    merged[:, 0] += p[:, NEUTRAL]
    log_mass = w @ np.log(merged * (1 - _CLASSES * FLOOR) + FLOOR)
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()

    pooled = np.empty(len(EMOTIONS))
    pooled[CALM:] = mass
    pooled[CALM] = mass[0] * _calm_share(p, w, np.array(tells_calm, dtype=bool)) if any(tells_calm) else 0.0
    pooled[NEUTRAL] = mass[0] - pooled[CALM]

    own = table[:, -1] / p.max(axis=1)
    confidence = min(1.0, max(0.0, float(pooled.max() * (w @ own)) / total))
    intensities = merge_intensities(table[:, len(EMOTIONS) : -1], w)
    valence, arousal = valence_arousal(pooled, intensities)
    return EmotionEstimate(pooled.astype(np.float32), intensities, confidence, valence, arousal)


def _calm_share(p: np.ndarray, w: np.ndarray, tells: np.ndarray) -> float:
    """The part of neutral-or-calm that is calm, 0..1; ``p (N, 8)``, ``w (N,)``, ``tells (N,)`` bool."""
    trust = float(w[tells].sum())
    if trust <= 0:
        return 0.0
    # Shares of the weight, not the weights: pooling the same ratio twice must give that ratio.
    log_odds = (w[tells] / trust) @ np.log((p[tells, CALM] + FLOOR) / (p[tells, NEUTRAL] + FLOOR))
    share = 1.0 / (1.0 + float(np.exp(-log_odds)))
    return share if w[~tells].sum() <= 0 else share * min(1.0, trust)
