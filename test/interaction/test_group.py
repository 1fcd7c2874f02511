"""The mood of a group: who is counted, what the mean says, how alike the faces are, who differs."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_perception.emotions import ANGRY, CALM, HAPPY, NEUTRAL, SAD
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.interaction.group import divergence, group_emotion
from emotion_perception.types import (
    Box,
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Evidence,
    FaceObservation,
    VoiceObservation,
)

START = 1_700_000_000_000_000_000
MS = 1_000_000


def feeling(emotion: int, share: float = 0.86) -> EmotionEstimate:
    probabilities = np.full(8, (1 - share) / 7, np.float32)
    probabilities[emotion] = share
    return EmotionEstimate.from_probabilities(probabilities)


def a_state(face_id: str, emotion: EmotionEstimate, weight: float = 1.0, stamp_ns: int = START) -> EmotionState:
    evidence = Evidence(EmotionModality.VISUAL, weight, 0.0, emotion)
    return EmotionState(stamp_ns, EmotionStatus.VISUAL_ONLY, "", face_id, "", emotion, (evidence,))


def crowd(*emotions: int, share: float = 0.86) -> list[EmotionState]:
    return [a_state(f"f{i:02d}", feeling(emotion, share)) for i, emotion in enumerate(emotions)]


def everyone(states: list[EmotionState]):
    return group_emotion(states, {state.face_id for state in states}, START)


def a_face(face_id: str, emotion: int = HAPPY, quality: float = 0.8) -> FaceObservation:
    return FaceObservation(face_id, Box(0, 0, 100, 100), 0.9, quality, feeling(emotion))


# --- what it says


def test_nobody_in_view_is_said_and_no_mood_is_made_up():
    group = group_emotion([], (), START)
    assert group.faces_counted == 0
    assert group.stamp_ns == START
    assert group.emotion.confidence == 0
    assert math.isnan(group.agreement) and math.isnan(group.valence_spread)
    assert group.differing == ()


def test_one_face_is_its_own_mean_and_has_nobody_to_agree_with():
    group = everyone(crowd(SAD))
    alone = feeling(SAD)
    assert group.faces_counted == 1
    assert group.emotion.probabilities == pytest.approx(alone.probabilities)
    assert group.emotion.confidence == pytest.approx(alone.confidence)
    assert (group.emotion.valence, group.emotion.arousal) == pytest.approx((alone.valence, alone.arousal))
    assert math.isnan(group.agreement) and math.isnan(group.valence_spread)


@pytest.mark.parametrize("size", [2, 3, 10, 30])
def test_a_group_of_one_mind_agrees_wholly_whatever_its_size(size: int):
    group = everyone(crowd(*[HAPPY] * size))
    assert group.faces_counted == size
    assert group.emotion.name == "happy"
    assert group.agreement == pytest.approx(1.0)
    assert group.valence_spread == pytest.approx(0.0, abs=1e-6)
    assert group.differing == ()


def test_two_faces_with_nothing_in_common_do_not_agree_at_all():
    group = everyone(crowd(HAPPY, ANGRY, share=1.0))
    assert group.agreement == pytest.approx(0.0)
    assert group.emotion.probabilities[[HAPPY, ANGRY]] == pytest.approx([0.5, 0.5])
    assert group.valence_spread == pytest.approx((0.85 + 0.55) / 2, abs=1e-6)
    assert group.differing == (), "of two nobody can say which is the odd one"


@pytest.mark.parametrize("half", [5, 15])
def test_two_camps_are_told_by_the_agreement_and_nobody_differs(half: int):
    group = everyone(crowd(*[HAPPY] * half, *[ANGRY] * half, share=1.0))
    # Of all pairs, those within a camp agree wholly and those across not at all.
    assert group.agreement == pytest.approx((half - 1) / (2 * half - 1))
    assert group.differing == ()


@pytest.mark.parametrize("size", [3, 5, 30])
@pytest.mark.parametrize("share", [0.6, 0.86, 1.0])
def test_the_one_unlike_the_others_is_named(size: int, share: float):
    group = everyone(crowd(*[HAPPY] * (size - 1), SAD, share=share))
    assert group.differing == (f"f{size - 1:02d}",)
    assert group.emotion.name == "happy"


def test_the_most_unlike_comes_first():
    states = [*crowd(*[HAPPY] * 8), a_state("mild", feeling(SAD, 0.6)), a_state("strong", feeling(ANGRY, 0.99))]
    assert everyone(states).differing == ("strong", "mild")


def test_an_unsure_face_is_not_said_to_differ():
    unsure = a_state("unsure", feeling(SAD, 0.2))
    group = everyone([*crowd(HAPPY, HAPPY, HAPPY, HAPPY), unsure])
    assert group.faces_counted == 5
    assert group.differing == ()


def test_a_face_counts_by_its_weight_and_speaking_does_not_make_it_two():
    states = [a_state("a", feeling(HAPPY, 1.0)), a_state("b", feeling(SAD, 1.0), weight=0.25)]
    assert everyone(states).emotion.probabilities[HAPPY] == pytest.approx(0.8)
    speaking = a_state("a", feeling(HAPPY, 1.0), weight=2.0)
    assert everyone([speaking, states[1]]).emotion.probabilities[HAPPY] == pytest.approx(0.8)


def test_a_voice_without_a_face_and_a_face_out_of_view_are_not_counted():
    states = [*crowd(HAPPY, HAPPY), a_state("", feeling(SAD)), a_state("gone", feeling(SAD))]
    group = group_emotion(states, {"f00", "f01", "new"}, START)
    assert group.faces_counted == 2
    assert group.emotion.name == "happy"


def test_the_stamp_is_that_of_the_newest_face():
    group = everyone(
        [a_state("a", feeling(HAPPY), stamp_ns=START - 5), a_state("b", feeling(HAPPY), stamp_ns=START - 3)]
    )
    assert group.stamp_ns == START - 3


# --- with the fusion in front


def mood(fusion: EmotionFusion, now_ns: int):
    return group_emotion(fusion.states(now_ns), fusion.in_view, now_ns)


def test_a_face_that_comes_back_under_a_new_id_is_counted_once():
    fusion = EmotionFusion()
    fusion.add_faces(START, [a_face("old"), a_face("other")])
    fusion.add_faces(START + 40 * MS, [a_face("new"), a_face("other")])
    now = START + 50 * MS
    assert len(fusion.states(now)) == 3, "the old id's state is held for a while"
    assert mood(fusion, now).faces_counted == 2


def test_a_face_that_is_blurred_in_the_newest_picture_still_counts_by_the_one_before():
    fusion = EmotionFusion()
    fusion.add_faces(START, [a_face("a"), a_face("b")])
    fusion.add_faces(START + 40 * MS, [a_face("a"), a_face("b", quality=0.0)])
    assert mood(fusion, START + 50 * MS).faces_counted == 2


def test_a_picture_that_comes_late_does_not_bring_anybody_back():
    fusion = EmotionFusion()
    fusion.add_faces(START + 40 * MS, [a_face("a")])
    fusion.add_faces(START, [a_face("a"), a_face("gone")])
    assert mood(fusion, START + 50 * MS).faces_counted == 1


def test_when_pictures_stop_the_group_is_gone():
    fusion = EmotionFusion()
    fusion.add_faces(START, [a_face("a"), a_face("b")])
    assert mood(fusion, START + 100 * MS).faces_counted == 2
    assert mood(fusion, START + 1100 * MS).faces_counted == 0


def test_the_group_follows_a_clock_that_jumps_back_and_a_reset():
    fusion = EmotionFusion()
    fusion.add_faces(START, [a_face("a"), a_face("b")])
    earlier = START - 3_600_000 * MS
    for step in range(2):
        fusion.add_faces(earlier + step * 40 * MS, [a_face("c")])
    assert mood(fusion, earlier + 50 * MS).faces_counted == 1
    fusion.reset()
    assert fusion.in_view == frozenset()


def test_the_speaker_in_a_group_is_heard_too():
    fusion = EmotionFusion()
    fusion.add_faces(START, [a_face("a", NEUTRAL)])
    before = mood(fusion, START + MS).emotion.probabilities[CALM]
    fusion.add_voice(VoiceObservation(START, 2.0, "v", 20.0, False, True, feeling(CALM)))
    assert mood(fusion, START + MS).emotion.probabilities[CALM] > before + 0.3


def test_thirty_faces_take_less_than_a_frame():
    states = crowd(*(i % 8 for i in range(30)))
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        everyone(states)
        times.append(time.perf_counter() - begin)
    assert np.median(times) < 0.02


# --- for any group


@st.composite
def groups(draw: st.DrawFn) -> list[EmotionState]:
    states = []
    for i in range(draw(st.integers(1, 30))):
        p = np.array(draw(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=8, max_size=8)), np.float32)
        p[draw(st.integers(0, 7))] += 0.05
        p /= p.sum()
        emotion = EmotionEstimate.from_probabilities(p, confidence=float(p.max()) * draw(st.floats(0.3, 1)))
        states.append(a_state(f"f{i:02d}", emotion, draw(st.floats(0.01, 3))))
    return states


@settings(deadline=None, derandomize=True, max_examples=60)
@given(groups())
def test_every_number_keeps_to_its_range(states: list[EmotionState]):
    group = everyone(states)
    assert group.faces_counted == len(states)
    assert float(group.emotion.probabilities.sum()) == pytest.approx(1.0, abs=1e-5)
    assert group.emotion.probabilities.min() >= 0
    assert 0 <= group.emotion.confidence <= 1
    valences = [state.emotion.valence for state in states]
    assert min(valences) - 1e-6 <= group.emotion.valence <= max(valences) + 1e-6
    if len(states) == 1:
        assert math.isnan(group.agreement) and math.isnan(group.valence_spread)
    else:
        assert 0 <= group.agreement <= 1
        assert 0 <= group.valence_spread <= (max(valences) - min(valences)) / 2 + 1e-6
    assert set(group.differing) <= {state.face_id for state in states}
    assert len(group.differing) <= len(states) / 2


@settings(deadline=None, derandomize=True, max_examples=30)
@given(groups(), st.randoms(use_true_random=False))
def test_the_order_of_the_states_does_not_matter(states: list[EmotionState], random):
    shuffled = states[:]
    random.shuffle(shuffled)
    one, other = everyone(states), everyone(shuffled)
    assert (one.emotion.probabilities == other.emotion.probabilities).all()
    assert one.differing == other.differing
    assert one.agreement == other.agreement or len(states) == 1


@settings(deadline=None, derandomize=True, max_examples=30)
@given(groups())
def test_divergence_is_symmetric_bounded_and_zero_for_equals(states: list[EmotionState]):
    p = np.array([state.emotion.probabilities for state in states], np.float64)
    table = divergence(p[:, None], p[None])
    assert table == pytest.approx(table.T)
    assert np.diag(table) == pytest.approx(np.zeros(len(p)), abs=1e-9)
    assert table.min() >= 0 and table.max() <= 1
