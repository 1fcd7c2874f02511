"""Active-speaker detection: the probability of each face to be the speaker."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_perception.fusion.active_speaker import (
    Candidate,
    bearing,
    mean_direction,
    speaker_posterior,
)

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
    assert sum(speaker_posterior([Candidate("a", 100, True, 0.0)], math.pi, SPREAD)) < 0.5


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(candidates, st.one_of(st.floats(-10, 10), st.just(UNKNOWN)), st.data())
def test_posterior_consists_of_probabilities(faces: list[Candidate], direction: float, data: st.DataObject):
    ratios = st.one_of(st.floats(-6, 6), st.just(UNKNOWN))
    mouth_ratios = data.draw(st.just([]) | st.lists(ratios, min_size=len(faces), max_size=len(faces)))
    posterior = speaker_posterior(faces, direction, SPREAD, mouth_ratios)
    assert len(posterior) == len(faces)
    assert all(0 <= probability <= 1 for probability in posterior)
    assert sum(posterior) <= 1 + 1e-9
