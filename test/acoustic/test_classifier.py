"""The voice classifier: equal to what was trained, indifferent to loudness, clear about broken files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from sounds import PUBLISHED, card_of, tone

from emotion_perception.acoustic.emotion_classifier import LONGEST_SAMPLES, VoiceClassifier
from emotion_perception.acoustic.features import log_mel
from emotion_perception.emotions import EMOTIONS, NEUTRAL
from emotion_perception.errors import ModelError


@pytest.fixture(scope="module")
def classifier() -> VoiceClassifier:
    return VoiceClassifier(PUBLISHED)


@pytest.mark.parametrize("n", [1600, 6400, 16_001, 50_123])
def test_the_graph_computes_what_the_trained_network_computes(random_net, n: int) -> None:
    torch = pytest.importorskip("torch")
    net, path = random_net
    samples = tone(n / 16_000) + 0.01 * np.random.default_rng(n).standard_normal(n).astype(np.float32)
    with torch.inference_mode():
        mel = torch.from_numpy(log_mel(samples))[None]
        emotion, strength, _ = net(mel)
        expected = torch.cat([emotion[0], strength[0], net.overlap(mel)])
    np.testing.assert_allclose(VoiceClassifier(path, exact=True).logits(samples), expected.numpy(), atol=1e-4)


def test_a_network_of_another_size_is_read_from_its_card(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from emotion_perception.learning.common import publish_weights
    from emotion_perception.learning.voices.network import VoiceNet, VoiceNetConfig

    config = VoiceNetConfig(channels=32, heads=4, layers=2, head=16, attention=8)
    net = VoiceNet(config).half().float().eval()
    card = {"labels": list(EMOTIONS), "calibration": {"scale": 1.0}, "training": {"net": asdict(config)}}
    publish_weights(tmp_path / "w.safetensors", net, card)
    with torch.inference_mode():
        emotion, strength, _ = net(torch.from_numpy(log_mel(tone(1.1)))[None])
    got = VoiceClassifier(tmp_path / "w.safetensors", exact=True).logits(tone(1.1))
    np.testing.assert_allclose(got, torch.cat([emotion[0], strength[0]]).numpy(), atol=1e-4)


def test_bfloat16_hardly_moves_an_answer(random_net) -> None:
    _, path = random_net
    fast, exact = VoiceClassifier(path), VoiceClassifier(path, exact=True)
    for seconds in (0.5, 2.0, 7.0):
        sound = tone(seconds) + 0.01 * np.random.default_rng(1).standard_normal(round(16_000 * seconds))
        difference = fast.classify(sound).probabilities - exact.classify(sound).probabilities
        assert np.abs(difference).max() < 0.03


def test_of_more_than_four_seconds_the_last_are_heard(random_net) -> None:
    classifier = VoiceClassifier(random_net[1], exact=True)
    sound = tone(12.0) * np.linspace(0.1, 1, 192_000, dtype=np.float32)
    np.testing.assert_array_equal(classifier.logits(sound), classifier.logits(sound[-LONGEST_SAMPLES:]))


def test_several_voices_are_told_above_the_threshold_of_the_card(random_net, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from emotion_perception.learning.common import publish_weights

    net, path = random_net
    heard = VoiceClassifier(path).hear(tone(1)).overlap
    assert 0 < heard < 1
    for threshold in (heard - 0.01, heard + 0.01):
        publish_weights(tmp_path / "w.safetensors", net, card_of(net, threshold=threshold))
        assert VoiceClassifier(tmp_path / "w.safetensors").hear(tone(1)).overlapped == (heard > threshold)


def test_padding_in_a_batch_hardly_changes_a_clip(random_net) -> None:
    torch = pytest.importorskip("torch")
    net, _ = random_net
    mel = torch.from_numpy(log_mel(tone(1.5)))[None]
    with torch.inference_mode():
        alone, _, _ = net(mel)
        padded, _, _ = net(torch.nn.functional.pad(mel, (0, 0, 0, 80)), torch.tensor([mel.shape[1]]))
    np.testing.assert_allclose(padded.numpy(), alone.numpy(), atol=0.1 * float(alone.std()))


def test_an_estimate_is_a_distribution_with_strengths(classifier: VoiceClassifier) -> None:
    estimate = classifier.classify(tone(1))
    assert estimate.probabilities.shape == (8,)
    assert estimate.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert estimate.confidence == pytest.approx(float(estimate.probabilities.max()))
    assert np.isnan(estimate.intensities[NEUTRAL])
    assert ((estimate.intensities[1:] >= 0) & (estimate.intensities[1:] <= 1)).all()


def test_loudness_does_not_matter(classifier: VoiceClassifier) -> None:
    sound = tone(1.5) + 0.01 * np.random.default_rng(1).standard_normal(24_000).astype(np.float32)
    quiet = classifier.classify(0.05 * sound).probabilities
    np.testing.assert_allclose(quiet, classifier.classify(sound).probabilities, atol=0.02)


def test_half_a_second_is_trusted_less_than_what_it_would_say_at_length(random_net, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from emotion_perception.learning.common import publish_weights

    net, _ = random_net
    entropies = []
    for short_s in (0.0, 0.5):
        publish_weights(tmp_path / "w.safetensors", net, card_of(net, scale=1.0, short_s=short_s))
        p = VoiceClassifier(tmp_path / "w.safetensors").classify(tone(0.5)).probabilities
        entropies.append(-float((p * np.log(p)).sum()))
    assert entropies[1] > entropies[0]


@pytest.mark.parametrize("n", [1, 399, 128_000])
def test_any_length_gets_an_answer(classifier: VoiceClassifier, n: int) -> None:
    assert np.isfinite(classifier.classify(np.full(n, 0.1, np.float32)).probabilities).all()


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((100, 2)), np.full(1000, np.nan)])
def test_what_is_no_sound_is_refused(classifier: VoiceClassifier, samples: np.ndarray) -> None:
    with pytest.raises(ValueError):
        classifier.classify(samples)


def test_an_angry_voice_is_heard_as_angry(classifier: VoiceClassifier, speech: np.ndarray) -> None:
    from emotion_perception.acoustic.voice_activity import VoiceActivityDetector, crop_to_speech

    assert classifier.classify(crop_to_speech(speech, VoiceActivityDetector())).name == "angry"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere.safetensors"):
        VoiceClassifier(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a model", "cut"])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(PUBLISHED.read_bytes()[:50_000] if isinstance(content, str) else content)
    with pytest.raises(ModelError, match="broken.safetensors"):
        VoiceClassifier(path)


def test_the_model_of_another_sense_is_refused() -> None:
    faces = PUBLISHED.with_name("expression.safetensors")
    with pytest.raises(ModelError, match="expression.safetensors"):
        VoiceClassifier(faces)
