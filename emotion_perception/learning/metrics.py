"""Scores of a classifier that says how sure it is. Numpy in, plain numbers out."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale ``s`` (the inverse temperature, Guo et al. 2017) that minimises the log loss of ``softmax(s * logits)``.

    Args:
        logits: ``(N, K)``.
        labels: ``(N,)`` indices 0..K-1.

    Returns:
        The scale, and the mean log loss in nats there.
    """

    def loss(log_scale: float) -> float:
        return float(-log_softmax(np.exp(log_scale) * logits, axis=1)[np.arange(len(labels)), labels].mean())

    fitted = minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded")
    return float(np.exp(fitted.x)), float(fitted.fun)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins (Guo et al. 2017), 0..1.

    Args:
        probabilities: ``(N, K)``, rows sum to 1.
        labels: ``(N,)`` indices 0..K-1.
    """
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            gap += abs(confidence[inside].mean() - correct[inside].mean()) * inside.mean()
    return float(gap)
