"""The expression classifier at run time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from emotion_perception.emotions import CALM, VISUAL_EMOTIONS, VISUAL_INDICES
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.resources import find_model
from emotion_perception.visual.expression import ExpressionClassifier

FERPLUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ferplus.npz"
# Of 200 faces of PublicTest, evenly spaced: fp32 outputs of the published weights before they became an ONNX file.
REFERENCE = Path(__file__).with_name("data") / "published_outputs.npz"


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
    for expected, actual in zip(trained, classifier.outputs(faces).values(), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-4 * float(expected.abs().max()))


def test_a_network_that_starts_at_full_size_and_does_not_mirror_is_computed_as_it_was_trained(tmp_path, faces):
    torch = pytest.importorskip("torch")
    from dataclasses import asdict

    from emotion_perception.learning.faces.export import publish_faces
    from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig

    torch.manual_seed(1)
    config = ExpressionNetConfig(8, (8, 16, 24), (1, 2, 1), (1, 2, 2), mirror=False)
    net = ExpressionNet(config).eval()
    for name, parameter in net.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.2, 0.6)
    card = {
        "calibration": {"ferplus_scale": 1.0, "fer2013_scale": 1.0},
        "training": {"net": asdict(config)},
    }
    publish_faces(tmp_path / "net.onnx", net, card)
    net = net.half().float()
    with torch.inference_mode():
        trained = net(torch.from_numpy(faces).unsqueeze(1).float())
    classifier = ExpressionClassifier(tmp_path / "net.onnx", exact=True)
    for expected, actual in zip(trained, classifier.outputs(faces).values(), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-4 * float(expected.abs().max()))


@pytest.mark.skipif(not FERPLUS.exists(), reason="ferplus.npz is not on this machine")
def test_half_the_precision_where_the_processor_has_it_says_nearly_the_same():
    weights, some = find_model("expression.onnx"), load_ferplus(FERPLUS, "PublicTest").faces[:300]
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


@pytest.mark.parametrize(("convention", "head", "scale"), [("ferplus", "ferplus", 0.4), ("fer2013", "fer2013", 0.2)])
def test_each_label_convention_is_answered_by_its_own_calibrated_head(random_net, faces, convention, head, scale):
    classifier = ExpressionClassifier(random_net[1], convention, exact=True)
    weight = np.exp(scale * classifier.outputs(faces)[head][:, :7])
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
    assert classifier.card.labels == (*VISUAL_EMOTIONS, None)


def test_missing_weights_are_named(tmp_path):
    path = tmp_path / "nowhere.onnx"
    with pytest.raises(ModelError, match=str(path)):
        ExpressionClassifier(path)


@pytest.mark.parametrize(
    "damage", ["empty", "text", "truncated", "no card", "other labels", "a layer missing", "an output missing"]
)
def test_corrupt_model_is_named(tmp_path, random_net, damage):
    path = tmp_path / "damaged.onnx"
    whole = random_net[1].read_bytes()
    model, card = onnx.load_from_string(whole), load_card(random_net[1])
    if damage == "no card":
        del model.metadata_props[:]
    elif damage == "other labels":
        card = replace(card, labels=("happy", "sad"))
    elif damage == "a layer missing":
        del model.graph.node[-1]
    elif damage == "an output missing":
        card = replace(card, outputs={**card.outputs, "age": "logits"})
    content = {"empty": b"", "text": b"weights", "truncated": whole[: len(whole) // 2]}
    path.write_bytes(content.get(damage, model.SerializeToString()))
    if damage != "no card":
        path.with_suffix(".yaml").write_text(card.to_yaml())
    with pytest.raises(ModelError, match=str(path)):
        ExpressionClassifier(path)


def test_threads_that_classify_at_once_do_not_disturb_each_other(classifier, faces):
    alone = [classifier.probabilities(face[np.newaxis])[0] for face in faces]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: classifier.probabilities(faces[i : i + 1])[0], list(range(7)) * 8))
    for i, probabilities in enumerate(together):
        np.testing.assert_array_equal(probabilities, alone[i % 7])


def test_published_card_states_the_class_frequencies_it_was_calibrated_on():
    card = load_card(find_model("expression.onnx"))
    assert set(card.prior) == set(VISUAL_EMOTIONS)
    assert sum(card.prior.values()) == pytest.approx(1, abs=0.001)
    assert card.prior["neutral"] > 0.3 > card.prior["happy"] > card.prior["disgusted"]


def test_published_card_in_the_metadata_is_the_one_in_the_yaml_file(tmp_path):
    published = find_model("expression.onnx")
    (tmp_path / "alone.onnx").write_bytes(published.read_bytes())
    assert load_card(tmp_path / "alone.onnx") == load_card(published)


def test_the_run_time_needs_no_torch():
    script = "import sys, emotion_perception.visual.perception; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def posteriors(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with the prior of the card, in fp32, and intensities, each ``(N, 7)``."""
    classifier = ExpressionClassifier(find_model("expression.onnx"), exact=True)
    ratios, intensities = classifier.probabilities(faces)
    p = ratios * classifier.card.prior_of(VISUAL_EMOTIONS)
    return p / p.sum(1, keepdims=True), intensities


def test_published_network_gives_its_stored_reference_outputs():
    """In fp32, rounded to four digits."""
    noise = np.random.default_rng(5).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    y, x = np.mgrid[:48, :48]
    ramps = (np.stack([x * 5, y * 5, (x + y) * 2]) % 256).astype(np.uint8)
    probabilities, intensities = posteriors(np.concatenate([noise, ramps]))
    np.testing.assert_allclose(probabilities[:, 0], [0.6499, 0.3886, 0.5977, 0.7332, 0.7047, 0.7435], atol=2e-4)
    np.testing.assert_allclose(probabilities[:, 6], [0.0741, 0.1399, 0.0871, 0.0093, 0.0180, 0.0163], atol=2e-4)
    np.testing.assert_allclose(intensities[:, 1], [0.1218, 0.1814, 0.1333, 0.1386, 0.0936, 0.1336], atol=2e-4)


@pytest.mark.skipif(not FERPLUS.exists(), reason="ferplus.npz is not on this machine")
def test_published_network_gives_the_reference_outputs_of_two_hundred_faces():
    reference, faces = np.load(REFERENCE), load_ferplus(FERPLUS, "PublicTest").faces
    chosen = faces[np.linspace(0, len(faces) - 1, len(reference["probabilities"])).astype(int)]
    probabilities, intensities = posteriors(chosen)
    assert len(chosen) == 200
    np.testing.assert_allclose(probabilities, reference["probabilities"], atol=1e-4)
    np.testing.assert_allclose(intensities, reference["intensities"], atol=1e-4)
