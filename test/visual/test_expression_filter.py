"""The temporal filter of one face's expression."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, HAPPY, NEUTRAL, visual_to_vocabulary
from emotion_perception.hmm_filter import TemporalConfig
from emotion_perception.types import SECOND, EmotionEstimate
from emotion_perception.visual.expression_filter import ExpressionFilter

PERIOD = SECOND // 25


def default_filter() -> ExpressionFilter:
    return ExpressionFilter(TemporalConfig.hold, TemporalConfig.outlier_probability)


def shows(emotion: int, share: float = 0.8) -> EmotionEstimate:
    """A picture's distribution over what a face can show."""
    visual = {NEUTRAL: 0, HAPPY: 1, ANGRY: 3}[emotion]
    p = np.full(7, (1 - share) / 6)
    p[visual] = share
    return EmotionEstimate.from_probabilities(visual_to_vocabulary(p))


def test_a_blink_does_not_flip_the_label_and_a_lasting_change_does():
    filtered = default_filter()
    reported = [filtered.update(shows(HAPPY), i * PERIOD) for i in range(25)]
    assert reported[-1].confidence == pytest.approx(0.8, abs=0.02), "a steady expression of 0.8 is reported as 0.8"
    reported = [filtered.update(shows(ANGRY, 0.95), (25 + i) * PERIOD) for i in range(25)]
    assert [estimate.label for estimate in reported[:3]] == [HAPPY] * 3
    assert reported[-1].label == ANGRY
    changed = next(i for i, estimate in enumerate(reported) if estimate.label == ANGRY)
    assert 0.1 < changed / 25 < 0.5


def test_after_a_reset_the_past_counts_for_nothing():
    filtered, fresh = (
        default_filter(),
        default_filter(),
    )
    for i in range(25):
        filtered.update(shows(HAPPY), i * PERIOD)
    filtered.reset()
    np.testing.assert_array_equal(
        filtered.update(shows(ANGRY), 0).probabilities, fresh.update(shows(ANGRY), 0).probabilities
    )


def test_without_a_filter_each_picture_speaks_for_itself():
    filtered = ExpressionFilter(0.0, 0.2)
    assert filtered.update(shows(HAPPY), 0).label == HAPPY
    assert filtered.update(shows(ANGRY), PERIOD).label == ANGRY


def test_intensities_follow_with_their_own_time_constant():
    smooth = ExpressionFilter(0.35, 0.2, intensity_smoothing_s=0.25)
    for i, strength in enumerate([0.2, 0.8]):
        p = shows(HAPPY).probabilities
        updated = smooth.update(
            EmotionEstimate.from_probabilities(p, np.full(8, strength, np.float32)), i * SECOND // 4
        )
    assert updated.intensities[HAPPY] == pytest.approx(0.2 * np.exp(-1) + 0.8 * (1 - np.exp(-1)), abs=1e-5)
