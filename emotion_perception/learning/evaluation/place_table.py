"""The voice model in places: corpora, each with its microphone, room and language, with and without the adaptation.

A place is adapted to from unlabelled utterances, all emotions equally often or nearly all neutral. Of a corpus that the
model was trained on, only the test speakers are used; of another one, all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from tqdm import tqdm

from emotion_perception.acoustic.emotion_classifier import N, VoiceEmotionClassifier
from emotion_perception.acoustic.features import SAMPLE_RATE
from emotion_perception.acoustic.place import ClassStatistics, PlaceAdaptation
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector, crop_to_speech
from emotion_perception.emotions import NEUTRAL
from emotion_perception.learning import metrics
from emotion_perception.learning.evaluation.left_out_corpora import (
    NEUTRAL_SHARE,
    STREAM,
    STREAMS,
    resampled_uar,
    speaker_draws,
)
from emotion_perception.learning.report import write_text
from emotion_perception.learning.voices.calibration import HeldOutLogits
from emotion_perception.learning.voices.corpora import SpeechSplit, corpus_labels, find_corpora, load_speech
from emotion_perception.learning.voices.features import read_speech
from emotion_perception.resources import find_model

FEW = 15  # utterances that are heard in a short calibration


def place_table(data: Path | Sequence[Path], out: Path, weights: Path | None = None) -> list[dict[str, Any]]:
    """Score the model in each place; writes ``places.json``, ``places.md``, and the logits, ``logits.npz``.

    Args:
        data: corpora, or folders that contain corpora.
        weights: of the voice model; None: the published one.

    Returns:
        One row per corpus: UAR in percent among the corpus' own labels and ECE, of the model as it is (with a 95 %
        interval over speakers) and after :data:`STREAM` utterances; ``mean``: with their mean logits subtracted.

    Raises:
        FileNotFoundError: ``data`` contains no corpus.
        ModelError: the model is missing or corrupt.
    """
    classifier = VoiceEmotionClassifier(weights or find_model("voice.onnx"))
    known = classifier.card.details.get("corpora", [])
    splits = [load_speech(folder, "test" if name in known else "all") for name, folder in find_corpora(data).items()]
    outputs = HeldOutLogits.join([_logits(classifier, split) for split in splits if len(split)])
    statistics = ClassStatistics.from_card(classifier.card.details.get("class_statistics"))
    calibration = {"short_s": 0.0, **classifier.card.calibration}
    rows = []
    for corpus in np.unique(outputs.corpora):
        place = outputs.where(outputs.corpora == corpus)
        described = {"corpus": str(corpus), "trained_on": bool(corpus in known), "clips": len(place.labels)}
        rows.append(described | _score(place, str(corpus), statistics, classifier.population, calibration))
    out.mkdir(parents=True, exist_ok=True)
    outputs.save(out / "logits.npz")
    write_text(out / "places.json", json.dumps(rows, indent=1))
    write_text(out / "places.md", _as_table(rows))
    return rows


def _logits(classifier: VoiceEmotionClassifier, split: SpeechSplit) -> HeldOutLogits:
    detector = VoiceActivityDetector()
    logits, seconds = np.zeros((1, len(split), N), np.float32), np.zeros((1, len(split)), np.float32)
    for row, path in enumerate(tqdm(split.paths, desc=f"voices of {split.corpus}", unit="clip")):
        speech = crop_to_speech(read_speech(path), detector)
        logits[0, row], seconds[0, row] = classifier.logits(speech)[:N], len(speech) / SAMPLE_RATE
    return HeldOutLogits(logits, seconds, split.labels, split.speakers)


def _score(
    place: HeldOutLogits,
    corpus: str,
    statistics: ClassStatistics | None,
    population: np.ndarray,
    calibration: dict[str, float],
) -> dict[str, Any]:
    """Scores of one place; adapted ones are means over :data:`STREAMS` random streams."""
    logits, labels, draws = place.logits[0], place.labels, speaker_draws(place.speakers)
    factor = calibration["scale"] * place.seconds[0] / (place.seconds[0] + calibration["short_s"])

    def scores(found: np.ndarray) -> tuple[np.ndarray, float]:
        masked = np.where(corpus_labels(corpus), factor[:, None] * found, -np.inf)
        hits = masked.argmax(axis=1) == labels
        return resampled_uar(hits, labels, draws), metrics.score(softmax(masked, axis=1), labels).ece

    uar, ece = scores(logits)
    row: dict[str, Any] = {
        "uar": _percent(uar[0]),
        "uar_95": [_percent(v) for v in np.percentile(uar[1:], [2.5, 97.5])],
    }
    row["ece"] = round(ece, 3)
    for name, share in (("even", None), ("neutral", NEUTRAL_SHARE)):
        chances = _chances(labels, share)
        found = []
        for repetition in range(STREAMS):
            heard = logits[np.random.default_rng(repetition).choice(len(labels), STREAM, p=chances)]
            adapted, few = PlaceAdaptation(statistics), PlaceAdaptation(statistics)
            adapted.fit(heard)
            few.fit(heard[:FEW])
            after, error = scores(adapted.normalise(logits))
            short, centred = scores(few.normalise(logits))[0], scores(logits - heard.mean(axis=0) + population)[0]
            found.append([after[0], error, short[0], centred[0]])
        mean = np.mean(found, axis=0)
        row |= {name: _percent(mean[0]), f"{name}_ece": round(float(mean[1]), 3)}
        row |= {f"{name}_few": _percent(mean[2]), f"{name}_mean": _percent(mean[3])}
    return row


def _chances(labels: np.ndarray, neutral: float | None) -> np.ndarray:
    """``(N,)`` chance of each clip to be heard: all emotions alike, or neutral ones with the share ``neutral``."""
    _, kind, count = np.unique(labels == NEUTRAL if neutral else labels, return_inverse=True, return_counts=True)
    shares = np.array([1 - neutral, neutral]) if neutral and len(count) == 2 else np.full(len(count), 1 / len(count))
    return np.asarray((shares / count)[kind])


def _percent(value: float) -> float:
    return round(float(value), 1)


def _as_table(rows: Sequence[dict[str, Any]]) -> str:
    names = (
        "not adapted (95 %)",
        "even",
        f"even, {FEW}",
        "90 % neutral",
        "*mean*, even",
        "*mean*, 90 % neutral",
        "ECE",
    )
    lines = ["| place | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        place = f"{row['corpus']} ({row['clips']} clips{'' if row['trained_on'] else ', never trained on'})"
        cells = [f"{row['uar']} ({row['uar_95'][0]} to {row['uar_95'][1]})"]
        cells += [row[name] for name in ("even", "even_few", "neutral", "even_mean", "neutral_mean")]
        cells.append(f"{row['ece']}, {row['even_ece']}; {row['neutral_ece']}")
        lines.append("| " + " | ".join(map(str, [place, *cells])) + " |")
    return "\n".join(lines) + "\n"
