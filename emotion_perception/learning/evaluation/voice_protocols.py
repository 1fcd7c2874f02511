"""Accuracy on held-out voices: three protocols that train a network per fold and score it on held-out clips.

``random`` holds out a fifth of RAVDESS' clips, drawn within each label, so that every speaker also occurs in training,
as in much of the literature. ``leave-speakers-out`` holds out other speakers of every corpus in each fold, so that ten
trainings cover all corpora. ``cross-corpus`` holds out a whole corpus.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emotion_perception.learning import metrics
from emotion_perception.learning.report import finite, write_report, write_text
from emotion_perception.learning.voices.calibration import HeldOutLogits, calibrated, fit_calibration
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.corpora import SpeechSplit
from emotion_perception.learning.voices.dataset import Speech
from emotion_perception.learning.voices.network import VoiceNet
from emotion_perception.learning.voices.train import fit

PROTOCOLS = ("random", "leave-speakers-out", "cross-corpus")
FOLD_COUNT = 10  # folds of leave-speakers-out, for corpora with ten speakers or more
GROUP = {"ravdess_speech": 4}  # speakers held out per fold; of other corpora a tenth, at least one
TEST_SHARE = 0.2  # of the random split's clips
RESAMPLES = 1000  # bootstrap resamples


@dataclass(frozen=True)
class Fold:
    """Training and test clips of one fold: one ``(N,)`` bool mask per corpus."""

    name: str
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]


def random_split(splits: Sequence[SpeechSplit], seed: int) -> list[Fold]:
    """Test on a fifth of each label's RAVDESS clips; train on the rest and the other corpora."""
    rng = np.random.default_rng(seed)
    tests = []
    for split in splits:
        test = np.zeros(len(split), bool)
        if split.corpus == "ravdess_speech":
            for label in np.unique(split.labels):
                rows = rng.permutation(np.flatnonzero(split.labels == label))
                test[rows[: round(TEST_SHARE * len(rows))]] = True
        tests.append(test)
    return [Fold("random", tuple(~test for test in tests), tuple(tests))]


def leave_speakers_out(splits: Sequence[SpeechSplit], seed: int) -> list[Fold]:
    """Fold k tests the k-th group of speakers of each corpus (four RAVDESS actors); ``seed`` is unused.

    After all speakers of a corpus have been tested, the later folds train on the whole corpus.
    """
    groups = []
    for split in splits:
        speakers = np.unique(split.speakers)
        size = GROUP.get(split.corpus, math.ceil(len(speakers) / FOLD_COUNT))
        groups.append([speakers[i : i + size] for i in range(0, len(speakers), size)])
    folds = []
    for k in range(max(map(len, groups))):
        tests = tuple(
            np.isin(split.speakers, group[k]) if k < len(group) else np.zeros(len(split), bool)
            for split, group in zip(splits, groups, strict=True)
        )
        folds.append(Fold(f"fold_{k + 1:02d}", tuple(~test for test in tests), tests))
    return folds


def cross_corpus(splits: Sequence[SpeechSplit], seed: int) -> list[Fold]:
    """Train on all corpora but one, test on that one; ``seed`` is unused."""
    return [
        Fold(
            f"without_{split.corpus}",
            tuple(np.full(len(other), other is not split) for other in splits),
            tuple(np.full(len(other), other is split) for other in splits),
        )
        for split in splits
    ]


FOLDS: dict[str, Callable[[Sequence[SpeechSplit], int], list[Fold]]] = {
    "random": random_split,
    "leave-speakers-out": leave_speakers_out,
    "cross-corpus": cross_corpus,
}


def run_protocol(
    protocol: str,
    data: Path | Sequence[Path],
    out: Path,
    stages: Sequence[AcousticTraining],
    folds: int | None = None,
    initial: Path | None = None,
    features: Path | None = None,
) -> dict[str, Any]:
    """Train and test all folds; writes each fold's results, ``protocol.json`` and a report per corpus into ``out``.

    Rerunning the command resumes: finished folds are kept, and an interrupted fold continues after its last epoch.
    Corpora without a share in the first configuration are not used, except in cross-corpus, where all shares are equal.

    Args:
        data: corpora, or folders that contain corpora.
        stages: consecutive trainings of a fold, one or more; each starts from the weights of the previous one.
        folds: number of folds to run, from the first; None: all.
        initial: initial weights of every fold; must not have been trained on the emotion labels of these corpora.
        features: folder in which the clips' features are cached; None: ``out``.

    Returns:
        Scores with 95 % confidence intervals: of each fold by corpus, of all folds by corpus, and of all clips.

    Raises:
        FileNotFoundError: ``data`` contains no corpus.
        ValueError: ``out`` holds folds of another configuration, or cross-corpus has only one corpus.
    """
    if protocol == "cross-corpus":
        stages = [replace(stage, shares={}, other_share=1.0) for stage in stages]
    speech = Speech.read(data, stages[0], features or out)
    if protocol == "cross-corpus" and len(speech.splits) < 2:
        raise ValueError(f"cross-corpus needs two corpora, {data} holds {speech.splits[0].corpus} alone")
    _claim(out / "training.json", protocol, stages)
    done: dict[str, HeldOutLogits] = {}
    planned = FOLDS[protocol](speech.splits, stages[0].seed)[:folds]
    for fold in tqdm(planned, desc=protocol, unit="fold"):
        path = out / f"{fold.name}.npz"
        if not path.exists():
            checkpoints = [out / f"{fold.name}_{k + 1}.checkpoint" for k in range(len(stages))]
            training = speech.where(fold.train)
            learnt: Path | VoiceNet | None = initial
            for stage, checkpoint in zip(stages, checkpoints, strict=True):
                learnt = net = fit(training, stage, checkpoint, initial=learnt)[0]
            HeldOutLogits.of(net, speech.where(fold.test)).save(path)
            for checkpoint in checkpoints:
                checkpoint.unlink(missing_ok=True)
        done[fold.name] = HeldOutLogits.load(path)
        tqdm.write(json.dumps({fold.name: finite(_accuracies(done[fold.name]))}), file=sys.stderr)
    epochs = sum(stage.epochs for stage in stages)
    summary = {"protocol": protocol, "epochs": epochs, **score_folds(done, protocol == "random", out)}
    write_text(out / "protocol.json", json.dumps(summary, indent=1))
    return summary


