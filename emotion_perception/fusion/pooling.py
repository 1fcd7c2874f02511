"""Late fusion of likelihood ratios by log-linear pooling.

``l(e) ~ product over i of l_i(e) ** w_i`` (Genest & Zidek 1986, "Combining probability distributions", section 3). A
likelihood ratio is a calibrated posterior divided by its prior, written as a distribution under the balanced prior.
With all weights 1 and multiplied by a prior (once, by the caller) it is Bayes' rule for modalities that are independent
given the emotion. A weight below 1 discounts a source, weight 0 leaves it out. Weights need not sum to 1.

Neutral and calm: a face classifier does not separate them, so its "neutral" means neutral or calm. Sources are pooled
over seven classes with the two merged (the mean of their ratios), and then that class is divided:

- a source that separates them (the voice) divides it in its own ratio, several sources in the pooled ratio;
- with a face, the division is faded in by ``s = min(1, weight of the voice)``: as the voice loses weight, the result
  approaches that of the face alone;
- a face alone leaves all of it neutral; the prior of calm then counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emotion_perception.emotions import CALM, EMOTIONS, NEUTRAL, valence_arousal
from emotion_perception.types import EmotionEstimate

FLOOR = 1e-3  # lower bound of a source's probabilities, so that none can veto the others
_CLASSES = len(EMOTIONS) - 1  # neutral and calm merged


def half_life_decay(age: float, fresh: float, half_life: float, max_age: float) -> float:
    """Staleness factor, 1..0: 1 up to age ``fresh``, then halved every ``half_life``, 0 from ``max_age`` on.

    All times are in s. A negative age (a source clock that is ahead) counts as 0.

    Example:
        >>> [half_life_decay(age, fresh=1.0, half_life=2.0, max_age=6.0) for age in (-1.0, 1.0, 3.0, 6.0)]
        [1.0, 1.0, 0.5, 0.0]
    """
    if age >= max_age:
        return 0.0
    return float(0.5 ** (max(0.0, age - fresh) / half_life))


def ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, linear in between; NaN gives 0."""
    if not value > low:
        return 0.0
    return 1.0 if value >= high else (value - low) / (high - low)


def merge_intensities(intensities: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean, ``(8,)``, of N intensities ``(8,)`` over the sources that know them; NaN where none does."""
    # Here and below, Python's own arithmetic is several times faster than numpy's on so few numbers.
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


def pool(
    estimates: Sequence[EmotionEstimate], weights: Sequence[float], separates_calm: Sequence[bool]
) -> EmotionEstimate:
    """Pool N estimates into one, all under the balanced prior.

    Args:
        estimates: calibrated distributions over the vocabulary under the balanced prior (likelihood ratios), each
            finite, >= 0, with a positive sum.
        weights: exponents, >= 0, finite.
        separates_calm: per source, whether it separates calm from neutral (voice: yes, face: no).

    Returns:
        The pooled estimate. Its confidence is the pooled probability of the label times the weighted mean of the
        sources' ratios of confidence to largest probability: a single source of weight 1 keeps its own confidence,
        agreement raises it, contradiction and small weights lower it. `EmotionEstimate.unknown()` where the weights
        sum to 0.

    Raises:
        ValueError: lengths differ, or a weight is negative or not finite.

    Example:
        >>> face = EmotionEstimate.from_probabilities([0.4, 0, 0.4, 0, 0.2, 0, 0, 0])
        >>> voice = EmotionEstimate.from_probabilities([0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0, 0])
        >>> pool([face, voice], [1.0, 1.0], [False, True]).name
        'happy'
    """
    if not len(estimates) == len(weights) == len(separates_calm):
        raise ValueError(
            f"{len(estimates)} estimates, {len(weights)} weights, {len(separates_calm)} flags; must be equal"
        )
    if not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(f"weights must be finite and >= 0, got {list(weights)}")
    total = sum(weights)
    if total <= 0:
        return EmotionEstimate.unknown()
    if len(estimates) == 1 and weights[0] == 1.0 and (separates_calm[0] or estimates[0].probabilities[CALM] == 0):
        return estimates[0]
    log_mass = [0.0] * _CLASSES  # neutral or calm, happy, ... surprised
    confidence_ratio = calm_odds = 0.0
    separating = merging = 0.0  # weight of the sources that separate calm from neutral, and of those that do not
    for estimate, weight, separates in zip(estimates, weights, separates_calm, strict=True):
        p = estimate.probabilities.tolist()
        norm = sum(p)
        # The ratio of "neutral or calm" is the mean of both; a source without calm means both by its neutral.
        either = (p[NEUTRAL] + p[CALM]) / 2 if separates or p[CALM] > 0 else p[NEUTRAL]
        merged = (either, *p[CALM + 1 :])
        scale = (1 - _CLASSES * FLOOR) / sum(merged)
        log_mass = [log + weight * math.log(q * scale + FLOOR) for log, q in zip(log_mass, merged, strict=True)]
        confidence_ratio += weight * estimate.confidence * norm / max(p)
        if separates:
            separating += weight
            calm_odds += weight * math.log((p[CALM] / norm + FLOOR) / (p[NEUTRAL] / norm + FLOOR))
        else:
            merging += weight
    largest = max(log_mass)
    mass = [math.exp(log - largest) for log in log_mass]
    neutral, calm = mass[0], 0.0
    if separating > 0:
        divided = min(1.0, separating) if merging > 0 else 1.0
        # Shares of the weight, not the weights: pooling the same ratio twice must give that ratio.
        calm_share = 1.0 / (1.0 + math.exp(-calm_odds / separating))
        calm = mass[0] * divided * 2 * calm_share
        neutral = mass[0] * (1 - divided + divided * 2 * (1 - calm_share))
    scale = 1.0 / (neutral + calm + sum(mass[1:]))
    shares = [q * scale for q in (neutral, calm, *mass[1:])]
    pooled, confidence = np.array(shares, np.float32), min(1.0, max(shares) * confidence_ratio / total)
    intensities = merge_intensities([estimate.intensities for estimate in estimates], weights)
    return EmotionEstimate(pooled, intensities, confidence, *valence_arousal(pooled, intensities))
