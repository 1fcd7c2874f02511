"""Two published networks become one that computes the mean of their log likelihoods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emotion_perception.cli import train as cli
from emotion_perception.learning.faces import train as train_visual
from emotion_perception.learning.faces.backbone import FACE_ENCODER, BackboneConfig
from emotion_perception.learning.faces.ensemble import FaceEnsemble
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.learning.faces.network import ExpressionNetConfig
from emotion_perception.visual.expression import ExpressionClassifier

SMALL = train_visual.VisualTraining(
    epochs=2, batch=16, net=ExpressionNetConfig(16, (16, 16, 16, 16), (1, 1, 1, 1), mirror=False)
)
ENCODER = replace(SMALL, backbone=BackboneConfig(FACE_ENCODER, size=64, width=1 / 64, mirror=False))


@pytest.fixture
def members(archive, tmp_path) -> list[Path]:
    torch.set_num_threads(1)
    paths = [tmp_path / "small.onnx", tmp_path / "encoder.onnx"]
    for path, config in zip(paths, (SMALL, ENCODER), strict=True):
        train_visual.train(archive, path, config, path.with_suffix(".ckpt"))
    return paths


def _likelihoods(path: Path, archive: Path) -> np.ndarray:
    """Log likelihoods ``(N, 8)``, up to a constant for each face."""
    split, net = load_ferplus(archive, "PublicTest"), train_visual.load_network(path)
    card = ExpressionClassifier(path).card
    logits = train_visual.predict(net, split.faces)[0] * card.scale("ferplus_scale")
    return logits - train_visual.class_frequencies(split)[0].numpy()


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(1, keepdims=True)


def test_the_ensemble_is_the_weighted_mean_of_its_members(archive, tmp_path, members):
    out = tmp_path / "both.onnx"
    card = train_visual.combine(archive, out, members, (0.25, 0.75))
    assert isinstance(train_visual.load_network(out), FaceEnsemble)
    small, encoder, both = (_centred(_likelihoods(path, archive)) for path in (*members, out))
    mean = 0.25 * small + 0.75 * encoder
    assert np.allclose(both, card["calibration"]["ferplus_scale"] * mean, atol=0.05)
    assert [member["weight"] for member in card["members"]] == [0.25, 0.75]


def test_the_robot_computes_the_ensemble_as_torch_does(archive, tmp_path, members):
    out = tmp_path / "both.onnx"
    train_visual.combine(archive, out, members)
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    expected = train_visual.predict(train_visual.load_network(out), faces)
    actual = ExpressionClassifier(out, exact=True).outputs(faces).values()
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-3 * max(1.0, np.abs(one).max()))


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.6)])
def test_weights_that_are_none_are_refused(archive, tmp_path, members, weights):
    with pytest.raises(ValueError, match="2 weights with sum 1 are needed, got 0.5"):
        train_visual.combine(archive, tmp_path / "both.onnx", members, weights)


def test_networks_are_combined_from_the_command_line(archive, tmp_path, members, capsys):
    arguments = ["visual", "--data", str(archive), "--out", str(tmp_path / "both.onnx")]
    for path in members:
        arguments += ["--combine", str(path)]
    assert cli.main(arguments) == 0
    assert '"members"' in capsys.readouterr().out
    assert cli.main([*arguments[:-1], str(tmp_path / "missing.onnx")]) == 2
    assert "missing.onnx" in capsys.readouterr().err
