"""Write a trained face network as the ONNX file and model card that the robot loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.inference.cards import ModelCard
from emotion_perception.learning.faces.backbone import BackboneNet
from emotion_perception.learning.faces.ferplus import FerPlusSplit
from emotion_perception.learning.faces.network import FACE_SIZE, N_VISUAL, ExpressionNet
from emotion_perception.learning.onnx_files import export_network

LICENCE = "research use, as its training data (FER2013; FER+ labels: MIT)"
OUTPUTS = {"ferplus": "logits", "fer2013": "logits", "intensity": "intensity_logits"}


class ExportedFaceNet(nn.Module):
    """The network as exported: uint8 input, logits averaged over a face and its mirror image."""

    def __init__(self, net: ExpressionNet | BackboneNet) -> None:
        super().__init__()
        self.net = net
        self.mirror = net.config.mirror

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        """uint8 ``(N, 48, 48)`` -> logits ``(N, 8)`` FER+, ``(N, 7)`` FER2013, ``(N, 7)`` intensity."""
        x = faces.unsqueeze(1).float()
        heads: tuple[Tensor, ...] = self.net(torch.cat([x, x.flip(-1)]) if self.mirror else x)
        return tuple(head.unflatten(0, (2, -1)).mean(0) for head in heads) if self.mirror else heads


def publish_faces(path: Path, net: ExpressionNet | BackboneNet, card: Mapping[str, Any]) -> None:
    """Write network and card; ``card`` holds calibration, prior, scores and any further fields.

    Raises:
        ModelError: the card is invalid; the message names the field.
    """
    fixed = {
        "model": "face-expression",
        "labels": [*VISUAL_EMOTIONS, None],  # the FER+ head's last class is contempt
        "input": {"size": FACE_SIZE, "colour": "grey", "layout": "NHW"},
        "outputs": OUTPUTS,
        "licence": LICENCE,
    }
    export_network(
        path,
        ExportedFaceNet(net).eval(),
        {"faces": torch.zeros(2, FACE_SIZE, FACE_SIZE, dtype=torch.uint8)},
        list(OUTPUTS),
        ModelCard.from_mapping({**card, **fixed}, str(path)),
        {name: {0: "n"} for name in ("faces", *OUTPUTS)},
        prefix="net.",
    )


def class_prior(split: FerPlusSplit, labels: str = "majority") -> dict[str, float]:
    """Frequency of each emotion among the labels of a split, without contempt; one without faces counts as one.

    Args:
        split: of the archive.
        labels: ``majority`` of the FER+ votes, or the original ``fer2013``.
    """
    truth = getattr(split, labels)
    count = np.maximum(np.bincount(truth[(truth >= 0) & (truth < N_VISUAL)], minlength=N_VISUAL), 1)
    return {name: round(float(n / count.sum()), 4) for name, n in zip(VISUAL_EMOTIONS, count, strict=True)}
