"""The int8 network is published only if it is about as good, and used only with the float network it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from emotion_perception.cli.train import main
from emotion_perception.emotions import FERPLUS_COLUMNS, VISUAL_INDICES
from emotion_perception.inference import runtime
from emotion_perception.inference.cards import card_path, load_card
from emotion_perception.inference.quantised import int8_of, int8_path
from emotion_perception.learning import quantise
from emotion_perception.learning.quantise import quantise_faces
from emotion_perception.resources import find_model
from emotion_perception.visual.expression import ExpressionClassifier


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published face model, on a machine that has measured nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    for source in (find_model("expression.onnx"), card_path(find_model("expression.onnx"))):
        shutil.copy(source, tmp_path / "models")
    return tmp_path / "models" / "expression.onnx"


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    """A ferplus.npz of noise in which the float network is right about every face."""
    faces = np.random.default_rng(0).integers(0, 256, (40, 48, 48), dtype=np.uint8)
    found = ExpressionClassifier(model, exact=True).probabilities(faces)[0].argmax(1)
    votes = np.zeros((40, 10), np.uint8)
    columns = [FERPLUS_COLUMNS.index(VISUAL_INDICES[i]) for i in found]
    votes[np.arange(40), columns] = 10
    usage = np.array(["Training"] * 20 + ["PublicTest"] * 20)
    path = tmp_path / "ferplus.npz"
    np.savez(path, faces=faces, votes=votes, usage=usage, fer2013=np.zeros(40, np.int64))
    return path


def unchanged(network: ov.Model, inputs: Any) -> ov.Model:
    """Stands for NNCF, which takes a minute: a network that loses nothing."""
    assert all(crop.shape == (1, 48, 48) and crop.dtype == np.uint8 for crop in inputs)
    return network


def test_int8_network_is_written_beside_the_float_one_with_its_scores(model, data, monkeypatch):
    monkeypatch.setattr(quantise, "_quantise", unchanged)
    made = quantise_faces(model, data)
    assert made["accuracy"]["float"] == made["accuracy"]["int8"] == 100.0
    assert "20 faces of FER+ Training" in made["calibration"]
    assert load_card(int8_path(model)).details["quantised"] == made
    assert int8_of(model) == int8_path(model)


@pytest.mark.parametrize(("int8_accuracy", "code"), [(85.7, 0), (85.5, 1)])
def test_a_network_that_loses_more_than_a_third_of_a_point_is_not_written(
    model, data, monkeypatch, capsys, int8_accuracy, code
):
    monkeypatch.setattr(quantise, "_quantise", unchanged)
    monkeypatch.setattr(quantise, "_accuracy", lambda path, *_: int8_accuracy if ".int8" in path.name else 85.9)
    assert main(["quantise", "--data", str(data), "--expression-model", str(model)]) == code
    assert ("85.90 % of PublicTest right in float, 85.50 % in int8; not written" in capsys.readouterr().err) == bool(
        code
    )
    assert int8_path(model).exists() == (not code)


@pytest.mark.parametrize(("int8_seconds", "int8_is_used"), [(1.0, True), (2.0, False)])
def test_each_robot_uses_the_faster_network_and_remembers_it(model, data, monkeypatch, int8_seconds, int8_is_used):
    monkeypatch.setattr(quantise, "_quantise", unchanged)
    quantise_faces(model, data)
    measured: list[set[str]] = []

    def measure(networks, example):
        measured.append(set(networks))
        return {name: int8_seconds if name == "int8" else 1.5 for name in networks}

    monkeypatch.setattr(runtime, "_least_seconds", measure)
    for _ in range(2):
        ExpressionClassifier(model)
    (networks,) = measured  # the second start did not measure
    assert {"f32", "int8"} <= networks
    (kept,) = model.parents[1].glob("cache/emotion_perception/precision/expression-*.json")
    assert (json.loads(kept.read_text())["precision"] == "int8") is int8_is_used


def test_an_int8_network_of_an_older_float_network_is_not_used(model, data, monkeypatch):
    monkeypatch.setattr(quantise, "_quantise", unchanged)
    quantise_faces(model, data)
    model.write_bytes(model.read_bytes() + b"\0")
    assert int8_of(model) is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nncf_halves_the_weights_of_the_published_network(model, tmp_path):
    pytest.importorskip("nncf", reason="NNCF (profile learn) is not installed")
    card = load_card(model)
    faces = [np.random.default_rng(i).integers(0, 256, (1, 48, 48), dtype=np.uint8) for i in range(8)]
    network = quantise._quantise(quantise.read_face_network(ov.Core(), model, card.input), iter(faces))
    ov.save_model(network, tmp_path / "int8.xml", compress_to_fp16=False)
    assert (tmp_path / "int8.bin").stat().st_size < 0.5 * model.stat().st_size
