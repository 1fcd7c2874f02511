"""Scores of a classifier that says how sure it is. Numpy in, plain numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binom, norm


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
    ece_by_chance: float  # what so few cases would show on average, were every confidence right


Interval = tuple[float, float]  # lower and upper end


@dataclass(frozen=True)
class Intervals:
    """Where the scores of :class:`Scores` would lie on all such data, with 95 % confidence."""

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
    deviation: np.ndarray  # (B,) standard deviation of the accuracy, were every confidence right

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0..1: the mean gap between confidence and accuracy."""
        return float(np.nansum(np.abs(self.confidence - self.accuracy) * self.share))

    @property
    def expected_error_by_chance(self) -> float:
        """The mean of :attr:`expected_error` over samples as small as this, were every confidence right: the accuracy
        of a bin is off to either side, and the error adds up how far (Roelofs et al. 2022 on this bias)."""
        return float(np.nansum(self.deviation * self.share) * np.sqrt(2 / np.pi))


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
            deviation=np.sqrt(np.bincount(which, confidence * (1 - confidence), bins)) / count,
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
    uar, macro_f1 = _recall_and_f1(table[None])
    calibration = calibration_bins(probabilities, labels, confidence)
    areas = [roc_curve(probabilities[:, c], labels == c)[2] for c in present] if len(present) > 1 else [np.nan]
    return Scores(
        n=len(labels),
        accuracy=float((predicted == labels).mean()),
        accuracy_closed=float((closed == labels).mean()),
        uar=float(uar[0]),
        macro_f1=float(macro_f1[0]),
        auc=float(np.mean(areas)),
        ece=calibration.expected_error,
        ece_by_chance=calibration.expected_error_by_chance,
    )


def wilson_interval(hits: int, n: int, level: float = 0.95) -> Interval:
    """Confidence interval of a share, ``hits`` of ``n`` > 0 (Wilson 1927): sound for few cases and near 0 or 1."""
    z = float(norm.ppf((1 + level) / 2))
    centre = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """95 % intervals of the scores of :func:`score`, whose arguments these are; the same seed gives the same ones.

    Accuracy's is Wilson's; the others are bootstrapped over the cases (Efron 1979). The calibration error of a resample
    is biased upwards as that of any finite sample, so its interval is the basic one, which takes the bias back, and
    begins at 0 where perfect confidence could have scored as badly by chance. Cases count as independent: several by
    one speaker make the truth wider than this.
    """
    n, classes, bins = len(labels), probabilities.shape[1], 15
    predicted = probabilities.argmax(1)
    hits = predicted == labels
    confidence = probabilities.max(1) if confidence is None else confidence
    cell, gap = labels * classes + predicted, confidence - hits
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    rng = np.random.default_rng(seed)
    drawn: list[np.ndarray] = []
    rows = max(1, 4_000_000 // n)  # resamples at once: some 100 MB
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        cases = rng.integers(0, n, (count, n))
        row = np.arange(count)[:, None]
        tables = np.bincount((cell[cases] + row * classes**2).ravel(), minlength=count * classes**2)
        gaps = np.bincount((which[cases] + row * bins).ravel(), gap[cases].ravel(), count * bins)
        uar, macro_f1 = _recall_and_f1(tables.reshape(count, classes, classes))
        drawn.append(np.stack([uar, macro_f1, np.abs(gaps.reshape(count, bins)).sum(1) / n]))
    low, high = np.quantile(np.concatenate(drawn, axis=1), [0.025, 0.975], axis=1)
    found = calibration_bins(probabilities, labels, confidence, bins)
    ece = found.expected_error
    perfect = np.nansum(np.abs(rng.normal(size=(resamples, bins))) * found.deviation * found.share, axis=1)
    lower = 0.0 if ece <= np.quantile(perfect, 0.975) else max(0.0, float(2 * ece - high[2]))
    return Intervals(
        accuracy=wilson_interval(int(hits.sum()), n),
        uar=(float(low[0]), float(high[0])),
        macro_f1=(float(low[1]), float(high[1])),
        ece=(lower, max(lower, float(2 * ece - low[2]))),
    )


def label_ceiling(votes: np.ndarray, panels: int = 50, seed: int = 0) -> tuple[float, float]:
    """Accuracy and macro F1 that even one who knows what share of people names each class cannot expect to exceed.

    Such a reader names the class of the largest share; the label is what a panel, drawn anew from these shares and as
    large as the one that voted, gives most votes to. ``votes`` ``(N, K)``, one or more a case. The shares that were
    seen stand for the true ones, which are less extreme: the true ceiling lies a little lower.
    """
    rng = np.random.default_rng(seed)
    size, named = votes.sum(1).astype(int), votes.argmax(1)
    shares = votes / votes.sum(1, keepdims=True, dtype=np.float64)
    classes = votes.shape[1]
    tables = np.stack(
        [confusion_matrix(named, rng.multinomial(size, shares).argmax(1), classes) for _ in range(panels)]
    )
    accuracy = np.trace(tables, axis1=1, axis2=2).sum() / tables.sum()
    return float(accuracy), float(_recall_and_f1(tables)[1].mean())


def _recall_and_f1(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unweighted average recall and macro F1 ``(R,)`` of confusion matrices ``(R, K, K)``, over the labels in each."""
    hits, support, predicted = np.diagonal(tables, axis1=1, axis2=2), tables.sum(2), tables.sum(1)
    present = support > 0
    recall = np.where(present, hits / np.maximum(1, support), 0)
    f1 = np.where(present, 2 * hits / np.maximum(1, support + predicted), 0)
    return recall.sum(1) / present.sum(1), f1.sum(1) / present.sum(1)


def risk_coverage(correct: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What abstaining gains (El-Yaniv & Wiener 2010): share of the cases answered, and accuracy on those, surest first.

    Cases of equal confidence are answered together.

    Args:
        correct: ``(N,)`` bool, N > 0.
        confidence: ``(N,)``.

    Returns:
        Shares, rising to 1, and accuracies, both ``(M,)`` for M different confidences.
    """
    order = np.argsort(-confidence, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    answered = last_of_tie + 1
    return answered / len(order), np.cumsum(correct[order])[last_of_tie] / answered


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
