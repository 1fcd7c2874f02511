"""Write what an evaluation found: a classification report, confusion matrix, ROC and calibration plots, and JSON."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display is needed
from matplotlib import pyplot as plt

from emotion_perception.emotions import EMOTIONS
from emotion_perception.learning.metrics import CalibrationBins, calibration_bins, confusion_matrix, roc_curve, score
from emotion_perception.overlay import EMOTION_COLOURS

# One colour per emotion, as in the overlay.
PALETTE = tuple(f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in EMOTION_COLOURS)


def write_report(
    out: Path,
    title: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``report.json``, ``classification_report.txt`` and three PNGs into ``out``; return the scores as JSON-able.

    Args:
        out: folder, made where it is missing.
        title: heads the text and the plots.
        probabilities: ``(N, 8)`` in the vocabulary's order.
        labels: ``(N,)`` indices of the truth.
        confidence: ``(N,)`` as stated by the classifier; its largest probability where it is left out.
        extra: goes into the result beside the scores (seconds, counts, model name).

    Raises:
        ValueError: there is nothing to score.
    """
    scores = score(probabilities, labels, confidence)
    out.mkdir(parents=True, exist_ok=True)
    table = confusion_matrix(probabilities.argmax(1), labels, len(EMOTIONS))
    bins = calibration_bins(probabilities, labels, confidence)
    rows = _per_class(probabilities, labels, table)
    summary: dict[str, Any] = asdict(scores) | (extra or {})
    details = summary | {
        "title": title,
        "labels": list(EMOTIONS),
        "classes": rows,
        "confusion_matrix": table.tolist(),
        "calibration": {k: v.tolist() for k, v in asdict(bins).items()},
    }
    write_text(out / "report.json", json.dumps(finite(details), indent=1))
    write_text(out / "classification_report.txt", _as_text(title, rows, summary))
    _plot_confusion(out / "confusion_matrix.png", title, table)
    _plot_roc(out / "roc.png", title, probabilities, labels)
    _plot_calibration(out / "calibration.png", title, bins)
    return finite(summary)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def finite(value: Any) -> Any:
    """The same structure with NaN and infinity as None, so that it is JSON for every reader."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _per_class(probabilities: np.ndarray, labels: np.ndarray, table: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for c, name in enumerate(EMOTIONS):
        support, predicted, hits = int(table[c].sum()), int(table[:, c].sum()), int(table[c, c])
        if not support and not predicted:
            continue
        rows.append(
            {
                "label": name,
                "precision": hits / predicted if predicted else math.nan,
                "recall": hits / support if support else math.nan,
                "f1": 2 * hits / (support + predicted),
                "auc": roc_curve(probabilities[:, c], labels == c)[2] if 0 < support < len(labels) else math.nan,
                "support": support,
            }
        )
    return rows


def _as_text(title: str, rows: list[dict[str, Any]], summary: dict[str, Any]) -> str:
    lines = [title, "", f"{'':>12}{'precision':>11}{'recall':>9}{'f1':>9}{'auc':>9}{'support':>9}"]
    for row in rows:
        numbers = "".join(f"{row[k]:>{w}.3f}" for k, w in (("precision", 11), ("recall", 9), ("f1", 9), ("auc", 9)))
        lines.append(f"{row['label']:>12}{numbers}{row['support']:>9}")
    lines += ["", *(f"{k:>16}  {round(v, 4) if isinstance(v, float) else v}" for k, v in summary.items()), ""]
    return "\n".join(lines)


def _save(figure: Any, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    os.replace(partial, path)


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
            false, true, area = roc_curve(probabilities[:, c], labels == c)
            axes.plot(false, true, color=PALETTE[c], label=f"{name} {area:.3f}")
    axes.plot([0, 1], [0, 1], "--", color="#cccccc")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", title=f"{title}: ROC, one against the rest")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="area under the curve")
    _save(figure, path)


def _plot_calibration(path: Path, title: str, bins: CalibrationBins) -> None:
    figure, (above, below) = plt.subplots(2, 1, figsize=(6, 6.4), height_ratios=(3, 1), sharex=True)
    middle = (np.arange(len(bins.share)) + 0.5) / len(bins.share)
    above.plot([0, 1], [0, 1], "--", color="#cccccc")
    above.plot(bins.confidence, bins.accuracy, "o-", color=PALETTE[3])
    above.set(ylabel="accuracy", title=f"{title}: calibration, expected error {bins.expected_error:.3f}")
    below.bar(middle, bins.share, width=0.9 / len(bins.share), color=PALETTE[3])
    below.set(xlabel="confidence", ylabel="share")
    _save(figure, path)
