"""Voices of a corpus, a microphone and mostly a language that a head was never trained on, by several methods.

For each corpus, a linear head is trained on all others and tested on it. The heads read the pretrained encoder as it
is, because training it once per corpus and method would take hours; the published network, whose encoder has been
trained on some of the corpora, is better. What is compared are methods.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from emotion_perception.acoustic.place import ClassStatistics, PlaceAdaptation
from emotion_perception.emotions import EMOTIONS, NEUTRAL
from emotion_perception.learning import metrics
from emotion_perception.learning.report import write_text
from emotion_perception.learning.voices.corpora import corpus_labels, find_corpora, load_speech
from emotion_perception.learning.voices.frozen import FrozenFeatures, frozen_features

COMPONENTS = 256  # principal components of the encoder's statistics
ABSENT = -20.0  # logit of a label that no training clip has
LOSS_WEIGHT = 500.0  # of the mean log loss against half of the weights' squared norm
INNER_FOLDS = 3  # for logits of speakers that a head was not trained on, from which the place's statistics are made
STREAM, NEUTRAL_SHARE, STREAMS = 150, 0.9, 5  # utterances heard in a place, share of neutral ones, random repetitions
RESAMPLES = 1000
REFERENCE = "labels of a corpus equally frequent"
METHODS = (
    "labels as frequent as in the corpora",
    REFERENCE,
    "+ adaptation to the place",
    "+ prosody relative to the speaker",
    "+ both",
    "+ mean logits of the corpus subtracted",
    "+ features centred by corpus",
)
ADAPTED = (METHODS[2], METHODS[4])


def leave_corpus_out(data: Path | Sequence[Path], out: Path, initial: Path, cache: Path) -> dict[str, Any]:
    """Compare :data:`METHODS`; writes ``left_out_corpora.json`` and ``left_out_corpora.md`` into ``out``.

    Args:
        data: corpora, or folders that contain corpora; those with one speaker are left out.
        initial: weights of the pretrained encoder.
        cache: folder in which the clips' features are kept.

    Returns:
        For each method and corpus, and their mean: UAR in percent among the corpus' own labels with a 95 % interval,
        gain over :data:`REFERENCE` on the same clips likewise, both by a bootstrap over speakers, and the ECE after
        calibration on corpora that were left out within the training corpora.

    Raises:
        FileNotFoundError: ``data`` contains no corpus.
        ValueError: there are fewer than three corpora.
        ModelError: ``initial`` cannot be used.
    """
    found = [load_speech(folder, "all") for folder in find_corpora(data).values()]
    splits = [split for split in found if len(np.unique(split.speakers)) > 1]
    if len(splits) < 3:
        raise ValueError(f"leave-corpus-out needs three corpora, {data} has {len(splits)}")
    clips = frozen_features(splits, initial, cache)
    outputs = compute(clips)
    summary = {"protocol": "leave-corpus-out", "clips": len(clips.labels), "methods": score(clips, outputs)}
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "left_out_corpora.json", json.dumps(summary, indent=1))
    write_text(out / "left_out_corpora.md", as_table(summary))
    return summary


def compute(clips: FrozenFeatures) -> dict[str, np.ndarray]:
    """Logits ``(repetitions, N, 8)`` of all clips by method, each from a head that has not seen the clip's corpus."""
    n = len(clips.labels)
    found = {method: np.zeros((STREAMS if method in ADAPTED else 1, n, len(EMOTIONS))) for method in METHODS}
    relative = clips.prosody - _group_means(clips.prosody, clips.speakers)
    for corpus in tqdm(np.unique(clips.corpora), desc="corpora left out"):
        test = clips.corpora == corpus
        train = ~test
        reduction = make_pipeline(
            StandardScaler(), PCA(min(COMPONENTS, train.sum() - 1, clips.encoder.shape[1]), random_state=0)
        )
        reduction.fit(clips.encoder[train].astype(np.float32))
        x = reduction.transform(clips.encoder.astype(np.float32))
        x /= (x[train].std(axis=0) + 1e-6) ** 0.7  # between raw variances and white ones
        scaled = (relative - relative[train].mean(axis=0)) / (relative[train].std(axis=0) + 1e-3)
        with_prosody = np.hstack([x, scaled])
        centred = x - _group_means(x, clips.corpora)
        even = label_weights(clips.labels[train], clips.corpora[train], balanced=True)
        own = label_weights(clips.labels[train], clips.corpora[train], balanced=False)
        plain, prosodic = (_Head(clips, features, train, even) for features in (x, with_prosody))
        found[METHODS[0]][0, test] = _Head(clips, x, train, own).logits(test)
        found[REFERENCE][0, test] = plain.logits(test)
        found[METHODS[2]][:, test] = plain.adapted(test)
        found[METHODS[3]][0, test] = prosodic.logits(test)
        found[METHODS[4]][:, test] = prosodic.adapted(test)
        found[METHODS[5]][0, test] = plain.logits(test) - plain.logits(test).mean(axis=0)
        found[METHODS[6]][0, test] = _Head(clips, centred, train, even).logits(test)
    return found


