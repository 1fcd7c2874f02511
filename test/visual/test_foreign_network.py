"""Face networks from elsewhere: an ONNX or TFLite file and a card are all that they need."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import ModelCard
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.explain import explain_face
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.perception import VisualPerception

LABELS = ["anger", "contempt", "happiness"]
CARD = {
    "model": "reddish",
    "labels": LABELS,
    "label_map": {"contempt": None},
    "input": {"size": 64, "colour": "rgb", "layout": "NCHW", "mean": [10, 20, 30], "deviation": [2, 4, 8]},
    "outputs": {"scores": "logits"},
}


def publish(path, batch, card=CARD):
    """A network whose three logits are the mean normalised red, green and blue of a 64-pixel face."""
    nodes = [
        helper.make_node("ReduceMean", ["face"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "one"], ["scores"]),
    ]
    face = helper.make_tensor_value_info("face", TensorProto.FLOAT, [batch, 3, 64, 64])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    graph = helper.make_graph(nodes, "reddish", [face], [scores], [one])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    path.with_suffix(".yaml").write_text(ModelCard.from_mapping(card, "test").to_yaml())
    return path


@pytest.mark.parametrize("batch", ["n", 1])
def test_colour_order_normalisation_and_labels_follow_the_card(tmp_path, batch):
    classifier = ExpressionClassifier(publish(tmp_path / "net.onnx", batch), exact=True)
    assert classifier.crop_shape == (64, 64, 3)
    faces = np.zeros((2, 64, 64, 3), np.uint8)
    faces[:] = (30, 20, 12)  # BGR: red 12 becomes 1, blue 30 becomes 0
    faces[1, ..., 0] = 46  # blue becomes 2
    p, intensities = classifier.probabilities(faces)
    angry, happy = VISUAL_EMOTIONS.index("angry"), VISUAL_EMOTIONS.index("happy")
    expected = np.exp([[1, 0], [1, 2]]) / np.exp([[1, 0], [1, 2]]).sum(1, keepdims=True)
    np.testing.assert_allclose(p[:, [angry, happy]], expected, atol=1e-4)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert np.isnan(intensities).all()


def test_pipeline_cuts_the_crop_that_the_card_asks_for(tmp_path, astronaut):
    perception = VisualPerception(VisualConfig(expression_model=str(publish(tmp_path / "net.onnx", "n"))))
    (still,) = perception.still(astronaut)
    (tracked,) = perception.process(astronaut, 0)
    assert still.emotion.probabilities.sum() == pytest.approx(1, abs=1e-5) and tracked.quality > 0.9
    crop = perception.newest_crop().crop
    assert crop.shape == (64, 64, 3) and len(np.unique(crop - crop[..., :1])) > 1, "the colours are kept"
    assert explain_face(crop, perception.classifier, "angry").heat.shape == (64, 64)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": ["anger", "joy"]}, "labels has 2 names"),
        ({"outputs": {"other": "logits"}}, "other"),
        ({"outputs": {}}, "outputs"),
        ({"input": {"size": 48, "colour": "rgb", "layout": "NCHW"}}, "input"),
        ({"labels": ["calm", "anger", "joy"]}, "calm"),
    ],
)
def test_card_that_does_not_fit_the_network_is_refused_by_field(tmp_path, change, says):
    path = publish(tmp_path / "net.onnx", "n", CARD | change)
    with pytest.raises(ModelError, match=rf"net\.onnx.*{says}"):
        ExpressionClassifier(path)
