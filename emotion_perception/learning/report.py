"""The report of an evaluation: classification report, plots, the most confident errors, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_curve

matplotlib.use("Agg")  # no display is needed
from matplotlib import pyplot as plt

from emotion_perception.emotions import CIRCUMPLEX, EMOTION_COLOURS, EMOTIONS
from emotion_perception.files import replacing
from emotion_perception.learning.metrics import (
    CalibrationBins,
    calibration_bins,
    class_auc,
    intervals,
    risk_coverage,
    score,
)

# One colour per emotion, as in the overlay.
# Default cost of an error, (8, 8), rows the truth: the distance of the two emotions on the circumplex. Angry for
# fearful costs 0.2, angry for happy 1.5, calm for neutral 0.7.
COST = np.linalg.norm(CIRCUMPLEX[:, None] - CIRCUMPLEX[None], axis=2)
CLASSES = range(len(EMOTIONS))
SHOWN_ERRORS = 24
SHOWN_CONFUSIONS = 8


def write_report(
    out: Path,
    title: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray | None = None,
    extra: dict[str, Any] | None = None,
    images: Sequence[np.ndarray] | None = None,
    cost: np.ndarray = COST,
) -> dict[str, Any]:
    """Write ``report.json``, ``classification_report.txt`` and the plots into ``out``; return the scores as JSON.

    Args:
        out: folder, created if missing.
        title: heading of the text and of the plots.
        probabilities: ``(N, 8)`` in the order of the vocabulary.
        labels: ``(N,)`` true indices.
        confidence: ``(N,)`` as the classifier states it; None: its largest probability.
        extra: further results (seconds, counts, name of the model).
        images: N images, uint8 grey ``(H, W)`` or BGR ``(H, W, 3)``; if given, the most confident errors are drawn, and
            the mean face of each of the most frequent confusions, in which nobody can be recognised.
        cost: ``(8, 8)`` of predicting the column where the row is true.

    Raises:
        ValueError: there are no cases, or the numbers of images and labels differ.
    """
    if images is not None and len(images) != len(labels):
        raise ValueError(f"there are {len(images)} images for {len(labels)} labels")
    scores = score(probabilities, labels, confidence)
    out.mkdir(parents=True, exist_ok=True)
    predicted = probabilities.argmax(1)
    confidence = probabilities.max(1) if confidence is None else confidence
    table = confusion_matrix(labels, predicted, labels=CLASSES)
    bins = calibration_bins(probabilities, labels, confidence)
    answered, accuracy = risk_coverage(predicted == labels, confidence)
    rows = _per_class(probabilities, labels, table, cost)
    ends = asdict(intervals(probabilities, labels, confidence))
    summary: dict[str, Any] = asdict(scores)
    summary |= {f"{name}_interval": list(interval) for name, interval in ends.items()}
    summary |= {
        # The accuracy of a classifier that abstains on the least confident fifth of the cases.
        "accuracy_surest_80": float(accuracy[np.searchsorted(answered, 0.8 - 1e-9)]),
        "expected_cost": float((table * cost).sum() / len(labels)),
    }
    summary |= extra or {}
    details = summary | {
        "title": title,
        "labels": list(EMOTIONS),
        "per_class": rows,
        "cost": np.asarray(cost, dtype=float).tolist(),
        "confusion_matrix": table.tolist(),
        "calibration": {k: v.tolist() for k, v in asdict(bins).items()},
    }
    write_text(out / "report.json", json.dumps(finite(details), indent=1))
    write_text(out / "classification_report.txt", _as_text(title, rows, summary))
    _plot_confusion(out / "confusion_matrix.png", title, table)
    _plot_roc(out / "roc.png", title, probabilities, labels)
    _plot_calibration(out / "calibration.png", title, bins)
    _plot_risk_coverage(out / "risk_coverage.png", title, answered, accuracy)
    for name in ("mistakes.png", "confusions.png"):
        (out / name).unlink(missing_ok=True)  # of an earlier report
    wrong = np.flatnonzero(predicted != labels)
    if images is not None and len(wrong):
        shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN_ERRORS]
        captions = [f"{EMOTIONS[labels[i]]}\nseen as {EMOTIONS[predicted[i]]} {confidence[i]:.2f}" for i in shown]
        _draw_errors(out / "mistakes.png", title, [images[i] for i in shown], captions)
        _draw_confusions(out / "confusions.png", title, mean_faces(images, labels, predicted))
    return finite(summary)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text)


def finite(value: Any) -> Any:
    """The same structure with NaN and infinity replaced by None, which every JSON reader accepts."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _per_class(
    probabilities: np.ndarray, labels: np.ndarray, table: np.ndarray, cost: np.ndarray
) -> list[dict[str, Any]]:
    """Scores of each emotion that is true or predicted at least once; NaN where undefined."""
    scores = precision_recall_fscore_support(labels, probabilities.argmax(1), labels=CLASSES, zero_division=np.nan)
    rows = []
    for c, (precision, recall, f1, support) in enumerate(zip(*scores, strict=True)):
        if not support and not table[:, c].sum():
            continue
        rows.append(
            {
                "label": EMOTIONS[c],
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(f1),
                "auc": class_auc(probabilities, labels, c),
                "cost": float(table[c] @ cost[c] / support) if support else math.nan,  # mean over cases of this label
                "support": int(support),
            }
        )
    return rows


