"""Classify faces at run time: the network's published weights as an OpenVINO graph, without torch.

The graph is built here from the safetensors file, batch norms folded into the convolutions. A test holds it equal to
:class:`emotion_perception.learning.faces.network.ExpressionNet`, which is what was trained.

Chosen by measurement against torch, torch.export and ONNX Runtime (``scripts/compare_inference.py``). It also saves the
robot torch's import: the whole visual path takes 260 MB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from emotion_perception.emotions import VISUAL_EMOTIONS, VISUAL_INDICES, visual_to_vocabulary
from emotion_perception.errors import ModelError
from emotion_perception.inference.runtime import FP32, compile_for_cpu, read_weights
from emotion_perception.types import EmotionEstimate

FACE_SIZE = 48  # px
HEADS = ("ferplus", "fer2013", "intensity")
SPLITS = (8, 15)  # where the three heads' 8 + 7 + 7 outputs are cut
CONVENTIONS = HEADS[:2]  # whose labels an answer follows; the two sets agree on two faces of three
EPSILON = 1e-5  # torch's batch norm
THROUGHPUT = {"PERFORMANCE_HINT": "THROUGHPUT"}  # of any device but the CPU


def folded(weights: dict[str, np.ndarray], conv: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ``(O, I, k, k)`` and bias ``(O,)`` of a convolution with the batch norm behind it folded in."""
    gain = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    kernel = weights[f"{conv}.weight"] * gain[:, None, None, None]
    return kernel, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain


