"""The graph of a published face network: read its layers, and add the output ``familiarity`` to it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import openvino as ov
import torch
from onnx import TensorProto, helper, numpy_helper, shape_inference
from torch import nn

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.files import replacing
from emotion_perception.inference.cards import ModelCard, load_card
from emotion_perception.learning.onnx_files import OPSET, replace_card
from emotion_perception.visual.face_crop import whole_image
from emotion_perception.visual.quality import face_quality

OUTPUT = "familiarity"
PREFIX = "familiarity/"  # of all that is added to the network's graph
DESCRIPTOR = PREFIX + "descriptor"
ACTIVATIONS = ("Relu", "Clip", "Add", "HardSwish", "Mul", "PRelu", "LeakyRelu")
NEAR = whole_image(96, 96)  # a face as large as needed: the familiarity is about what is in the crop
QUALITY_SIDE = 48  # px, side of the crop of which the quality is measured


@dataclass(frozen=True)
class Readings:
    """What a network outputs for N crops, with what the fit needs to know about them."""

    descriptors: np.ndarray  # (V, N, D) float32, of V views: a face and its mirror image, or the face alone
    likelihoods: np.ndarray  # (N, 7) logarithms, normalised, without the class prior
    quality: np.ndarray  # (N,) of the picture
    labels: np.ndarray  # (N,) majority vote, -1 where the picture shows no face
    kinds: np.ndarray  # (N,) names of the kinds; "ordinary"

    def where(self, chosen: np.ndarray) -> Readings:
        """Some of the crops, by a mask or by indices."""
        rest = {name: value[chosen] for name, value in vars(self).items() if name != "descriptors"}
        return Readings(self.descriptors[:, chosen], **rest)


def concatenate(parts: Sequence[Readings]) -> Readings:
    """The crops of several readings of one network."""
    along = {"descriptors": 1}
    return Readings(
        **{name: np.concatenate([vars(part)[name] for part in parts], along.get(name, 0)) for name in vars(parts[0])}
    )


class NetworkReader:
    """Runs a published face network with the descriptor as a further output.

    Raises:
        ModelError: the file is missing, has no card, or has no convolutions on a square picture.
    """

    def __init__(self, path: Path) -> None:
        self.card = load_card(path)
        self.model = add_descriptor(without_familiarity(onnx.load(str(path))), path)
        core = ov.Core()
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = core.compile_model(core.read_model(self.model.SerializeToString()), "CPU", settings)
        self._head = next(name for name, kind in self.card.outputs.items() if kind == "logits")
        self.prior = self.card.prior_of(VISUAL_EMOTIONS, self._head)
        self.size = int(self.card.input.size)  # type: ignore[union-attr]
        self.views, self.width = self._run(np.zeros((1, self.size, self.size), np.uint8))[0].shape

    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        results = self._compiled([crops])
        return np.array(results[DESCRIPTOR]), np.array(results[self._head])

    def read(self, crops: np.ndarray, labels: np.ndarray, kind: str, batch: int = 32) -> Readings:
        """Read uint8 crops ``(N, S, S)`` of the network's size."""
        parts = [self._run(crops[i : i + batch]) for i in range(0, len(crops), batch)]
        descriptors = [d.reshape(self.views, -1, d.shape[1]) for d, _ in parts]
        key = f"{self._head}_scale"
        scale = self.card.scale(key if key in self.card.calibration else "scale")
        logits = scale * np.concatenate([z for _, z in parts])[:, : len(VISUAL_EMOTIONS)] - np.log(self.prior)
        small = [
            crop if self.size == 48 else cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA) for crop in crops
        ]
        return Readings(
            np.concatenate(descriptors, 1),
            logits - np.logaddexp.reduce(logits, 1, keepdims=True),
            np.array([face_quality(crop, NEAR) for crop in small]),
            labels,
            np.full(len(crops), kind),
        )

    def crops(self, faces: np.ndarray) -> np.ndarray:
        """Faces of any size as the network takes them."""
        if faces.shape[1] == self.size:
            return faces
        method = cv2.INTER_AREA if faces.shape[1] > self.size else cv2.INTER_LINEAR
        return np.stack([cv2.resize(face, (self.size, self.size), interpolation=method) for face in faces])


