"""Classify a stretch of speech at run time: the networks' published weights as an OpenVINO graph, without torch.

The graph is built here from the safetensors file. Tests hold it equal to
:class:`emotion_perception.learning.voices.network.VoiceNet` and ``OverlapNet``, which are what was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from emotion_perception.acoustic.adaptation import SpeakerBaseline
from emotion_perception.acoustic.features import (
    HOP,
    LONGEST,
    N_MELS,
    SAMPLE_RATE,
    WINDOW,
    encoder_input,
    log_mel,
    normalise,
)
from emotion_perception.emotions import EMOTIONS, NEUTRAL
from emotion_perception.errors import ModelError
from emotion_perception.inference.runtime import compile_for_cpu, read_weights
from emotion_perception.types import EmotionEstimate

N = len(EMOTIONS)
OVERLAP = "overlap."  # prefix of the second network's tensors
EPSILON = 1e-5  # torch's norms
LONGEST_SAMPLES = (LONGEST - 1) * HOP + WINDOW
SHORTEST = 1600  # samples: a tenth of a second has no emotion in it, but it must not break anything


class _Graph:
    """Builds a network from its published weights; the methods take and return graph nodes.

    Args:
        weights: of that network alone.
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights

    def convolution(self, x: ov.Node, name: str, stride: tuple[int, ...], norm: str = "", dilation: int = 1) -> ov.Node:
        """Over time, or over time and mel, by its kernel; with its own bias, or a batch norm behind it folded in."""
        kernel = self.weights[f"{name}.weight"]
        spatial = kernel.ndim - 2
        if norm:
            gain, bias = self._affine(norm)
            kernel = kernel * gain.reshape(-1, *[1] * (spatial + 1))
        else:
            bias = self.weights[f"{name}.bias"]
        pad = [dilation * (size // 2) for size in kernel.shape[2:]]
        y = ops.convolution(x, ops.constant(kernel), list(stride), pad, pad, [dilation] * spatial)
        return ops.add(y, ops.constant(bias.reshape(1, -1, *[1] * spatial)))

    def linear(self, x: ov.Node, name: str) -> ov.Node:
        """A linear layer, with a bias where it has one."""
        y = ops.matmul(x, ops.constant(self.weights[f"{name}.weight"]), False, True)
        return ops.add(y, ops.constant(self.weights[bias])) if (bias := f"{name}.bias") in self.weights else y

    def layer_norm(self, x: ov.Node, name: str) -> ov.Node:
        """A layer norm over the last axis."""
        y = ops.mvn(x, ops.constant([-1], ov.Type.i64), True, EPSILON, "inside_sqrt")
        y = ops.multiply(y, ops.constant(self.weights[f"{name}.weight"]))
        return ops.add(y, ops.constant(self.weights[f"{name}.bias"]))

    def batch_norm(self, x: ov.Node, name: str) -> ov.Node:
        """A batch norm of ``(1, channels)``."""
        gain, bias = self._affine(name)
        return ops.add(ops.multiply(x, ops.constant(gain[None])), ops.constant(bias[None]))

    def pool(self, x: ov.Node) -> ov.Node:
        """AttentiveStatistics of ``(1, channels, T)``."""
        time = ops.constant([2], ov.Type.i64)
        score = self.convolution(ops.tanh(self.convolution(x, "pool.into", (1,))), "pool.out", (1,))
        weight = ops.softmax(score, 2)
        mean = ops.reduce_sum(ops.multiply(weight, x), time, False)
        power = ops.reduce_sum(ops.multiply(weight, ops.multiply(x, x)), time, False)
        variance = ops.maximum(ops.subtract(power, ops.multiply(mean, mean)), ops.constant(np.float32(1e-5)))
        return ops.concat([mean, ops.sqrt(variance)], 1)

    def _affine(self, norm: str) -> tuple[np.ndarray, np.ndarray]:
        w = self.weights
        gain = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + EPSILON)
        return gain, w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * gain


def _emotion_logits(g: _Graph, mel: ov.Node, heads: int) -> list[ov.Node]:
    """VoiceNet: ``(1, 80, F)`` as its encoder sees it -> emotion and intensity logits, each ``(1, 8)``."""
    x = ops.gelu(g.convolution(mel, "encoder.conv1", (1,)), "erf")
    x = _turned(ops.gelu(g.convolution(x, "encoder.conv2", (2,)), "erf"), 0, 2, 1)  # (1, T, channels)
    positions = g.weights["encoder.positions"]
    steps = ops.gather(ops.shape_of(x), ops.constant([1], ov.Type.i64), ops.constant(0, ov.Type.i64))
    end = ops.constant([len(positions)], ov.Type.i64)
    one, axis = ops.constant([1], ov.Type.i64), ops.constant([0], ov.Type.i64)
    x = ops.add(x, ops.slice(ops.constant(positions), ops.subtract(end, steps), end, one, axis))
    channels = positions.shape[1]
    split = ops.constant([0, 0, heads, channels // heads], ov.Type.i64)
    joined = ops.constant([0, 0, channels], ov.Type.i64)
    heard, index = [], 0
    while f"encoder.layers.{index}.query.weight" in g.weights:
        name = f"encoder.layers.{index}"
        y = g.layer_norm(x, f"{name}.attention_norm")
        q, k, v = (
            _turned(ops.reshape(g.linear(y, f"{name}.{part}"), split, True), 0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        y = _turned(ops.scaled_dot_product_attention(q, k, v), 0, 2, 1, 3)
        x = ops.add(x, g.linear(ops.reshape(y, joined, True), f"{name}.joined"))
        y = ops.gelu(g.linear(g.layer_norm(x, f"{name}.linear_norm"), f"{name}.wide"), "erf")
        x = ops.add(x, g.linear(y, f"{name}.narrow"))
        heard.append(g.layer_norm(x, f"norms.{index}"))
        index += 1
    x = ops.gelu(g.linear(ops.concat(heard, 2), "project"), "erf")
    x = g.layer_norm(g.pool(_turned(x, 0, 2, 1)), "pooled_norm")
    return [g.linear(x, "emotion"), g.linear(x, "intensity")]


def _several_logit(g: _Graph, mel: ov.Node, net: dict[str, Any]) -> ov.Node:
    """OverlapNet: ``(1, 3, F, 80)`` normalised log-mel -> ``(1, 1)``; ``net`` are the fields of its configuration."""
    x = ops.relu(g.convolution(mel, "stem", tuple(net["stem_stride"]), "stem_norm"))
    for index, over_time in enumerate(net["strides"]):
        name, stride = f"stages.{index}", (over_time, 2)
        shortcut = g.convolution(x, f"{name}.shortcut", stride, f"{name}.shortcut_norm")
        y = ops.relu(g.convolution(x, f"{name}.conv1", stride, f"{name}.norm1"))
        x = ops.relu(ops.add(g.convolution(y, f"{name}.conv2", (1, 1), f"{name}.norm2"), shortcut))
    channels = g.weights["project.weight"].shape[1]
    x = ops.reshape(_turned(x, 0, 1, 3, 2), ops.constant([1, channels, -1], ov.Type.i64), False)
    x = ops.relu(g.convolution(x, "project", (1,), "project_norm"))
    index = 0
    while f"temporal.{index}.conv.weight" in g.weights:
        name = f"temporal.{index}"
        branch = g.convolution(x, f"{name}.conv", (1,), f"{name}.norm", dilation=2**index)
        x, index = ops.relu(ops.add(x, branch)), index + 1
    return g.linear(g.batch_norm(g.pool(x), "pooled_norm"), "several")


def _turned(x: ov.Node, *axes: int) -> ov.Node:
    return ops.transpose(x, ops.constant(list(axes), ov.Type.i64))


def _model(tensors: dict[str, np.ndarray], card: dict[str, Any]) -> ov.Model:
    """What :meth:`VoiceClassifier.logits` computes from a spectrogram, as the two networks see it."""
    several = {name.removeprefix(OVERLAP): value for name, value in tensors.items() if name.startswith(OVERLAP)}
    emotion = {name: value for name, value in tensors.items() if not name.startswith(OVERLAP)}
    inputs = [ops.parameter([1, N_MELS, -1], ov.Type.f32)]
    logits = _emotion_logits(_Graph(emotion), inputs[0], int(card["training"]["net"]["heads"]))
    if several:
        inputs.append(ops.parameter([1, 3, -1, N_MELS], ov.Type.f32))
        logits.append(_several_logit(_Graph(several), inputs[1], card["overlap"]["net"]))
    return ov.Model([ops.concat(logits, 1)], inputs, "voice-emotion")


@dataclass(frozen=True)
class Heard:
    """What a stretch of speech told."""

    emotion: EmotionEstimate
    overlap: float  # 0..1, that several people speak at once; 0 where the model was not trained to tell
    overlapped: bool  # it is above the threshold chosen in training
    logits: np.ndarray  # (8,) of the emotions, as the network gave them


class VoiceClassifier:
    """Calibrated emotion of speech, and whether several people speak.

    Args:
        weights: safetensors file that ``emotion-train acoustic`` wrote.
        exact: compute in fp32 also where the CPU has bfloat16, which is faster and moves probabilities a little.

    Attributes:
        card: what the training wrote about the model.
        labels: the eight of the vocabulary.
        population: ``(8,)`` mean logits of many voices, for :class:`SpeakerBaseline`.
        name: of the model, for logs.

    Raises:
        ModelError: the weights are missing, corrupt, or of another network; names the path.
    """

    def __init__(self, weights: Path, exact: bool = False) -> None:
        self.path = Path(weights)
        tensors, self.card = read_weights(self.path)
        try:
            self.labels: tuple[str, ...] = tuple(self.card["labels"])
            if self.labels != EMOTIONS:
                raise ValueError(f"labels are {self.labels}, expected {EMOTIONS}")
            self._scale = float(self.card["calibration"]["scale"])
            self._short_s = float(self.card["calibration"].get("short_s", 0.0))
            self.population = np.array(self.card.get("population", np.zeros(N)), np.float32)
            self._threshold = float(self.card.get("overlap", {}).get("threshold", 1.0))
            model = _model(tensors, self.card)
            shapes = [[LONGEST if n.is_dynamic else n.get_length() for n in i.partial_shape] for i in model.inputs]
            example = [np.zeros(shape, np.float32) for shape in shapes]
            compiled = compile_for_cpu(ov.Core(), model, example, exact)
            self._request: Any = compiled.create_infer_request()
            self._hears_several = len(model.inputs) > 1
            self.classify(np.zeros(16_000, np.float32))
        except Exception as error:  # OpenVINO, numpy and the card each fail in their own way
            raise ModelError(f"not a voice-emotion model: {self.path} ({type(error).__name__}: {error})") from error
        self.name = f"{self.card.get('model', 'voice-emotion')} ({self.path.name})"

    def logits(self, samples: np.ndarray) -> np.ndarray:
        """``(16,)`` emotion and intensity logits of ``(T,)`` float 16 kHz; one more of several speakers where trained.

        Of more than four seconds the last are heard.

        Raises:
            ValueError: not a vector, empty, or not finite.
        """
        x = np.asarray(samples, dtype=np.float32)
        if not np.isfinite(x).all():
            raise ValueError("samples must be finite")
        if x.ndim == 1 and 0 < len(x) < SHORTEST:
            x = np.pad(x, (0, SHORTEST - len(x)))
        mel = log_mel(x[-LONGEST_SAMPLES:])
        seen = [encoder_input(mel).T[None]] + ([normalise(mel)[None]] if self._hears_several else [])
        return np.array(self._request.infer(seen)[0])[0]

    def hear(self, samples: np.ndarray, baseline: SpeakerBaseline | None = None) -> Heard:
        """What ``(T,)`` float samples, -1..1, 16 kHz, cut to speech, tell; loudness does not matter.

        The intensity of neutral is NaN: it has none.

        Args:
            baseline: of the voice that speaks, where it is known.

        Raises:
            ValueError: not a vector, empty, or not finite.
        """
        logits = self.logits(samples)
        emotion, strength, several = logits[:N], logits[N : 2 * N], logits[2 * N :]
        seconds = len(samples) / SAMPLE_RATE
        adapted = emotion if baseline is None else baseline.normalise(emotion)
        scaled = self._scale * seconds / (seconds + self._short_s) * adapted  # a short stretch tells less
        weight = np.exp(scaled - scaled.max())
        intensities = (1 / (1 + np.exp(-strength))).astype(np.float32)
        intensities[NEUTRAL] = np.nan
        overlap = float(1 / (1 + np.exp(-several[0]))) if len(several) else 0.0
        estimate = EmotionEstimate.from_probabilities(weight / weight.sum(), intensities)
        return Heard(estimate, overlap, overlap > self._threshold, emotion)

    def classify(self, samples: np.ndarray) -> EmotionEstimate:
        """The emotion alone; see :meth:`hear`."""
        return self.hear(samples).emotion
