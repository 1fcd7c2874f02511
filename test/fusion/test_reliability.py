"""Reliability of the models' estimates, and how it is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from emotion_perception.acoustic.perception import AcousticConfig
from emotion_perception.emotions import EMOTIONS, SAD
from emotion_perception.errors import ModelError
from emotion_perception.fusion.reliability import Reliability, load_reliabilities, reliability_of
from emotion_perception.types import EmotionEstimate
from emotion_perception.visual.perception import VisualConfig

ENTRY = {"factors": dict.fromkeys(EMOTIONS, 1.0), "weights": {0.0: 0.2, 1.0: 1.0}, "unknown_weight": 0.5}


def test_weight_is_linear_between_the_qualities_and_constant_beyond():
    reliability = Reliability.from_mapping(ENTRY, "m")
    assert [reliability.weight_at(quality) for quality in (-1, 0, 0.5, 1, 3)] == pytest.approx([0.2, 0.2, 0.6, 1, 1])
    assert reliability.weight_at(float("nan")) == 0.5


def test_weights_may_be_listed_in_any_order():
    shuffled = ENTRY | {"weights": {1.0: 1.0, 0.0: 0.2}}
    assert Reliability.from_mapping(shuffled, "m") == Reliability.from_mapping(ENTRY, "m")


def test_mapping_and_reliability_convert_into_each_other():
    assert Reliability.from_mapping(ENTRY, "m").to_mapping() == ENTRY


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"factors": dict.fromkeys(EMOTIONS[:7], 1.0)}, "factors lack surprised"),
        ({"factors": dict.fromkeys(EMOTIONS, 1.0) | {"sad": 0.0}}, "factors must be"),
        ({"factors": dict.fromkeys(EMOTIONS, 1.0) | {"hungry": 1.0}}, "unknown emotion 'hungry'"),
        ({"factors": [1.0] * 8}, "AttributeError"),
        ({"weights": {float("nan"): 1.0}, "unknown_weight": "much"}, "ValueError"),
        ({"weights": {}}, "one weight each"),
        ({"weights": {0.0: 1.0, 1.0: float("nan")}}, "weights must be"),
        ({"unknown_weight": None}, "TypeError"),
    ],
)
def test_wrong_entry_names_file_model_and_field(change: dict, words: str, tmp_path: Path):
    path = tmp_path / "fusion.yaml"
    path.write_text(yaml.safe_dump({"models": {"my-face": ENTRY | change}}))
    with pytest.raises(ModelError, match=rf"fusion\.yaml: my-face: .*{words}"):
        load_reliabilities(path)


@pytest.mark.parametrize("text", ["[]", "models: 3", "models: {a: [", "\x00"])
def test_file_that_is_not_a_fusion_file_is_named(text: str, tmp_path: Path):
    path = tmp_path / "fusion.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"fusion\.yaml"):
        load_reliabilities(path)
    with pytest.raises(ModelError, match="missing"):
        load_reliabilities(tmp_path / "missing.yaml")


def foreign_model(folder: Path, **card: object) -> str:
    """A network's file, of which only the card is read."""
    (folder / "foreign.yaml").write_text(yaml.safe_dump({"model": "foreign", "labels": ["sad"], **card}))
    (folder / "foreign.onnx").touch()
    return str(folder / "foreign.onnx")


def test_published_models_have_a_reliability_each():
    face, voice = reliability_of(VisualConfig().expression_model), reliability_of(AcousticConfig().model)
    assert face is not None and voice is not None
    assert face.weight_at(0.05) < face.weight_at(0.8)
    assert min(face.quality) >= 0 > min(voice.quality)


def test_reliability_comes_from_the_fusion_file_or_else_from_the_models_card(tmp_path: Path):
    assert reliability_of(foreign_model(tmp_path)) is None
    model = foreign_model(tmp_path, reliability=ENTRY)
    assert reliability_of(model) == Reliability.from_mapping(ENTRY, "m")
    fusion_file = tmp_path / "fusion.yaml"
    fusion_file.write_text(yaml.safe_dump({"models": {"foreign": ENTRY | {"unknown_weight": 0.1}}}))
    found = reliability_of(model, str(fusion_file))
    assert found is not None and found.unknown_weight == 0.1


def test_factors_keep_the_distribution_normalised_and_the_ratio_of_the_confidence():
    factors = (1.0, 1.0, 0.5, 2.0, 1.0, 1.0, 1.0, 1.0)
    p = np.array([0.1, 0.0, 0.5, 0.4, 0, 0, 0, 0], np.float32)
    read = Reliability(factors).as_evidence(EmotionEstimate.from_probabilities(p, confidence=0.25))
    assert read.label == SAD
    assert read.probabilities.sum() == pytest.approx(1)
    assert read.confidence == pytest.approx(read.probabilities.max() / 2)


def test_equal_factors_change_nothing():
    estimate = EmotionEstimate.from_probabilities(np.ones(8))
    assert Reliability().as_evidence(estimate) is estimate
