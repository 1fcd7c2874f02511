"""Scores of a probabilistic classifier: scikit-learn's, and calibration, intervals and abstention, which it lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binom, binomtest
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

BINS = 15  # of the calibration error


@dataclass(frozen=True)
class Scores:
    """The scores of one evaluation; all but ``n`` are shares 0..1, NaN where undefined."""

    n: int
    accuracy: float  # among all labels of the vocabulary
    accuracy_closed: float  # among the labels present in the data
    uar: float  # unweighted average recall over the labels present
    macro_f1: float  # over the labels present
    auc: float  # area under the ROC curve, one against the rest, mean over the labels present
    ece: float  # expected calibration error
    ece_by_chance: float  # its expectation for so few cases if every confidence is right


Interval = tuple[float, float]  # lower and upper end


@dataclass(frozen=True)
class Intervals:
    """95 % confidence intervals of the scores of :class:`Scores`."""

    accuracy: Interval
    uar: Interval
    macro_f1: Interval
    ece: Interval


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale ``s`` (the inverse temperature, Guo et al. 2017) that minimises the log loss of ``softmax(s * logits)``.

    Args:
        logits: ``(N, K)``.
        labels: ``(N,)`` indices 0..K-1.

    Returns:
        The scale, and the mean log loss at it, nats.
    """

    def loss(log_scale: float) -> float:
        return float(-log_softmax(np.exp(log_scale) * logits, axis=1)[np.arange(len(labels)), labels].mean())

    fitted = minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded")
    return float(np.exp(fitted.x)), float(fitted.fun)


