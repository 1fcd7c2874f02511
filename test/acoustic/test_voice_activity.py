"""Silero VAD on OpenVINO: equal to ONNX Runtime, in a stream as in a recording; crops as documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, silence, tone

from emotion_perception.acoustic.voice_activity import VAD_WINDOW, VoiceActivityDetector, crop_to_speech, speech_slice

# Voice probabilities that ONNX Runtime 1.32 computed with the wheel's silero_vad_16k_op15.onnx (silero-vad 6.2.3).
REFERENCE = Path(__file__).with_name("data") / "silero_onnxruntime.npz"


@pytest.fixture(scope="module")
def detector() -> VoiceActivityDetector:
    return VoiceActivityDetector()


@pytest.fixture
def buzz() -> np.ndarray:
    noise = (0.002 * np.random.default_rng(5).standard_normal(3 * RATE)).astype(np.float32)
    return np.concatenate([silence(0.5), tone(2.0), silence(0.5)]) + noise


def streamed(detector: VoiceActivityDetector, samples: np.ndarray) -> np.ndarray:
    detector.reset()
    return np.array([detector(window) for window in samples[: len(samples) // 512 * 512].reshape(-1, 512)])


def test_probabilities_of_a_buzz_equal_those_of_onnx_runtime(detector: VoiceActivityDetector, buzz: np.ndarray) -> None:
    expected = np.load(REFERENCE)["buzz"]
    assert expected.max() > 0.6
    np.testing.assert_allclose(streamed(detector, buzz), expected, atol=1e-3)
    np.testing.assert_allclose(detector.probabilities(buzz), expected, atol=1e-3)


def test_probabilities_of_speech_equal_those_of_onnx_runtime(
    detector: VoiceActivityDetector, speech: np.ndarray
) -> None:
    expected = np.load(REFERENCE)["speech"]
    assert (expected > 0.5).mean() > 0.2
    np.testing.assert_allclose(streamed(detector, speech), expected, atol=1e-3)
    np.testing.assert_allclose(detector.probabilities(speech), expected, atol=1e-3)


def test_a_recording_of_several_blocks_has_the_probabilities_of_the_stream(detector: VoiceActivityDetector) -> None:
    sound = tone(20.0) * (np.arange(20 * RATE) % (3 * RATE) < RATE)
    np.testing.assert_allclose(detector.probabilities(sound), streamed(detector, sound), atol=1e-4)


def test_a_recording_leaves_the_stream_as_it_is(detector: VoiceActivityDetector, buzz: np.ndarray) -> None:
    expected = streamed(detector, buzz)
    detector.reset()
    half = len(expected) // 2
    windows = buzz[: len(buzz) // 512 * 512].reshape(-1, 512)
    first = [detector(window) for window in windows[:half]]
    detector.probabilities(tone(1.0))
    np.testing.assert_array_equal(first + [detector(window) for window in windows[half:]], expected)


def test_a_recording_shorter_than_a_window_has_no_probability(detector: VoiceActivityDetector) -> None:
    assert detector.probabilities(np.zeros(511, np.float32)).shape == (0,)


def test_a_window_of_another_length_is_refused(detector: VoiceActivityDetector) -> None:
    with pytest.raises(ValueError, match="512 samples"):
        detector(np.zeros(511, np.float32))


@pytest.mark.parametrize(
    ("speech", "samples", "expected"),
    [
        ([20, 21, 22], 32_000, (20 * 512 - 2400, 23 * 512 + 2400)),
        ([0, 61], 32_000, (0, 32_000)),
        ([], 32_000, (0, 32_000)),
    ],
)
def test_a_crop_has_a_margin_of_150_ms_and_stays_within_the_recording(
    speech: list[int], samples: int, expected: tuple[int, int]
) -> None:
    probabilities = np.zeros(samples // VAD_WINDOW)
    probabilities[speech] = 0.9
    assert speech_slice(probabilities, samples) == slice(*expected)


def test_speech_is_cropped(detector: VoiceActivityDetector, speech: np.ndarray) -> None:
    cropped = crop_to_speech(speech, detector)
    assert 1.5 * RATE < len(cropped) < 3.2 * RATE


def test_neither_onnx_runtime_nor_torch_is_loaded() -> None:
    code = (
        "import sys, numpy as np\n"
        "from emotion_perception.acoustic.perception import AcousticPerception\n"
        "AcousticPerception().classify_recording(np.zeros(16000), 16000)\n"
        "print(sorted({'onnxruntime', 'torch', 'silero_vad', 'openvino_telemetry'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
