"""Why this emotion? Grad-CAM (Selvaraju et al. 2017) of the face-expression network.

Gradients are needed of the last few layers alone, so the network is run here in numpy, forwards and a little way back:
torch would add five seconds and half a gigabyte to a robot's node. A test holds it equal to torch's own gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.emotions import EMOTIONS, VISUAL_EMOTIONS, emotion_index
from emotion_perception.errors import ModelError
from emotion_perception.visual.expression import CONVENTIONS, FACE_SIZE, folded, read_weights

MAP_SIZE = 6  # px of the feature maps that are weighed: the last stage's 3x3 is too coarse to point at a mouth
Back = Callable[[np.ndarray], np.ndarray]  # from the gradient at a layer's output to that at its input


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
    net = _load(weights, weights.stat().st_mtime_ns if weights.exists() else 0)
    x = face.astype(np.float32)
    x = (x - x.mean()) / (x.std() + 4)
    x = np.maximum(net.stem(x[None])[0], 0)
    maps: np.ndarray | None = None
    backs: list[Back] = []
    for block in net.blocks:
        x, back = block(x)
        backs.append(back)
        if x.shape[-1] == MAP_SIZE:
            maps, backs = x, []  # the last of this size stays, and only what follows is gone back through
    if maps is None:
        raise ModelError(f"{weights}: no feature maps of {MAP_SIZE} pixels to explain with")
    logits = net.weight @ x.mean((1, 2)) + net.bias
    target = int(logits.argmax()) if name is None else VISUAL_EMOTIONS.index(name)
    gradient = np.broadcast_to(net.weight[target][:, None, None] / x[0].size, x.shape)
    for back in reversed(backs):
        gradient = back(gradient)
    weighed = np.maximum(np.tensordot(gradient.mean((1, 2)), maps, 1), 0)
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


@dataclass(frozen=True)
class _Conv:
    """A convolution with its batch norm; called with ``(I, H, W)``."""

    kernel: np.ndarray  # (O, I, k, k)
    bias: np.ndarray  # (O,)
    stride: int = 1

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, Back]:
        pad, step = self.kernel.shape[-1] // 2, self.stride
        height, width = -(-x.shape[1] // step), -(-x.shape[2] // step)
        # What each place of the kernel sees of the padded input.
        seen = [
            (self.kernel[:, :, i, j], np.s_[:, i : i + step * height : step, j : j + step * width : step])
            for i in range(self.kernel.shape[2])
            for j in range(self.kernel.shape[3])
        ]
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        y = sum(np.tensordot(k, padded[part], 1) for k, part in seen) + self.bias[:, None, None]

        def back(gradient: np.ndarray) -> np.ndarray:
            total = np.zeros_like(padded)
            for k, part in seen:
                total[part] += np.tensordot(k.T, gradient, 1)
            return total[:, pad : pad + x.shape[1], pad : pad + x.shape[2]]

        return y, back


@dataclass(frozen=True)
class _Block:
    """A ResidualBlock."""

    first: _Conv
    second: _Conv
    shortcut: _Conv | None

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, Back]:
        inner, back_first = self.first(x)
        y, back_second = self.second(np.maximum(inner, 0))
        past, back_past = (x, None) if self.shortcut is None else self.shortcut(x)
        y = y + past

        def back(gradient: np.ndarray) -> np.ndarray:
            gradient = gradient * (y > 0)
            through = back_first(back_second(gradient) * (inner > 0))
            return through + (gradient if back_past is None else back_past(gradient))

        return np.maximum(y, 0), back


@dataclass(frozen=True)
class _Net:
    """The network as far as its answer about what onlookers see."""

    stem: _Conv
    blocks: tuple[_Block, ...]
    weight: np.ndarray  # (7, C)
    bias: np.ndarray  # (7,)


@lru_cache(maxsize=2)
def _load(path: Path, _modified: int) -> _Net:
    """The network of a published file; kept until the file changes."""
    tensors, _ = read_weights(path)
    try:
        blocks: list[_Block] = []
        while f"stages.{len(blocks)}.conv1.weight" in tensors:
            at = f"stages.{len(blocks)}"
            shortcut = None
            if f"{at}.shortcut.0.weight" in tensors:  # a block that halves the picture
                shortcut = _Conv(*folded(tensors, f"{at}.shortcut.0", f"{at}.shortcut.1"), 2)
            first = _Conv(*folded(tensors, f"{at}.conv1", f"{at}.norm1"), 1 if shortcut is None else 2)
            blocks.append(_Block(first, _Conv(*folded(tensors, f"{at}.conv2", f"{at}.norm2")), shortcut))
        weight, bias = (tensors[f"{CONVENTIONS[0]}.{part}"][: len(VISUAL_EMOTIONS)] for part in ("weight", "bias"))
        return _Net(_Conv(*folded(tensors, "stem.0", "stem.1")), tuple(blocks), weight, bias)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"not a face-expression model: {path} ({type(error).__name__}: {error})") from error
