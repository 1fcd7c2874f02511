"""Classify a stretch of speech at run time: the networks' published weights as an OpenVINO graph, without torch.

The graph is built here from the safetensors file, batch norms folded into the convolutions. Tests hold it equal to
:class:`emotion_perception.acoustic.voice_net.VoiceNet` and ``OverlapNet``, which are what was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from emotion_perception.acoustic.adaptation import SpeakerBaseline
from emotion_perception.acoustic.features import N_MELS, SAMPLE_RATE, log_mel, normalise
from emotion_perception.emotions import EMOTIONS, NEUTRAL
from emotion_perception.errors import ModelError
from emotion_perception.inference import ONE_THREAD, read_weights
from emotion_perception.types import EmotionEstimate

N = len(EMOTIONS)
OVERLAP = "overlap."  # prefix of the second network's tensors
EPSILON = 1e-5  # torch's batch norm
SHORTEST = 1600  # samples: a tenth of a second has no emotion in it, but it must not break anything
# fp32: bfloat16, the default where the CPU has it, moves probabilities by a percent.
COMPILE = ONE_THREAD | {"INFERENCE_PRECISION_HINT": "f32"}


class _Graph:
    """Builds a SpeechTrunk from its weights; each method takes and returns a graph node.

    Args:
        weights: of the network alone.
        stem_stride, strides: the fields of its VoiceNetConfig.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        stem_stride: tuple[int, ...] = (2, 2),
        strides: tuple[int, ...] = (1, 2, 2),
    ) -> None:
        self.weights, self.stem_stride, self.strides = weights, stem_stride, strides

    def conv(self, x: ov.Node, conv: str, norm: str, stride: tuple[int, ...], dilation: int = 1) -> ov.Node:
        """Convolution and the batch norm behind it as one convolution and an addition; 1-D or 2-D by its kernel."""
        gain, bias = self._affine(norm)
        kernel = self.weights[f"{conv}.weight"]
        spatial = kernel.ndim - 2
        kernel = kernel * gain.reshape(-1, *[1] * (spatial + 1))
        pad = [dilation * (size // 2) for size in kernel.shape[2:]]
        y = ops.convolution(x, ops.constant(kernel), list(stride), pad, pad, [dilation] * spatial)
        return ops.add(y, ops.constant(bias.reshape(1, -1, *[1] * spatial)))

    def biased(self, x: ov.Node, name: str) -> ov.Node:
        """A 1x1 convolution over time with its own bias."""
        y = ops.convolution(x, ops.constant(self.weights[f"{name}.weight"]), [1], [0], [0], [1])
        return ops.add(y, ops.constant(self.weights[f"{name}.bias"][None, :, None]))

    def block(self, x: ov.Node, name: str, stride_time: int) -> ov.Node:
        """A ResidualBlock."""
        stride = (stride_time, 2)
        shortcut = self.conv(x, f"{name}.shortcut", f"{name}.shortcut_norm", stride)
        y = ops.relu(self.conv(x, f"{name}.conv1", f"{name}.norm1", stride))
        return ops.relu(ops.add(self.conv(y, f"{name}.conv2", f"{name}.norm2", (1, 1)), shortcut))

    def heard(self, mel: ov.Node) -> ov.Node:
        """float32 ``(1, 3, F, 64)`` normalised log-mel -> ``(1, 2 * temporal)``."""
        x = ops.relu(self.conv(mel, "stem", "stem_norm", self.stem_stride))
        for index, stride in enumerate(self.strides):
            x = self.block(x, f"stages.{index}", stride)
        x = ops.transpose(x, ops.constant([0, 1, 3, 2], ov.Type.i64))  # (1, channels, mels, steps)
        channels = self.weights["project.weight"].shape[1]
        x = ops.reshape(x, ops.constant([1, channels, -1], ov.Type.i64), False)
        x = ops.relu(self.conv(x, "project", "project_norm", (1,)))
        index = 0
        while f"temporal.{index}.conv.weight" in self.weights:
            branch = self.conv(x, f"temporal.{index}.conv", f"temporal.{index}.norm", (1,), dilation=2**index)
            x, index = ops.relu(ops.add(x, branch)), index + 1
        gain, bias = self._affine("pooled_norm")
        return ops.add(ops.multiply(self._pool(x), ops.constant(gain[None])), ops.constant(bias[None]))

    def head(self, heard: ov.Node, name: str) -> ov.Node:
        """A linear layer, ``(1, outputs)``."""
        y = ops.matmul(heard, ops.constant(self.weights[f"{name}.weight"]), False, True)
        return ops.add(y, ops.constant(self.weights[f"{name}.bias"][None]))

    def _pool(self, x: ov.Node) -> ov.Node:
        """Attentive statistics: weighted mean and deviation over time."""
        time = ops.constant([2], ov.Type.i64)
        weight = ops.softmax(self.biased(ops.tanh(self.biased(x, "attention_in")), "attention_out"), 2)
        mean = ops.reduce_sum(ops.multiply(weight, x), time, False)
        power = ops.reduce_sum(ops.multiply(weight, ops.multiply(x, x)), time, False)
        variance = ops.maximum(ops.subtract(power, ops.multiply(mean, mean)), ops.constant(np.float32(1e-5)))
        return ops.concat([mean, ops.sqrt(variance)], 1)

    def _affine(self, norm: str) -> tuple[np.ndarray, np.ndarray]:
        w = self.weights
        gain = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + EPSILON)
        return gain, w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * gain


def _model(tensors: dict[str, np.ndarray], card: dict[str, Any]) -> ov.Model:
    """Normalised log-mel -> ``(1, 16)`` logits, emotion and intensity; one more of several speakers where trained."""

    def graph(weights: dict[str, np.ndarray], net: dict[str, Any]) -> _Graph:
        return _Graph(weights, **{k: tuple(net[k]) for k in ("stem_stride", "strides") if k in net})

    several = {name.removeprefix(OVERLAP): value for name, value in tensors.items() if name.startswith(OVERLAP)}
    emotion = {name: value for name, value in tensors.items() if not name.startswith(OVERLAP)}
    mel = ops.parameter([1, 3, -1, N_MELS], ov.Type.f32)
    voice = graph(emotion, card.get("training", {}).get("net", {}))
    heard = voice.heard(mel)
    logits = [voice.head(heard, "emotion"), voice.head(heard, "intensity")]
    if several:
        overlap = graph(several, card["overlap"]["net"])
        logits.append(overlap.head(overlap.heard(mel), "several"))
    return ov.Model([ops.concat(logits, 1)], [mel], "voice-emotion")


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

    Attributes:
        card: what the training wrote about the model.
        labels: the eight of the vocabulary.
        population: ``(8,)`` mean logits of many voices, for :class:`SpeakerBaseline`.
        name: of the model, for logs.

    Raises:
        ModelError: the weights are missing, corrupt, or of another network; names the path.
    """

    def __init__(self, weights: Path) -> None:
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
            self._request: Any = ov.Core().compile_model(model, "CPU", COMPILE).create_infer_request()
            self.classify(np.zeros(16_000, np.float32))
        except Exception as error:  # OpenVINO, numpy and the card each fail in their own way
            raise ModelError(f"not a voice-emotion model: {self.path} ({type(error).__name__}: {error})") from error
        self.name = f"{self.card.get('model', 'voice-emotion')} ({self.path.name})"

    def logits(self, samples: np.ndarray) -> np.ndarray:
        """``(16,)`` emotion and intensity logits of ``(T,)`` float 16 kHz; one more of several speakers where trained.

        Raises:
            ValueError: not a vector, empty, or not finite.
        """
        x = np.asarray(samples, dtype=np.float32)
        if not np.isfinite(x).all():
            raise ValueError("samples must be finite")
        if x.ndim == 1 and 0 < len(x) < SHORTEST:
            x = np.pad(x, (0, SHORTEST - len(x)))
        features = normalise(log_mel(x))[None]
        return np.array(self._request.infer([features])[0])[0]

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