def _as_text(title: str, rows: list[dict[str, Any]], summary: dict[str, Any]) -> str:
    columns = ("precision", "recall", "f1", "auc", "cost")
    lines = [title, "", f"{'':>12}" + "".join(f"{name:>11}" for name in (*columns, "support"))]
    for row in rows:
        lines.append(f"{row['label']:>12}" + "".join(f"{row[k]:>11.3f}" for k in columns) + f"{row['support']:>11}")
    lines.append("")
    for name, value in summary.items():
        if name.endswith("_interval"):
            continue
        line = f"{name:>20}  {round(value, 4) if isinstance(value, float) else value}"
        if ends := summary.get(f"{name}_interval"):
            line += f"  ({ends[0]:.4f} to {ends[1]:.4f}, 95 % confidence)"
        lines.append(line)
    return "\n".join([*lines, ""])


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def _plot_confusion(path: Path, title: str, table: np.ndarray) -> None:
    shown = np.flatnonzero(table.sum(0) + table.sum(1))
    counts = table[np.ix_(shown, shown)]
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    names = [EMOTIONS[i] for i in shown]
    figure, axes = plt.subplots(figsize=(1.6 + 0.75 * len(shown), 1.2 + 0.7 * len(shown)))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        colour = "white" if shares[i, j] > 0.55 else "black"
        axes.text(j, i, f"{shares[i, j]:.0%}\n{counts[i, j]}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(shown)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(shown)), names)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    _save(figure, path)


def _plot_roc(path: Path, title: str, probabilities: np.ndarray, labels: np.ndarray) -> None:
    figure, axes = plt.subplots(figsize=(6, 5.4))
    for c, name in enumerate(EMOTIONS):
        if 0 < (labels == c).sum() < len(labels):
            false, true, _ = roc_curve(labels == c, probabilities[:, c])
            axes.plot(false, true, color=EMOTION_COLOURS[c], label=f"{name} {class_auc(probabilities, labels, c):.3f}")
    axes.plot([0, 1], [0, 1], "--", color="#cccccc")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", title=f"{title}: ROC, one against the rest")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="area under the curve")
    _save(figure, path)


def _plot_calibration(path: Path, title: str, bins: CalibrationBins) -> None:
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(6, 6.4), height_ratios=(3, 1), sharex=True)
    middle = (np.arange(len(bins.share)) + 0.5) / len(bins.share)
    upper.plot([0, 1], [0, 1], "--", color="#cccccc")
    spread = 1.96 * bins.deviation
    upper.errorbar(
        bins.confidence, bins.confidence, spread, fmt="none", ecolor="#bbbbbb", capsize=3, label="95 % by chance"
    )
    upper.plot(bins.confidence, bins.accuracy, "o-", color=EMOTION_COLOURS[3])
    error = f"expected error {bins.expected_error:.3f}, {bins.expected_error_by_chance:.3f} by chance"
    upper.set(ylabel="accuracy", title=f"{title}: calibration\n{error}")
    upper.legend(loc="upper left")
    lower.bar(middle, bins.share, width=0.9 / len(bins.share), color=EMOTION_COLOURS[3])
    lower.set(xlabel="confidence", ylabel="share")
    _save(figure, path)


