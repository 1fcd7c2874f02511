"""Whose voice it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_perception.fusion.active_speaker import (
    Candidate,
    MouthPictures,
    bearing,
    mean_direction,
    mouths_speak,
    who_speaks,
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


LOUD = 20 * np.sin(np.arange(40) * 0.7) - 30  # dB, every 40 ms


def mouth(moves: float, opens: float = 0.0, late: float = 0.0, fps: float = 30.0) -> np.ndarray:
    """A mouth over 1.6 s of speech: its motion, and how far it opens with the loudness, so many s later."""
    time = np.arange(-0.2, 1.8, 1 / fps)
    loud = np.interp(time - late, (np.arange(40) + 0.5) * 0.04, LOUD)
    return np.column_stack((time, 0.4 + opens * (loud + 30) / 100, np.full(len(time), moves)))


def test_a_mouth_that_moves_and_opens_with_the_voice_speaks():
    speaks, moves, still = mouths_speak(MouthPictures.of([mouth(0.25, 1), mouth(0.25), mouth(0.06)]), 1.6, LOUD)
    assert speaks > 1 > moves > still
    assert still < -1


@pytest.mark.parametrize("late", [-0.08, 0.08])
def test_a_picture_that_is_a_little_late_or_early_matters_little(late: float):
    in_time, off = mouths_speak(MouthPictures.of([mouth(0.25, 1), mouth(0.25, 1, late)]), 1.6, LOUD)
    assert off == pytest.approx(in_time, abs=0.3)


def test_ten_pictures_a_second_tell_as_well():
    quick, slow = mouths_speak(MouthPictures.of([mouth(0.2, 1), mouth(0.2, 1, fps=10)]), 1.6, LOUD)
    assert slow == pytest.approx(quick, abs=1)


def test_where_too_little_was_seen_or_heard_mouths_tell_nothing():
    glimpse, blind = mouth(0.2, 1)[:12], mouth(UNKNOWN)
    assert np.isnan(mouths_speak(MouthPictures.of([glimpse, blind, np.zeros((0, 3))]), 1.6, LOUD)).all()
    assert np.isnan(mouths_speak(MouthPictures.of([mouth(0.2, 1)]), 0.2, LOUD[:5])).all()
    assert np.isnan(mouths_speak(MouthPictures.of([mouth(0.2, 1)]), 0.0, LOUD)).all()
    assert mouths_speak(MouthPictures.of([]), 1.6, LOUD) == []


def test_no_mouth_decides_alone():
    assert max(mouths_speak(MouthPictures.of([mouth(5.0, 1)]), 1.6, LOUD)) <= 3
    assert min(mouths_speak(MouthPictures.of([mouth(0.0)]), 1.6, LOUD)) >= -3


def test_the_far_face_speaks_where_its_mouth_moves_and_the_near_ones_does_not():
    pair = [Candidate("near", 10_000, True, UNKNOWN), Candidate("far", 5_000, False, UNKNOWN)]
    near, far = who_speaks(pair, UNKNOWN, SPREAD, [-2.0, 2.0])
    assert far > 0.8 > near


def test_where_no_mouth_moves_the_speaker_may_be_out_of_sight():
    pair = [Candidate("a", 10_000, False, UNKNOWN), Candidate("b", 9_000, False, UNKNOWN)]
    assert sum(who_speaks(pair, UNKNOWN, SPREAD, [-3.0, -3.0])) < 0.6
    assert sum(who_speaks(pair, UNKNOWN, SPREAD, [UNKNOWN, UNKNOWN])) == pytest.approx(1)


def test_a_mouth_that_is_not_known_counts_between_one_that_speaks_and_one_that_does_not():
    three = [Candidate(name, 100, False, UNKNOWN) for name in "abc"]
    speaks, unknown, still = who_speaks(three, UNKNOWN, SPREAD, [2.0, UNKNOWN, -2.0])
    assert speaks > unknown > still


def test_sound_from_behind_is_nobody_in_view():
    assert sum(who_speaks([Candidate("a", 100, True, 0.0)], math.pi, SPREAD)) < 0.5


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(candidates, st.one_of(st.floats(-10, 10), st.just(UNKNOWN)), st.data())
def test_they_are_probabilities(faces: list[Candidate], direction: float, data: st.DataObject):
    ratios = st.one_of(st.floats(-6, 6), st.just(UNKNOWN))
    told = data.draw(st.just([]) | st.lists(ratios, min_size=len(faces), max_size=len(faces)))
    chances = who_speaks(faces, direction, SPREAD, told)
    assert len(chances) == len(faces)
    assert all(0 <= chance <= 1 for chance in chances)
    assert sum(chances) <= 1 + 1e-9
