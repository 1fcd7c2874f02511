"""Audio samples of every number format become the same float32 and int16 samples."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from emotion_perception.emotions import CALM, EMOTIONS
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.messages.samples import SAMPLE_FORMATS, samples_from_bytes, to_float, to_int16
from emotion_perception.types import SECOND, EmotionEstimate, VoiceObservation

LEVELS = np.array([0.0, 0.25, -0.5, 1.0, -1.0, 0.125])  # of full scale
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
FLOATS = ["float16", "float32", "float64"]


def at_levels(number: str) -> np.ndarray:
    """LEVELS in a number format."""
    kind = np.dtype(number)
    if kind.kind == "f":
        return LEVELS.astype(kind)
    half = 2 ** (8 * kind.itemsize - 1)
    middle = half if kind.kind == "u" else 0
    return np.array([min(round(level * half), half - 1) + middle for level in LEVELS.tolist()], kind)


@pytest.mark.parametrize("number", INTEGERS + FLOATS)
def test_every_number_format_becomes_the_same_int16_samples(number: str):
    expected = np.clip(LEVELS * 32768, -32768, 32767)
    samples = to_int16(at_levels(number))
    assert samples.dtype == np.int16
    np.testing.assert_allclose(samples, expected, atol=256 if "int8" in number else 1)
    assert samples[0] == 0, "silence stays silence"


@pytest.mark.parametrize("number", INTEGERS + FLOATS)
def test_every_number_format_becomes_the_same_float_samples(number: str):
    samples = to_float(at_levels(number).reshape(-1, 2))
    assert samples.dtype == np.float32 and samples.shape == (3, 2)
    np.testing.assert_allclose(samples.reshape(-1), LEVELS, atol=1 / 127 if "int8" in number else 1e-3)


@pytest.mark.parametrize("sample_format", SAMPLE_FORMATS)
def test_silent_bytes_of_every_ros_drivers_format_are_silent_in_a_correction(sample_format: str, tmp_path):
    code = SAMPLE_FORMATS[sample_format]
    width, byte_order = int(code[-1]), "big" if code[0] == ">" else "little"
    zero = (2 ** (8 * width - 1) if "u" in code else 0).to_bytes(width, byte_order)
    samples = samples_from_bytes(zero * 16_000, sample_format, 1)
    recent = RecentEvidence()
    recent.add_sound(samples, 16_000, 0)
    estimate = EmotionEstimate.from_probabilities(np.ones(len(EMOTIONS)))
    recent.add_voice(VoiceObservation(SECOND, 1.0, "v1", 20.0, False, True, estimate))
    corrections = Corrections(CorrectionConfig(tmp_path), recent)
    wav, _ = corrections.evidence(corrections.correct(CALM, voice_id="v1")["id"])
    with wave.open(io.BytesIO(wav)) as file:
        assert not np.frombuffer(file.readframes(file.getnframes()), "<i2").any()


def test_floats_beyond_full_scale_are_cut_and_nan_is_silence():
    samples = np.array([2.0, -3.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(to_int16(samples), [32767, -32768, 32767, -32768, 0])


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 2)), np.zeros((4, 0)), np.zeros(3, bool), np.array(["a"])])
def test_arrays_that_hold_no_audio_are_refused(wrong: np.ndarray):
    for convert in (to_float, to_int16):
        with pytest.raises(ValueError, match="samples must be"):
            convert(wrong)
