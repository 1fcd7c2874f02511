"""Voice activity detection with Silero VAD (Silero Team 2021-2025), whose weights lie in the ``silero-vad`` wheel.

ONNX Runtime on one thread takes 0.10 ms per 32 ms chunk on the development machine, the TorchScript twin 0.19 ms and
OpenVINO 0.17 ms; it also starts in 0.1 s where TorchScript first needs torch. The wheel's own Python package is not
imported (it imports torch).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from emotion_perception.errors import ModelError

SAMPLE_RATE = 16_000
CHUNK = 512  # samples, 32 ms: the only size the 16 kHz model takes
CONTEXT = 64  # samples of the chunk before, which the model wants in front of each chunk
THRESHOLD = 0.5  # probability from which a chunk counts as speech
PRE_ROLL, POST_ROLL = 0.15, 0.15  # s kept before the first and after the last chunk of speech
_NAMES = ("silero_vad_16k_op15.onnx", "silero_vad.onnx")


def silero_weights() -> Path:
    """Path of the ONNX weights inside the installed ``silero-vad`` wheel.

    Raises:
        ModelError: the wheel is not installed or holds none of the names tried; the message lists them.
    """
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("voice activity detection needs the silero-vad package, which is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    for name in _NAMES:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"no Silero VAD weights: tried {', '.join(str(folder / name) for name in _NAMES)}")


class VoiceActivityDetector:
    """Probability that each 32 ms chunk of one stream holds a voice. It carries the stream's state between calls.

    Args:
        weights: ONNX file; None takes the one in the ``silero-vad`` wheel.

    Raises:
        ModelError: the file is missing or not a Silero VAD model.
    """

    def __init__(self, weights: Path | None = None) -> None:
        import onnxruntime

        path = Path(weights) if weights else silero_weights()
        if not path.is_file():
            raise ModelError(f"voice activity model not found: {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises one of a dozen own types, all straight from Exception
            raise ModelError(f"voice activity model {path} cannot be read: {error}") from error
        inputs = {i.name for i in self._session.get_inputs()}
        if inputs != {"input", "state", "sr"}:
            raise ModelError(f"voice activity model {path} has inputs {sorted(inputs)}, not those of Silero VAD")
        self._rate = np.array(SAMPLE_RATE, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget the stream: after a gap, a jump of the clock or a change of source."""
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros((1, CONTEXT), np.float32)

    def __call__(self, chunk: np.ndarray) -> float:
        """Probability 0..1 that ``chunk`` (``(512,)`` float32, -1..1, 16 kHz) holds a voice.

        Raises:
            ValueError: the chunk has another length.
        """
        if chunk.shape != (CHUNK,):
            raise ValueError(f"a chunk has {CHUNK} samples, got shape {chunk.shape}")
        x = np.concatenate([self._context, chunk[None].astype(np.float32, copy=False)], axis=1)
        probability, self._state = self._session.run(None, {"input": x, "state": self._state, "sr": self._rate})
        self._context = x[:, -CONTEXT:]
        return float(probability[0, 0])


def cut_to_speech(samples: np.ndarray, detector: VoiceActivityDetector, threshold: float = THRESHOLD) -> np.ndarray:
    """``(T,)`` 16 kHz samples from just before their first speech to just after their last; all where none is found.

    What a clip must go through before :class:`~emotion_perception.acoustic.emotion_classifier.VoiceClassifier` sees it,
    for the classifier was trained on speech cut like this.
    """
    detector.reset()
    n = len(samples) // CHUNK
    speech = [i for i in range(n) if detector(samples[i * CHUNK : (i + 1) * CHUNK]) >= threshold]
    if not speech:
        return samples
    start = max(0, speech[0] * CHUNK - int(PRE_ROLL * SAMPLE_RATE))
    stop = (speech[-1] + 1) * CHUNK + int(POST_ROLL * SAMPLE_RATE)
    return samples[start:stop]