class _Head:
    """A linear head on features of the ``train`` clips, calibrated for corpora that it was not trained on."""

    def __init__(self, clips: FrozenFeatures, features: np.ndarray, train: np.ndarray, weights: np.ndarray) -> None:
        self._clips, self._features, self._train, self._weights = clips, features, np.flatnonzero(train), weights
        self._model = self._fit(np.arange(len(self._train)))
        self._scale = self._calibrate()

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """``(K, 8)`` of the clips ``rows``, ``(N,)`` bool; labels without a training clip are far below all others."""
        return self._scale * self._apply(self._model, np.flatnonzero(rows))

    def adapted(self, test: np.ndarray) -> np.ndarray:
        """``(STREAMS, K, 8)``: after hearing :data:`STREAM` unlabelled utterances of the corpus, mostly neutral."""
        labels, raw = self._clips.labels[test], self._apply(self._model, np.flatnonzero(test))
        statistics = self._statistics()
        neutral = labels == NEUTRAL
        share = np.where(neutral, NEUTRAL_SHARE / max(neutral.sum(), 1), (1 - NEUTRAL_SHARE) / max((~neutral).sum(), 1))
        share /= share.sum()
        found = []
        for repetition in range(STREAMS):
            heard = np.random.default_rng(repetition).choice(len(labels), STREAM, p=share)
            place = PlaceAdaptation(statistics)
            place.fit(raw[heard])
            found.append(self._scale * place.normalise(raw))
        return np.array(found)

    def _fit(self, chosen: np.ndarray) -> LogisticRegression:
        """Train on the rows ``chosen`` of the training clips."""
        rows = self._train[chosen]
        model = LogisticRegression(C=LOSS_WEIGHT / len(rows), max_iter=60, tol=1e-3)
        return model.fit(self._features[rows], self._clips.labels[rows], self._weights[chosen])

    def _apply(self, model: LogisticRegression, rows: np.ndarray) -> np.ndarray:
        logits = np.full((len(rows), len(EMOTIONS)), ABSENT)
        logits[:, model.classes_] = model.decision_function(self._features[rows])
        return logits

    def _held_out(self, groups: np.ndarray, folds: int) -> np.ndarray:
        """Logits of the training clips, each by a head that was not trained on the clip's group."""
        held = np.zeros((len(self._train), len(EMOTIONS)))
        for inner, outer in GroupKFold(folds).split(held, groups=groups):
            held[outer] = self._apply(self._fit(inner), self._train[outer])
        return held

    def _calibrate(self) -> float:
        """Factor of the logits, by log loss on each training corpus with the others as training data."""
        corpora = self._clips.corpora[self._train]
        held = self._held_out(corpora, len(np.unique(corpora)))
        present = np.array([corpus_labels(corpus) for corpus in corpora])
        return metrics.fit_temperature(np.where(present, held, ABSENT), self._clips.labels[self._train])[0]

    def _statistics(self) -> ClassStatistics:
        held = self._held_out(self._clips.speakers[self._train], INNER_FOLDS)
        return ClassStatistics.of(held, self._clips.labels[self._train], self._clips.corpora[self._train])


def label_weights(labels: np.ndarray, corpora: np.ndarray, balanced: bool) -> np.ndarray:
    """Weights ``(N,)`` of clips, 1 on average; a corpus of n clips has the weight sqrt(n) in total.

    Args:
        balanced: all labels of a corpus have the same weight, whatever their number of clips.
    """
    weights = np.zeros(len(labels))
    for corpus in np.unique(corpora):
        mine = corpora == corpus
        present = np.unique(labels[mine])
        for label in present:
            rows = mine & (labels == label)
            weights[rows] = np.sqrt(mine.sum()) / (len(present) * rows.sum() if balanced else mine.sum())
    return weights / weights.mean()


