"""Interfaces of the face and voice classifiers that the pipelines use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from emotion_perception.inference.cards import ModelCard
from emotion_perception.types import EmotionEstimate


@dataclass(frozen=True)
class FaceEstimates:
    """A face classifier's estimates for N crops; columns are :data:`emotion_perception.emotions.VISUAL_EMOTIONS`."""

    probabilities: np.ndarray  # (N, 7), as of FaceClassifier.probabilities
    intensities: np.ndarray  # (N, 7)
    familiarity: np.ndarray  # (N,) 0..1: 1 for pictures on which the network can be trusted, or if it is not estimated


class FaceClassifier(Protocol):
    """Calibrated facial expressions of aligned face crops; several threads may use it.

    :class:`emotion_perception.visual.expression.ExpressionClassifier` is one, for any ONNX or TFLite file with a card.
    """

    name: str  # for logs and reports
    path: Path  # the network's file
    card: ModelCard

    @property
    def crop_shape(self) -> tuple[int, ...]:
        """Shape of one crop: ``(S, S)`` grey or ``(S, S, 3)`` BGR."""

    def probabilities(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classify a batch of faces.

        Args:
            faces: uint8 ``(N, *crop_shape)``.

        Returns:
            Probabilities ``(N, 7)`` that sum to 1, without the network's class prior (posterior divided by prior,
            normalised), and intensities ``(N, 7)`` in 0..1, NaN where the network estimates none; columns are
            :data:`emotion_perception.emotions.VISUAL_EMOTIONS`.

        Raises:
            ValueError: shape or type differ.
        """

    def estimates(self, faces: np.ndarray) -> FaceEstimates:
        """As :meth:`probabilities`, with the familiarity of each picture.

        Raises:
            ValueError: shape or type differ.
        """


class LogitNormalizer(Protocol):
    """Removes the offset of a speaker or a place from a voice's logits."""

    def normalise(self, logits: np.ndarray) -> np.ndarray:
        """Logits ``(8,)`` to logits ``(8,)``."""


@dataclass(frozen=True)
class VoiceEstimate:
    """A voice classifier's estimate for one segment."""

    emotion: EmotionEstimate  # under the balanced prior
    overlap: float  # 0..1, probability that several people speak at once; 0 where the network does not estimate it
    overlapped: bool  # overlap is above the threshold of the model card
    logits: np.ndarray  # (8,) of the emotions, before adaptation and calibration


class VoiceClassifier(Protocol):
    """Calibrated emotion of speech.

    :class:`emotion_perception.acoustic.emotion_classifier.VoiceEmotionClassifier` runs the published network.
    """

    name: str  # for logs and reports
    path: Path  # the network's file
    card: ModelCard
    population: np.ndarray  # (8,) mean logits over many speakers, the reference of speaker adaptation

    def classify(self, samples: np.ndarray, baseline: LogitNormalizer | None = None) -> VoiceEstimate:
        """Classify speech.

        Args:
            samples: ``(T,)`` float32 in -1..1 at ``card.input.sample_rate``, cropped to speech.
            baseline: of the speaker, if known.

        Raises:
            ValueError: not a vector, empty, or not finite.
        """
