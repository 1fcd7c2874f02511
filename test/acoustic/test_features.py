"""The log-mel spectrogram and its normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.acoustic.features import encoder_input, log_mel, mel_filters, n_frames, normalise


@pytest.mark.parametrize(("n", "frames"), [(1, 1), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_a_frame_every_10_ms(n: int, frames: int) -> None:
    mel = log_mel(np.ones(n, np.float32))
    assert mel.shape == (frames, 80)
    assert mel.dtype == np.float32
    assert n_frames(n) == frames


def test_a_tone_lights_the_band_at_its_frequency() -> None:
    time = np.arange(16_000) / 16_000
    filters = mel_filters()
    for hz in (200, 1000, 4000):
        mel = log_mel(np.sin(2 * np.pi * hz * time))
        assert mel.mean(axis=0).argmax() == filters[round(hz * 400 / 16_000)].argmax()


def test_ten_times_the_amplitude_is_20_db_more() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(8000)
    np.testing.assert_allclose(log_mel(10 * noise) - log_mel(noise), 20, atol=0.01)


def test_the_network_does_not_see_how_loud_it_was() -> None:
    noise = np.random.default_rng(1).standard_normal(8000)
    for seen in (encoder_input, normalise):
        np.testing.assert_allclose(seen(log_mel(0.3 * noise)), seen(log_mel(0.03 * noise)), atol=2e-3)


def test_an_offset_of_the_sound_card_leaves_the_spectrogram_as_it_is() -> None:
    noise = 0.1 * np.random.default_rng(3).standard_normal(8000)
    np.testing.assert_allclose(log_mel(noise + 0.1), log_mel(noise), atol=0.01)


def test_digital_silence_gives_finite_features() -> None:
    mel = log_mel(np.zeros(4000))
    assert np.isfinite(normalise(mel)).all()
    assert np.isfinite(encoder_input(mel)).all()


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((10, 2))])
def test_anything_but_a_vector_of_samples_is_refused(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="non-empty vector"):
        log_mel(samples)


def test_training_normalises_as_the_robot_does() -> None:
    torch = pytest.importorskip("torch")
    from emotion_perception.learning.voices import network as voice_net

    mel = log_mel(np.random.default_rng(2).standard_normal(12_000))
    padded = np.concatenate([mel, np.full((30, 80), 77, np.float32)])
    mask = torch.arange(len(padded))[None] < len(mel)
    masked = voice_net.normalise(torch.from_numpy(padded)[None], mask)[0, :, : len(mel)].numpy()
    expected = normalise(mel)
    np.testing.assert_allclose(masked[:2], expected[:2], atol=1e-4)
    encoded = voice_net.encoder_input(torch.from_numpy(padded)[None], mask)[0, : len(mel)].numpy()
    np.testing.assert_allclose(encoded, encoder_input(mel), atol=1e-4)
    # Only the last frame's slope differs: the masked form sees the padding's zero beside it.
    np.testing.assert_allclose(masked[2, :-1], expected[2, :-1], atol=1e-4)
