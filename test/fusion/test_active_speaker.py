"""Active-speaker detection: the probability of each face to be the speaker."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_perception.emotions import EMOTIONS
from emotion_perception.fusion.active_speaker import (
    Candidate,
    bearing,
    mean_direction,
    out_of_view_rate,
    speaker_posterior,
    with_out_of_view_rate,
)
from emotion_perception.types import SECOND, EmotionEstimate, VoiceObservation

SPREAD = 0.25
UNKNOWN = math.nan

candidates = st.lists(
    st.builds(
        Candidate,
        st.just("face"),
        st.floats(0, 1e6),
        st.booleans(),
        st.one_of(st.floats(-1.5, 1.5), st.just(UNKNOWN)),
    ),
    max_size=6,
)


def test_column_left_of_the_centre_is_a_positive_angle():
    assert bearing(320 - 554, 554, 320) == pytest.approx(math.pi / 4)
    assert bearing(320, 554, 320) == 0


def test_mean_direction_wraps_around():
    assert mean_direction([math.pi - 0.1, -math.pi + 0.1]) == pytest.approx(math.pi)
    assert math.isnan(mean_direction([]))


def test_the_only_face_is_the_speaker_without_other_cues():
    assert speaker_posterior([Candidate("a", 100, True, UNKNOWN)], UNKNOWN, SPREAD) == [1.0]


def test_conversation_partner_is_a_more_probable_speaker_than_a_face_behind():
    pair = [Candidate("near", 10_000, True, UNKNOWN), Candidate("far", 1_000, False, UNKNOWN)]
    near, far = speaker_posterior(pair, UNKNOWN, SPREAD)
    assert near > 0.9
    assert near + far == pytest.approx(1)


def test_two_similar_faces_are_ambiguous():
    pair = [Candidate("a", 10_000, True, UNKNOWN), Candidate("b", 9_500, False, UNKNOWN)]
    assert max(speaker_posterior(pair, UNKNOWN, SPREAD)) < 0.7


def test_sound_from_the_far_face_makes_it_the_speaker():
    pair = [Candidate("near", 10_000, True, 0.5), Candidate("far", 5_000, False, -0.5)]
    near, far = speaker_posterior(pair, -0.45, SPREAD)
    assert far > 0.6 > near


def test_far_face_is_the_speaker_if_only_its_mouth_moves():
    pair = [Candidate("near", 10_000, True, UNKNOWN), Candidate("far", 5_000, False, UNKNOWN)]
    near, far = speaker_posterior(pair, UNKNOWN, SPREAD, [-2.0, 2.0])
    assert far > 0.8 > near


def test_speaker_may_be_out_of_view_if_no_mouth_moves():
    pair = [Candidate("a", 10_000, False, UNKNOWN), Candidate("b", 9_000, False, UNKNOWN)]
    assert sum(speaker_posterior(pair, UNKNOWN, SPREAD, [-3.0, -3.0])) < 0.6
    assert sum(speaker_posterior(pair, UNKNOWN, SPREAD, [UNKNOWN, UNKNOWN])) == pytest.approx(1)


def test_unknown_mouth_ranks_between_a_speaking_and_a_still_one():
    three = [Candidate(name, 100, False, UNKNOWN) for name in "abc"]
    speaks, unknown, still = speaker_posterior(three, UNKNOWN, SPREAD, [2.0, UNKNOWN, -2.0])
    assert speaks > unknown > still


def test_sound_from_behind_has_a_speaker_out_of_view():
    assert sum(speaker_posterior([Candidate("a", 100, True, 0.0)], math.pi, SPREAD)) < 0.2


def test_direction_and_silent_mouths_together_exclude_the_faces():
    faces = [Candidate("a", 100, True, 0.0), Candidate("b", 90, False, -0.5)]
    direction_alone = sum(speaker_posterior(faces, 1.6, SPREAD))
    mouths_alone = sum(speaker_posterior(faces, UNKNOWN, SPREAD, [-2.0, -2.0]))
    assert sum(speaker_posterior(faces, 1.6, SPREAD, [-2.0, -2.0])) < 0.1 * min(direction_alone, mouths_alone) + 0.02


def test_sound_from_a_face_outweighs_lips_that_hardly_move():
    assert speaker_posterior([Candidate("a", 100, True, 0.0)], 0.1, SPREAD, [-1.0])[0] > 0.9


def spoken(begins: float, ends: float) -> VoiceObservation:
    emotion = EmotionEstimate.from_probabilities(np.full(len(EMOTIONS), 1 / 8))
    return VoiceObservation(round(ends * SECOND), ends - begins, "voice", 20.0, False, True, emotion)


def test_voices_from_out_of_view_make_the_next_one_more_probable():
    earlier = [(spoken(1, 3), 0.7), (spoken(4, 7), 0.8)]
    assert out_of_view_rate(spoken(8, 9), []) == pytest.approx(0.15)
    assert out_of_view_rate(spoken(8, 9), earlier) > 0.35
    assert out_of_view_rate(spoken(60, 61), earlier) < 0.25  # a minute later
    assert out_of_view_rate(spoken(8, 9), [(voice, 0.02) for voice, _ in earlier]) < 0.1
    assert out_of_view_rate(spoken(2, 9), earlier) == pytest.approx(0.15)  # overlaps both: not earlier


def test_utterance_without_a_cue_does_not_change_the_rate():
    assert out_of_view_rate(spoken(8, 9), [(spoken(1, 7), 0.0)]) == pytest.approx(0.15)


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.9])
def test_rate_changes_the_odds_of_a_speaker_out_of_view_only(rate: float):
    changed = with_out_of_view_rate({"a": 0.4, "b": 0.1, "": 0.5}, rate)
    assert sum(changed.values()) == pytest.approx(1)
    assert changed["a"] == pytest.approx(4 * changed["b"])
    assert (changed[""] > 0.5) == (rate > 0.15)
    certain = {"a": 1.0, "": 0.0}
    assert with_out_of_view_rate(certain, rate) == certain


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(candidates, st.one_of(st.floats(-10, 10), st.just(UNKNOWN)), st.data())
def test_posterior_consists_of_probabilities(faces: list[Candidate], direction: float, data: st.DataObject):
    ratios = st.one_of(st.floats(-6, 6), st.just(UNKNOWN))
    mouth_ratios = data.draw(st.just([]) | st.lists(ratios, min_size=len(faces), max_size=len(faces)))
    posterior = speaker_posterior(faces, direction, SPREAD, mouth_ratios)
    assert len(posterior) == len(faces)
    assert all(0 <= probability <= 1 for probability in posterior)
    assert sum(posterior) <= 1 + 1e-9
