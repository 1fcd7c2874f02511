"""The vocabulary and the data types every part hands to the next."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import (
    CIRCUMPLEX,
    EMOTIONS,
    FER2013_LABELS,
    FERPLUS_COLUMNS,
    RAVDESS_CODES,
    ROS4HRI_NAMES,
    VISUAL_EMOTIONS,
    emotion_index,
    valence_arousal,
    valence_arousal_deviation,
    visual_to_vocabulary,
)
from emotion_perception.types import EmotionEstimate


def test_order_is_that_of_ravdess():
    assert EMOTIONS == ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
    assert RAVDESS_CODES["01"] == 0 and RAVDESS_CODES["08"] == 7


@pytest.mark.parametrize(
    ("alias", "name"), [("anger", "angry"), ("Joy", "happy"), ("scared", "fearful"), (" SAD ", "sad")]
)
def test_aliases_reach_the_vocabulary(alias, name):
    assert EMOTIONS[emotion_index(alias)] == name


def test_unknown_name_is_refused_with_the_vocabulary():
    with pytest.raises(ValueError, match="contempt.*neutral, calm"):
        emotion_index("contempt")


def test_data_set_orders_are_their_own():
    assert [EMOTIONS[i] for i in FER2013_LABELS] == [
        "angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral",
    ]  # fmt: skip
    assert FERPLUS_COLUMNS[2] == EMOTIONS.index("surprised") and FERPLUS_COLUMNS[7] is None


def test_ros4hri_has_no_calm_and_says_scared():
    assert "calm" not in ROS4HRI_NAMES and "fearful" not in ROS4HRI_NAMES and len(ROS4HRI_NAMES) == 8


def test_faces_never_say_calm():
    spread = visual_to_vocabulary(np.full((2, 7), 1 / 7, np.float32))
    assert "calm" not in VISUAL_EMOTIONS
    assert spread.shape == (2, 8) and (spread[:, EMOTIONS.index("calm")] == 0).all()
    assert np.allclose(spread.sum(1), 1)


def test_circumplex_quadrants():
    place = dict(zip(EMOTIONS, CIRCUMPLEX, strict=True))
    assert place["happy"][0] > 0 and place["happy"][1] > 0
    assert place["sad"][0] < 0 and place["sad"][1] < 0
    assert place["angry"][0] < 0 and place["angry"][1] > 0
    assert place["calm"][0] > 0 and place["calm"][1] < 0
    assert np.abs(CIRCUMPLEX).max() <= 1


def test_a_faint_smile_is_nearer_the_centre_than_a_laugh():
    happy = np.eye(8, dtype=np.float32)[EMOTIONS.index("happy")]
    faint, laugh = np.full(8, 0.1), np.full(8, 0.9)
    assert 0 < valence_arousal(happy, faint)[0] < valence_arousal(happy, laugh)[0] < valence_arousal(happy)[0] + 1e-6


def test_the_deviation_is_the_spread_of_the_distribution_and_of_one_emotion():
    rng = np.random.default_rng(3)
    p, strengths = rng.dirichlet(np.ones(8)), rng.random(8)
    strengths[0] = np.nan
    drawn = rng.choice(8, 200_000, p=p)
    radius = np.nan_to_num(0.5 + 0.5 * strengths, nan=1.0)
    points = CIRCUMPLEX[drawn] * radius[drawn, None] + rng.normal(0, 0.1, (len(drawn), 2))
    assert valence_arousal_deviation(p, strengths) == pytest.approx(points.std(axis=0), rel=0.02)


def test_a_sure_estimate_has_the_smallest_deviation_and_an_unknown_one_has_none():
    sure = EmotionEstimate.from_probabilities(np.eye(8)[2])
    unsure = EmotionEstimate.from_probabilities(np.eye(8)[2] + np.eye(8)[4])
    assert sure.deviations == pytest.approx((0.1, 0.1))
    assert unsure.deviations[0] > 0.6
    assert np.isnan(EmotionEstimate.unknown().deviations).all()


def test_estimate_normalises_and_names_its_label():
    estimate = EmotionEstimate.from_probabilities(np.array([1, 0, 3, 0, 0, 0, 0, 0]))
    assert estimate.name == "happy"
    assert estimate.confidence == pytest.approx(0.75)
    assert estimate.probabilities.sum() == pytest.approx(1)
    assert np.isnan(estimate.intensities).all()


@pytest.mark.parametrize("bad", [np.zeros(8), np.ones(7), np.full(8, np.nan), np.array([-1, 2, 0, 0, 0, 0, 0, 0])])
def test_what_is_no_distribution_is_refused(bad):
    with pytest.raises(ValueError, match="probabilities must be 8"):
        EmotionEstimate.from_probabilities(bad)


def test_unknown_is_uniform_without_confidence():
    unknown = EmotionEstimate.unknown()
    assert unknown.confidence == 0 and np.ptp(unknown.probabilities) == 0
