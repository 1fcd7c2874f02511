"""Grad-CAM points at the face, depends on the weights, and says what it cannot explain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import color, data, transform

from emotion_perception.errors import ModelError
from emotion_perception.learning.common import publish_weights
from emotion_perception.resources import model_path
from emotion_perception.visual.explain import draw_explanation, explain_face
from emotion_perception.visual.expression_net import ExpressionNet


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    grey = color.rgb2gray(data.astronaut())[60:170, 170:280]
    return (transform.resize(grey, (48, 48), anti_aliasing=True) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def weights():
    return model_path("expression.safetensors")


@pytest.fixture
def random_weights(tmp_path):
    torch.manual_seed(0)
    net = ExpressionNet()
    for module in net.modules():  # residual branches start at zero; a random network should not
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
    shape = {"stem": net.config.stem, "widths": net.config.widths, "blocks": net.config.blocks}
    card = {"training": {"net": shape}, "calibration": {"ferplus_scale": 1.0, "fer2013_scale": 0.0}}
    publish_weights(tmp_path / "random.safetensors", net, card)
    return tmp_path / "random.safetensors"


def test_the_smile_is_explained_by_the_lower_half(face, weights):
    found = explain_face(face, weights, "happy")
    assert found.heat.shape == (48, 48) and found.heat.min() >= 0 and found.heat.max() == pytest.approx(1)
    assert found.heat[24:].sum() > found.heat[:24].sum()


def test_without_a_name_the_likeliest_emotion_is_explained(face, weights):
    assert explain_face(face, weights).emotion == "happy"


def test_other_emotions_have_other_maps(face, weights):
    happy, angry = explain_face(face, weights, "joy"), explain_face(face, weights, "angry")
    assert np.abs(happy.heat - angry.heat).mean() > 0.02


def test_randomised_weights_change_the_map(face, weights, random_weights):
    """Adebayo et al. (2018), sanity checks for saliency maps."""
    trained, random = explain_face(face, weights, "happy"), explain_face(face, random_weights, "happy")
    assert np.corrcoef(trained.heat.ravel(), random.heat.ravel())[0, 1] < 0.7


@pytest.mark.parametrize("name", ["calm", "smug"])
def test_what_a_face_does_not_show_is_refused(face, weights, name):
    with pytest.raises(ValueError, match=name):
        explain_face(face, weights, name)


def test_missing_weights_are_named(face, tmp_path):
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        explain_face(face, tmp_path / "none.safetensors")


def test_drawing_shows_the_face_beside_its_map(face, weights):
    picture = draw_explanation(face, explain_face(face, weights), 96)
    assert picture.shape == (96, 192, 3)
    left, right = picture[:, :96].astype(int), picture[:, 96:].astype(int)
    assert (left[..., 0] == left[..., 2]).all() and np.abs(left - right).mean() > 5
