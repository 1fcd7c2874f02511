"""Grad-CAM points at the face, depends on the weights, and says what it cannot explain."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from skimage import color, data, transform

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.learning.common import publish_weights
from emotion_perception.learning.config import from_mapping
from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig
from emotion_perception.resources import model_path
from emotion_perception.visual.explain import draw_explanation, explain_face
from emotion_perception.visual.expression import read_weights


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
    card = {"training": {"net": shape}, "calibration": {"ferplus_scale": 1.0, "fer2013_scale": 1.0}}
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


@pytest.mark.parametrize("name", ["happy", "angry", "surprised"])
@pytest.mark.parametrize("which", ["weights", "random_weights"])
def test_the_map_is_that_of_torchs_gradient(face, request, which, name):
    path = request.getfixturevalue(which)
    tensors, card = read_weights(path)
    shape = card["training"]["net"]
    net = ExpressionNet(from_mapping(ExpressionNetConfig, shape)).eval()
    net.load_state_dict(net.state_dict() | {key: torch.from_numpy(value) for key, value in tensors.items()})
    x, maps = net.stem(net.standardise(torch.from_numpy(face).float()[None, None])), None
    for stage in net.stages:
        x = stage(x)
        maps = x if x.shape[-1] == 6 else maps
    features, target = x.mean((2, 3)), VISUAL_EMOTIONS.index(name)
    logit = net.ferplus(features)[0, target]
    (gradient,) = torch.autograd.grad(logit, maps)
    weighed = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()[0].detach().numpy()
    heat = cv2.resize(weighed, (48, 48), interpolation=cv2.INTER_CUBIC).clip(0)
    assert explain_face(face, path, name).heat == pytest.approx(heat / heat.max(), abs=1e-3)


def test_an_explanation_needs_no_torch(weights):
    """Which would add seconds and half a gigabyte to a robot's node."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; from emotion_perception.visual import explain; "
        f"explain.explain_face(np.eye(48, dtype=np.uint8), Path({str(weights)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