def _plot_risk_coverage(path: Path, title: str, answered: np.ndarray, accuracy: np.ndarray) -> None:
    figure, axes = plt.subplots(figsize=(6, 4.2))
    axes.plot(answered, accuracy, drawstyle="steps-pre", color=EMOTION_COLOURS[3])
    axes.plot(
        answered[-1:], accuracy[-1:], "o", color=EMOTION_COLOURS[3], label=f"all answered: {accuracy[-1]:.1%} correct"
    )
    axes.set(xlim=(0, 1.02), ylim=(min(0.5, accuracy.min()) - 0.02, 1.02))
    axes.set(
        xlabel="share answered, most confident first", ylabel="accuracy of the answers", title=f"{title}: abstention"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    _save(figure, path)


def _draw_errors(path: Path, title: str, images: list[np.ndarray], captions: list[str]) -> None:
    columns = min(6, len(images))
    rows = math.ceil(len(images) / columns)
    figure, grid = plt.subplots(rows, columns, figsize=(1.7 * columns + 0.4, 2.1 * rows + 0.6), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        colour = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.ndim == 3 else cv2.COLOR_GRAY2RGB)
        axes.imshow(colour, interpolation="nearest")
        axes.set_title(caption, fontsize=7)
    figure.suptitle(f"{title}: most confident errors", fontsize=9)
    figure.tight_layout()
    _save(figure, path)


def mean_faces(
    images: Sequence[np.ndarray], labels: np.ndarray, predicted: np.ndarray
) -> list[tuple[str, np.ndarray | None]]:
    """Mean faces of the most frequent confusions, and of the correct predictions of the same emotions.

    Returns:
        Two pairs of caption and mean face, ``(48, 48)`` grey, for each confusion, the most frequent first: of the faces
        that were confused, and of those of the same emotion that were not; None where there are none.
    """
    errors = confusion_matrix(labels, predicted, labels=CLASSES)
    np.fill_diagonal(errors, 0)
    found: list[tuple[str, np.ndarray | None]] = []
    for pair in np.argsort(-errors, axis=None, kind="stable")[:SHOWN_CONFUSIONS]:
        true, confused = divmod(int(pair), len(EMOTIONS))
        for answer in (confused, true) if errors[true, confused] else ():
            rows = np.flatnonzero((labels == true) & (predicted == answer))
            chosen = [images[int(i)] for i in rows]
            grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image for image in chosen]
            faces = [cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in grey]
            caption = f"{EMOTIONS[true]}\nseen as {EMOTIONS[answer]} ({len(rows)})"
            found.append((caption, np.mean(faces, axis=0) if faces else None))
    return found


def _draw_confusions(path: Path, title: str, faces: list[tuple[str, np.ndarray | None]]) -> None:
    columns = len(faces) // 2
    figure, grid = plt.subplots(2, columns, figsize=(1.7 * columns + 0.4, 4.6), squeeze=False)
    for axes, (caption, face) in zip(grid.T.flat, faces, strict=True):
        axes.axis("off")
        axes.set_title(caption, fontsize=7)
        if face is not None:
            axes.imshow(face, cmap="gray")
    figure.suptitle(f"{title}: mean faces of the most frequent confusions, and of correct ones", fontsize=9)
    figure.tight_layout()
    _save(figure, path)
