"""Emotion of an utterance: the published ONNX network on OpenVINO, calibrated as its model card says. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from emotion_perception.acoustic.features import (
    HOP,
    LONGEST,
    N_MELS,
    SAMPLE_RATE,
    WINDOW,
    encoder_input,
    log_mel,
    normalise,
)
from emotion_perception.emotions import EMOTIONS, NEUTRAL
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import ModelCard, load_card
from emotion_perception.inference.protocols import LogitNormalizer, VoiceEstimate
from emotion_perception.inference.runtime import compile_for_cpu
from emotion_perception.types import EmotionEstimate

N = len(EMOTIONS)
# Inputs and outputs of the ONNX file.
SPECTROGRAM = "spectrogram"  # (1, F, 80), features.encoder_input
CHANNELS = "channels"  # (1, 3, F, 80), features.normalise; only in a network that detects overlapped speech
EMOTION, INTENSITY, OVERLAP = "emotion", "intensity", "overlap"  # logits (1, 8), (1, 8), (1,)
DISTANCE = "distance"  # (1,), of the utterance from the training clips; absent in networks that were not fitted to it
LONGEST_SAMPLES = (LONGEST - 1) * HOP + WINDOW
TIMED_FRAMES = 200  # 2 s of speech, to find the faster precision at start
SHORTEST = 1600  # samples; shorter sound is padded to this tenth of a second


class VoiceEmotionClassifier:
    """The :class:`~emotion_perception.inference.protocols.VoiceClassifier` of the published network.

    Args:
        model: ONNX file that ``emotion-train acoustic`` wrote, with its card.
        exact: compute in fp32 also where the CPU has bfloat16, which is faster and changes probabilities slightly.

    Attributes:
        name: of the model, for logs.
        path: of the file.
        card: of the model.
        population: ``(8,)`` mean logits over many speakers, the reference of
            :class:`~emotion_perception.acoustic.adaptation.SpeakerBaseline`.

    Raises:
        ModelError: the file is missing, corrupt, or not such a model; names it.

    Example:
        >>> from emotion_perception.resources import find_model
        >>> classifier = VoiceEmotionClassifier(find_model("voice.onnx"))
        >>> noise = np.random.default_rng(0).normal(size=SAMPLE_RATE)
        >>> classifier.classify(noise).emotion.probabilities.shape
        (8,)
    """

    def __init__(self, model: Path, exact: bool = False) -> None:
        self.path = Path(model)
        self.card: ModelCard = load_card(self.path)
        try:
            if self.card.labels != EMOTIONS:
                raise ValueError(f"labels are {self.card.labels}, expected {EMOTIONS}")
            details = self.card.details
            self._prior = self.card.prior_of(EMOTIONS)
            self._scale, self._short_s = self.card.scale(), float(self.card.calibration.get("short_s", 0.0))
            self.population = np.array(details.get("population", np.zeros(N)), np.float32)
            self._threshold = float(details.get("overlap", {}).get("threshold", 1.0))
            unfamiliar = details.get("unfamiliar", {})
            self._familiar_within = float(unfamiliar.get("from", np.inf))
            self._unfamiliar_slope = float(unfamiliar.get("slope", 0.0))
            self._request, self._has_overlap = _load_network(self.path, exact)
            self.logits(np.zeros((TIMED_FRAMES - 1) * HOP + WINDOW, np.float32))
        except Exception as error:  # OpenVINO, numpy and the card each raise types of their own
            raise ModelError(f"not a voice-emotion model: {self.path} ({type(error).__name__}: {error})") from error
        self.name = f"{self.card.model} ({self.path.name})"

    def logits(self, samples: np.ndarray) -> np.ndarray:
        """Logits of ``(T,)`` float 16 kHz samples: ``(16,)`` emotion and intensity; ``(17,)`` with overlapped speech.

        Only the last four seconds are used.

        Raises:
            ValueError: not a vector, empty, or not finite.
        """
        return self._infer(samples)[0]

    def _infer(self, samples: np.ndarray) -> tuple[np.ndarray, float]:
        """:meth:`logits`, and the distance from the training clips, 0 where the network has no such output."""
        x = np.asarray(samples, dtype=np.float32)
        if not np.isfinite(x).all():
            raise ValueError("samples must be finite")
        if x.ndim == 1 and 0 < len(x) < SHORTEST:
            x = np.pad(x, (0, SHORTEST - len(x)))
        mel = log_mel(x[-LONGEST_SAMPLES:])
        features = {SPECTROGRAM: encoder_input(mel)[None]}
        if self._has_overlap:
            features[CHANNELS] = normalise(mel)[None]
        outputs = self._request.infer(features, share_inputs=True)
        names = (EMOTION, INTENSITY, OVERLAP) if self._has_overlap else (EMOTION, INTENSITY)
        distance = float(outputs[DISTANCE][0]) if DISTANCE in self.card.outputs else 0.0
        return np.concatenate([outputs[name].ravel() for name in names]), distance

    def classify(self, samples: np.ndarray, baseline: LogitNormalizer | None = None) -> VoiceEstimate:
        """Classify ``(T,)`` float samples, -1..1, 16 kHz, cropped to speech; their level has no influence.

        The estimate is under the balanced prior: the posterior divided by the prior in the card. Its distribution is
        flatter where the sound is unlike all of the training clips. The intensity of neutral is NaN.

        Args:
            baseline: of the speaker, if known.

        Raises:
            ValueError: not a vector, empty, or not finite.
        """
        logits, distance = self._infer(samples)
        emotion, strength, several = logits[:N], logits[N : 2 * N], logits[2 * N :]
        seconds = len(samples) / SAMPLE_RATE
        adapted = emotion if baseline is None else baseline.normalise(emotion)
        scaled = self._scale * seconds / (seconds + self._short_s) * adapted  # short speech is less reliable
        scaled /= 1 + self._unfamiliar_slope * max(0.0, distance - self._familiar_within)
        ratios = np.exp(scaled - scaled.max()) / self._prior
        intensities = (1 / (1 + np.exp(-strength))).astype(np.float32)
        intensities[NEUTRAL] = np.nan
        overlap = float(1 / (1 + np.exp(-several[0]))) if len(several) else 0.0
        estimate = EmotionEstimate.from_probabilities(ratios / ratios.sum(), intensities)
        return VoiceEstimate(estimate, overlap, overlap > self._threshold, emotion)


def _load_network(path: Path, exact: bool) -> tuple[Any, bool]:
    """An inference request, and whether the network detects overlapped speech."""
    core = ov.Core()
    model = core.read_model(path)
    shapes = {SPECTROGRAM: (1, TIMED_FRAMES, N_MELS), CHANNELS: (1, 3, TIMED_FRAMES, N_MELS)}
    names = [port.any_name for port in model.inputs]
    if names not in ([SPECTROGRAM], [SPECTROGRAM, CHANNELS]):
        raise ValueError(f"its inputs are {names}, expected {SPECTROGRAM} and {CHANNELS}")
    examples = [np.zeros(shapes[name], np.float32) for name in names]
    compiled = compile_for_cpu(core, model, examples, exact, path)
    return compiled.create_infer_request(), len(names) > 1
