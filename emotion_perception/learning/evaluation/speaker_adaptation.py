"""Gain of speaker adaptation on held-out speakers, utterance by utterance, with and without a speaker baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.acoustic.adaptation import SpeakerBaseline
from emotion_perception.learning.evaluation.voice_protocols import interval
from emotion_perception.learning.report import write_text
from emotion_perception.learning.voices.calibration import HeldOutLogits, all_folds, mean_logits

STRENGTHS = (0.0, 0.5, 1.0)
ORDERS = 10  # random orders of a speaker's utterances
# Share of a speaker's utterances with one fixed emotion: none (as in the corpus), or most, which is more realistic.
MOODS = {"all emotions alike": 0.0, "one emotion in two of three utterances": 2 / 3}


def measure_adaptation(folds: Path, out: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Accuracy on held-out speakers by strength of the adaptation and by share of one fixed emotion.

    Args:
        folds: output folder of ``emotion-eval acoustic --protocol leave-speakers-out``.
        out: folder for ``adaptation.json``.
        seed: seed of the order of utterances.

    Returns:
        One row per corpus, ``mood`` and strength: accuracy in percent over all utterances and its gain over strength 0
        on the same utterances, with 95 % intervals over speakers.

    Raises:
        FileNotFoundError: ``folds`` contains no fold.
    """
    verdicts = all_folds(folds)
    rows = []
    for corpus in np.unique(verdicts.corpora):
        mine = verdicts.where(verdicts.corpora == corpus)
        for mood, steady in MOODS.items():
            hits: dict[float, list[bool]] = {strength: [] for strength in STRENGTHS}
            groups: list[str] = []
            for speaker in np.unique(mine.speakers):
                others = mine.where(mine.speakers != speaker)
                mean = mean_logits(others)
                own = mine.where(mine.speakers == speaker)
                for order in range(ORDERS):
                    rng = np.random.default_rng((seed, order))
                    heard = draw_utterances(own.labels, steady, rng)
                    groups += [str(speaker)] * len(heard)
                    for strength in STRENGTHS:
                        hits[strength] += _follow(own, heard, SpeakerBaseline(mean, strength))
            rows += [_row(str(corpus), mood, s, np.array(hits[s]), np.array(hits[0.0]), groups) for s in STRENGTHS]
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "adaptation.json", json.dumps(rows, indent=1))
    return rows


def draw_utterances(labels: np.ndarray, steady: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of utterances in random order; a share ``steady`` of them has one randomly chosen label."""
    order = rng.permutation(len(labels))
    if not steady:
        return order
    mood = rng.choice(np.unique(labels))
    same, other = order[labels[order] == mood], order[labels[order] != mood]
    return rng.permutation(np.concatenate([same, other[: round(len(same) * (1 - steady) / steady)]]))


def _follow(own: HeldOutLogits, heard: Sequence[int] | np.ndarray, baseline: SpeakerBaseline) -> list[bool]:
    hits = []
    for row in heard:
        logits = own.logits[-1][row]
        hits.append(bool(baseline.normalise(logits).argmax() == own.labels[row]))
        baseline.add(logits)
    return hits


def _row(
    corpus: str, mood: str, strength: float, hit: np.ndarray, without: np.ndarray, groups: list[str]
) -> dict[str, Any]:
    gain = hit.astype(float) - without
    speakers = np.array(groups)
    return {
        "corpus": corpus,
        "speakers": len(np.unique(speakers)),
        "mood": mood,
        "strength": strength,
        "accuracy": 100 * float(hit.mean()),
        "gain": 100 * float(gain.mean()),
        "gain_95": [100 * v for v in interval(lambda rows: float(gain[rows].mean()), speakers)],
    }
