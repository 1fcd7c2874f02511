"""Combination rules on pairs of a face and a voice: the robot's fusion, each modality alone, and simple rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.emotions import CALM, NEUTRAL
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import FUSION_FILE, reliability_of
from emotion_perception.learning import metrics
from emotion_perception.learning.fusion.outputs import ModelOutputs
from emotion_perception.priors import BALANCED, DEFAULT_PRIOR, exchange_prior, parse_prior
from emotion_perception.types import Box, EmotionEstimate, FaceObservation, VoiceObservation

NOW = 1_000_000_000_000  # ns; arbitrary


@dataclass(frozen=True)
class Outcome:
    """Output of one combination rule for N pairs."""

    probabilities: np.ndarray  # (N, 8)
    confidence: np.ndarray  # (N,)
    prior: np.ndarray  # (8,) that the probabilities contain

    def with_prior(self, prior: np.ndarray) -> Outcome:
        """The outcome under another prior ``(8,)``."""
        p = exchange_prior(self.probabilities, self.prior, prior)
        confidence = np.minimum(1.0, self.confidence * p.max(1) / self.probabilities.max(1))
        return Outcome(p, confidence, prior)

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
        prior: class prior of the outcomes.

    Raises:
        ModelError: a model card or the fusion file is missing or invalid.
    """

    def __init__(
        self, expression: Path, voice: Path, fusion_file: str = FUSION_FILE, prior: str = DEFAULT_PRIOR
    ) -> None:
        self._config = FusionConfig(emotion_prior=prior)
        self.prior = parse_prior(prior)
        self._visual = reliability_of(str(expression), fusion_file)
        self._acoustic = reliability_of(str(voice), fusion_file)

    def __call__(
        self, faces: ModelOutputs | None, voices: ModelOutputs | None, texts: Sequence[EmotionEstimate | None] = ()
    ) -> Outcome:
        """The state of each pair; undetected faces or speech, and a modality that is None, give no evidence."""
        count = len(faces) if faces is not None else len(voices) if voices is not None else 0
        states = [self._state(faces, voices, texts[row] if texts else None, row) for row in range(count)]
        return Outcome(
            np.array([state.probabilities for state in states]),
            np.array([state.confidence for state in states]),
            self.prior,
        )

    def _state(
        self, faces: ModelOutputs | None, voices: ModelOutputs | None, text: EmotionEstimate | None, row: int
    ) -> EmotionEstimate:
        fusion = EmotionFusion(self._config, visual=self._visual, acoustic=self._acoustic)
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


def simple_rules(faces: ModelOutputs, voices: ModelOutputs, prior: np.ndarray) -> dict[str, Outcome]:
    """The usual combination rules: mean and maximum of the posteriors, product of the likelihood ratios and the prior.

    A face classifier does not separate neutral and calm: its ratio of neutral is that of both.
    """
    p, q = faces.probabilities.astype(np.float64), voices.probabilities.astype(np.float64)
    p = p.copy()
    p[:, CALM] = p[:, NEUTRAL]
    seen, heard = exchange_prior(p, BALANCED, prior), exchange_prior(q, BALANCED, prior)
    rules = {"mean": seen + heard, "product": p * q * prior, "maximum": np.maximum(seen, heard)}
    found = {}
    for name, combined in rules.items():
        shares = combined / combined.sum(1, keepdims=True)
        found[name] = Outcome(shares, shares.max(1), prior)
    return found


def all_outcomes(pooling: Pooling, faces: ModelOutputs, voices: ModelOutputs) -> dict[str, Outcome]:
    """The outcomes of the robot's fusion, of each modality alone, and of the simple rules."""
    alone = {"visual": pooling(faces, None), "acoustic": pooling(None, voices)}
    return {"fused": pooling(faces, voices), **alone, **simple_rules(faces, voices, pooling.prior)}
