"""A torchvision network learns faces from its own weights on, and teaches the robot's network."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from emotion_perception.cli import evaluate
from emotion_perception.cli import train as cli
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.faces import teachers
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.backbone import BackboneConfig, BackboneNet
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig
from emotion_perception.learning.onnx_files import read_initializers
from emotion_perception.visual.expression import ExpressionClassifier

TINY = BackboneConfig("shufflenet_v2_x0_5", size=32)  # 0.4 M parameters
CONFIG = train_visual.VisualTraining(
    epochs=1, batch=16, net=ExpressionNetConfig(16, (16, 16, 16, 16), (1, 1, 1, 1)), backbone=TINY
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def weights(tmp_path) -> Path:
    """What a user has of ImageNet: a whole state dict, classifier and all."""
    torch.manual_seed(0)
    torch.save(models.get_model(TINY.name, weights=None).state_dict(), tmp_path / "imagenet.pth")
    return tmp_path / "imagenet.pth"


@pytest.mark.parametrize(
    ("name", "head"),
    [("shufflenet_v2_x0_5", "fc"), ("resnet18", "fc"), ("mobilenet_v3_small", "classifier"), ("mnasnet0_5", None)],
)
def test_features_are_those_of_torchvision(name, head, tmp_path):
    whole = models.get_model(name, weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    net = BackboneNet(BackboneConfig(name, 48)).eval()
    net.load_pretrained(tmp_path / "w.pth")
    seen = []
    net.dropout.register_forward_hook(lambda module, given, result: seen.append(result))
    faces = torch.randint(0, 256, (2, 1, 48, 48)).float()
    with torch.inference_mode():
        net(faces)
        colours = faces.repeat(1, 3, 1, 1) / 255
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        colours = (colours - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
        if head:
            setattr(whole, head, nn.Identity())
            expected = whole(colours)
        else:
            expected = whole.layers(colours).mean((2, 3))
    assert torch.allclose(seen[0], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg11", "efficientnet_b0", "regnet_y_400mf", "mobilenet_v2"])
def test_a_backbone_has_the_interface_of_the_robots_network(name):
    net = BackboneNet(BackboneConfig(name)).eval()
    with torch.inference_mode():
        shapes = [tuple(head.shape) for head in net(torch.zeros(2, 1, 48, 48))]
    assert shapes == [(2, 8), (2, 7), (2, 7)]


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_both_kinds_of_weight_file_are_read(weights, tmp_path, kind):
    given = torch.load(weights, weights_only=True)
    if kind == "safetensors":
        save_file(given, tmp_path / "w.safetensors")
        weights = tmp_path / "w.safetensors"
    net = BackboneNet(TINY)
    net.load_pretrained(weights)
    assert all(torch.equal(value, given[name]) for name, value in net.trunk.state_dict().items())


def test_transfer_learning_from_the_command_line(archive, weights, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("epochs: 1\nbatch: 16\nbackbone: {size: 32}\nnet: {widths: [4, 8, 8, 8], blocks: [1, 1, 1, 1]}\n")
    common = ["visual", "--data", str(archive), "--config", str(config)]
    big, small = tmp_path / "big.onnx", tmp_path / "small.onnx"
    assert cli.main([*common, "--backbone", TINY.name, "--backbone-weights", str(weights), "--out", str(big)]) == 0, (
        capsys.readouterr().err
    )
    captured = capsys.readouterr()
    assert "random weights" not in captured.err
    card = json.loads(captured.out.splitlines()[-1])
    assert (card["backbone"], card["pretrained"]) == (TINY.name, "imagenet.pth")
    assert card["training"]["backbone"]["size"] == 32
    assert load_card(big).details["backbone"] == TINY.name
    assert "trunk.conv1.0.weight" in read_initializers(big)

    assert cli.main([*common, "--teacher", str(big), "--out", str(small)]) == 0
    card = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (card["backbone"], card["teachers"]) == (None, ["big.onnx"])
    assert isinstance(teachers.load_network(small), ExpressionNet)


def test_a_published_backbone_predicts_as_it_did(archive, weights, tmp_path):
    out = tmp_path / "big.onnx"
    card = train_visual.train(archive, out, CONFIG, tmp_path / "big.ckpt", pretrained=weights)
    split = load_ferplus(archive, "PublicTest")
    net = teachers.load_network(out)
    assert isinstance(net, BackboneNet) and net.config == TINY
    again = train_visual.evaluate(net, split, train_visual.class_frequencies(split))
    # Published in half precision.
    assert again["intensity_mae"] == pytest.approx(card["validation"]["intensity_mae"], abs=0.01)
    assert [logits.shape for logits in train_visual.predict(net, split.faces, flip=True)] == [(32, 8), (32, 7), (32, 7)]


def test_no_epoch_leaves_the_given_weights(archive, weights, tmp_path):
    out = tmp_path / "none.onnx"
    train_visual.train(archive, out, replace(CONFIG, epochs=0), tmp_path / "none.ckpt", pretrained=weights)
    given, published = torch.load(weights, weights_only=True), read_initializers(out)
    name = "stage2.0.branch1.0.weight"
    assert np.array_equal(published[f"trunk.{name}"], given[name].half().float().numpy())


def test_first_layers_move_least_and_nothing_is_left_out():
    net = BackboneNet(TINY)
    groups = train_visual._parameter_groups(net, CONFIG, trained=True)
    rates = [group["lr"] / CONFIG.learning_rate for group in groups]
    assert rates == sorted(rates) and rates[0] == pytest.approx(0.1) and rates[-1] == 1
    grouped = [p for group in groups for p in group["params"]]
    assert len(grouped) == len(set(map(id, grouped))) == len(list(net.parameters()))
    assert all(p.dim() > 1 for group in groups if group["weight_decay"] for p in group["params"])


def test_layers_that_begin_random_learn_at_the_full_rate():
    groups = train_visual._parameter_groups(BackboneNet(TINY), CONFIG, trained=False)
    assert {group["lr"] for group in groups} == {CONFIG.learning_rate}
    groups = train_visual._parameter_groups(ExpressionNet(CONFIG.net), CONFIG, trained=True)
    assert [group["lr"] for group in groups] == [CONFIG.learning_rate] * 2


def test_a_low_first_rate_keeps_the_first_layer_near_where_it_was(archive, weights, tmp_path):
    given = torch.load(weights, weights_only=True)["conv1.0.weight"]

    def moved(rate: float) -> float:
        out = tmp_path / f"{rate}.onnx"
        config = replace(CONFIG, backbone=replace(TINY, first_rate=rate), weight_decay=0.0)
        train_visual.train(archive, out, config, out.with_suffix(".ckpt"), pretrained=weights)
        return (torch.from_numpy(read_initializers(out)["trunk.conv1.0.weight"]) - given).abs().mean().item()

    assert moved(0.01) < 0.3 * moved(1.0)


def test_without_weights_it_begins_random_and_says_so(archive, tmp_path, capsys):
    card = train_visual.train(archive, tmp_path / "r.onnx", CONFIG, tmp_path / "r.ckpt")
    assert card["pretrained"] is None
    assert "shufflenet_v2_x0_5 starts with random weights" in capsys.readouterr().err


def _other_network(path: Path) -> None:
    torch.save(models.get_model("shufflenet_v2_x1_0", weights=None).state_dict(), path)


class _Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: None, "backbone weights not found"),
        (lambda path: path.write_bytes(b"<html>not found</html>"), "not a state dict"),
        (lambda path: torch.save([torch.zeros(1)], path), "not a state dict: .* \\(list\\)"),
        (lambda path: torch.save({"model": {}}, path), "has nothing for conv1.0.weight"),
        (_other_network, "not weights of shufflenet_v2_x0_5: .*w.pth has .* expected"),
        (lambda path: torch.save(_Harm(), path), "not a state dict"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_reason(archive, tmp_path, monkeypatch, write, says):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "w.pth")
    with pytest.raises(ModelError, match=says):
        train_visual.train(archive, tmp_path / "out.onnx", CONFIG, tmp_path / "c", pretrained=tmp_path / "w.pth")
    assert not (tmp_path / "harm").exists() and not (tmp_path / "out.onnx").exists()


def test_a_corrupt_safetensors_file_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match="not a state dict"):
        BackboneNet(TINY).load_pretrained(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("vgg99", 64, "unknown backbone 'vgg99'; there are .*mobilenet_v3_small"),
        ("vit_b_16", 224, "unknown backbone 'vit_b_16'"),
        ("vgg11", 16, "vgg11 cannot see faces of 16 pixels"),
    ],
)
def test_backbones_that_there_are_not_and_sizes_too_small_are_refused(name, size, says):
    with pytest.raises(ModelError, match=says):
        BackboneNet(BackboneConfig(name, size))


def test_weights_without_a_backbone_are_not_quietly_left_unused(archive, weights, tmp_path, capsys):
    (tmp_path / "small.yaml").write_text("epochs: 1")
    arguments = ["visual", "--data", str(archive), "--backbone-weights", str(weights)]
    arguments += ["--config", str(tmp_path / "small.yaml")]
    assert cli.main([*arguments, "--out", str(tmp_path / "out.onnx")]) == 2
    assert "no backbone is named" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_not_gone_on_with(archive, tmp_path):
    own = replace(CONFIG, backbone=BackboneConfig())
    train_visual.train(archive, tmp_path / "a.onnx", own, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match=r"a\.ckpt is of another network"):
        train_visual.train(archive, tmp_path / "a.onnx", CONFIG, tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    "arguments",
    [
        ["acoustic", "--backbone", "vgg16"],
        ["visual", "--backbone", "vgg16", "--backbone-weights", "w.pth", "--initial", "w.safetensors"],
        ["visual", "--backbone", "vgg16", "--ablation", "table"],
    ],
)
def test_arguments_that_contradict_each_other_are_refused(archive, arguments, capsys):
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--data", str(archive)])
    assert "--backbone" in capsys.readouterr().err


def test_what_a_backbone_says_depends_on_the_picture_not_on_its_neighbours(weights):
    net = BackboneNet(TINY).eval()
    net.load_pretrained(weights)
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    together, alone = train_visual.predict(net, faces), train_visual.predict(net, faces[1:2])
    assert all(np.allclose(a[1:2], b, atol=1e-4) for a, b in zip(together, alone, strict=True))


def test_a_published_backbone_is_evaluated_like_any_model(archive, weights, tmp_path, capsys):
    out = tmp_path / "big.onnx"
    train_visual.train(archive, out, CONFIG, tmp_path / "big.ckpt", pretrained=weights)
    arguments = ["visual", "--data", str(archive), "--split", "PublicTest", "--weights", str(out)]
    assert evaluate.main([*arguments, "--out", str(tmp_path / "report")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n"] == 32
    assert "big.onnx" in (tmp_path / "report" / "classification_report.txt").read_text()


def test_the_robot_computes_a_backbone_as_torch_does(archive, weights, tmp_path):
    out = tmp_path / "big.onnx"
    train_visual.train(archive, out, replace(CONFIG, epochs=0), tmp_path / "big.ckpt", pretrained=weights)
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    expected = train_visual.predict(teachers.load_network(out), faces)
    actual = ExpressionClassifier(out, exact=True).outputs(faces).values()
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-3 * np.abs(one).max())