def score_folds(folds: dict[str, HeldOutLogits], by_clip: bool, out: Path | None = None) -> dict[str, Any]:
    """Scores of each fold by corpus, of all folds by corpus, and of all clips; writes a report per corpus into ``out``.

    No clip is used to fit its own calibration: each fold is calibrated on the other folds; with a single fold, each
    half of its clips is calibrated on the other half.

    Args:
        by_clip: resample clips for the intervals of the pooled scores; otherwise resample speakers.
    """
    if len(folds) > 1:
        names = list(folds)
        probabilities = [
            calibrated(folds[name], fit_calibration(HeldOutLogits.join([folds[o] for o in names if o != name])))
            for name in names
        ]
    else:
        (only,) = folds.values()
        half = np.arange(len(only.labels)) % 2 == 0
        probabilities = [np.zeros(only.logits.shape[1:])]
        for part in (half, ~half):
            probabilities[0][part] = calibrated(only.where(part), fit_calibration(only.where(~part)))
    each = [
        {"fold": name, **_by_corpus(verdicts, p, by_clip=True)}
        for (name, verdicts), p in zip(folds.items(), probabilities, strict=True)
    ]
    joined, pooled = HeldOutLogits.join(list(folds.values())), np.concatenate(probabilities)
    if out is not None:
        for corpus in np.unique(joined.corpora):
            mine = joined.corpora == corpus
            title = f"voice model, {corpus}, clips held out"
            write_report(out / str(corpus), title, pooled[mine], joined.labels[mine])
    return {
        "folds": each,
        "pooled": _by_corpus(joined, pooled, by_clip),
        "all": _scores(pooled, joined.labels, joined.speakers, _groups(joined.speakers, by_clip)),
    }


def interval(
    measure: Callable[[np.ndarray], float], groups: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> list[float]:
    """95 % confidence interval by the bootstrap: whole groups are resampled, because clips of a speaker correlate.

    Args:
        measure: score of the given rows.
        groups: ``(N,)`` group of each row.
    """
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = []
    for _ in range(resamples):
        drawn.append(measure(np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return [float(low), float(high)]


def _by_corpus(verdicts: HeldOutLogits, probabilities: np.ndarray, by_clip: bool) -> dict[str, Any]:
    return {
        corpus: _scores(
            probabilities[mine],
            verdicts.labels[mine],
            verdicts.speakers[mine],
            _groups(verdicts.speakers[mine], by_clip),
        )
        for corpus, mine in _corpora(verdicts)
    }


def _groups(speakers: np.ndarray, by_clip: bool) -> np.ndarray:
    return np.arange(len(speakers)) if by_clip else speakers


def _scores(probabilities: np.ndarray, labels: np.ndarray, speakers: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    scores = metrics.score(probabilities, labels)
    hit = probabilities.argmax(1) == labels

    def accuracy(rows: np.ndarray) -> float:
        return float(hit[rows].mean())

    def recall(rows: np.ndarray) -> float:
        return _recall(hit[rows], labels[rows])

    def error(rows: np.ndarray) -> float:
        return metrics.calibration_bins(probabilities[rows], labels[rows]).expected_error

    return finite(
        {
            "n": scores.n,
            "speakers": len(np.unique(speakers)),
            "accuracy": scores.accuracy,
            "accuracy_95": interval(accuracy, groups),
            "accuracy_closed": scores.accuracy_closed,
            "uar": scores.uar,
            "uar_95": interval(recall, groups),
            "ece": scores.ece,
            "ece_by_chance": scores.ece_by_chance,
            "ece_95": interval(error, groups),
        }
    )


def _recall(hit: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([hit[labels == label].mean() for label in np.unique(labels)]))


def _accuracies(verdicts: HeldOutLogits) -> dict[str, float]:
    hit = verdicts.logits[-1].argmax(1) == verdicts.labels
    return {corpus: round(float(hit[mine].mean()), 4) for corpus, mine in _corpora(verdicts)}


def _corpora(verdicts: HeldOutLogits) -> Iterator[tuple[str, np.ndarray]]:
    for corpus in np.unique(verdicts.corpora):
        yield str(corpus), verdicts.corpora == corpus


def _claim(path: Path, protocol: str, stages: Sequence[AcousticTraining]) -> None:
    """Record the configuration in ``path``; refuse to pool folds of different configurations."""
    described = json.dumps({"protocol": protocol, "stages": [asdict(s) for s in stages]}, indent=1, sort_keys=True)
    if path.exists() and path.read_text() != described:
        raise ValueError(f"{path.parent} holds folds of another protocol or configuration; choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, described)
