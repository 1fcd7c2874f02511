"""Write a trained network as an ONNX file with its model card, and read its weights for further training."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from torch import nn

from emotion_perception.errors import ModelError
from emotion_perception.files import replacing
from emotion_perception.inference.cards import METADATA_KEY, ModelCard, card_path, load_card

OPSET = 17
STATISTICS = ("running_mean", "running_var")  # of batch norms; their range exceeds that of fp16
HALF = ".fp16"  # suffix of the name of an fp16 initialiser; a Cast node converts it to fp32


def export_network(
    path: Path,
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    card: ModelCard,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    prefix: str = "",
) -> None:
    """Write ``module`` as an ONNX file with fp16 weights, the card in its metadata and as a YAML file next to it.

    The initialisers have the names of the state dict, and batch norms are not folded into the convolutions, so that
    :func:`read_initializers` returns the trained weights; OpenVINO folds them when it compiles the network.

    Args:
        path: ONNX file to write; both files are replaced atomically.
        module: in evaluation mode.
        example: example inputs by name.
        outputs: names of the outputs of ``forward``, in order.
        card: model card of the network.
        dynamic: axes of variable length by input or output, ``{"faces": {0: "n"}}``.
        prefix: removed from the names of the state dict if ``module`` only wraps the network, e.g. ``"net."``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        with warnings.catch_warnings():
            # The exporter based on torch.export needs onnxscript and renames the weights.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                module,
                tuple(example.values()),
                str(partial),
                dynamo=False,
                opset_version=OPSET,
                # Preserves batch norms and the names of the weights.
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                input_names=list(example),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in (dynamic or {}).items()},
            )
        model = onnx.load(str(partial))
        _name_weights(model, set(module.state_dict()), prefix)
        _halve(model)
        helper.set_model_props(model, {METADATA_KEY: json.dumps(card.to_mapping(), sort_keys=True)})
        onnx.checker.check_model(model)
        onnx.save(model, str(partial))
        card_path(path).unlink(missing_ok=True)  # a card must never lie next to the file of another network
    _write_card(path, card)


def read_initializers(path: Path) -> dict[str, np.ndarray]:
    """Read the weights of an ONNX file that :func:`export_network` wrote: fp32 arrays by name in the state dict.

    Raises:
        ModelError: the file is missing or not ONNX; the message names it.
    """
    if not path.is_file():
        raise ModelError(f"model not found: {path}")
    try:
        tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    except Exception as error:  # protobuf raises its own exception types
        raise ModelError(f"model not readable: {path} ({type(error).__name__}: {error})") from error
    return {
        tensor.name.removesuffix(HALF): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in tensors
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
    }


def read_network(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Weights and card of a published network: ONNX, or safetensors as earlier releases wrote them.

    Raises:
        ModelError: the file is missing, corrupt or without a card; the message names it.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return read_initializers(path), load_card(path).to_mapping()


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not path.is_file():
        raise ModelError(f"model not found: {path}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            tensors = {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(json.loads((file.metadata() or {})["card"]))
    except Exception as error:  # safetensors raises its own, untyped error for a corrupt file
        raise ModelError(f"model not readable: {path} ({type(error).__name__}: {error})") from error


def replace_card(path: Path, card: ModelCard) -> None:
    """Replace the card of an ONNX file, in its metadata and as YAML; the network is unchanged.

    Raises:
        ModelError: the file is missing or not ONNX; the message names it.
    """
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise ModelError(f"model not readable: {path} ({type(error).__name__}: {error})") from error
    helper.set_model_props(model, {METADATA_KEY: json.dumps(card.to_mapping(), sort_keys=True)})
    with replacing(path) as partial:
        onnx.save(model, str(partial))
    _write_card(path, card)


def _write_card(path: Path, card: ModelCard) -> None:
    with replacing(card_path(path)) as partial:
        partial.write_text(card.to_yaml())


def _name_weights(model: onnx.ModelProto, weights: set[str], prefix: str) -> None:
    """Give the initialisers the names of the state dict, without the prefix; other tensors become constants."""
    graph, nodes = model.graph, []
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:  # the exporter stores equal tensors once
            tensors[node.output[0]] = onnx.TensorProto()
            tensors[node.output[0]].CopyFrom(tensors[node.input[0]])
        else:
            nodes.append(node)
    constants = [
        helper.make_node("Constant", [], [name.removeprefix(prefix)], value=tensor)
        for name, tensor in tensors.items()
        if name not in weights
    ]
    kept = []
    for name in weights & tensors.keys():
        tensors[name].name = name.removeprefix(prefix)
        kept.append(onnx.TensorProto.FromString(tensors[name].SerializeToString()))
    for node in nodes:
        node.input[:] = [name.removeprefix(prefix) for name in node.input]
    _replace_nodes(model, [*constants, *nodes])
    del graph.initializer[:]
    graph.initializer.extend(sorted(kept, key=lambda tensor: tensor.name))


def _halve(model: onnx.ModelProto) -> None:
    """Store each weight in fp16, followed by a Cast node to fp32."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name.endswith(STATISTICS):
            continue
        name, half = tensor.name, tensor.name + HALF
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    _replace_nodes(model, [*casts, *model.graph.node])


def _replace_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
