"""Errors of valence and arousal, and whether the stated standard deviations match them."""

from __future__ import annotations

import numpy as np

from emotion_perception.emotions import CIRCUMPLEX
from emotion_perception.types import EmotionEstimate


def affect_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores of valence and arousal against the circumplex point of the labelled emotion.

    Intensities are ignored on both sides, because few data sets have them.

    Args:
        probabilities: ``(N, 8)``.
        labels: ``(N,)``.

    Returns:
        For valence and arousal each: ``_rmse``, root mean square error; ``_deviation``, root mean square of the stated
        standard deviations, which is equal to it where they are calibrated; ``_within_deviation``, share of the cases
        whose error is at most the stated deviation (0.68 for Gaussian errors; these have heavier tails).
    """
    estimates = [EmotionEstimate.from_probabilities(p) for p in probabilities]
    found: dict[str, float] = {}
    for axis, name in enumerate(("valence", "arousal")):
        stated = np.array([estimate.deviations[axis] for estimate in estimates])
        error = np.array([getattr(estimate, name) for estimate in estimates]) - CIRCUMPLEX[labels, axis]
        found |= {
            f"{name}_rmse": float(np.sqrt(np.mean(error**2))),
            f"{name}_deviation": float(np.sqrt(np.mean(stated**2))),
            f"{name}_within_deviation": float((np.abs(error) <= stated).mean()),
        }
    return found
