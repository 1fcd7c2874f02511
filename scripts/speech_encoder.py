#!/usr/bin/env python3
"""Extract the speech encoder that the training of the voice model starts from, from smart-turn's ONNX file.

smart-turn v3.2 (Daily, BSD-2-Clause) is Whisper's tiny encoder (OpenAI, MIT), fine-tuned to detect the end of a turn;
its weights are in the package pipecat-ai, quantised to eight bits.

  pip download --no-deps pipecat-ai==1.14.0
  unzip -j pipecat_ai-1.14.0-*.whl '*/smart-turn-v3.2-cpu.onnx'
  python scripts/speech_encoder.py smart-turn-v3.2-cpu.onnx --out runs/speech_encoder.safetensors
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from emotion_perception.learning.voices.network import SpeechEncoder
from emotion_perception.learning.voices.weights import save_encoder

PREFIX = "inner.encoder."
LAYERS = 4
CHANNELS = 384
NAMES = {  # in smart-turn: in SpeechEncoder
    "self_attn_layer_norm": "attention_norm",
    "final_layer_norm": "linear_norm",
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "joined",
    "fc1": "wide",
    "fc2": "narrow",
    "embed_positions.weight": "positions",
}


def encoder_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights of :class:`SpeechEncoder`, float32, by name.

    Raises:
        ValueError: the file is of another model.
    """
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    values = {name: value for name, value in stored.items() if name.endswith(("norm.weight", "norm.bias", "s.weight"))}
    values |= {node.output[0]: _dequantized(node, stored) for node in graph.node if _is_weight(node, stored)}
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        plain = name.removeprefix(PREFIX).removesuffix("_DequantizeLinear_Output")
        if name.startswith(PREFIX):
            found[plain] = value
            continue
        for node in readers[name]:  # a matrix has no name of its own; the bias that is added after it has one
            bias = _bias_after(node.output[0], readers) if node.op_type == "MatMul" else None
            if bias is not None and bias.startswith(PREFIX):
                plain = bias.removeprefix(PREFIX).removesuffix(".bias")
                found[f"{plain}.weight"], found[f"{plain}.bias"] = value.T, stored[bias]
    # The matrix of the keys has no bias; its name follows from the norm before it.
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values and _bias_after(node.output[0], readers) is None:
            layer = _layer_before(node.input[0], graph)
            if layer is not None:
                found[f"layers.{layer}.self_attn.k_proj.weight"] = values[node.input[1]].T
    for theirs, ours in NAMES.items():
        found = {name.replace(theirs, ours): value for name, value in found.items()}
    wanted = SpeechEncoder(CHANNELS, CHANNELS // 64, LAYERS).state_dict()
    if missing := sorted(set(wanted) - set(found)):
        raise ValueError(f"{path} is not smart-turn v3: it has no {', '.join(missing)}")
    found["positions"] = found["positions"][-len(wanted["positions"]) :]  # of 8 s; speech ends with the last
    return {name: found[name].astype(np.float32).reshape(wanted[name].shape) for name in wanted}


def _is_weight(node: onnx.NodeProto, stored: dict[str, np.ndarray]) -> bool:
    return node.op_type == "DequantizeLinear" and node.input[0] in stored


def _dequantized(node: onnx.NodeProto, stored: dict[str, np.ndarray]) -> np.ndarray:
    quantized, scale, zero = (stored[name].astype(np.float32) for name in node.input)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [-1 if i == axis else 1 for i in range(quantized.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (quantized - zero) * scale


def _bias_after(name: str, readers: dict[str, list[onnx.NodeProto]]) -> str | None:
    """The bias that is added to a tensor, through quantisation nodes."""
    for node in readers[name]:
        if node.op_type == "Add":
            return next((other for other in node.input if other.endswith(".bias")), None)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return _bias_after(node.output[0], readers)
    return None


def _layer_before(name: str, graph: onnx.GraphProto) -> str | None:
    """Number of the layer whose attention norm computes a tensor."""
    producers = {output: node for node in graph.node for output in node.output}
    while name in producers and producers[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = producers[name].input[0]
    norm = producers[name].input[1] if name in producers and producers[name].op_type == "LayerNormalization" else ""
    return norm.split(".")[3] if norm.endswith("self_attn_layer_norm.weight") else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path, help="smart-turn-v3.2-cpu.onnx")
    parser.add_argument("--out", type=Path, default=Path("runs/speech_encoder.safetensors"), help="weights to write")
    arguments = parser.parse_args()
    encoder = SpeechEncoder(CHANNELS, CHANNELS // 64, LAYERS)
    encoder.load_state_dict({k: torch.from_numpy(v) for k, v in encoder_weights(arguments.onnx).items()})
    source = "smart-turn v3.2 (pipecat-ai 1.14.0, BSD-2-Clause), fine-tuned from Whisper tiny (MIT)"
    save_encoder(arguments.out, encoder, source)
    print(f"{arguments.out}: {sum(p.numel() for p in encoder.parameters()) / 1e6:.1f} million weights")


if __name__ == "__main__":
    main()
