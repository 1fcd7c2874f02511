"""Noise is learnt, measured and taken out."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import silence, tone

from emotion_perception.acoustic.noise import NoiseProfile, NoiseReducer, UtteranceCleaner, foreground
from emotion_perception.acoustic.ring_buffer import RingBuffer


def white(seconds: float, level: float, seed: int) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))).astype(np.float32)


def snr(clean: np.ndarray, heard: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(clean**2) / np.mean((heard - clean) ** 2)))


@pytest.mark.parametrize("db", [0, 10, 20])
def test_the_ratio_of_speech_to_noise_is_estimated(db: float) -> None:
    voice = tone(2)
    level = float(np.sqrt(np.mean(voice**2) / 10 ** (db / 10)))
    profile = NoiseProfile()
    profile.add(white(1, level, 1))
    assert profile.snr_db(voice + white(2, level, 2)) == pytest.approx(db, abs=1)


def test_without_a_pause_there_is_no_estimate() -> None:
    profile = NoiseProfile()
    profile.add(white(0.2, 0.1, 0))
    assert not profile.known
    assert np.isnan(profile.snr_db(tone(1)))


def test_digital_silence_between_words_is_a_very_good_ratio_not_infinite() -> None:
    profile = NoiseProfile()
    profile.add(np.zeros(16_000, np.float32))
    assert profile.snr_db(tone(1)) == 60


def test_only_the_newest_noise_is_remembered() -> None:
    profile = NoiseProfile(memory=1.0)
    for _ in range(100):
        profile.add(white(0.032, 0.5, 0))
    for _ in range(40):
        profile.add(white(0.032, 0.01, 1))
    assert len(profile.samples) < 1.1 * 16_000
    assert np.abs(profile.samples).max() < 0.1


@pytest.mark.parametrize("db", [0, 10])
def test_noise_reduction_raises_the_ratio(db: float) -> None:
    voice = tone(2)
    level = float(np.sqrt(np.mean(voice**2) / 10 ** (db / 10)))
    noisy = voice + white(2, level, 1)
    cleaned = NoiseReducer(0.8)(noisy, white(1, level, 2))
    assert cleaned.shape == noisy.shape
    assert cleaned.dtype == np.float32
    assert snr(voice, cleaned) > snr(voice, noisy) + 3


def test_a_fan_is_steady_and_music_is_not() -> None:
    augmentation = pytest.importorskip("emotion_perception.learning.voices.augmentation")
    rng = np.random.default_rng(0)
    for kind, steady in (("white", True), ("pink", True), ("fan", True), ("music", False)):
        profile = NoiseProfile()
        profile.add(0.05 * augmentation.make_noise(kind, 32_000, rng, []))
        assert profile.steady == steady, kind


def test_noise_that_is_not_known_is_not_steady() -> None:
    assert not NoiseProfile().steady


def test_strength_zero_changes_nothing_but_the_very_ends() -> None:
    noisy = tone(1) + white(1, 0.05, 1)
    cleaned = NoiseReducer(0.0)(noisy, white(1, 0.05, 2))
    assert snr(noisy[1000:-1000], cleaned[1000:-1000]) > 25


def test_a_noisy_sentence_comes_out_nearer_to_the_clean_one(speech: np.ndarray) -> None:
    level = float(np.sqrt(np.mean(speech[40_000:70_000] ** 2) / 10))
    noisy = speech + white(len(speech) / 16_000, level, 5)
    cleaned = NoiseReducer(0.8)(noisy, noisy[:16_000])
    assert snr(speech, cleaned) > snr(speech, noisy) + 2


def test_it_is_loaded_without_torch(tmp_path) -> None:
    import subprocess
    import sys

    code = "import sys; from emotion_perception.acoustic.noise import load_noisereduce; load_noisereduce(); "
    code += "assert 'torch' not in sys.modules; import torch; assert torch.ones(1).item() == 1"
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_an_utterance_cleaned_as_it_grows_sounds_like_one_cleaned_at_once() -> None:
    heard, noise = tone(4) + white(4, 0.03, 1), white(1, 0.03, 2)
    ring = RingBuffer(10 * 16_000)
    ring.append(heard)
    reducer = NoiseReducer(0.8)
    cleaner = UtteranceCleaner(reducer)
    for stop in range(8_000, 64_001, 8_000):
        grown = cleaner(ring, max(0, stop - 40_000), stop, noise)
        assert len(grown) == min(stop, 40_000)
    whole = reducer(heard, noise)
    assert snr(whole[24_000:62_000], grown[:-2_000]) > 25


def test_an_utterance_that_grows_is_not_cleaned_over_and_over() -> None:
    ring = RingBuffer(10 * 16_000)
    ring.append(tone(6))
    cleaned = []
    cleaner = UtteranceCleaner(lambda samples, noise: cleaned.append(len(samples)) or samples)  # type: ignore[arg-type]
    for stop in range(8_000, 96_001, 8_000):
        heard = cleaner(ring, max(0, stop - 64_000), stop, white(1, 0.01, 0))
        np.testing.assert_array_equal(heard, ring.read(max(0, stop - 64_000), stop))
    assert max(cleaned) <= 8_000 + 2 * 1_600
    assert len(cleaner(ring, 50_000, 60_000, white(1, 0.01, 0))) == 10_000


def test_a_stretch_before_or_far_behind_what_was_cleaned_begins_anew() -> None:
    ring = RingBuffer(10 * 16_000)
    ring.append(tone(8))
    cleaner = UtteranceCleaner(lambda samples, noise: samples)  # type: ignore[arg-type]
    for start, stop in ((40_000, 50_000), (10_000, 30_000), (90_000, 100_000)):
        np.testing.assert_array_equal(cleaner(ring, start, stop, white(1, 0.01, 0)), ring.read(start, stop))


@pytest.mark.parametrize("db", [12, 20])
def test_what_is_behind_a_voice_is_left_away_before_and_after_it(db: float) -> None:
    voice = np.concatenate([silence(1.0), tone(1.5), silence(1.2)])
    behind = white(len(voice) / 16_000, float(np.sqrt(np.mean(tone(1.5) ** 2) / 10 ** (db / 10))), 3)
    kept = foreground(voice + behind)
    assert kept.start / 16_000 == pytest.approx(0.9, abs=0.06)
    assert kept.stop / 16_000 == pytest.approx(2.6, abs=0.06)


def test_a_voice_with_nothing_behind_it_is_heard_whole() -> None:
    soft_end = np.concatenate([tone(1.0), 0.1 * tone(0.6), silence(0.3)])
    whole = slice(0, len(soft_end))
    assert foreground(soft_end) == whole
    assert foreground(soft_end + white(1.9, 1e-5, 1)) == whole


def test_little_sound_is_not_made_less() -> None:
    behind = white(1.0, 0.02, 2)
    behind[8000:10000] += tone(0.125)
    assert foreground(behind) == slice(0, 16_000)  # a word of an eighth of a second says nothing by itself
    for length in (0, 1, 7999):
        assert foreground(tone(1.0)[:length]) == slice(0, length)
    assert foreground(silence(1.0)) == slice(0, 16_000)