def _group_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """``(N, D)``: for each row the mean of its group."""
    means = np.empty_like(values)
    for group in np.unique(groups):
        means[groups == group] = values[groups == group].mean(axis=0)
    return means


def score(clips: FrozenFeatures, outputs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row per method, see :func:`leave_corpus_out`."""
    corpora = [str(corpus) for corpus in np.unique(clips.corpora)]
    draws = {corpus: speaker_draws(clips.speakers[clips.corpora == corpus]) for corpus in corpora}
    recalls, errors = {}, {}
    for method, logits in outputs.items():
        for corpus in corpora:
            rows = np.flatnonzero(clips.corpora == corpus)
            masked = np.where(corpus_labels(corpus), logits[:, rows], -np.inf)
            hits = (masked.argmax(axis=2) == clips.labels[rows]).mean(axis=0)  # mean over repetitions
            recalls[method, corpus] = resampled_uar(hits, clips.labels[rows], draws[corpus])
            p = np.exp(masked - masked.max(axis=2, keepdims=True))
            p /= p.sum(axis=2, keepdims=True)
            errors[method, corpus] = float(np.mean([metrics.score(each, clips.labels[rows]).ece for each in p]))
    table = []
    for method in outputs:
        row: dict[str, Any] = {"method": method, "corpora": {}}
        for corpus in corpora:
            gain = recalls[method, corpus] - recalls[REFERENCE, corpus]
            row["corpora"][corpus] = _described(recalls[method, corpus], gain, errors[method, corpus])
        mean = np.mean([recalls[method, corpus] for corpus in corpora], axis=0)
        base = np.mean([recalls[REFERENCE, corpus] for corpus in corpora], axis=0)
        row["mean"] = _described(mean, mean - base, float(np.mean([errors[method, corpus] for corpus in corpora])))
        table.append(row)
    return table


def speaker_draws(speakers: np.ndarray) -> np.ndarray:
    """``(1 + RESAMPLES, K)`` weights of clips by ``(K,)`` speakers: all 1, then bootstraps over speakers."""
    names, speaker = np.unique(speakers, return_inverse=True)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    return np.vstack([np.ones(len(speaker), int), counts[:, speaker]])


def resampled_uar(hits: np.ndarray, labels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """``(1 + RESAMPLES,)`` UAR in percent under each row of weights; labels that a resample lacks are left out."""
    with np.errstate(invalid="ignore"):
        recalls = [
            (draws[:, rows] @ hits[rows]) / draws[:, rows].sum(axis=1)
            for rows in (labels == label for label in np.unique(labels))
        ]
    return np.asarray(100 * np.nanmean(recalls, axis=0))


def _described(uar: np.ndarray, gain: np.ndarray, ece: float) -> dict[str, Any]:
    """Value over all clips and 95 % interval over the resamples."""

    def interval(values: np.ndarray) -> list[float]:
        return [round(float(v), 1) for v in np.percentile(values[1:], [2.5, 97.5])]

    return {
        "uar": round(float(uar[0]), 1),
        "uar_95": interval(uar),
        "gain": round(float(gain[0]), 1),
        "gain_95": interval(gain),
        "ece": round(ece, 3),
    }


def as_table(summary: dict[str, Any]) -> str:
    """The summary as a Markdown table."""
    corpora = list(summary["methods"][0]["corpora"])
    lines = [f"| | mean (95 %) | gain (95 %) | {' | '.join(corpora)} | ECE |", "|---" * (len(corpora) + 4) + "|"]
    for row in summary["methods"]:
        mean = row["mean"]
        uar, *by_corpus = (
            "{uar} ({uar_95[0]} to {uar_95[1]})".format(**one) for one in (mean, *row["corpora"].values())
        )
        gain = "" if row["method"] == REFERENCE else "{gain:+} ({gain_95[0]:+} to {gain_95[1]:+})".format(**mean)
        cells = [uar, gain, *by_corpus]
        lines.append(f"| {row['method']} | {' | '.join(cells)} | {mean['ece']} |")
    return "\n".join(lines) + "\n"