@dataclass(frozen=True)
class CalibrationBins:
    """A reliability diagram: bins of equal width in confidence, NaN where a bin is empty."""

    share: np.ndarray  # (B,) share of the cases in the bin
    confidence: np.ndarray  # (B,) mean confidence
    accuracy: np.ndarray  # (B,)
    deviation: np.ndarray  # (B,) standard deviation of the accuracy if every confidence is right

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0..1: the mean distance of confidence and accuracy."""
        return float(np.nansum(np.abs(self.confidence - self.accuracy) * self.share))

    @property
    def expected_error_by_chance(self) -> float:
        """Expectation of :attr:`expected_error` for a sample of this size if every confidence is right.

        The accuracy of a bin deviates to either side, and the error adds up the absolute deviations (on this bias:
        Roelofs et al. 2022).
        """
        return float(np.nansum(self.deviation * self.share) * np.sqrt(2 / np.pi))


def calibration_bins(
    probabilities: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray | None = None,
    bins: int = BINS,
    weights: np.ndarray | None = None,
) -> CalibrationBins:
    """Calibration of the confidence (Guo et al. 2017).

    Args:
        probabilities: ``(N, K)``, rows sum to 1.
        labels: ``(N,)`` indices 0..K-1.
        confidence: ``(N,)`` as the classifier states it; None: the largest probability.
        bins: number of bins.
        weights: ``(N,)`` of the cases; None: all alike.

    Example:
        >>> calibration_bins(np.tile([0.8, 0.2], (10, 1)), np.array([0] * 5 + [1] * 5)).expected_error.__round__(3)
        0.3
    """
    confidence = probabilities.max(1) if confidence is None else confidence
    correct = probabilities.argmax(1) == labels
    weights = np.ones(len(labels)) if weights is None else weights
    bin_of = np.clip((confidence * bins).astype(int), 0, bins - 1)
    count = np.bincount(bin_of, weights, bins)
    with np.errstate(invalid="ignore"):
        return CalibrationBins(
            share=count / max(1e-9, weights.sum()),
            confidence=np.bincount(bin_of, weights * confidence, bins) / count,
            accuracy=np.bincount(bin_of, weights * correct, bins) / count,
            deviation=np.sqrt(np.bincount(bin_of, weights**2 * confidence * (1 - confidence), bins)) / count,
        )


def score(probabilities: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None = None) -> Scores:
    """Score distributions ``(N, K)`` against labels ``(N,)``.

    Args:
        probabilities, labels, confidence: as for :func:`calibration_bins`.

    Raises:
        ValueError: there are no cases.
    """
    if not len(labels):
        raise ValueError("nothing to score: no labelled case was readable")
    present = np.unique(labels)
    predicted = probabilities.argmax(1)
    closed = present[probabilities[:, present].argmax(1)]
    averaged = {"labels": present, "average": "macro", "zero_division": 0}
    calibration = calibration_bins(probabilities, labels, confidence)
    return Scores(
        n=len(labels),
        accuracy=float((predicted == labels).mean()),
        accuracy_closed=float((closed == labels).mean()),
        uar=float(recall_score(labels, predicted, **averaged)),
        macro_f1=float(f1_score(labels, predicted, **averaged)),
        auc=float(np.mean([class_auc(probabilities, labels, c) for c in present])),
        ece=calibration.expected_error,
        ece_by_chance=calibration.expected_error_by_chance,
    )


def class_auc(probabilities: np.ndarray, labels: np.ndarray, label: int) -> float:
    """Area under the ROC curve of one label against the rest; NaN if all cases or none have it."""
    positive = labels == label
    return float(roc_auc_score(positive, probabilities[:, label])) if 0 < positive.sum() < len(labels) else np.nan


def intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """95 % confidence intervals of the scores of :func:`score`.

    Accuracy has Wilson's interval (1927); the others are bootstrapped over the cases (Efron 1979). The calibration
    error of a resample is biased upwards like that of any finite sample. Its interval is therefore the basic bootstrap
    interval, which removes the bias, and begins at 0 if perfect confidence could have given such an error by chance.
    Cases count as independent: with several cases per speaker the true interval is wider.

    Args:
        probabilities, labels, confidence: as for :func:`score`.
        resamples: number of bootstrap samples.
        seed: the same seed gives the same intervals.
    """
    n, classes = len(labels), probabilities.shape[1]
    predicted = probabilities.argmax(1)
    correct = predicted == labels
    confidence = probabilities.max(1) if confidence is None else confidence
    cell, gap = labels * classes + predicted, confidence - correct
    bin_of = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    rng = np.random.default_rng(seed)
    samples: list[np.ndarray] = []
    rows = max(1, 4_000_000 // n)  # resamples at once: about 100 MB
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        cases = rng.integers(0, n, (count, n))
        row = np.arange(count)[:, None]
        tables = np.bincount((cell[cases] + row * classes**2).ravel(), minlength=count * classes**2)
        gaps = np.bincount((bin_of[cases] + row * BINS).ravel(), gap[cases].ravel(), count * BINS)
        uar, macro_f1 = _recall_and_f1(tables.reshape(count, classes, classes))
        samples.append(np.stack([uar, macro_f1, np.abs(gaps.reshape(count, BINS)).sum(1) / n]))
    low, high = np.quantile(np.concatenate(samples, axis=1), [0.025, 0.975], axis=1)
    calibration = calibration_bins(probabilities, labels, confidence)
    ece = calibration.expected_error
    deviations = np.abs(rng.normal(size=(resamples, BINS))) * calibration.deviation
    by_chance = np.quantile(np.nansum(deviations * calibration.share, axis=1), 0.975)
    lower = 0.0 if ece <= by_chance else max(0.0, float(2 * ece - high[2]))
    wilson = binomtest(int(correct.sum()), n).proportion_ci(0.95, "wilson")
    return Intervals(
        accuracy=(float(wilson.low), float(wilson.high)),
        uar=(float(low[0]), float(high[0])),
        macro_f1=(float(low[1]), float(high[1])),
        ece=(lower, max(lower, float(2 * ece - low[2]))),
    )


def label_ceiling(votes: np.ndarray, panels: int = 50, seed: int = 0) -> tuple[float, float]:
    """Accuracy and macro F1 that no classifier can be expected to exceed, given how far annotators agree.

    The ideal classifier names the class with the largest share of votes; a label is the majority of a panel drawn from
    these shares, as large as the one that voted. The observed shares stand for the true ones, which are less extreme:
    the true ceiling is slightly lower.

    Args:
        votes: ``(N, K)``, at least one per case.
        panels: number of drawn panels.
        seed: the same seed gives the same ceiling.
    """
    rng = np.random.default_rng(seed)
    size, ideal = votes.sum(1).astype(int), votes.argmax(1)
    shares = votes / votes.sum(1, keepdims=True, dtype=np.float64)
    classes = range(votes.shape[1])
    tables = np.stack(
        [confusion_matrix(rng.multinomial(size, shares).argmax(1), ideal, labels=classes) for _ in range(panels)]
    )
    accuracy = np.trace(tables, axis1=1, axis2=2).sum() / tables.sum()
    return float(accuracy), float(_recall_and_f1(tables)[1].mean())


def _recall_and_f1(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unweighted average recall and macro F1 ``(R,)`` of R confusion matrices ``(R, K, K)``, over the labels in each.

    For resamples: scikit-learn takes one at a time, a hundred times as long.
    """
    hits, support, predicted = np.diagonal(tables, axis1=1, axis2=2), tables.sum(2), tables.sum(1)
    present = support > 0
    recall = np.where(present, hits / np.maximum(1, support), 0)
    f1 = np.where(present, 2 * hits / np.maximum(1, support + predicted), 0)
    return recall.sum(1) / present.sum(1), f1.sum(1) / present.sum(1)


def risk_coverage(correct: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy on the most confident cases (El-Yaniv & Wiener 2010), by the share of cases answered.

    Cases of equal confidence are answered together.

    Args:
        correct: ``(N,)`` bool, N > 0.
        confidence: ``(N,)``.

    Returns:
        Shares, increasing to 1, and accuracies, both ``(M,)`` for M different confidences.
    """
    order = np.argsort(-confidence, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    answered = last_of_tie + 1
    return answered / len(order), np.cumsum(correct[order])[last_of_tie] / answered


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Two-sided p-value that two classifiers are correct equally often on the same cases (McNemar 1947, mid-p).

    Only the cases count that exactly one of them gets right. The mid-p variant keeps its level where these are few and
    is less conservative than the exact test (Fagerland et al. 2013). 1 where the two never differ.

    Args:
        correct_a: ``(N,)`` bool, whether the first is correct.
        correct_b: ``(N,)`` bool, the second on the same cases in the same order.

    Raises:
        ValueError: the two are not vectors of the same length.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two classifiers are compared on the same cases, got shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    fewer, n = min(only_a, only_b), only_a + only_b
    return float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5))
