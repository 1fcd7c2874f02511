"""The face encoder computes what the graph it comes from does, and the face network starts from it."""

from __future__ import annotations

import importlib.util
import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.faces import teachers
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.backbone import FACE_ENCODER, BackboneConfig, BackboneNet
from emotion_perception.learning.faces.face_encoder import CHANNELS, STRIDES, face_encoder
from emotion_perception.learning.onnx_files import read_initializers
from emotion_perception.visual.expression import ExpressionClassifier

SCRIPT = Path(__file__).parents[3] / "scripts" / "face_encoder.py"
TINY = BackboneConfig(FACE_ENCODER, size=64, width=1 / 64, mirror=False)
CONFIG = train_visual.VisualTraining(epochs=1, batch=16, optimizer="adamw", learning_rate=0.05, backbone=TINY)


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("face_encoder_script", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def graph(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    """A graph with random weights in half precision and the node names of HSE-FaceRes."""
    rng = np.random.default_rng(5)
    values, nodes = {}, []

    def add(name: str, shape: tuple[int, ...], spread: float) -> None:
        values[name] = (rng.standard_normal(shape) * spread).astype(np.float16)

    def node(name: str, constant: str) -> None:
        nodes.append({"name": name, "op": "Add", "input": ["before", constant]})

    def norm(layer: str, channels: int) -> None:
        add(f"{layer}/sub", (channels,), 0.5)
        node(f"{layer}/add_1", f"{layer}/sub")

    add("conv1/convolution/merged_input", (3, 3, 3, 32), 0.02)
    norm("conv1_bn/batchnorm_1", 32)
    for i, (before, after) in enumerate(itertools.pairwise(CHANNELS), 1):
        add(f"conv_dw_{i}/depthwise_kernel", (3, 3, before, 1), 0.3)
        add(f"conv_dw_{i}_bn/scale", (before,), 1.0)
        node(f"conv_dw_{i}_bn/batchnorm_1/mul_1", f"conv_dw_{i}_bn/scale")
        norm(f"conv_dw_{i}_bn/batchnorm_1", before)
        add(f"conv_pw_{i}/convolution/merged_input", (1, 1, before, after), 1.5 / before**0.5)
        norm(f"conv_pw_{i}_bn/batchnorm_1", after)
    manifest = [
        {"name": name, "shape": list(value.shape), "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, value in values.items()
    ]
    path = tmp_path / "faceres.json"
    path.write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": manifest}]}))
    path.with_suffix(".bin").write_bytes(b"".join(value.tobytes() for value in values.values()))
    return path, {name: value.astype(np.float32) for name, value in values.items()}


def test_the_encoder_computes_what_the_graph_does(script, graph):
    path, values = graph
    net = face_encoder()
    net.load_state_dict(script.encoder_weights(path))
    grey = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    mean = torch.from_numpy(script.MEAN_BGR).view(1, 3, 1, 1)
    with torch.inference_mode():
        ours = net(grey - mean.mean())
        x = _graph_stem(grey.expand(-1, 3, -1, -1) - mean, values)
        stem = net[0](grey - mean.mean())
        for i, stride in enumerate(STRIDES, 1):
            x = _graph_block(x, values, i, stride)
    inside = (slice(None), slice(None), slice(0, -1), slice(0, -1))  # the padding of three channels is no grey value
    assert torch.allclose(stem[inside], _graph_stem(grey.expand(-1, 3, -1, -1) - mean, values)[inside], atol=1e-3)
    assert ours.shape == (2, 1024, 2, 2) and x.shape == ours.shape
    assert torch.corrcoef(torch.stack([ours.flatten(), x.flatten()]))[0, 1] > 0.99


def _padded(x: torch.Tensor, stride: int) -> torch.Tensor:
    return F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))  # TensorFlow's SAME for even sizes


def _graph_stem(x: torch.Tensor, values: dict[str, np.ndarray]) -> torch.Tensor:
    kernel = torch.from_numpy(values["conv1/convolution/merged_input"]).permute(3, 2, 0, 1)
    y = F.conv2d(_padded(x, 2), kernel, stride=2)
    return F.relu6(y + torch.from_numpy(values["conv1_bn/batchnorm_1/sub"]).view(1, -1, 1, 1))


def _graph_block(x: torch.Tensor, values: dict[str, np.ndarray], i: int, stride: int) -> torch.Tensor:
    def constant(name: str) -> torch.Tensor:
        return torch.from_numpy(values[name])

    depthwise = constant(f"conv_dw_{i}/depthwise_kernel").permute(2, 3, 0, 1)
    y = F.conv2d(_padded(x, stride), depthwise, stride=stride, groups=x.shape[1])
    y = y * constant(f"conv_dw_{i}_bn/scale").view(1, -1, 1, 1)
    y = F.relu6(y + constant(f"conv_dw_{i}_bn/batchnorm_1/sub").view(1, -1, 1, 1))
    y = F.conv2d(y, constant(f"conv_pw_{i}/convolution/merged_input").permute(3, 2, 0, 1))
    return F.relu6(y + constant(f"conv_pw_{i}_bn/batchnorm_1/sub").view(1, -1, 1, 1))


def test_a_graph_of_another_network_or_size_is_refused(script, graph):
    path, _ = graph
    whole = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(whole + b"12")
    with pytest.raises(ValueError, match=r"faceres\.bin has \d+ bytes, the graph needs"):
        script.encoder_weights(path)
    path.with_suffix(".bin").write_bytes(whole)
    content = json.loads(path.read_text())
    content["modelTopology"]["node"] = content["modelTopology"]["node"][1:]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no node conv1_bn"):
        script.encoder_weights(path)


def test_a_face_network_starts_from_the_encoder_and_keeps_its_frozen_layers(archive, tmp_path):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = face_encoder(TINY.width)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    config = replace(CONFIG, backbone=replace(TINY, frozen=2))
    out = tmp_path / "net.onnx"
    train_visual.train(archive, out, config, tmp_path / "c", pretrained=tmp_path / "encoder.safetensors")
    trained = read_initializers(out)
    start = {f"trunk.{name}": value.half().float().numpy() for name, value in encoder.state_dict().items()}
    same = [name for name, value in start.items() if np.array_equal(trained[name], value)]
    frozen = [name for name in start if name.startswith(("trunk.0.", "trunk.1."))]
    assert set(frozen) <= set(same) < set(start)
    assert load_card(out).input.size == 48


def test_the_robot_runs_the_exported_network_and_agrees_with_torch(archive, tmp_path):
    torch.set_num_threads(1)
    out = tmp_path / "net.onnx"
    train_visual.train(archive, out, replace(CONFIG, epochs=0), tmp_path / "c")
    classifier = ExpressionClassifier(out, exact=True)
    assert classifier.crop_shape == (48, 48)
    faces = np.random.default_rng(1).integers(0, 256, (3, 48, 48), np.uint8)
    expected = train_visual.predict(teachers.load_network(out), faces)[0]
    assert np.allclose(classifier.outputs(faces)["ferplus"], expected, atol=1e-3)


def test_a_network_of_another_width_is_refused(tmp_path):
    save_file(face_encoder(1 / 64).state_dict(), tmp_path / "narrow.safetensors")
    with pytest.raises(ModelError, match=r"narrow\.safetensors has \(16, 1, 3, 3\) for 0\.conv\.weight"):
        BackboneNet(BackboneConfig(FACE_ENCODER, size=64)).load_pretrained(tmp_path / "narrow.safetensors")
