"""Classify aligned faces with OpenVINO: the published network, or one from elsewhere with a model card.

The published ``expression.onnx`` has a head for each of two label conventions and one for intensities, and averages
its outputs over a face and its mirror image.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino as ov

from emotion_perception.emotions import VISUAL_EMOTIONS, VISUAL_INDICES, visual_to_vocabulary
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import FaceInput, load_card
from emotion_perception.inference.foreign import crop_shape, network_input, read_face_network
from emotion_perception.inference.protocols import FaceEstimates
from emotion_perception.inference.quantised import int8_of
from emotion_perception.inference.runtime import FP32, compile_for_cpu
from emotion_perception.types import EmotionEstimate

FACE_SIZE = 48  # px, side of the published network's input
# What an output of a network can be, by its name in the card's `outputs`.
LOGITS, PROBABILITIES = "logits", "probabilities"
INTENSITY = "intensity_logits"
FAMILIARITY = "familiarity"  # 0..1 (emotion_perception.learning.faces.familiarity)
THROUGHPUT = {"PERFORMANCE_HINT": "THROUGHPUT"}  # of any device but the CPU


class ExpressionClassifier:
    """Calibrated expressions and their intensities of face crops, without class prior. Several threads may use it.

    Args:
        model: ONNX or TFLite file with a card (:mod:`emotion_perception.inference.cards`).
        convention: the output to read, where the network has one for each of several label conventions; None: the
            first. The published network has ``ferplus``, what most of ten annotators see in a face, and ``fer2013``,
            the labels that this data set came with. A robot takes the first.
        device: OpenVINO's name of the device: CPU, GPU, GPU.1, NPU … For large batches; a robot takes the CPU.
        exact: compute in fp32. Otherwise in bfloat16 where this is faster on the CPU: half the time, and on 1,500 faces
            probabilities within 0.03 (0.0003 on average), another label for one face in 750.

    Raises:
        ModelError: the file is missing, corrupt, no face-expression network, its card is wrong, or there is no such
            device; names it.
        ValueError: the convention is unknown.

    Example:
        >>> from emotion_perception.resources import find_model
        >>> classifier = ExpressionClassifier(find_model("expression.onnx"))
        >>> probabilities, intensities = classifier.probabilities(np.zeros((2, 48, 48), np.uint8))
        >>> probabilities.shape, intensities.shape
        ((2, 7), (2, 7))
    """

    def __init__(self, model: Path, convention: str | None = None, device: str = "CPU", exact: bool = False) -> None:
        self.path = Path(model)
        self.card = load_card(self.path)
        heads = [name for name, kind in self.card.outputs.items() if kind in (LOGITS, PROBABILITIES)]
        if not heads:
            raise ModelError(f"{self.path}: card: outputs names none that is {LOGITS} or {PROBABILITIES}")
        self.convention = convention or heads[0]
        if self.convention not in heads:
            raise ValueError(f"unknown label convention {convention!r}; {self.path.name} has {', '.join(heads)}")
        try:
            if not isinstance(self.card.input, FaceInput):
                raise ValueError("card: input.size is missing")
            self._input = self.card.input
            self._compile(device, exact)
            self._calibrate(heads[0])
            self.classify(np.zeros((1, *self.crop_shape), np.uint8))
        except ModelError:
            raise
        except Exception as error:  # OpenVINO, numpy and the card each fail in their own way
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"not a face-expression model: {self.path} ({type(error).__name__}: {reason})") from error
        self.name = f"{self.card.model} ({self.path.name})"

    @property
    def crop_shape(self) -> tuple[int, ...]:
        """Shape of one crop: ``(S, S)`` grey or ``(S, S, 3)`` BGR."""
        return crop_shape(self._input)

    def _calibrate(self, first: str) -> None:
        key = f"{self.convention}_scale"
        self._scale = self.card.scale(key if key in self.card.calibration else "scale")
        classes, width = (
            self._compiled.output(name).partial_shape[-1].get_length() for name in (first, self.convention)
        )
        if classes != len(self.card.labels):
            raise ValueError(f"card: labels has {len(self.card.labels)} names, {first} has {classes} classes")
        matrix = self.card.class_matrix(VISUAL_EMOTIONS)[:width]  # another head may lack the last classes
        self._kept = np.flatnonzero(matrix.any(1))  # classes with an emotion
        self._matrix = matrix[self._kept]
        present = np.flatnonzero(self._matrix.any(0))
        self._prior = np.ones(len(VISUAL_EMOTIONS), np.float32)
        self._prior[present] = self.card.prior_of(tuple(VISUAL_EMOTIONS[i] for i in present), self.convention)

    def _compile(self, device: str, exact: bool) -> None:
        core = ov.Core()
        if device != "CPU" and device.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
            raise ModelError(f"OpenVINO has no device {device} here; there are {', '.join(core.available_devices)}")
        model = read_face_network(core, self.path, self._input)
        present = {name for output in model.outputs for name in output.names}
        if missing := set(self.card.outputs) - present:
            raise ValueError(f"card: outputs names {sorted(missing)}, the network has {sorted(present)}")
        self._one_by_one = model.input().partial_shape[0].is_static
        if device == "CPU":
            example = network_input(np.zeros((1, *self.crop_shape), np.uint8), self._input)
            quantised = None if exact else int8_of(self.path)
            int8 = None if quantised is None else read_face_network(core, quantised, self._input)
            self._compiled = compile_for_cpu(core, model, [example], exact, self.path, int8=int8)
        else:
            self._compiled = core.compile_model(model, device, THROUGHPUT | FP32 if exact else THROUGHPUT)
        self._read = [self._compiled.output(name) for name in self.card.outputs]
        self._local = threading.local()  # holds a request for each thread that classifies

    def outputs(self, faces: np.ndarray) -> dict[str, np.ndarray]:
        """Logits and whatever else the network estimates of N > 0 faces, by the names of the card's ``outputs``.

        Args:
            faces: uint8 ``(N, *crop_shape)``.

        Raises:
            ValueError: shape or type differ.
        """
        try:
            request = self._local.request
        except AttributeError:
            request = self._local.request = self._compiled.create_infer_request()
        parts = []
        for crops in self._batches(faces):
            # Tensors that are set and read are 0.2 ms cheaper than those passed in the call.
            request.set_input_tensor(ov.Tensor(np.ascontiguousarray(crops), shared_memory=True))
            request.infer(share_outputs=True)
            parts.append([np.array(request.get_tensor(output).data) for output in self._read])
        columns = zip(*parts, strict=True)
        return {name: np.concatenate(column) for name, column in zip(self.card.outputs, columns, strict=True)}

    def _batches(self, faces: np.ndarray) -> list[np.ndarray]:
        """The faces as the network takes them, all at once or one by one."""
        if faces.shape[1:] != self.crop_shape or faces.dtype != np.uint8:
            expected = ", ".join(map(str, self.crop_shape))
            raise ValueError(f"faces must be uint8 (N, {expected}), got {faces.shape} of {faces.dtype}")
        crops = network_input(faces, self._input)
        return np.split(crops, len(crops)) if self._one_by_one else [crops]

    def probabilities(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated probabilities and intensities, each ``(N, 7)``, of :data:`VISUAL_EMOTIONS`.

        The probabilities are likelihood ratios: the posterior divided by the prior in the card, normalised, so the
        seven are equally probable without evidence. An intensity is NaN where the network estimates none.

        Raises:
            ValueError: shape or type differ from uint8 ``(N, *crop_shape)``.
        """
        estimates = self.estimates(faces)
        return estimates.probabilities, estimates.intensities

    def estimates(self, faces: np.ndarray) -> FaceEstimates:
        """:meth:`probabilities` and the familiarity ``(N,)`` of the pictures, 1 where the network estimates none.

        Raises:
            ValueError: as :meth:`probabilities`.
        """
        n = len(VISUAL_EMOTIONS)
        if len(faces) == 0:
            return FaceEstimates(np.zeros((0, n), np.float32), np.zeros((0, n), np.float32), np.zeros(0, np.float32))
        outputs = self.outputs(faces)
        familiarity = np.ones(len(faces), np.float32)
        intensities = np.full((len(faces), n), np.nan, np.float32)
        for name, kind in self.card.outputs.items():
            if kind == INTENSITY:
                intensities[:] = 0.5 + 0.5 * np.tanh(outputs[name] / 2)
            elif kind == FAMILIARITY:
                familiarity = outputs[name].reshape(len(faces)).clip(0, 1)
        logits = outputs[self.convention][:, self._kept]
        if self.card.outputs[self.convention] == PROBABILITIES:
            logits = np.log(np.maximum(logits, 1e-9))
        logits = self._scale * logits
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        ratios = weight @ self._matrix / self._prior
        return FaceEstimates(ratios / ratios.sum(axis=1, keepdims=True), intensities, familiarity)

    def classify(self, faces: np.ndarray) -> list[EmotionEstimate]:
        """One estimate under the balanced prior for each face of uint8 ``(N, *crop_shape)``.

        Calm has probability 0 and intensity NaN.
        """
        probabilities, strengths = self.probabilities(faces)
        full = visual_to_vocabulary(probabilities)
        intensities = np.full_like(full, np.nan)
        intensities[:, VISUAL_INDICES] = strengths
        return [EmotionEstimate.from_probabilities(p, s) for p, s in zip(full, intensities, strict=True)]
