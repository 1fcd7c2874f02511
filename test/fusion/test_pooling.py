"""Log-linear pooling of distributions."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, CALM, EMOTIONS, HAPPY, NEUTRAL, SAD
from emotion_perception.fusion.pooling import half_life_decay, merge_intensities, pool, ramp
from emotion_perception.types import EmotionEstimate

FACE, VOICE = False, True  # tells calm from neutral?


def estimate(top: int, probability: float, rest_on: int | None = None, **more: object) -> EmotionEstimate:
    """`top` with its probability; the rest on one other emotion, or evenly on all but calm."""
    p = np.zeros(len(EMOTIONS), np.float32)
    others = [rest_on] if rest_on is not None else [i for i in range(len(EMOTIONS)) if i not in (top, CALM)]
    p[others] = (1 - probability) / len(others)
    p[top] = probability
    return EmotionEstimate.from_probabilities(p, **more)  # type: ignore[arg-type]


def test_one_source_at_full_weight_keeps_its_estimate():
    voice = estimate(SAD, 0.6, confidence=0.45)
    assert pool([voice], [1.0], [VOICE]) is voice


def test_agreement_raises_confidence_above_either_source():
    face, voice = estimate(HAPPY, 0.6), estimate(HAPPY, 0.5)
    pooled = pool([face, voice], [1, 1], [FACE, VOICE])
    assert pooled.label == HAPPY
    assert pooled.confidence > 0.85


def test_pooling_is_bayes_rule_for_independent_sources():
    face, voice = estimate(HAPPY, 0.8, rest_on=SAD), estimate(HAPPY, 0.4, rest_on=SAD)
    pooled = pool([face, voice], [1, 1], [FACE, VOICE])
    expected = 0.8 * 0.4 / (0.8 * 0.4 + 0.2 * 0.6)
    assert pooled.probabilities[HAPPY] == pytest.approx(expected, abs=0.005)


def test_contradiction_lowers_confidence_below_both():
    face, voice = estimate(HAPPY, 0.8, rest_on=ANGRY), estimate(ANGRY, 0.8, rest_on=HAPPY)
    pooled = pool([face, voice], [1, 1], [FACE, VOICE])
    assert pooled.confidence == pytest.approx(0.5, abs=0.01)


def test_smaller_weight_flattens_a_lone_source():
    p = np.full(len(EMOTIONS), 0.1 / 7)
    p[SAD] = 0.9
    voice = EmotionEstimate.from_probabilities(p)
    confidences = [pool([voice], [weight], [VOICE]).confidence for weight in (1.0, 0.5, 0.1, 0.01)]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[-1] < 0.2


def test_no_weight_at_all_is_unknown():
    pooled = pool([estimate(SAD, 0.9)], [0.0], [VOICE])
    assert pooled.confidence == 0.0
    assert np.allclose(pooled.probabilities, 1 / len(EMOTIONS))
    assert pool([], [], []).confidence == 0.0


def test_zero_probability_is_no_veto():
    face, voice = estimate(HAPPY, 1.0), estimate(HAPPY, 0.0)
    assert 0 < pool([face, voice], [1, 1], [FACE, VOICE]).probabilities[HAPPY] < 1


def test_uninformative_voice_leaves_the_faces_label_and_odds():
    face = estimate(SAD, 0.5, rest_on=ANGRY)
    pooled = pool([face, EmotionEstimate.from_probabilities(np.ones(8))], [1, 1], [FACE, VOICE])
    assert pooled.probabilities[SAD] == pytest.approx(pooled.probabilities[ANGRY], rel=0.01)
    assert pooled.probabilities[SAD] > 0.48


def test_face_alone_stays_neutral():
    assert pool([estimate(NEUTRAL, 0.7)], [0.8], [FACE]).probabilities[CALM] == 0


def test_calm_voice_makes_a_neutral_face_calm():
    pooled = pool([estimate(NEUTRAL, 0.7), estimate(CALM, 0.8, rest_on=NEUTRAL)], [1, 1], [FACE, VOICE])
    assert pooled.label == CALM
    assert pooled.probabilities[CALM] / pooled.probabilities[NEUTRAL] == pytest.approx(4, rel=0.02)


def test_calm_share_falls_with_the_weight_of_the_voice():
    face, voice = estimate(NEUTRAL, 0.7), estimate(CALM, 0.8, rest_on=NEUTRAL)
    calm = [pool([face, voice], [1, weight], [FACE, VOICE]).probabilities[CALM] for weight in (1.0, 0.5, 0.1, 0.001)]
    assert calm == sorted(calm, reverse=True)
    assert calm[-1] < 0.002


def test_voice_alone_splits_neutral_and_calm_itself():
    pooled = pool([estimate(CALM, 0.75, rest_on=NEUTRAL)], [0.3], [VOICE])
    assert pooled.probabilities[CALM] / pooled.probabilities[NEUTRAL] == pytest.approx(3, rel=0.02)


def test_confidence_below_the_probability_carries_over():
    modest = estimate(HAPPY, 0.8, confidence=0.4)
    assert pool([modest], [0.999], [VOICE]).confidence == pytest.approx(0.4, abs=0.01)


def test_intensities_are_averaged_over_the_sources_that_know_them():
    nan = np.nan
    merged = merge_intensities(np.array([[0.2, nan, nan], [0.8, 0.5, nan]]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(merged, [0.35, 0.5, nan])


def test_valence_and_arousal_follow_the_pooled_distribution():
    pooled = pool([estimate(SAD, 0.9), estimate(SAD, 0.9)], [1, 1], [FACE, VOICE])
    assert pooled.valence < -0.6
    assert pooled.arousal < -0.3


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf])
def test_impossible_weight_is_refused(weight: float):
    with pytest.raises(ValueError, match="weights"):
        pool([estimate(SAD, 0.9)], [weight], [VOICE])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="equal"):
        pool([estimate(SAD, 0.9)], [1.0, 1.0], [VOICE])


@pytest.mark.parametrize(
    ("age", "trust"), [(-3, 1), (0, 1), (0.2, 1), (0.7, 0.5), (1.2, 0.25), (1.99, 0.083), (2, 0), (9, 0)]
)
def test_staleness_halves_with_age_and_ends(age: float, trust: float):
    assert half_life_decay(age, fresh=0.2, half_life=0.5, max_age=2.0) == pytest.approx(trust, abs=0.001)


@pytest.mark.parametrize(("value", "factor"), [(-1, 0), (0.1, 0), (0.3, 0.5), (0.5, 1), (3, 1), (np.nan, 0)])
def test_quality_ramp(value: float, factor: float):
    assert ramp(value, 0.1, 0.5) == pytest.approx(factor)
