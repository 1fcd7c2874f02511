"""Model cards: what is read, what is refused, and how."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper

from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import FaceInput, ModelCard, VoiceInput, load_card

FACES = {
    "model": "someone's faces",
    "labels": ["anger", "contempt", "joy"],
    "label_map": {"contempt": None},
    "input": {"size": 64, "colour": "rgb", "layout": "nchw", "mean": [1, 2, 3], "deviation": 58},
    "outputs": {"scores": "logits"},
    "prior": {"joy": 0.75, "anger": 0.25},
    "calibration": {"scale": 1.5},
    "reliability": {"factors": [1.0]},
    "licence": "MIT",
    "training": {"epochs": 3},
}


def network(path, card=None):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))
    if card is not None:
        helper.set_model_props(model, {"card": json.dumps(card)})
    onnx.save(model, str(path))
    return path


def test_card_reads_labels_by_their_common_names_and_leaves_out_what_is_no_emotion():
    card = ModelCard.from_mapping(FACES, "x")
    assert card.labels == ("angry", None, "happy")
    assert card.input == FaceInput(64, "rgb", "NCHW", (1.0, 2.0, 3.0), (58.0,))
    assert card.prior == {"happy": 0.75, "angry": 0.25}
    assert card.scale() == 1.5
    assert card.details == {"training": {"epochs": 3}}


def test_classes_of_the_same_emotion_are_added_up():
    card = ModelCard.from_mapping({"labels": ["joy", None, "happiness", "sad"]}, "x")
    assert card.class_matrix(("happy", "sad")).tolist() == [[1, 0], [0, 0], [1, 0], [0, 1]]
    with pytest.raises(ValueError, match="sad"):
        card.class_matrix(("happy",))


def test_voice_card_states_its_sample_rate():
    card = ModelCard.from_mapping({"labels": ["calm"], "input": {"sample_rate": 16000, "longest_s": 3}}, "x")
    assert card.input == VoiceInput(16000, 3.0)


def test_card_survives_a_round_trip_through_yaml_and_metadata(tmp_path):
    card = ModelCard.from_mapping(FACES, "x")
    inside = network(tmp_path / "inside.onnx", card.to_mapping())
    beside = network(tmp_path / "beside.onnx")
    beside.with_suffix(".yaml").write_text(card.to_yaml())
    assert load_card(inside) == load_card(beside) == card


def test_yaml_file_takes_precedence_over_metadata(tmp_path):
    path = network(tmp_path / "net.onnx", FACES)
    path.with_suffix(".yaml").write_text(json.dumps(FACES | {"model": "edited"}))
    assert load_card(path).model == "edited"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": []}, "labels"),
        ({"labels": ["jolly"]}, "labels"),
        ({"labels": [None]}, "labels"),
        ({"input": {"colour": "rgb"}}, "input"),
        ({"input": {"size": "big"}}, "input.size"),
        ({"input": {"size": 4}}, "input.size"),
        ({"input": {"size": 48, "colour": "hsv"}}, "input.colour"),
        ({"input": {"size": 48, "colour": "rgb", "layout": "NHW"}}, "input.layout"),
        ({"input": {"size": 48, "mean": [1, 2]}}, "input.mean"),
        ({"input": {"size": 48, "deviation": 0}}, "input.deviation"),
        ({"input": {"sample_rate": -1}}, "input.sample_rate"),
        ({"input": 48}, "input"),
        ({"prior": {"happy": 0.5}}, "prior"),
        ({"prior": {"happy": float("nan")}}, "prior.happy"),
        ({"calibration": 3}, "calibration"),
    ],
)
def test_wrong_field_is_named_with_the_file(change, field, tmp_path):
    path = network(tmp_path / "net.onnx")
    path.with_suffix(".yaml").write_text(json.dumps(FACES | change))
    with pytest.raises(ModelError, match=rf"net\.yaml.*{field}"):
        load_card(path)


def test_wrong_scale_is_named():
    with pytest.raises(ValueError, match=r"calibration\.scale"):
        ModelCard.from_mapping(FACES | {"calibration": {"scale": 0}}, "x").scale()


def test_missing_card_is_named_with_the_place_where_it_was_expected(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx"):
        load_card(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"bare\.onnx.*bare\.yaml"):
        load_card(network(tmp_path / "bare.onnx"))
    (tmp_path / "net.tflite").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"net\.yaml"):
        load_card(tmp_path / "net.tflite")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"labels: [", b"just text"])
def test_corrupt_card_is_named(content, tmp_path):
    path = network(tmp_path / "net.onnx")
    path.with_suffix(".yaml").write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.yaml"):
        load_card(path)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        load_card(broken)
