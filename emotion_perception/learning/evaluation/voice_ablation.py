"""Ablation of the voice model's training, and of the speaker's sex as input or auxiliary task.

The same short training with one setting changed, repeated with several seeds and scored on held-out speakers.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from emotion_perception.learning.evaluation.voice_protocols import interval
from emotion_perception.learning.report import write_text
from emotion_perception.learning.voices.calibration import predict
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.dataset import Speech
from emotion_perception.learning.voices.train import fit

# Name in the table -> changed hyper-parameters.
VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "sex as a second task": {"sex": "task"},
    "sex given": {"sex": "condition"},
    "without noise": {"noise_share": 0.0},
    "without mixup": {"mixup_share": 0.0},
    "without tempo, microphone and SpecAugment": {
        "tempo": 0.0,
        "microphone_db": 0.0,
        "masked_bands": 0,
        "masked_share": 0.0,
    },
}


def ablate(
    data: Path,
    out: Path,
    config: AcousticTraining,
    seeds: int = 3,
    initial: Path | None = None,
    features: Path | None = None,
) -> list[dict[str, Any]]:
    """Train every variant with every seed; ``out/ablation.json`` is updated after each.

    Trained variants are kept, so rerunning the command resumes an interrupted run.

    Args:
        data, initial, features: as for :func:`~emotion_perception.learning.voices.train.train`.
        out: folder for the results.
        config: the published recipe.
        seeds: trainings per variant.

    Returns:
        One row per variant: accuracy on the RAVDESS actors not used for training (validation and test), with a 95 %
        interval over actors and seeds, and its gain over the recipe on the same clips. A variant trained with the sex
        as an input has a second row, tested with that input.
    """
    speech = Speech.read(data, config, features or out)
    training = speech.held_for("train")
    held = speech.where(
        [
            (split.held_for("validation") | split.held_for("test")) & (split.corpus == "ravdess_speech")
            for split in speech.splits
        ]
    )
    (split,) = held.splits
    hits: dict[str, list[np.ndarray]] = {}
    rows: list[dict[str, Any]] = []
    for seed in tqdm(range(seeds), desc="seeds", unit="seed"):
        for name, change in tqdm(VARIANTS.items(), desc="variants", unit="variant", leave=False):
            path = out / f"{name.replace(' ', '_').replace(',', '')}_{seed}.npz"
            if not path.exists():
                changed = replace(config, **change, seed=config.seed + seed)
                net, _ = fit(training, changed, path.with_suffix(".checkpoint"), initial=initial)
                found = {"plain": predict(net, held.bank)[0].argmax(1) == split.labels}
                if changed.sex == "condition":
                    sex = torch.from_numpy(2 * split.female - 1)
                    found["sex_given"] = predict(net, held.bank, sex)[0].argmax(1) == split.labels
                np.savez(path, **found)
                path.with_suffix(".checkpoint").unlink(missing_ok=True)
            with np.load(path) as stored:
                hits.setdefault(name, []).append(stored["plain"])
                if "sex_given" in stored:
                    hits.setdefault(f"{name}, when tested too", []).append(stored["sex_given"])
        rows = [_row(name, found, hits["the recipe"], split.speakers) for name, found in hits.items()]
        write_text(out / "ablation.json", json.dumps(rows, indent=1))
    return rows


def _row(name: str, hits: list[np.ndarray], recipe: list[np.ndarray], speakers: np.ndarray) -> dict[str, Any]:
    """Accuracy and gain in points; ``hits`` holds one array per seed, all of the same clips."""
    hit = np.concatenate(hits).astype(float)
    gain = hit - np.concatenate(recipe[: len(hits)])
    groups = np.concatenate([np.char.add(speakers, f"/{seed}") for seed in range(len(hits))])
    return {
        "variant": name,
        "seeds": len(hits),
        "accuracy": 100 * float(hit.mean()),
        "accuracy_95": [100 * v for v in interval(lambda rows: float(hit[rows].mean()), groups)],
        "gain": 100 * float(gain.mean()),
        "gain_95": [100 * v for v in interval(lambda rows: float(gain[rows].mean()), groups)],
    }
