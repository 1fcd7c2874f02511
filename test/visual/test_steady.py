"""The filter over one face's pictures, as ros4hri_node uses it."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, HAPPY, NEUTRAL, visual_to_vocabulary
from emotion_perception.hmm_filter import TemporalConfig
from emotion_perception.types import SECOND, EmotionEstimate
from emotion_perception.visual.steady import SteadyExpression

PERIOD = SECOND // 25


def shows(emotion: int, share: float = 0.8) -> EmotionEstimate:
    """A picture's distribution over what a face can show."""
    visual = {NEUTRAL: 0, HAPPY: 1, ANGRY: 3}[emotion]
    p = np.full(7, (1 - share) / 6)
    p[visual] = share
    return EmotionEstimate.from_probabilities(visual_to_vocabulary(p))


def test_a_blink_does_not_flip_the_label_and_a_lasting_change_does():
    steady = SteadyExpression(TemporalConfig())
    told = [steady.add(shows(HAPPY), i * PERIOD) for i in range(25)]
    assert told[-1].confidence == pytest.approx(0.8, abs=0.02), "a steady look at 0.8 is told as 0.8"
    told = [steady.add(shows(ANGRY, 0.95), (25 + i) * PERIOD) for i in range(25)]
    assert [estimate.label for estimate in told[:3]] == [HAPPY] * 3
    assert told[-1].label == ANGRY
    changed = next(i for i, estimate in enumerate(told) if estimate.label == ANGRY)
    assert 0.1 < changed / 25 < 0.5


def test_after_a_reset_the_past_counts_for_nothing():
    steady, fresh = SteadyExpression(TemporalConfig()), SteadyExpression(TemporalConfig())
    for i in range(25):
        steady.add(shows(HAPPY), i * PERIOD)
    steady.reset()
    np.testing.assert_array_equal(steady.add(shows(ANGRY), 0).probabilities, fresh.add(shows(ANGRY), 0).probabilities)


def test_without_a_filter_each_picture_speaks_for_itself():
    steady = SteadyExpression(None)
    assert steady.add(shows(HAPPY), 0).label == HAPPY
    assert steady.add(shows(ANGRY), PERIOD).label == ANGRY
