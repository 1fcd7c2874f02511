"""The expression classifier at run time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emotion_perception.emotions import CALM, VISUAL_EMOTIONS, VISUAL_INDICES
from emotion_perception.errors import ModelError
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.resources import find_model
from emotion_perception.visual.expression import ExpressionClassifier

FERPLUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ferplus.npz"


@pytest.fixture(scope="module")
def classifier(random_net) -> ExpressionClassifier:
    return ExpressionClassifier(random_net[1], exact=True)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            rng.integers(0, 256, (5, 48, 48), dtype=np.uint8),
            np.zeros((1, 48, 48), np.uint8),
            np.full((1, 48, 48), 255, np.uint8),
        ]
    )


def test_the_graph_computes_what_was_trained(random_net, classifier, faces):
    import torch

    net, _ = random_net
    with torch.inference_mode():
        x = torch.from_numpy(faces).unsqueeze(1).float()
        trained = [(face + mirrored) / 2 for face, mirrored in zip(net(x), net(x.flip(-1)), strict=True)]
    for expected, actual in zip(trained, classifier.logits(faces), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-4 * float(expected.abs().max()))


def test_a_network_that_starts_at_full_size_and_does_not_mirror_is_computed_as_it_was_trained(tmp_path, faces):
    torch = pytest.importorskip("torch")
    from dataclasses import asdict

    from emotion_perception.learning.common import publish_weights
    from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig

    torch.manual_seed(1)
    config = ExpressionNetConfig(8, (8, 16, 24), (1, 2, 1), (1, 2, 2), mirror=False)
    net = ExpressionNet(config).eval()
    for name, parameter in net.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.2, 0.6)
    card = {
        "labels": list(VISUAL_EMOTIONS),
        "calibration": {"ferplus_scale": 1.0, "fer2013_scale": 1.0},
        "training": {"net": asdict(config)},
    }
    publish_weights(tmp_path / "net.safetensors", net, card)
    net = net.half().float()
    with torch.inference_mode():
        trained = net(torch.from_numpy(faces).unsqueeze(1).float())
    classifier = ExpressionClassifier(tmp_path / "net.safetensors", exact=True)
    for expected, actual in zip(trained, classifier.logits(faces), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-4 * float(expected.abs().max()))


@pytest.mark.skipif(not FERPLUS.exists(), reason="ferplus.npz is not on this machine")
def test_half_the_precision_where_the_processor_has_it_says_nearly_the_same():
    weights, some = find_model("expression.safetensors"), load_ferplus(FERPLUS, "PublicTest").faces[:300]
    exact, quick = (ExpressionClassifier(weights, exact=e).probabilities(some) for e in (True, False))
    for one, other in zip(exact, quick, strict=True):
        assert np.abs(one - other).max() < 0.06 and np.abs(one - other).mean() < 0.003


def test_a_distribution_sums_to_one_and_leaves_calm_to_the_voice(classifier, faces):
    for estimate in classifier.classify(faces):
        assert estimate.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert estimate.probabilities[CALM] == 0
        assert np.isnan(estimate.intensities[CALM])
        strengths = estimate.intensities[list(VISUAL_INDICES)]
        assert ((strengths >= 0) & (strengths <= 1)).all()
        assert estimate.confidence == pytest.approx(estimate.probabilities.max())


def test_faces_in_a_batch_get_what_each_gets_alone(classifier, faces):
    together = classifier.classify(faces)
    for face, estimate in zip(faces, together, strict=True):
        [alone] = classifier.classify(face[np.newaxis])
        np.testing.assert_allclose(alone.probabilities, estimate.probabilities, atol=1e-5)


@pytest.mark.parametrize(("convention", "head", "scale"), [("ferplus", 0, 0.4), ("fer2013", 1, 0.2)])
def test_each_label_convention_is_answered_by_its_own_calibrated_head(random_net, faces, convention, head, scale):
    classifier = ExpressionClassifier(random_net[1], convention, exact=True)
    weight = np.exp(scale * classifier.logits(faces)[head][:, :7])
    probabilities, _ = classifier.probabilities(faces)
    np.testing.assert_allclose(probabilities, weight / weight.sum(1, keepdims=True), rtol=1e-4)


def test_a_robot_says_what_onlookers_see(random_net, classifier, faces):
    crowd, _ = ExpressionClassifier(random_net[1], "ferplus", exact=True).probabilities(faces)
    np.testing.assert_array_equal(classifier.probabilities(faces)[0], crowd)


def test_an_unknown_label_convention_is_refused(random_net):
    with pytest.raises(ValueError, match="affectnet.*ferplus, fer2013"):
        ExpressionClassifier(random_net[1], "affectnet")


def test_no_faces_give_no_estimates(classifier):
    assert classifier.classify(np.zeros((0, 48, 48), np.uint8)) == []


@pytest.mark.parametrize(("shape", "dtype"), [((1, 64, 64), np.uint8), ((48, 48), np.uint8), ((1, 48, 48), np.float32)])
def test_faces_of_another_shape_or_type_are_refused(classifier, shape, dtype):
    with pytest.raises(ValueError, match="48"):
        classifier.classify(np.zeros(shape, dtype))


def test_labels_are_the_visual_vocabulary(classifier):
    assert classifier.labels == VISUAL_EMOTIONS


def test_missing_weights_are_named(tmp_path):
    path = tmp_path / "nowhere.safetensors"
    with pytest.raises(ModelError, match=str(path)):
        ExpressionClassifier(path)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "no card", "other labels", "a layer missing"])
def test_corrupt_weights_are_named(tmp_path, random_net, damage):
    import json

    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = tmp_path / "damaged.safetensors"
    whole = random_net[1].read_bytes()
    with safe_open(str(random_net[1]), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        card = json.loads(file.metadata()["card"])
    if damage == "no card":
        save_file(tensors, path)
    elif damage == "other labels":
        save_file(tensors, path, {"card": json.dumps(card | {"labels": ["happy", "sad"]})})
    elif damage == "a layer missing":
        del tensors["ferplus.weight"]
        save_file(tensors, path, {"card": json.dumps(card)})
    else:
        path.write_bytes({"empty": b"", "text": b"weights", "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(ModelError, match=str(path)):
        ExpressionClassifier(path)


def test_the_run_time_needs_no_torch():
    script = "import sys, emotion_perception.visual.perception; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
