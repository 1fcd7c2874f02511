"""Why this emotion? Grad-CAM (Selvaraju et al. 2017) of the face-expression network.

Gradients need torch, which is imported at the first explanation: the robot's frame path runs without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from emotion_perception.emotions import EMOTIONS, VISUAL_EMOTIONS, emotion_index
from emotion_perception.errors import ModelError
from emotion_perception.visual.expression import FACE_SIZE, read_weights

if TYPE_CHECKING:
    from emotion_perception.visual.expression_net import ExpressionNet

MAP_SIZE = 6  # px of the feature maps that are weighed: the last stage's 3x3 is too coarse to point at a mouth


@dataclass(frozen=True)
class Explanation:
    """Which parts of a face spoke for an emotion."""

    emotion: str  # of the vocabulary
    heat: np.ndarray  # (48, 48) float32, 0..1, 1 where it spoke most for the emotion; all 0 where nothing did


def explain_face(face: np.ndarray, weights: Path, emotion: str | None = None) -> Explanation:
    """Heat map for ``emotion``, or for the likeliest one.

    Args:
        face: uint8 ``(48, 48)`` grey, as the classifier gets it.
        weights: the published model.
        emotion: name of one of the visual emotions, or an alias.

    Raises:
        ValueError: the face has another shape, or the emotion is unknown or not one that a face shows (calm).
        ModelError: the weights are missing or corrupt.
    """
    if face.shape != (FACE_SIZE, FACE_SIZE) or face.dtype != np.uint8:
        raise ValueError(f"a face must be uint8 ({FACE_SIZE}, {FACE_SIZE}), got {face.shape} of {face.dtype}")
    name = None if emotion is None else EMOTIONS[emotion_index(emotion)]
    if name is not None and name not in VISUAL_EMOTIONS:
        raise ValueError(f"faces do not show {name!r}; choose from {', '.join(VISUAL_EMOTIONS)}")
    import torch

    net, ferplus_scale, fer2013_scale = _load(weights, weights.stat().st_mtime_ns if weights.exists() else 0)
    x = net.stem(net.standardise(torch.from_numpy(face).float()[None, None]))
    maps = None
    for stage in net.stages:
        x = stage(x)
        if x.shape[-1] == MAP_SIZE:
            maps = x  # the last of this size stays
    if maps is None:
        raise ModelError(f"{weights}: no feature maps of {MAP_SIZE} pixels to explain with")
    features = x.mean((2, 3))
    logits = ferplus_scale * net.ferplus(features)[0, : len(VISUAL_EMOTIONS)] + fer2013_scale * net.fer2013(features)[0]
    target = int(logits.argmax()) if name is None else VISUAL_EMOTIONS.index(name)
    (gradient,) = torch.autograd.grad(logits[target], maps)
    weighed = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()[0].detach().numpy()
    heat = cv2.resize(weighed, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_CUBIC).clip(0)
    return Explanation(VISUAL_EMOTIONS[target], (heat / max(float(heat.max()), 1e-12)).astype(np.float32))


def draw_explanation(face: np.ndarray, explanation: Explanation, size: int = 288) -> np.ndarray:
    """The face beside itself under its heat map: uint8 ``(size, 2 * size, 3)`` bgr."""
    grey = cv2.cvtColor(cv2.resize(face, (size, size), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    heat = cv2.resize(explanation.heat, (size, size), interpolation=cv2.INTER_LINEAR)
    colour = cv2.applyColorMap((heat * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    share = 0.6 * heat[..., None]
    blend = (grey * (1 - share) + colour * share).round().astype(np.uint8)
    both = np.concatenate([grey, blend], axis=1)
    cv2.putText(
        both, explanation.emotion, (size + 8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA
    )
    return both


@lru_cache(maxsize=2)
def _load(weights: Path, _modified: int) -> tuple[ExpressionNet, float, float]:
    """The torch network of a published file; kept until the file changes."""
    import torch

    from emotion_perception.visual.expression_net import ExpressionNet, ExpressionNetConfig

    tensors, card = read_weights(weights)
    try:
        shape = card["training"]["net"]
        config = ExpressionNetConfig(shape["stem"], tuple(shape["widths"]), tuple(shape["blocks"]), 0.0)
        net = ExpressionNet(config).eval().requires_grad_(False)
        net.load_state_dict(net.state_dict() | {name: torch.from_numpy(value) for name, value in tensors.items()})
        scales = card["calibration"]
        # The first layer's input has to carry gradients for the maps to have them.
        for parameter in net.stem.parameters():
            parameter.requires_grad_(True)
        return net, float(scales["ferplus_scale"]), float(scales["fer2013_scale"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"not a face-expression model: {weights} ({type(error).__name__}: {error})") from error
