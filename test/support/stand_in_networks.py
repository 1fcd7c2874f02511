"""Small ONNX networks with the inputs and outputs of published ones whose weights are not in the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Name of the file: input, its shape, output, and its number of classes.
FACE_NETWORKS = {
    "emotion-ferplus-8.onnx": ("Input3", (1, 1, 64, 64), "Plus692_Output_0", 8),
    "enet_b0_8_best_afew.onnx": ("input", ("batch_size", 3, 224, 224), "output", 8),
}


def write_face_network(path: Path, weights: Sequence[float] | None = None, bias: Sequence[float] | None = None) -> Path:
    """Write the network that ``path`` names: its logits are a linear function of the mean of each channel.

    Args:
        path: with a name of :data:`FACE_NETWORKS`.
        weights: ``(classes, channels)``; 0 if left out.
        bias: ``(classes,)``; 0, 1, 2 ... if left out.
    """
    name, shape, output, classes = FACE_NETWORKS[path.name]
    w = np.zeros((classes, shape[1]), np.float32) if weights is None else np.asarray(weights, np.float32)
    b = np.arange(classes, dtype=np.float32) if bias is None else np.asarray(bias, np.float32)
    nodes = [
        helper.make_node("ReduceMean", [name], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], [output], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (shape[0], classes))],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path
