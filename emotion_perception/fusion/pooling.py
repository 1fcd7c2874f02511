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


def merge_intensities(intensities: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean, ``(8,)``, of N ``(8,)`` intensities over the sources that know them; NaN where none does."""
    # A handful of numbers: here and below, Python's own arithmetic is several times as quick on them as numpy's.
    if len(intensities) == 1 and weights[0] > 0:
        return intensities[0]
    rows = [row.tolist() for row in intensities]
    merged = []
    for column in zip(*rows, strict=True):
        known = [(weight, value) for weight, value in zip(weights, column, strict=True) if value == value]
        total = sum(weight for weight, _ in known)
        mean = sum(weight * value for weight, value in known) / total if total > 0 else math.nan
        merged.append(min(max(mean, 0.0), 1.0) if mean == mean else mean)
    return np.array(merged, np.float32)


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
    if not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(f"weights must be finite and >= 0, got {list(weights)}")
    total = sum(weights)
    if total <= 0:
        return EmotionEstimate.unknown()
    if len(estimates) == 1 and weights[0] == 1.0 and (tells_calm[0] or estimates[0].probabilities[CALM] == 0):
        return estimates[0]
    log_mass = [0.0] * _CLASSES  # neutral-or-calm, happy, ... surprised
    trust = told = untold = calm_odds = 0.0
    for estimate, weight, tells in zip(estimates, weights, tells_calm, strict=True):
        p = estimate.probabilities.tolist()
        whole = sum(p)
        keep = (1 - _CLASSES * FLOOR) / whole
        merged = (p[NEUTRAL] + p[CALM], *p[CALM + 1 :])
        log_mass = [log + weight * math.log(q * keep + FLOOR) for log, q in zip(log_mass, merged, strict=True)]
        trust += weight * estimate.confidence * whole / max(p)
        if tells:
            told += weight
            calm_odds += weight * math.log((p[CALM] / whole + FLOOR) / (p[NEUTRAL] / whole + FLOOR))
        else:
            untold += weight
    most = max(log_mass)
    mass = [math.exp(log - most) for log in log_mass]
    scale = 1.0 / sum(mass)
    calm = 0.0
    if told > 0:
        # Shares of the weight, not the weights: pooling the same ratio twice must give that ratio.
        calm = mass[0] / (1.0 + math.exp(-calm_odds / told)) * (min(1.0, told) if untold > 0 else 1.0)
    shares = [q * scale for q in (mass[0] - calm, calm, *mass[1:])]
    pooled, confidence = np.array(shares, np.float32), min(1.0, max(shares) * trust / total)
    intensities = merge_intensities([estimate.intensities for estimate in estimates], weights)
    return EmotionEstimate(pooled, intensities, confidence, *valence_arousal(pooled, intensities))
