"""Combination rules on pairs of a face and a voice: the robot's fusion, each modality alone, and simple rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.emotions import CALM, NEUTRAL
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import FUSION_FILE, reliability_of
from emotion_perception.learning import metrics
from emotion_perception.learning.fusion.outputs import ModelOutputs
from emotion_perception.types import Box, EmotionEstimate, FaceObservation, VoiceObservation

NOW = 1_000_000_000_000  # ns; arbitrary


@dataclass(frozen=True)
class Outcome:
    """Output of one combination rule for N pairs."""

    probabilities: np.ndarray  # (N, 8)
    confidence: np.ndarray  # (N,)

    def scores(self, labels: np.ndarray) -> dict[str, float]:
        """Accuracy, accuracy with neutral and calm merged, UAR, expected calibration error, log loss (nats)."""
        scores = metrics.score(self.probabilities, labels, self.confidence)
        merged = np.concatenate((self.probabilities[:, :2].sum(1, keepdims=True), self.probabilities[:, 2:]), axis=1)
        true = self.probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return {
            "accuracy": scores.accuracy,
            "accuracy_neutral_or_calm": float((merged.argmax(1) == np.maximum(labels - 1, 0)).mean()),
            "uar": scores.uar,
            "ece": scores.ece,
            "log_loss": float(-np.log(np.maximum(true, 1e-4)).mean()),
        }

    def correct(self, labels: np.ndarray) -> np.ndarray:
        """``(N,)`` bool: whether the most probable emotion is the label."""
        return np.asarray(self.probabilities.argmax(1) == labels)


class Pooling:
    """The robot's fusion engine on one face and one voice at a time.

    Args:
        expression, voice: files of the two models.
        fusion_file: reliability of the two models.

    Raises:
        ModelError: a model card or the fusion file is missing or invalid.
    """

    def __init__(self, expression: Path, voice: Path, fusion_file: str = FUSION_FILE) -> None:
        self._visual = reliability_of(str(expression), fusion_file)
        self._acoustic = reliability_of(str(voice), fusion_file)

    def __call__(
        self, faces: ModelOutputs | None, voices: ModelOutputs | None, texts: Sequence[EmotionEstimate | None] = ()
    ) -> Outcome:
        """The state of each pair; undetected faces or speech, and a modality that is None, give no evidence."""
        count = len(faces) if faces is not None else len(voices) if voices is not None else 0
        states = [self._state(faces, voices, texts[row] if texts else None, row) for row in range(count)]
        return Outcome(
            np.array([state.probabilities for state in states]), np.array([state.confidence for state in states])
        )

    def _state(
        self, faces: ModelOutputs | None, voices: ModelOutputs | None, text: EmotionEstimate | None, row: int
    ) -> EmotionEstimate:
        fusion = EmotionFusion(visual=self._visual, acoustic=self._acoustic)
        if faces is not None and faces.found[row]:
            emotion = EmotionEstimate.from_probabilities(faces.probabilities[row])
            face = FaceObservation("face", Box(0, 0, 100, 100), 1.0, float(faces.quality[row]), emotion)
            fusion.add_faces(NOW, [face])
        if voices is not None and voices.found[row]:
            emotion = EmotionEstimate.from_probabilities(voices.probabilities[row])
            snr, seconds = float(voices.quality[row]), float(voices.seconds[row])
            fusion.add_voice(VoiceObservation(NOW, seconds, "voice", snr, False, True, emotion))
        if text is not None:
            fusion.add_text(NOW, text)
        return fusion.state(NOW).emotion


def simple_rules(faces: ModelOutputs, voices: ModelOutputs) -> dict[str, Outcome]:
    """The usual combination rules: mean, product and maximum of the two models' distributions.

    A face classifier does not separate neutral and calm, so its neutral is split equally between the two.
    """
    p, q = faces.probabilities.astype(np.float64), voices.probabilities.astype(np.float64)
    p = p.copy()
    p[:, CALM] = p[:, NEUTRAL] = p[:, NEUTRAL] / 2
    rules = {"mean": p + q, "product": p * q, "maximum": np.maximum(p, q)}
    found = {}
    for name, combined in rules.items():
        combined /= combined.sum(1, keepdims=True)
        found[name] = Outcome(combined, combined.max(1))
    return found


def all_outcomes(pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs) -> dict[str, Outcome]:
    """The outcomes of the robot's fusion, of each modality alone, and of the simple rules."""
    alone = {"visual": pooling(faces, None), "acoustic": pooling(None, voices)}
    return {"fused": pooling(faces, voices), **alone, **simple_rules(faces, voices)}
