"""The voice classifier: equal to the trained network, independent of level, clear about broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sounds import DATA, PUBLISHED, card_of, tone

from emotion_perception.acoustic.emotion_classifier import LONGEST_SAMPLES, VoiceEmotionClassifier
from emotion_perception.acoustic.features import log_mel
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector, crop_to_speech
from emotion_perception.emotions import NEUTRAL
from emotion_perception.errors import ModelError

# Logits in fp32 of the published weights before they became an ONNX file: of 50 clips, and of buzzes.
REFERENCE = Path(__file__).with_name("data") / "published_logits.npz"


@pytest.fixture(scope="module")
def classifier() -> VoiceEmotionClassifier:
    return VoiceEmotionClassifier(PUBLISHED)


def test_published_network_gives_the_reference_logits_of_buzzes() -> None:
    reference = np.load(REFERENCE)
    exact = VoiceEmotionClassifier(PUBLISHED, exact=True)
    for seconds, logits, probabilities in zip(
        reference["seconds"], reference["tone_logits"], reference["tone_probabilities"], strict=True
    ):
        np.testing.assert_allclose(exact.logits(tone(seconds)), logits, atol=1e-3)
        np.testing.assert_allclose(exact.classify(tone(seconds)).emotion.probabilities, probabilities, atol=1e-4)


def test_published_network_gives_the_reference_logits_of_fifty_utterances() -> None:
    reference = np.load(REFERENCE)
    paths = [DATA / str(name) for name in reference["clips"]]
    if not all(path.is_file() for path in paths):
        pytest.skip("the speech corpora are not in ../shared/data")
    from emotion_perception.learning.voices.features import read_speech

    exact, detector = VoiceEmotionClassifier(PUBLISHED, exact=True), VoiceActivityDetector()
    assert len(paths) == 50
    for path, logits in zip(paths, reference["logits"], strict=True):
        np.testing.assert_allclose(exact.logits(crop_to_speech(read_speech(path), detector)), logits, atol=1e-3)


def test_card_beside_the_network_equals_the_one_in_its_metadata(tmp_path: Path) -> None:
    from emotion_perception.inference.cards import load_card

    (tmp_path / "voice.onnx").symlink_to(PUBLISHED)
    inside, beside = load_card(tmp_path / "voice.onnx"), load_card(PUBLISHED)
    assert inside == beside
    assert inside.prior is None  # its training draws the emotions evenly


@pytest.mark.parametrize("n", [1600, 6400, 16_001, 50_123])
def test_onnx_file_computes_what_the_trained_network_computes(random_net, n: int) -> None:
    torch = pytest.importorskip("torch")
    net, overlap, path = random_net
    samples = tone(n / 16_000) + 0.01 * np.random.default_rng(n).standard_normal(n).astype(np.float32)
    with torch.inference_mode():
        mel = torch.from_numpy(log_mel(samples))[None]
        emotion, intensity, _ = net(mel)
        expected = torch.cat([emotion[0], intensity[0], overlap(mel)])
    np.testing.assert_allclose(VoiceEmotionClassifier(path, exact=True).logits(samples), expected.numpy(), atol=1e-4)


def test_weights_survive_a_round_trip_through_the_onnx_file(random_net) -> None:
    torch = pytest.importorskip("torch")
    from emotion_perception.learning.voices.weights import load_voice

    net, overlap, path = random_net
    loaded_net, loaded_overlap, _ = load_voice(path)
    assert loaded_overlap is not None
    for old, new in ((net, loaded_net), (overlap, loaded_overlap)):
        for name, value in new.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                torch.testing.assert_close(value, old.state_dict()[name], rtol=0, atol=0)


def test_a_network_of_another_size_without_overlap_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from emotion_perception.learning.voices.network import VoiceNet, VoiceNetConfig
    from emotion_perception.learning.voices.weights import publish_voice

    net = VoiceNet(VoiceNetConfig(channels=32, heads=4, layers=2, head=16, attention=8)).half().float().eval()
    publish_voice(tmp_path / "w.onnx", net, None, card_of(net))
    with torch.inference_mode():
        emotion, intensity, _ = net(torch.from_numpy(log_mel(tone(1.1)))[None])
    classifier = VoiceEmotionClassifier(tmp_path / "w.onnx", exact=True)
    np.testing.assert_allclose(classifier.logits(tone(1.1)), torch.cat([emotion[0], intensity[0]]).numpy(), atol=1e-4)
    assert classifier.classify(tone(1.1)).overlap == 0.0


def test_bfloat16_hardly_changes_an_estimate(random_net) -> None:
    path = random_net[2]
    fast, exact = VoiceEmotionClassifier(path), VoiceEmotionClassifier(path, exact=True)
    for seconds in (0.5, 2.0, 7.0):
        sound = tone(seconds) + 0.01 * np.random.default_rng(1).standard_normal(round(16_000 * seconds))
        difference = fast.classify(sound).emotion.probabilities - exact.classify(sound).emotion.probabilities
        assert np.abs(difference).max() < 0.03


def test_only_the_last_four_seconds_are_used(random_net) -> None:
    classifier = VoiceEmotionClassifier(random_net[2], exact=True)
    sound = tone(12.0) * np.linspace(0.1, 1, 192_000, dtype=np.float32)
    np.testing.assert_array_equal(classifier.logits(sound), classifier.logits(sound[-LONGEST_SAMPLES:]))


def test_overlapped_speech_is_reported_above_the_threshold_of_the_card(random_net, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from emotion_perception.learning.voices.weights import publish_voice

    net, overlap, path = random_net
    probability = VoiceEmotionClassifier(path).classify(tone(1)).overlap
    assert 0 < probability < 1
    for threshold in (probability - 0.01, probability + 0.01):
        publish_voice(tmp_path / "w.onnx", net, overlap, card_of(net, overlap, threshold=threshold))
        assert VoiceEmotionClassifier(tmp_path / "w.onnx").classify(tone(1)).overlapped == (probability > threshold)


def test_padding_in_a_batch_hardly_changes_a_clip(random_net) -> None:
    torch = pytest.importorskip("torch")
    net = random_net[0]
    mel = torch.from_numpy(log_mel(tone(1.5)))[None]
    with torch.inference_mode():
        alone, _, _ = net(mel)
        padded, _, _ = net(torch.nn.functional.pad(mel, (0, 0, 0, 80)), torch.tensor([mel.shape[1]]))
    np.testing.assert_allclose(padded.numpy(), alone.numpy(), atol=0.1 * float(alone.std()))


def test_an_estimate_is_a_distribution_with_strengths(classifier: VoiceEmotionClassifier) -> None:
    estimate = classifier.classify(tone(1)).emotion
    assert estimate.probabilities.shape == (8,)
    assert estimate.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert estimate.confidence == pytest.approx(float(estimate.probabilities.max()))
    assert np.isnan(estimate.intensities[NEUTRAL])
    assert ((estimate.intensities[1:] >= 0) & (estimate.intensities[1:] <= 1)).all()


def test_loudness_does_not_matter(classifier: VoiceEmotionClassifier) -> None:
    sound = tone(1.5) + 0.01 * np.random.default_rng(1).standard_normal(24_000).astype(np.float32)
    quiet = classifier.classify(0.05 * sound).emotion.probabilities
    np.testing.assert_allclose(quiet, classifier.classify(sound).emotion.probabilities, atol=0.02)


def test_half_a_second_is_trusted_less_than_what_it_would_say_at_length(random_net, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from emotion_perception.learning.voices.weights import publish_voice

    net, overlap, _ = random_net
    entropies = []
    for short_s in (0.0, 0.5):
        publish_voice(tmp_path / "w.onnx", net, overlap, card_of(net, overlap, scale=1.0, short_s=short_s))
        p = VoiceEmotionClassifier(tmp_path / "w.onnx").classify(tone(0.5)).emotion.probabilities
        entropies.append(-float((p * np.log(p)).sum()))
    assert entropies[1] > entropies[0]


def test_a_sound_unlike_the_training_clips_keeps_its_label_and_loses_confidence(random_net, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from emotion_perception.learning.voices.network import TrainingDistance
    from emotion_perception.learning.voices.weights import publish_voice

    net, overlap, _ = random_net
    distance = TrainingDistance(2 * net.config.head)  # from zero, in units of 1
    found = []
    for begins in (0.0, 0.5, 1e3):
        card = card_of(net, overlap) | {"unfamiliar": {"from": begins, "slope": 10.0}}
        publish_voice(tmp_path / f"{begins}.onnx", net, overlap, card, distance)
        found.append(VoiceEmotionClassifier(tmp_path / f"{begins}.onnx", exact=True).classify(tone(1.0)).emotion)
    assert found[0].label == found[1].label == found[2].label
    assert found[0].confidence < found[1].confidence < found[2].confidence
    publish_voice(tmp_path / "none.onnx", net, overlap, card_of(net, overlap))
    without = VoiceEmotionClassifier(tmp_path / "none.onnx", exact=True).classify(tone(1.0)).emotion
    np.testing.assert_allclose(without.probabilities, found[2].probabilities, atol=1e-4)


def test_a_hum_is_classified_with_little_confidence(classifier: VoiceEmotionClassifier, speech: np.ndarray) -> None:
    time = np.arange(32_000) / 16_000
    hum = 0.1 * sum(np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 9))
    assert classifier.classify(hum).emotion.confidence < 0.3
    assert classifier.classify(speech).emotion.confidence > 0.6


@pytest.mark.parametrize("n", [1, 399, 128_000])
def test_any_length_gets_an_answer(classifier: VoiceEmotionClassifier, n: int) -> None:
    assert np.isfinite(classifier.classify(np.full(n, 0.1, np.float32)).emotion.probabilities).all()


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((100, 2)), np.full(1000, np.nan)])
def test_what_is_no_sound_is_refused(classifier: VoiceEmotionClassifier, samples: np.ndarray) -> None:
    with pytest.raises(ValueError):
        classifier.classify(samples)


def test_an_angry_voice_is_heard_as_angry(classifier: VoiceEmotionClassifier, speech: np.ndarray) -> None:
    assert classifier.classify(crop_to_speech(speech, VoiceActivityDetector())).emotion.name == "angry"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere.onnx"):
        VoiceEmotionClassifier(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", "cut"])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(PUBLISHED.read_bytes()[:50_000] if isinstance(content, str) else content)
    with pytest.raises(ModelError, match="broken.onnx"):
        VoiceEmotionClassifier(path)


def test_the_model_of_another_sense_is_refused() -> None:
    faces = PUBLISHED.with_name("expression.onnx")
    with pytest.raises(ModelError, match="expression.onnx"):
        VoiceEmotionClassifier(faces)