def without_familiarity(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network as it was before :func:`attach`."""
    kept = [node for node in model.graph.node if not node.name.startswith(PREFIX)]
    outputs = [output for output in model.graph.output if output.name != OUTPUT]
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.node[:], bare.graph.output[:]
    bare.graph.node.extend(kept)
    bare.graph.output.extend(outputs)
    return bare


def last_maps(model: onnx.ModelProto) -> dict[int, str]:
    """The last activations of each resolution up to half of the input's: side in px -> tensor.

    Example: ``{24: "/stages.2/Relu_1_output_0", 12: ...}``.
    """
    inferred = shape_inference.infer_shapes(model)
    shapes = {v.name: [axis.dim_value for axis in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
    found: dict[int, str] = {}
    largest = 0
    for node in model.graph.node:
        shape = shapes.get(node.output[0], [])
        if node.op_type in ACTIVATIONS and len(shape) == 4 and shape[1] >= 8 and shape[2] == shape[3] >= 2:
            found[shape[2]] = node.output[0]
        if len(shape) == 4:
            largest = max(largest, shape[2])
    return {side: name for side, name in found.items() if side <= largest // 2}


def add_descriptor(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The network with the output :data:`DESCRIPTOR`, ``(V * N, D)``; ``path`` is for messages.

    Raises:
        ModelError: there are no convolutional maps.
    """
    maps = last_maps(model)
    if not maps:
        raise ModelError(f"{path}: no convolutional layers on a square picture, so no familiarity")
    nodes: list[onnx.NodeProto] = []
    parts: list[str] = []

    def constant(name: str, values: Sequence[int]) -> str:
        nodes.append(helper.make_node("Constant", [], [PREFIX + name], value=numpy_helper.from_array(np.array(values))))
        return PREFIX + name

    def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [PREFIX + name], **attributes))
        return PREFIX + name

    rows, start, end = constant("rows", [2]), constant("start", [0]), constant("end", [10_000])
    for side, tensor in maps.items():
        middle = constant(f"middle{side}", [side // 2])
        for half, (first, last) in {"upper": (start, middle), "lower": (middle, end)}.items():
            sliced = node("Slice", [tensor, first, last, rows], f"{half}{side}")
            parts.append(node("ReduceMean", [sliced], f"{half}_mean{side}", axes=[2, 3], keepdims=0))
        mean = node("ReduceMean", [tensor], f"mean{side}", axes=[2, 3], keepdims=1)
        centred = node("Sub", [tensor, mean], f"centred{side}")
        squared = node("Mul", [centred, centred], f"squared{side}")
        variance = node("ReduceMean", [squared], f"variance{side}", axes=[2, 3], keepdims=0)
        parts.append(node("Sqrt", [variance], f"deviation{side}"))
    node("Concat", parts, "descriptor", axis=1)
    for added in nodes:
        added.name = added.output[0]
    model.graph.node.extend(nodes)
    model.graph.output.append(helper.make_tensor_value_info(DESCRIPTOR, TensorProto.FLOAT, None))
    return model


def attach(path: Path, reader: NetworkReader, net: nn.Module, scores: dict[str, Any]) -> ModelCard:
    """Write the network of ``reader`` with the output ``familiarity`` to ``path``; returns its card.

    Args:
        path: ONNX file; it and its card are replaced.
        reader: of the network.
        net: fitted to it.
        scores: for the card's field ``familiarity``.
    """
    model = onnx.ModelProto()
    model.CopyFrom(reader.model)
    del model.graph.output[-1]  # the descriptor
    buffer: Any = io.BytesIO()  # torch's annotation admits only paths
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net,
            (torch.zeros(2, reader.width),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["descriptor"],
            output_names=["logits"],
            dynamic_axes={"descriptor": {0: "n"}, "logits": {0: "n"}},
        )
    graph = onnx.load_from_string(buffer.getvalue()).graph
    # Constants, not initialisers: those are the weights of the face network, which is trained further from the file.
    nodes = []
    for tensor in graph.initializer:
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16))
        nodes.append(helper.make_node("Constant", [], [f"{tensor.name}_half"], value=half))
        nodes.append(helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT))
    nodes += graph.node
    views = numpy_helper.from_array(np.array([reader.views, -1]))
    nodes.append(helper.make_node("Constant", [], ["views"], value=views))
    nodes.append(helper.make_node("Reshape", ["logits", "views"], ["by_view"]))
    nodes.append(helper.make_node("ReduceMean", ["by_view"], ["logit"], axes=[0], keepdims=0))
    nodes.append(helper.make_node("Sigmoid", ["logit"], [OUTPUT]))
    for node in nodes:
        node.input[:] = [PREFIX + name if name else name for name in node.input]
        node.output[:] = [PREFIX + name if name != OUTPUT else name for name in node.output]
        node.name = PREFIX + node.output[0]
    model.graph.node.extend(nodes)
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"]))
    onnx.checker.check_model(model)
    card = replace(
        reader.card,
        outputs={**reader.card.outputs, OUTPUT: "familiarity"},
        details={**reader.card.details, OUTPUT: scores},
    )
    with replacing(path) as partial:
        onnx.save(model, str(partial))
    replace_card(path, card)
    return card
