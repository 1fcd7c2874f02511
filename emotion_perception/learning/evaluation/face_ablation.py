"""Ablation of the face model's training: the same short training with one setting changed at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.learning.faces.corruptions import CORRUPTIONS, corrupt
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.teachers import load_network
from emotion_perception.learning.faces.train import VisualTraining, predict, train
from emotion_perception.learning.report import write_text

# Name in the table -> changed settings; a value may be a function of the recipe's configuration.
VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "with teacher": {"teacher_weight": 0.3},
    "without augmentation (mirrored only)": {"augment": False},
    "every face turned, scaled and shifted": {"augmentation": lambda config: replace(config.augmentation, warp=1.0)},
    "without mixup": {"mixup_share": 0.0},
    "majority instead of votes": {"soft_votes": False},
    "without FER2013 labels": {"fer2013_weight": 0.0},
    "without drawing rare classes more often": {"rare_power": 0.0},
    "without intensity head": {"intensity_weight": 0.0},
}


def ablate(data: Path, out: Path, config: VisualTraining, teachers: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """Train each variant of ``config`` and score it on PublicTest; ``out/ablation.json`` is updated after each.

    Trained variants are kept, so rerunning the command resumes an interrupted run.

    Returns:
        One row per variant: FER+ eight-class accuracy and macro recall, FER2013 accuracy, FER+ accuracy on corrupted
        faces.
    """
    rows = []
    for name, change in VARIANTS.items():
        weights = out / f"{name.replace(' ', '_')}.onnx"
        if not weights.exists():
            used = teachers if "teacher_weight" in change else ()
            settings = {name: value(config) if callable(value) else value for name, value in change.items()}
            train(data, weights, replace(config, **settings), weights.with_suffix(".checkpoint"), None, used)
        rows.append({"variant": name, **_score(data, weights)})
        write_text(out / "ablation.json", json.dumps(rows, indent=1))
    return rows


def _score(data: Path, weights: Path) -> dict[str, float]:
    net, split = load_network(weights), load_ferplus(data, "PublicTest")
    labelled, original = split.majority >= 0, split.fer2013 >= 0

    def accuracy(faces: np.ndarray, flip: bool | None = None) -> float:
        return float((predict(net, faces, flip=flip)[0].argmax(1) == split.majority)[labelled].mean())

    ferplus, fer2013, _ = predict(net, split.faces)
    hit = ferplus.argmax(1) == split.majority
    return {
        "ferplus": float(hit[labelled].mean()),
        "ferplus_not_mirrored": accuracy(split.faces, flip=False),
        "ferplus_recall": float(
            np.mean([hit[split.majority == c].mean() for c in np.unique(split.majority[labelled])])
        ),
        "fer2013": float((fer2013.argmax(1) == split.fer2013)[original].mean()),
        **{kind: accuracy(corrupt(split.faces, kind)) for kind in CORRUPTIONS},
    }
