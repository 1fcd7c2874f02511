"""Voice activity detection with Silero VAD (Silero Team 2021-2025), whose weights are in the ``silero-vad`` wheel.

OpenVINO runs them on one thread: 0.18 ms per 32 ms window of a stream, 0.03 ms in a whole recording (ONNX Runtime:
0.14 ms), see docs/acoustic_model.md. Of the wheel only this file is used: its Python package imports torch.
"""

from __future__ import annotations

import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from emotion_perception.errors import ModelError
from emotion_perception.inference.runtime import FP32, ONE_THREAD

SAMPLE_RATE = 16_000
VAD_WINDOW = 512  # samples, 32 ms: the only size the 16 kHz model takes
CONTEXT = 64  # samples of the previous window, which the model expects in front of each window
INPUT = CONTEXT + VAD_WINDOW
STATE = (1, 1, 128)  # shape of the hidden and of the cell state of its LSTM
BLOCK = 256  # windows of a recording evaluated in one call: bounds the memory of an hour's recording
THRESHOLD = 0.5  # probability from which a window counts as speech
PRE_ROLL, POST_ROLL = 0.15, 0.15  # s kept before the first and after the last window of speech
WEIGHTS = "silero_vad_16k_sequence.onnx"  # of the wheel's files the one without control flow, for any number of windows
_INPUTS = {"input", "h", "c"}


def silero_weights() -> Path:
    """Path of the ONNX weights inside the installed ``silero-vad`` wheel.

    Raises:
        ModelError: the wheel is not installed or has no such file; the message names the path.
    """
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("voice activity detection needs the silero-vad package, which is not installed")
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / WEIGHTS
    if not path.is_file():
        raise ModelError(f"no Silero VAD weights at {path}: silero-vad 6.2.3 or newer is needed")
    return path


class VoiceActivityDetector:
    """Voice probability of each 32 ms window, of one stream (call it) or of a whole recording (:meth:`probabilities`).

    Args:
        weights: ONNX file with the inputs and outputs of Silero's ``silero_vad_16k_sequence.onnx``; None takes that
            of the ``silero-vad`` wheel.

    Raises:
        ModelError: the file is missing or not such a model; names the path.

    Example:
        >>> detector = VoiceActivityDetector()
        >>> detector(np.zeros(VAD_WINDOW, np.float32)) < 0.1
        True
    """

    def __init__(self, weights: Path | None = None) -> None:
        self._path = Path(weights) if weights else silero_weights()
        if not self._path.is_file():
            raise ModelError(f"voice activity model not found: {self._path}")
        try:
            self._stream = self._compile(1)
        except Exception as error:  # OpenVINO raises RuntimeError and types of its own
            raise ModelError(f"voice activity model {self._path} cannot be read: {error}") from error
        self.reset()

    def _compile(self, windows: int) -> Any:
        """An inference request for that many windows at once; -1: any number."""
        core = ov.Core()
        model = core.read_model(self._path)
        names = {port.any_name for port in model.inputs}
        if names != _INPUTS:
            raise ValueError(f"its inputs are {sorted(names)}, expected those of Silero VAD, {sorted(_INPUTS)}")
        model.reshape({"input": [windows, INPUT], "h": list(STATE), "c": list(STATE)})
        return core.compile_model(model, "CPU", ONE_THREAD | FP32).create_infer_request()

    @cached_property
    def _recording(self) -> Any:
        return self._compile(-1)

    def reset(self) -> None:
        """Begin a new stream: after a gap, a jump of the clock or a change of source."""
        self._hidden, self._cell = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)
        self._window = np.zeros((1, INPUT), np.float32)

    def __call__(self, window: np.ndarray) -> float:
        """Probability 0..1 that the next window of the stream (``(512,)`` float32, -1..1, 16 kHz) contains a voice.

        Raises:
            ValueError: the window has another length.
        """
        if window.shape != (VAD_WINDOW,):
            raise ValueError(f"a window has {VAD_WINDOW} samples, got shape {window.shape}")
        self._window[0, :CONTEXT] = self._window[0, VAD_WINDOW:]
        self._window[0, CONTEXT:] = window
        probability = _infer(self._stream, self._window, self._hidden, self._cell)
        return float(probability[0])

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """Voice probabilities ``(T // 512,)`` float32 of a recording (``(T,)`` float32, -1..1, 16 kHz).

        The state of the stream is left as it is.
        """
        count = len(samples) // VAD_WINDOW
        padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples[: count * VAD_WINDOW]], dtype=np.float32)
        if not count:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(padded, INPUT)[::VAD_WINDOW]
        hidden, cell = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)
        return np.concatenate(
            [
                _infer(self._recording, np.ascontiguousarray(windows[i : i + BLOCK]), hidden, cell).copy()
                for i in range(0, count, BLOCK)
            ]
        )


def _infer(request: Any, windows: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Probabilities ``(N,)``, valid until the next call, of ``(N, 576)`` windows; updates the LSTM state in place."""
    probability, hidden[:], cell[:] = request.infer(
        {"input": windows, "h": hidden, "c": cell}, share_inputs=True, share_outputs=True
    ).values()
    return probability


def speech_slice(probabilities: np.ndarray, n_samples: int, threshold: float = THRESHOLD) -> slice:
    """Samples from just before the first window of speech to just after the last; all where there is none.

    Training and inference both crop with it.

    Args:
        probabilities: ``(n_samples // 512,)`` voice probabilities of a recording.
        n_samples: length of the recording at 16 kHz.
        threshold: probability from which a window counts as speech.
    """
    speech = np.flatnonzero(probabilities >= threshold)
    if not len(speech):
        return slice(0, n_samples)
    start = int(speech[0]) * VAD_WINDOW - int(PRE_ROLL * SAMPLE_RATE)
    stop = (int(speech[-1]) + 1) * VAD_WINDOW + int(POST_ROLL * SAMPLE_RATE)
    return slice(max(0, start), min(n_samples, stop))


def crop_to_speech(samples: np.ndarray, detector: VoiceActivityDetector, threshold: float = THRESHOLD) -> np.ndarray:
    """The part of ``(T,)`` 16 kHz samples that :func:`speech_slice` finds: what the voice model expects of a clip."""
    return samples[speech_slice(detector.probabilities(samples), len(samples), threshold)]