class _Graph:
    """Builds the network's layers from its weights; each method takes and returns a graph node."""

    def __init__(self, weights: dict[str, np.ndarray], mirror: bool) -> None:
        self.weights = weights
        self.mirror = mirror

    def conv(self, x: ov.Node, conv: str, norm: str, stride: int = 1) -> ov.Node:
        """Convolution without bias and the batch norm behind it, as one convolution and an addition."""
        kernel, bias = folded(self.weights, conv, norm)
        pad = [kernel.shape[-1] // 2] * 2
        y = ops.convolution(x, ops.constant(kernel), [stride, stride], pad, pad, [1, 1])
        return ops.add(y, ops.constant(bias[None, :, None, None]))

    def block(self, x: ov.Node, name: str) -> ov.Node:
        """A ResidualBlock; it halves the picture where it has a convolution in its shortcut."""
        shortcut, stride = x, 1
        if f"{name}.shortcut.0.weight" in self.weights:
            stride = 2
            shortcut = self.conv(x, f"{name}.shortcut.0", f"{name}.shortcut.1", stride)
        y = ops.relu(self.conv(x, f"{name}.conv1", f"{name}.norm1", stride))
        return ops.relu(ops.add(self.conv(y, f"{name}.conv2", f"{name}.norm2"), shortcut))

    def model(self) -> ov.Model:
        """uint8 ``(N, 48, 48)`` -> ``(N, 22)`` logits: FER+, FER2013, intensity; mirrored as well with ``mirror``."""
        faces = ops.parameter([-1, FACE_SIZE, FACE_SIZE], ov.Type.u8)
        x = ops.unsqueeze(ops.convert(faces, "f32"), ops.constant([1], ov.Type.i64))
        axes = ops.constant([1, 2, 3], ov.Type.i64)
        centred = ops.subtract(x, ops.reduce_mean(x, axes, True))
        deviation = ops.sqrt(ops.reduce_mean(ops.multiply(centred, centred), axes, True))
        x = ops.divide(centred, ops.add(deviation, ops.constant(np.float32(4))))
        if self.mirror:
            backwards = ops.constant(np.arange(FACE_SIZE)[::-1].copy())
            x = ops.concat([x, ops.gather(x, backwards, ops.constant(np.int64(3)))], 0)
        x = ops.relu(self.conv(x, "stem.0", "stem.1"))
        index = 0
        while f"stages.{index}.conv1.weight" in self.weights:
            x, index = self.block(x, f"stages.{index}"), index + 1
        features = ops.reduce_mean(x, ops.constant([2, 3], ov.Type.i64), False)
        if self.mirror:  # the heads are linear: averaging what they see averages what they say
            width = self.weights["ferplus.weight"].shape[1]
            pairs = ops.reshape(features, ops.constant([2, -1, width], ov.Type.i64), False)
            features = ops.reduce_mean(pairs, ops.constant([0], ov.Type.i64), False)
        weight = np.concatenate([self.weights[f"{head}.weight"] for head in HEADS])
        bias = np.concatenate([self.weights[f"{head}.bias"] for head in HEADS])
        logits = ops.add(ops.matmul(features, ops.constant(weight), False, True), ops.constant(bias[None]))
        return ov.Model([logits], [faces], "face-expression")


class ExpressionClassifier:
    """Calibrated emotion of aligned grey faces; the model's card says whether each is seen mirrored, too.

    Args:
        weights: the published model.
        convention: ``ferplus``, what most of ten onlookers call the face; ``fer2013``, what that data set's own labels
            would. A robot wants the first; the second is there to compare with work on those labels.
        device: OpenVINO's name of what computes: CPU, GPU, GPU.1, NPU … For large batches; a robot takes the CPU.
        exact: fp32 everywhere. Else OpenVINO takes bfloat16 where the CPU computes with it: half the time, and on 1,500
            faces probabilities within 0.03 (0.0003 on average), another answer for one face in 750.

    Raises:
        ModelError: the weights are missing, corrupt, or of another network, or there is no such device; names it.
        ValueError: the convention is unknown.
    """

    def __init__(self, weights: Path, convention: str = "ferplus", device: str = "CPU", exact: bool = False) -> None:
        if convention not in CONVENTIONS:
            raise ValueError(f"unknown label convention {convention!r}; there are {', '.join(CONVENTIONS)}")
        self.path, self._device, self._exact = Path(weights), device, exact
        self._head = CONVENTIONS.index(convention)
        tensors, self.card = read_weights(self.path)
        try:
            self.labels: tuple[str, ...] = tuple(self.card["labels"])
            if self.labels != VISUAL_EMOTIONS:
                raise ValueError(f"labels are {self.labels}, expected {VISUAL_EMOTIONS}")
            self._scale = float(self.card["calibration"][f"{convention}_scale"])
            self._prepare(tensors)
            self.classify(np.zeros((1, FACE_SIZE, FACE_SIZE), np.uint8))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"not a face-expression model: {self.path} ({type(error).__name__}: {error})") from error
        self.name = f"{self.card.get('model', 'face-expression')} ({self.path.name})"

    def _prepare(self, tensors: dict[str, np.ndarray]) -> None:
        if backbone := self.card.get("backbone"):
            raise ModelError(
                f"{self.path} is a {backbone}, which a robot does not run: distil it into the robot's network with "
                f"emotion-train visual --teacher {self.path}"
            )
        mirror = self.card.get("training", {}).get("net", {}).get("mirror", True)
        core, device = ov.Core(), self._device
        if device != "CPU" and device.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
            raise ModelError(f"OpenVINO has no device {device} here; there are {', '.join(core.available_devices)}")
        model = _Graph(tensors, mirror).model()
        if device == "CPU":
            face = np.zeros((1, FACE_SIZE, FACE_SIZE), np.uint8)
            self._compiled = compile_for_cpu(core, model, [face], self._exact)
        else:
            self._compiled = core.compile_model(model, device, THROUGHPUT | FP32 if self._exact else THROUGHPUT)
        self._request = self._compiled.create_infer_request()

    def _heads(self, faces: np.ndarray) -> tuple[np.ndarray, ...]:
        out = np.array(self._request.infer([np.ascontiguousarray(faces)], share_inputs=True)[0])
        return tuple(np.split(out, SPLITS, axis=1))

    def logits(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits of the FER+ ``(N, 8)``, FER2013 ``(N, 7)`` and intensity ``(N, 7)`` heads of uint8 ``(N, 48, 48)``.

        Raises:
            ValueError: shape or type are others.
        """
        if faces.ndim != 3 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE) or faces.dtype != np.uint8:
            raise ValueError(f"faces must be uint8 (N, {FACE_SIZE}, {FACE_SIZE}), got {faces.shape} of {faces.dtype}")
        if len(faces) == 0:
            return np.zeros((0, 8), np.float32), np.zeros((0, 7), np.float32), np.zeros((0, 7), np.float32)
        ferplus, fer2013, intensity = self._heads(faces)
        return ferplus, fer2013, intensity

    def probabilities(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated probabilities and intensities, each ``(N, 7)`` in the order of :attr:`labels`."""
        *heads, intensity = self.logits(faces)
        logits = self._scale * heads[self._head][:, : len(self.labels)]
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True), 0.5 + 0.5 * np.tanh(intensity / 2)

    def classify(self, faces: np.ndarray) -> list[EmotionEstimate]:
        """One estimate per face of uint8 ``(N, 48, 48)``; calm has probability 0 and intensity NaN."""
        probabilities, strengths = self.probabilities(faces)
        full = visual_to_vocabulary(probabilities)
        intensities = np.full_like(full, np.nan)
        intensities[:, VISUAL_INDICES] = strengths
        return [EmotionEstimate.from_probabilities(p, s) for p, s in zip(full, intensities, strict=True)]
