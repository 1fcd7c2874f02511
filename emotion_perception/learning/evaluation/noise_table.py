"""Accuracy of the voice model in noise, with and without noise reduction; the default setting rests on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emotion_perception.acoustic.features import SAMPLE_RATE
from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.acoustic.voice_activity import crop_to_speech
from emotion_perception.learning.evaluation.voice_protocols import interval
from emotion_perception.learning.report import write_text
from emotion_perception.learning.voices.augmentation import make_noise
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.learning.voices.features import read_speech

KINDS = ("white", "fan", "music", "babble")
SNRS_DB = (20, 10, 5, 0)
# Column of the table -> noise reduction on or off; None: the robot's rule (noise_reduction_below_db).
WAYS: dict[str, bool | None] = {"as it is": False, "cleaned": True, "robot": None}
LEAD = 0.5  # s of noise only before and after each clip, as between utterances on the robot
VOICES = 4  # number of voices in babble


def noise_table(
    data: Path, split: str, out: Path, weights: Path | None = None, clips: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Accuracy of one decision per clip in each noise at each SNR: unprocessed, denoised, and with the robot's rule.

    The SNR is the ratio of the power of the speech, including its pauses, to the power of the noise. Babble consists of
    four other speakers of the same split.

    Args:
        data: folder of a corpus, as for the other evaluations.
        split: of the corpus.
        out: folder for ``noise_table.json`` and ``noise_table.md``.
        weights: voice model; None: the published one.
        clips: maximum number of clips, evenly spaced over the corpus; None: all.
        seed: seed of the noise.

    Raises:
        ValueError, OSError: the data are not readable.
        ModelError: a model file is missing or corrupt.
    """
    corpus = load_speech(data, split)
    perception = AcousticPerception(AcousticConfig(model=str(weights)) if weights else AcousticConfig())
    chosen = np.unique(np.linspace(0, len(corpus) - 1, min(clips or len(corpus), len(corpus))).astype(int))
    rng = np.random.default_rng(seed)
    hits: dict[tuple[str, int | None, str], list[bool]] = {}
    found: dict[tuple[str, int | None], list[bool]] = {}
    for row in tqdm(chosen, desc="noise", unit="clip"):
        clip, label = read_speech(corpus.paths[row]), corpus.labels[row]
        quiet = np.zeros(int(LEAD * SAMPLE_RATE), np.float32)
        clip = np.concatenate([quiet, clip, quiet])
        power = float(np.mean(crop_to_speech(clip, perception.detector) ** 2))
        others = rng.permutation(np.flatnonzero(corpus.speakers != corpus.speakers[row]))[:VOICES]
        voices = [crop_to_speech(read_speech(corpus.paths[other]), perception.detector) for other in others]
        conditions: list[tuple[str, int | None]] = [("none", None), *((kind, snr) for kind in KINDS for snr in SNRS_DB)]
        noises = {kind: make_noise(kind, len(clip), rng, voices) for kind in KINDS}
        for kind, snr in conditions:
            noisy = clip if snr is None else clip + np.sqrt(power / 10 ** (snr / 10)) * noises[kind]
            speech = perception.find_speech(noisy.astype(np.float32), SAMPLE_RATE)
            found.setdefault((kind, snr), []).append(speech.found)
            for way, clean in WAYS.items():
                estimate = perception.classify_speech(speech, clean).emotion
                hits.setdefault((kind, snr, way), []).append(int(estimate.probabilities.argmax()) == label)
    rows = [_row(kind, snr, hits, found[kind, snr]) for kind, snr in found]
    summary = {"model": perception.name, "corpus": corpus.corpus, "split": split, "n": len(chosen), "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "noise_table.json", json.dumps(summary, indent=1))
    write_text(out / "noise_table.md", _as_markdown(rows))
    return summary


def _row(
    kind: str, snr: int | None, hits: dict[tuple[str, int | None, str], list[bool]], found: list[bool]
) -> dict[str, Any]:
    """Accuracies in percent with 95 % intervals over clips; gain of noise reduction, paired over clips."""
    clips = np.arange(len(found))
    hit = {way: np.array(hits[kind, snr, way], float) for way in WAYS}
    gain = hit["cleaned"] - hit["as it is"]

    def mean(values: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda rows: 100 * float(values[rows].mean())

    return {
        "noise": kind,
        "snr_db": snr,
        "speech_found": 100 * float(np.mean(found)),
        **{way.replace(" ", "_"): 100 * float(values.mean()) for way, values in hit.items()},
        "robot_95": interval(mean(hit["robot"]), clips),
        "cleaning_gains": 100 * float(gain.mean()),
        "cleaning_gains_95": interval(mean(gain), clips),
    }


def _as_markdown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| noise | dB | as it is | cleaned | cleaning gains (95 %) | robot (95 %) | speech found |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = "{:+.1f} ({:+.1f} to {:+.1f})".format(row["cleaning_gains"], *row["cleaning_gains_95"])
        robot = "{:.1f} ({:.1f} to {:.1f})".format(row["robot"], *row["robot_95"])
        snr = "" if row["snr_db"] is None else row["snr_db"]
        lines.append(
            f"| {row['noise']} | {snr} | {row['as_it_is']:.1f} | {row['cleaned']:.1f} | {gain} | {robot} | "
            f"{row['speech_found']:.0f} |"
        )
    return "\n".join([*lines, ""])
