"""One face's expression over time: own-face baseline, hidden Markov model, low-pass filter of the intensities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emotion_perception.emotions import EMOTIONS, VISUAL_INDICES
from emotion_perception.hmm_filter import TemporalConfig, initial_belief, next_belief, to_report
from emotion_perception.priors import BALANCED
from emotion_perception.types import SECOND, EmotionEstimate, FaceObservation
from emotion_perception.visual.face_baseline import FaceBaseline

VISUAL = list(VISUAL_INDICES)


class ExpressionFilter:
    """Filters the estimates of successive images of a single face.

    Args:
        hold_s: time constant of the expression; 0: no filter.
        outlier_probability: 0..1, that an image does not show the expression.
        intensity_smoothing_s: time constant of the intensities; 0: no filter.
        prior: ``(8,)``, class prior of the filtered estimates. The filter works on likelihood ratios, so that it
            enters once.

    Example:
        >>> filter = ExpressionFilter(0.35, 0.2)
        >>> happy = EmotionEstimate.from_probabilities(np.eye(8)[2])
        >>> filter.update(happy, 0).name
        'happy'
    """

    def __init__(
        self,
        hold_s: float,
        outlier_probability: float,
        intensity_smoothing_s: float = 0.0,
        prior: np.ndarray = BALANCED,
    ) -> None:
        self._temporal = TemporalConfig(hold_s, outlier_probability) if hold_s > 0 else None
        self._prior = prior
        self._smoothing_s = intensity_smoothing_s
        self.reset()

    def reset(self) -> None:
        """Forget the face, as after a jump in time."""
        self._belief: np.ndarray | None = None  # (7,)
        self._intensities = np.zeros(len(VISUAL))
        self._stamp_ns = 0

    def update(self, estimate: EmotionEstimate, stamp_ns: int) -> EmotionEstimate:
        """The filtered estimate after one more image, which is newer than the one before.

        Args:
            estimate: from the image alone, under any known prior.
            stamp_ns: when the image was taken.
        """
        p = estimate.with_prior(BALANCED).probabilities[VISUAL]
        intensities = estimate.intensities[VISUAL]
        elapsed = (stamp_ns - self._stamp_ns) / SECOND
        first, temporal = self._belief is None, self._temporal
        if temporal is None:
            self._belief = p
        elif self._belief is None:
            self._belief = initial_belief(p, temporal)
        else:
            self._belief = next_belief(self._belief, p, elapsed, temporal)
        if not first and self._smoothing_s > 0:
            keep = np.exp(-elapsed / self._smoothing_s)
            intensities = keep * self._intensities + (1 - keep) * intensities
        self._intensities, self._stamp_ns = intensities, stamp_ns
        p = self._belief if temporal is None else to_report(self._belief, temporal)
        return face_estimate(p, intensities).with_prior(self._prior)


class FaceFilter:
    """What one face track shows over time: its expression relative to its own baseline, filtered.

    Args:
        expression: temporal filter of the track.
        baseline: of the track or the person; None: expressions are taken as the classifier gives them.
    """

    def __init__(self, expression: ExpressionFilter, baseline: FaceBaseline | None) -> None:
        self.baseline = baseline
        self._expression = expression
        self._stamp_ns: int | None = None

    def update(self, face: FaceObservation, stamp_ns: int) -> FaceObservation:
        """The filtered observation after one more image, which is newer than the one before.

        Args:
            face: its emotion is that of the image alone, under any known prior.
            stamp_ns: when the image was taken.
        """
        emotion, weight = face.emotion, 0.0
        if self.baseline is not None:
            elapsed = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / SECOND
            p = emotion.with_prior(BALANCED).probabilities[VISUAL]
            p = self.baseline.adapt(p, elapsed, face.quality, face.mouth_opening)
            emotion, weight = face_estimate(p, emotion.intensities[VISUAL]), self.baseline.weight
        self._stamp_ns = stamp_ns
        return replace(face, emotion=self._expression.update(emotion, stamp_ns), baseline_weight=weight)


def face_estimate(p: np.ndarray, intensities: np.ndarray) -> EmotionEstimate:
    """The estimate under the balanced prior of ``(7,)`` likelihood ratios, normalised or not, and intensities."""
    weights, full = np.zeros(len(EMOTIONS), np.float32), np.full(len(EMOTIONS), np.nan, np.float32)
    weights[VISUAL], full[VISUAL] = p, intensities
    return EmotionEstimate.from_probabilities(weights, full)
