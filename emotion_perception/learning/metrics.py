"""Scores of a classifier that says how sure it is. Numpy in, plain numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binom


@dataclass(frozen=True)
class Scores:
    """What one evaluation found; every field a share 0..1 but ``n``. NaN where it is not defined."""

    n: int
    accuracy: float  # all labels of the vocabulary compete
    accuracy_closed: float  # only the labels present in the data compete
    uar: float  # unweighted average recall, over the labels present
    macro_f1: float  # over the labels present
    auc: float  # one-vs-rest ROC area, mean over the labels present
    ece: float  # expected calibration error, 15 bins


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


@dataclass(frozen=True)
class CalibrationBins:
    """A reliability diagram: equal-width confidence bins, NaN where a bin is empty."""

    share: np.ndarray  # (B,) share of the cases in the bin
    confidence: np.ndarray  # (B,) mean confidence
    accuracy: np.ndarray  # (B,)

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0..1: the mean gap between confidence and accuracy."""
        return float(np.nansum(np.abs(self.confidence - self.accuracy) * self.share))


def calibration_bins(
    probabilities: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None = None, bins: int = 15
) -> CalibrationBins:
    """Reliability of the confidence (Guo et al. 2017).

    Args:
        probabilities: ``(N, K)``, rows sum to 1.
        labels: ``(N,)`` indices 0..K-1.
        confidence: ``(N,)`` where the classifier states one; else the largest probability.
    """
    confidence = probabilities.max(1) if confidence is None else confidence
    correct = probabilities.argmax(1) == labels
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        return CalibrationBins(
            share=count / max(1, len(labels)),
            confidence=np.bincount(which, confidence, bins) / count,
            accuracy=np.bincount(which, correct, bins) / count,
        )


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """``(classes, classes)`` counts, rows the truth, columns the prediction."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """False-positive rate, true-positive rate, area under the curve; ties share a point.

    Args:
        scores: ``(N,)``, higher means more positive.
        positive: ``(N,)`` bool, with at least one of each.

    Raises:
        ValueError: only one of the two is present.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        raise ValueError(f"a ROC curve needs both classes, got {positives} positive and {negatives} negative cases")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.append(0, np.cumsum(positive[order])[last_of_tie]) / positives
    false = np.append(0, np.cumsum(~positive[order])[last_of_tie]) / negatives
    return false, true, float(np.trapezoid(true, false))


def score(probabilities: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None = None) -> Scores:
    """Score distributions ``(N, K)`` against labels ``(N,)``; ``confidence`` ``(N,)`` as stated, else the largest.

    Raises:
        ValueError: there is nothing to score.
    """
    if not len(labels):
        raise ValueError("nothing to score: no labelled case was readable")
    classes = probabilities.shape[1]
    present = np.unique(labels)
    predicted = probabilities.argmax(1)
    closed = present[probabilities[:, present].argmax(1)]
    table = confusion_matrix(predicted, labels, classes)
    hits = np.diag(table)[present]
    recall = hits / table.sum(1)[present]
    f1 = 2 * hits / np.maximum(1, table.sum(1) + table.sum(0))[present]
    areas = [roc_curve(probabilities[:, c], labels == c)[2] for c in present] if len(present) > 1 else [np.nan]
    return Scores(
        n=len(labels),
        accuracy=float((predicted == labels).mean()),
        accuracy_closed=float((closed == labels).mean()),
        uar=float(recall.mean()),
        macro_f1=float(f1.mean()),
        auc=float(np.mean(areas)),
        ece=calibration_bins(probabilities, labels, confidence).expected_error,
    )


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Two-sided p-value that two classifiers are equally often right on the same cases (McNemar 1947, mid-p).

    Only the cases that one of them alone gets right count; the mid-p variant keeps its level where they are few and is
    less timid than the exact test (Fagerland et al. 2013). 1 where the two never differ.

    Args:
        correct_a: ``(N,)`` bool, whether the first is right.
        correct_b: ``(N,)`` bool, the same cases in the same order.

    Raises:
        ValueError: the two are not vectors of the same length.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two classifiers are compared on the same cases, got shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    fewer, n = min(only_a, only_b), only_a + only_b
    return float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5))
