"""Scores of the same outputs under two more priors: the class frequencies of the data, and equal ones."""

from __future__ import annotations

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.learning import metrics
from emotion_perception.priors import BALANCED, SMALLEST, exchange_prior

SCORES = ("accuracy", "accuracy_closed", "uar", "macro_f1", "ece")


def own_prior(labels: np.ndarray) -> np.ndarray:
    """Class frequencies ``(8,)`` of labels ``(N,)``; an emotion that does not occur has nearly 0."""
    shares = np.maximum(np.bincount(labels, minlength=len(EMOTIONS)) / len(labels), SMALLEST)
    return np.asarray(shares / shares.sum())


def balancing_weights(labels: np.ndarray) -> np.ndarray:
    """Weights ``(N,)`` of the cases, 1 on average, that make all classes equally frequent."""
    weights = 1.0 / np.bincount(labels, minlength=len(EMOTIONS))[labels]
    return np.asarray(weights / weights.mean())


def prior_scores(
    probabilities: np.ndarray, labels: np.ndarray, confidence: np.ndarray, prior: np.ndarray
) -> dict[str, float]:
    """The scores :data:`SCORES` with ``_own_prior`` and ``_balanced_prior`` at the end of their names.

    Under the balanced prior the calibration error weighs the cases so that all classes are equally frequent: only
    there can confidences under that prior be right.

    Args:
        probabilities: ``(N, 8)`` that contain ``prior``.
        labels: ``(N,)``.
        confidence: ``(N,)``; keeps its ratio to the largest probability.
        prior: ``(8,)``.
    """
    found: dict[str, float] = {}
    ratio = confidence / probabilities.max(1)
    for name, other, weights in (
        ("own_prior", own_prior(labels), None),
        ("balanced_prior", BALANCED, balancing_weights(labels)),
    ):
        p = exchange_prior(probabilities, prior, other)
        stated = np.minimum(1.0, ratio * p.max(1))
        scores = vars(metrics.score(p, labels, stated)) | {
            "ece": metrics.calibration_bins(p, labels, stated, weights=weights).expected_error
        }
        found |= {f"{score}_{name}": float(scores[score]) for score in SCORES}
    return found
