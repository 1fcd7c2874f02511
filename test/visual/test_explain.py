"""An explanation points at the parts of a face that matter, depends on the weights, and refuses what no face shows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage import color, data, transform

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.learning.faces.export import publish_faces
from emotion_perception.learning.faces.network import ExpressionNet
from emotion_perception.resources import model_path
from emotion_perception.visual.explain import draw_explanation, explain_face
from emotion_perception.visual.expression import ExpressionClassifier


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    grey = color.rgb2gray(data.astronaut())[60:170, 170:280]
    return (transform.resize(grey, (48, 48), anti_aliasing=True) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def classifier() -> ExpressionClassifier:
    return ExpressionClassifier(model_path("expression.onnx"))


@pytest.fixture
def random_classifier(tmp_path) -> ExpressionClassifier:
    torch.manual_seed(0)
    net = ExpressionNet()
    for module in net.modules():  # residual branches start at zero; a random network should not
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
    publish_faces(tmp_path / "random.onnx", net, {})
    return ExpressionClassifier(tmp_path / "random.onnx")


def test_the_smile_is_explained_by_the_lower_half(face, classifier):
    found = explain_face(face, classifier, "happy")
    assert found.heat.shape == (48, 48) and found.heat.min() >= 0 and found.heat.max() == pytest.approx(1)
    assert found.heat[24:].sum() > found.heat[:24].sum()


def test_without_a_name_the_likeliest_emotion_is_explained(face, classifier):
    assert explain_face(face, classifier).emotion == "happy"


def test_other_emotions_have_other_maps(face, classifier):
    happy, angry = explain_face(face, classifier, "joy"), explain_face(face, classifier, "angry")
    assert np.abs(happy.heat - angry.heat).mean() > 0.02


def test_randomised_weights_change_the_map(face, classifier, random_classifier):
    """Adebayo et al. (2018), sanity checks for saliency maps."""
    trained, random = explain_face(face, classifier, "happy"), explain_face(face, random_classifier, "happy")
    assert np.corrcoef(trained.heat.ravel(), random.heat.ravel())[0, 1] < 0.7


class SquareDetector:
    """Finds the face happier the more contrast the square at row 30, column 8 has."""

    def __init__(self, channels: int) -> None:
        self.crop_shape = (48, 48) if channels == 1 else (48, 48, 3)

    def probabilities(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        happy = np.clip(faces[:, 30:38, 8:16].std((1, 2)).reshape(len(faces), -1).mean(1) / 200, 0.01, 0.9)
        p = np.repeat((1 - happy)[:, None] / 6, 7, 1)
        p[:, VISUAL_EMOTIONS.index("happy")] = happy
        return p, np.full_like(p, np.nan)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_only_region_that_matters_is_the_hottest(channels):
    detector = SquareDetector(channels)
    noise = np.random.default_rng(0).integers(0, 256, detector.crop_shape).astype(np.uint8)
    heat = explain_face(noise, detector, "happy").heat
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(row - 34) <= 4 and abs(column - 12) <= 4
    assert heat[:12].max() < 0.2 and heat[:, 36:].max() < 0.2
    assert explain_face(noise, detector, "sad").heat.max() < 1e-6, "nothing counts as evidence for sadness"


def test_an_explanation_needs_no_torch(classifier):
    """Which would add seconds and half a gigabyte to a robot's node."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; from emotion_perception.visual import explain; "
        "from emotion_perception.visual.expression import ExpressionClassifier; "
        f"classifier = ExpressionClassifier(Path({str(classifier.path)!r})); "
        "explain.explain_face(np.eye(48, dtype=np.uint8), classifier); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["calm", "smug"])
def test_what_a_face_does_not_show_is_refused(face, classifier, name):
    with pytest.raises(ValueError, match=name):
        explain_face(face, classifier, name)


def test_drawing_shows_the_face_beside_its_map(face, classifier):
    picture = draw_explanation(face, explain_face(face, classifier), 96)
    assert picture.shape == (96, 192, 3)
    left, right = picture[:, :96].astype(int), picture[:, 96:].astype(int)
    assert (left[..., 0] == left[..., 2]).all() and np.abs(left - right).mean() > 5
