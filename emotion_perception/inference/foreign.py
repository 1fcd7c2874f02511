"""Read a face network from anywhere, ONNX or TFLite, so that it takes uint8 crops as its card describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from emotion_perception.inference.cards import COLOURS, FaceInput


def read_face_network(core: Any, path: Path, face: FaceInput) -> Any:
    """The network of a file with normalisation, colour order and layout of its input in front.

    Args:
        core: ``openvino.Core``.
        path: ONNX or TFLite file.
        face: input of its card.

    Returns:
        ``openvino.Model`` that takes what :func:`network_input` makes.

    Raises:
        ValueError: the network has several inputs, or its input has another shape than the card says.
        RuntimeError: OpenVINO cannot read the file.
    """
    model = core.read_model(path)
    if len(model.inputs) != 1:
        raise ValueError(f"the network has {len(model.inputs)} inputs; one image is expected")
    sides = {"N": None, "H": face.size, "W": face.size, "C": COLOURS[face.colour]}
    expected = [sides[axis] for axis in face.layout]
    shape = model.input().partial_shape
    actual = [None if n.is_dynamic else n.get_length() for n in shape]
    if len(actual) != len(expected) or any(a and e and a != e for a, e in zip(actual, expected, strict=True)):
        raise ValueError(f"input is {shape}, but the card's input.layout {face.layout} and size say {expected}")
    if actual[0] not in (None, 1):
        raise ValueError(f"the network takes {actual[0]} faces at once; batch must be 1 or free")
    batch = -1 if actual[0] is None else 1
    model.reshape([batch, *(e or -1 for e in expected[1:])])
    if face.layout == "NHW" and model.input().element_type == ov.Type.u8:
        return model  # normalises by itself
    steps = PrePostProcessor(model)
    colour = COLOURS[face.colour] == 3
    tensor = steps.input().tensor().set_element_type(ov.Type.u8)
    tensor.set_layout(ov.Layout("NHWC" if colour else face.layout))
    work = steps.input().preprocess()
    if colour:
        tensor.set_color_format(ColorFormat.BGR)
    work.convert_element_type(ov.Type.f32)
    if face.colour == "rgb":
        work.convert_color(ColorFormat.RGB)
    work.mean(face.mean[0] if len(face.mean) == 1 else list(face.mean))
    work.scale(face.deviation[0] if len(face.deviation) == 1 else list(face.deviation))
    steps.input().model().set_layout(ov.Layout(face.layout))
    return steps.build()


def network_input(faces: np.ndarray, face: FaceInput) -> np.ndarray:
    """Crops, uint8 ``(N, S, S)`` or ``(N, S, S, 3)`` BGR, in the number of axes that the network has; no copy."""
    faces = np.ascontiguousarray(faces)
    if faces.ndim == 3 and len(face.layout) == 4:
        return faces[:, np.newaxis] if face.layout == "NCHW" else faces[..., np.newaxis]
    return faces


def crop_shape(face: FaceInput) -> tuple[int, ...]:
    """Shape of one crop: ``(S, S)`` grey or ``(S, S, 3)``."""
    return (face.size, face.size) if COLOURS[face.colour] == 1 else (face.size, face.size, 3)
