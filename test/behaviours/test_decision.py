"""The decision core on a clock set by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
from states import START, ns, snapshot

from emotion_perception.behaviours.decision import (
    UPSET,
    EmotionMass,
    EvidenceOf,
    Judge,
    Limits,
    Newcomer,
    Rest,
    ValenceDrop,
)
from emotion_perception.behaviours.freshness import Freshness, StateWatch, describe_freshness, judge_freshness
from emotion_perception.emotions import EMOTIONS
from emotion_perception.types import EmotionStatus


def play(judge: Judge | Newcomer, emotion_at: Callable[[float], tuple[str, float]], until: float) -> list[float]:
    """Feed a state every 0.1 s from START on; the times (s since START) at which the answer was yes."""
    yes = []
    for step in range(round(until * 10) + 1):
        t = step / 10
        name, probability = emotion_at(t)
        if judge.judge(snapshot(name, START + t, probability), ns(START + t)).answer:
            yes.append(t)
    return yes


# --- freshness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0.0, Freshness.FRESH),
        (2.0, Freshness.FRESH),
        (2.01, Freshness.STALE),
        (-0.5, Freshness.FRESH),
        (-0.51, Freshness.FUTURE),
        (3600.0, Freshness.STALE),
        (-3600.0, Freshness.FUTURE),
    ],
)
def test_freshness_is_judged_from_the_stamp(age: float, expected: Freshness) -> None:
    held = snapshot("angry", START - age, received=START)
    freshness, said = judge_freshness(held, ns(START), max_age=2.0, future_tolerance=0.5)
    assert freshness is expected
    assert said == pytest.approx(age)


def test_before_the_first_message_nothing_is_fresh() -> None:
    assert judge_freshness(None, ns(START)) == (Freshness.NOTHING_YET, math.inf)


def test_a_stamp_ahead_of_the_clock_is_explained() -> None:
    text = describe_freshness(Freshness.FUTURE, -12.0)
    assert "12.0 s ahead" in text
    assert "use_sim_time" in text


def test_a_state_from_before_a_clock_jump_is_let_go() -> None:
    watch = StateWatch()
    watch.offer(snapshot("angry", START), ns(START))
    assert watch.look(ns(START + 0.1))[0] is Freshness.FRESH
    assert watch.look(ns(START - 60))[0] is Freshness.NOTHING_YET
    # The clock comes by the old stamp again: it must not look fresh.
    for seconds in range(-59, 1):
        assert watch.look(ns(START + seconds))[0] is Freshness.NOTHING_YET
    assert watch.clock_jumps == 1


# --- thresholds ---------------------------------------------------------------------------------------------------


def test_between_leave_and_enter_the_answer_stays_what_it_was() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(enter=0.6, leave=0.4))
    rising = [0.3, 0.5, 0.59, 0.6, 0.5, 0.41, 0.39, 0.5, 0.59, 0.61]
    answers = [
        judge.judge(snapshot("angry", START + i / 10, p + 1e-4), ns(START + i / 10)).answer
        for i, p in enumerate(rising)
    ]
    assert answers == [False, False, False, True, True, True, False, False, False, True]


def test_several_emotions_count_together() -> None:
    judge = Judge(EmotionMass.of("angry;fearful"), Limits(enter=0.6, leave=0.4))
    verdict = judge.judge(snapshot("angry", START, 0.55), ns(START))
    assert verdict.score == pytest.approx(0.55 + 0.45 / 7)
    assert verdict.answer is True
    assert EmotionMass.of(["anger", "scared"]).indices == EmotionMass.of("angry; fearful").indices


@pytest.mark.parametrize("names", ["cross", "", "angry;", []])
def test_an_unknown_or_missing_emotion_is_refused(names: str | list[str]) -> None:
    with pytest.raises(ValueError):
        EmotionMass.of(names)


@pytest.mark.parametrize(
    "wrong",
    [
        {"enter": 0.4, "leave": 0.6},
        {"enter": math.nan},
        {"hold": -1.0},
        {"dwell": math.inf},
        {"max_age": 0.0},
        {"future_tolerance": -0.1},
    ],
)
def test_limits_that_make_no_sense_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if len(wrong) == 1 else "leave"):
        Limits(**wrong)


# --- no evidence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMOTIONS)
def test_no_evidence_is_no_emotion_not_even_neutral(name: str) -> None:
    judge = Judge(EmotionMass.of(name), Limits(enter=0.0, leave=0.0))  # any evidence at all would be enough
    assert judge.judge(snapshot("", START), ns(START)).answer is False
    assert judge.judge(snapshot(name, START + 0.1), ns(START + 0.1)).answer is True


@pytest.mark.parametrize(
    ("modality", "met"),
    [
        ("any", {"VISUAL_ONLY", "ACOUSTIC_ONLY", "AUDIO_VISUAL"}),
        ("visual", {"VISUAL_ONLY", "AUDIO_VISUAL"}),
        ("acoustic", {"ACOUSTIC_ONLY", "AUDIO_VISUAL"}),
        ("both", {"AUDIO_VISUAL"}),
    ],
)
def test_evidence_can_be_asked_for_by_sense(modality: str, met: set[str]) -> None:
    for status in (EmotionStatus.VISUAL_ONLY, EmotionStatus.ACOUSTIC_ONLY, EmotionStatus.AUDIO_VISUAL):
        judge = Judge(EvidenceOf(modality), Limits(0.5, 0.5))
        answer = judge.judge(snapshot("neutral", START, status=status), ns(START)).answer
        assert answer is (status.name in met), status
    with pytest.raises(ValueError, match="modality"):
        EvidenceOf("smell")


# --- hold time ----------------------------------------------------------------------------------------------------


def test_hold_time_passes_before_the_answer_is_yes() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5))
    yes = play(judge, lambda t: ("angry", 0.9 if t >= 0.3 else 0.1), until=2.0)
    assert yes[0] == pytest.approx(0.8)
    assert yes[-1] == 2.0


def test_a_flicker_starts_the_hold_time_again() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5))
    yes = play(judge, lambda t: ("angry", 0.1 if t == 0.4 else 0.9), until=2.0)
    assert yes[0] == pytest.approx(1.0)


def test_one_message_does_not_grow_into_a_hold_time() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5, max_age=10.0))
    only = snapshot("angry", START)
    answers = [judge.judge(only, ns(START + t / 10)).answer for t in range(90)]
    assert answers == [False] * 90


def test_a_gap_between_messages_starts_the_hold_time_again() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5, max_age=1.0))
    assert judge.judge(snapshot("angry", START), ns(START)).answer is False
    # Asked all along, but the next message comes 1.5 s later.
    later = [judge.judge(snapshot("angry", START), ns(START + t)).answer for t in (0.5, 1.0)]
    assert later == [False, False]
    assert judge.judge(snapshot("angry", START + 1.5), ns(START + 1.5)).answer is False
    assert judge.judge(snapshot("angry", START + 2.1), ns(START + 2.1)).answer is True


def test_a_condition_not_asked_for_long_starts_afresh() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5, max_age=2.0))
    play(judge, lambda _: ("angry", 0.9), until=1.0)
    assert judge.judge(snapshot("angry", START + 100), ns(START + 100)).answer is False


def test_another_person_starts_afresh() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5, dwell=5.0))
    assert play(judge, lambda _: ("angry", 0.9), until=1.0)
    other = snapshot("angry", START + 1.1, person="person_2")
    assert judge.judge(other, ns(START + 1.1)).answer is False


def test_a_person_without_an_id_goes_on_as_the_same() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5))
    assert play(judge, lambda _: ("angry", 0.9), until=1.0)
    unnamed = snapshot("angry", START + 1.1, person="", status=EmotionStatus.ACOUSTIC_ONLY)
    assert judge.judge(unnamed, ns(START + 1.1)).answer is True


def test_dwell_keeps_a_reaction_from_ending_too_soon() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(dwell=1.0))
    yes = play(judge, lambda t: ("angry", 0.9 if t <= 0.2 else 0.0), until=3.0)
    assert yes == [t / 10 for t in range(10)]


def test_dwell_does_not_outlive_the_evidence() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(dwell=100.0))
    assert judge.judge(snapshot("angry", START), ns(START)).answer is True
    assert judge.judge(snapshot("", START + 0.1), ns(START + 0.1)).answer is False
    assert judge.judge(snapshot("neutral", START + 0.2), ns(START + 0.2)).answer is False


# --- old states ---------------------------------------------------------------------------------------------------


def test_a_latched_old_state_never_answers_yes() -> None:
    judge = Judge(EmotionMass(UPSET), Limits(enter=0.1, leave=0.0))
    latched = snapshot("angry", START - 30, received=START)  # arrives now, captured half a minute ago
    answers = {judge.judge(latched, ns(START + t / 10)).answer for t in range(100)}
    assert answers == {None}


def test_a_clock_that_jumps_back_makes_the_state_unusable_and_says_so() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits())
    held = snapshot("angry", START)
    assert judge.judge(held, ns(START)).answer is True
    verdict = judge.judge(held, ns(START - 3600))
    assert verdict.answer is None
    assert "3600.0 s ahead of the clock" in verdict.reason


def test_after_a_clock_jump_the_hold_time_starts_again() -> None:
    judge = Judge(EmotionMass.of("angry"), Limits(hold=0.5))
    assert play(judge, lambda _: ("angry", 0.9), until=1.0)
    back = START - 60
    answers = [judge.judge(snapshot("angry", back + t / 10), ns(back + t / 10)).answer for t in range(7)]
    assert answers == [False] * 5 + [True] * 2


# --- growing unhappy ----------------------------------------------------------------------------------------------


def test_a_fall_of_valence_is_noticed_and_a_constant_one_is_not() -> None:
    limits = Limits(enter=0.4, leave=0.2)
    falling = Judge(ValenceDrop(window=30.0), limits)
    yes = play(falling, lambda t: ("neutral", 0.9) if t < 5 else ("sad", 0.8), until=10.0)
    assert 5.5 < yes[0] < 7.5
    constant = Judge(ValenceDrop(window=30.0), limits)
    assert play(constant, lambda _: ("sad", 0.8), until=10.0) == []


def test_from_delighted_to_content_is_no_reason_to_worry() -> None:
    judge = Judge(ValenceDrop(), Limits(enter=0.4, leave=0.2))
    assert play(judge, lambda t: ("happy", 0.95) if t < 5 else ("neutral", 0.9), until=15.0) == []


def test_a_fall_is_forgotten_after_the_window() -> None:
    judge = Judge(ValenceDrop(window=6.0), Limits(enter=0.4, leave=0.2))
    yes = play(judge, lambda t: ("neutral", 0.9) if t < 5 else ("sad", 0.8), until=30.0)
    assert yes[-1] == pytest.approx(11.0, abs=1.5)


def test_one_odd_state_at_first_sight_is_no_height_to_fall_from() -> None:
    judge = Judge(ValenceDrop(), Limits(enter=0.4, leave=0.2))
    assert play(judge, lambda t: ("happy", 0.95) if t <= 0.1 else ("sad", 0.8), until=10.0) == []


def test_the_history_of_valence_does_not_grow() -> None:
    drop = ValenceDrop(window=10.0)
    for step in range(5000):  # ever more unhappy: the worst case for the history
        drop.score(snapshot("sad", START + step * 0.02, 0.1 + 0.8 * step / 5000))
    assert len(drop._peaks) <= 501


# --- newcomers ----------------------------------------------------------------------------------------------------


def test_the_first_person_is_a_newcomer_once() -> None:
    yes = play(Newcomer(hold=0.5, lasts=3.0), lambda _: ("neutral", 0.9), until=60.0)
    assert yes == [pytest.approx(0.5 + t / 10) for t in range(30)]


def test_somebody_who_looks_away_is_not_greeted_again_and_the_next_one_is() -> None:
    newcomer = Newcomer(hold=0.5, lasts=1.0, away=5.0, forget_after=300.0)

    def present(start: float, seconds: float, person: str) -> bool:
        steps = range(round(seconds * 10))
        return any(
            [
                newcomer.judge(snapshot("neutral", start + s / 10, person=person), ns(start + s / 10)).answer
                for s in steps
            ]
        )

    def nobody(start: float, seconds: float) -> None:
        for s in range(round(seconds * 10)):
            assert not newcomer.judge(snapshot("", start + s / 10), ns(start + s / 10)).answer

    assert present(START, 3, "ada")
    nobody(START + 3, 2)
    assert not present(START + 5, 3, "bob")  # 2 s of nobody: a lost track, not somebody else
    nobody(START + 8, 6)
    assert not present(START + 14, 3, "ada")  # was here a moment ago
    nobody(START + 17, 6)
    assert present(START + 23, 3, "eve")
    nobody(START + 26, 400)
    assert present(START + 426, 3, "ada")  # long ago


def test_time_without_being_asked_is_no_absence() -> None:
    newcomer = Newcomer(hold=0.2, lasts=1.0, away=5.0)
    assert play(newcomer, lambda _: ("neutral", 0.9), until=3.0)
    # Not asked for a minute while something more urgent was going on.
    answers = [
        newcomer.judge(snapshot("neutral", START + 63 + t / 10, person="other"), ns(START + 63 + t / 10)).answer
        for t in range(20)
    ]
    assert answers == [False] * 20


def test_time_without_being_asked_does_not_make_an_absence_longer() -> None:
    newcomer = Newcomer(hold=0.2, lasts=1.0, away=5.0)
    assert play(newcomer, lambda _: ("neutral", 0.9), until=3.0)
    for t in (3.1, 63.0, 63.1):  # nobody for a moment, before and after a minute of something more urgent
        newcomer.judge(snapshot("", START + t), ns(START + t))
    answers = [
        newcomer.judge(snapshot("neutral", START + 63.2 + t / 10, person="other"), ns(START + 63.2 + t / 10)).answer
        for t in range(20)
    ]
    assert answers == [False] * 20


def test_when_a_recording_begins_again_its_people_are_new_again() -> None:
    newcomer = Newcomer(hold=0.5, lasts=1.0)
    first = play(newcomer, lambda _: ("neutral", 0.9), until=30.0)
    assert first
    assert play(newcomer, lambda _: ("neutral", 0.9), until=30.0) == first


# --- rest ---------------------------------------------------------------------------------------------------------


def test_a_reaction_runs_on_and_then_rests() -> None:
    rest = Rest(seconds=20.0, grace=1.0)
    assert all(rest.allow("ada", ns(START + t / 10)) for t in range(100))  # as long as the reason lasts
    assert not rest.allow("ada", ns(START + 15))
    assert not rest.allow("ada", ns(START + 29))
    assert rest.allow("bob", ns(START + 29.5))  # somebody else
    assert rest.allow("bob", ns(START + 60))


def test_each_person_has_a_rest_of_their_own() -> None:
    rest = Rest(seconds=20.0, grace=1.0)
    assert rest.allow("ada", ns(START))
    assert rest.allow("bob", ns(START + 5))
    assert not rest.allow("ada", ns(START + 10))
    assert not rest.allow("bob", ns(START + 12))
    assert rest.allow("ada", ns(START + 21))
    assert not rest.allow("bob", ns(START + 24))


def test_unknown_person_is_the_one_of_the_last_reaction() -> None:
    rest = Rest(seconds=20.0, grace=1.0)
    assert rest.allow("", ns(START))
    assert not rest.allow("ada", ns(START + 10))
    assert rest.allow("ada", ns(START + 21))
    assert not rest.allow("", ns(START + 30))
    assert rest.allow("bob", ns(START + 42))


def test_the_core_needs_neither_ros_nor_py_trees() -> None:
    code = (
        "import sys\n"
        "sys.modules['rclpy'] = sys.modules['py_trees'] = sys.modules['emotion_msgs'] = None\n"
        "from emotion_perception.behaviours.decision import Judge\n"
        "print(Judge.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "Judge", done.stderr
