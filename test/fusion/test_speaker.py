"""Whose voice it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_perception.fusion.speaker import Candidate, bearing, mean_direction, who_speaks

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


def test_mean_direction_goes_round():
    assert mean_direction([math.pi - 0.1, -math.pi + 0.1]) == pytest.approx(math.pi)
    assert math.isnan(mean_direction([]))


def test_the_only_face_speaks_where_nothing_else_is_known():
    assert who_speaks([Candidate("a", 100, True, UNKNOWN)], UNKNOWN, SPREAD) == [1.0]


def test_the_person_spoken_with_speaks_more_likely_than_one_behind():
    pair = [Candidate("near", 10_000, True, UNKNOWN), Candidate("far", 1_000, False, UNKNOWN)]
    near, far = who_speaks(pair, UNKNOWN, SPREAD)
    assert near > 0.9
    assert near + far == pytest.approx(1)


def test_two_faces_alike_are_told_as_ambiguous():
    pair = [Candidate("a", 10_000, True, UNKNOWN), Candidate("b", 9_500, False, UNKNOWN)]
    assert max(who_speaks(pair, UNKNOWN, SPREAD)) < 0.7


def test_sound_from_the_far_face_makes_it_the_speaker():
    pair = [Candidate("near", 10_000, True, 0.5), Candidate("far", 5_000, False, -0.5)]
    near, far = who_speaks(pair, -0.45, SPREAD)
    assert far > 0.6 > near


def test_sound_from_behind_is_nobody_in_view():
    assert sum(who_speaks([Candidate("a", 100, True, 0.0)], math.pi, SPREAD)) < 0.5


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(candidates, st.one_of(st.floats(-10, 10), st.just(UNKNOWN)))
def test_they_are_probabilities(faces: list[Candidate], direction: float):
    chances = who_speaks(faces, direction, SPREAD)
    assert len(chances) == len(faces)
    assert all(0 <= chance <= 1 for chance in chances)
    assert sum(chances) <= 1 + 1e-9
