"""Conditions on attention, the trend of valence, and what the sample tree makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import py_trees
import pytest
from py_trees.common import Status
from states import START, FakeNode, ns, person, persons, state

from emotion_perception.behaviours import (
    EmotionTrend,
    IsAttending,
    IsEngaged,
    IsSpeaking,
    PersonApproaches,
    PersonCondition,
)
from emotion_perception.behaviours.decision import Judge, Limits, Snapshot
from emotion_perception.behaviours.person_decision import LookingScore, PersonJudge, PersonsSnapshot
from emotion_perception.behaviours.trend import ValenceTrend
from emotion_perception.types import EmotionEstimate, Engagement, PersonState

from .test_conditions import Stage

ENGAGED: dict[str, object] = {"engagement": Engagement.ENGAGED, "looking": 0.95, "distance": 1.5, "speaking": 0.0}
PASSING: dict[str, object] = {
    "engagement": Engagement.DISENGAGED,
    "looking": 0.05,
    "distance": 2.5,
    "approach_speed": 0.0,
    "speaking": 0.0,
}
WALKS_UP = PASSING | {"approach_speed": 0.8, "distance": 4.0}


@pytest.fixture(autouse=True)
def blackboard() -> Iterator[None]:
    py_trees.blackboard.Blackboard.clear()
    yield
    py_trees.blackboard.Blackboard.clear()


class Watched:
    """One condition on a clock set by hand, with arrays at 10 Hz."""

    def __init__(self, condition: PersonCondition) -> None:
        self.node, self.condition = FakeNode(), condition
        condition.setup(node=self.node)

    def show(self, seconds: float, *others: PersonState, **partner: object) -> Status:
        """The status after these persons were shown for a while."""
        for _ in range(max(1, round(seconds * 10))):
            self.node.seconds += 0.1
            self.offer(persons(self.node.seconds, *others, **partner))
            self.condition.tick_once()
        return self.condition.status

    def offer(self, held: PersonsSnapshot | None) -> None:
        py_trees.blackboard.Blackboard.set("/emotion/persons", held)

    def tick(self) -> Status:
        self.condition.tick_once()
        return self.condition.status


def every_condition(**more: object) -> list[PersonCondition]:
    return [made(**more) for made in (IsEngaged, IsAttending, IsSpeaking, PersonApproaches)]  # type: ignore[arg-type]


MET = {
    IsEngaged: {"engagement": Engagement.ENGAGED},
    IsAttending: {"looking": 0.9},
    IsSpeaking: {"speaking": 0.9},
    PersonApproaches: {"approach_speed": 0.7, "distance": 3.0},
}
NOT_MET = {
    IsEngaged: {"engagement": Engagement.ENGAGING},
    IsAttending: {"looking": 0.2},
    IsSpeaking: {"speaking": 0.1},
    PersonApproaches: {"approach_speed": -0.5, "distance": 3.0},
}


@pytest.mark.parametrize("made", MET)
def test_each_condition_is_met_by_what_its_name_says(made: type[PersonCondition]) -> None:
    assert Watched(made()).show(1.0, **MET[made]) is Status.SUCCESS  # type: ignore[call-arg]
    assert Watched(made()).show(1.0, **NOT_MET[made]) is Status.FAILURE  # type: ignore[call-arg]


@pytest.mark.parametrize("on_stale", ["FAILURE", "SUCCESS", "RUNNING"])
def test_without_a_fresh_message_or_a_known_value_the_result_is_on_stale(on_stale: str) -> None:
    for condition in every_condition(on_stale=on_stale):
        watched = Watched(condition)
        assert watched.tick() is Status[on_stale]
        assert watched.show(1.0, name="ada") is Status[on_stale], "nothing known of her"
        watched.show(1.0, **MET[type(condition)])  # type: ignore[index]
        watched.node.seconds += 2.2
        assert watched.tick() is Status[on_stale]
        watched.offer(persons(watched.node.seconds + 9, **MET[type(condition)]))  # type: ignore[index]
        assert watched.tick() is Status[on_stale], "from the future"


@pytest.mark.parametrize("on_stale", ["FAILURE", "SUCCESS", "RUNNING"])
def test_nobody_in_view_is_failure_whatever_on_stale_says(on_stale: str) -> None:
    for condition in every_condition(on_stale=on_stale):
        assert Watched(condition).show(0.5) is Status.FAILURE
    bystander = person(name="bob", partner=False, **MET[IsEngaged])
    assert Watched(IsEngaged(on_stale=on_stale)).show(0.5, bystander) is Status.FAILURE


def test_a_condition_is_about_the_partner_or_about_anybody() -> None:
    def show(who: str) -> Status:
        watched = Watched(IsSpeaking(who=who))
        for _ in range(3):
            bystander = person(watched.node.seconds + 0.1, "bob", False, speaking=0.9)
            watched.show(0.1, bystander, speaking=0.0)
        return watched.condition.status

    assert (show("partner"), show("anybody")) == (Status.FAILURE, Status.SUCCESS)
    with pytest.raises(ValueError, match="who"):
        IsSpeaking(who="everybody")


def test_hold_time_runs_for_each_person_separately() -> None:
    watched = Watched(IsAttending(who="anybody", hold=1.0))
    for number in range(20):  # two people take turns of half a second
        looks = "ada" if (number // 5) % 2 else "bob"
        others = [
            person(watched.node.seconds + 0.1, name, False, looking=0.9 if name == looks else 0.1)
            for name in ("ada", "bob")
        ]
        assert watched.show(0.1, *others) is Status.FAILURE


def test_another_partner_starts_the_hold_time_anew() -> None:
    watched = Watched(IsAttending(hold=1.0))
    assert watched.show(1.5, name="ada", looking=0.9) is Status.SUCCESS
    assert watched.show(0.5, name="bob", looking=0.9) is Status.FAILURE
    assert watched.show(1.0, name="bob", looking=0.9) is Status.SUCCESS


def test_engaged_lasts_through_disengaging() -> None:
    watched = Watched(IsEngaged())
    levels = [Engagement.ENGAGING, Engagement.ENGAGED, Engagement.DISENGAGING, Engagement.DISENGAGED]
    wanted = [Status.FAILURE, Status.SUCCESS, Status.SUCCESS, Status.FAILURE]
    assert [watched.show(0.5, engagement=level) for level in levels] == wanted


def test_an_approach_far_away_does_not_count() -> None:
    assert Watched(PersonApproaches(within=3.0)).show(1.0, approach_speed=0.8, distance=5.0) is Status.FAILURE
    with pytest.raises(ValueError, match="within"):
        PersonApproaches(within=0.0)


def test_the_reason_names_the_person() -> None:
    watched = Watched(IsAttending(who="anybody", hold=0.0))
    watched.show(0.1, name="ada", looking=0.9)
    assert watched.condition.feedback_message.startswith("ada: 0.90")


def test_an_array_seen_twice_counts_once() -> None:
    judge, held = PersonJudge(LookingScore(), Limits(hold=0.5)), persons(START, looking=0.9)
    assert [judge.judge(held, ns(START + t / 10)).answer for t in range(15)] == [False] * 15


# --- the trend of valence -----------------------------------------------------------------------------------------


def mood(valence: float, at: float, name: str = "ada") -> Snapshot:
    """A state with this valence."""
    p = EmotionEstimate.from_probabilities([1, 0, 0, 0, 0, 0, 0, 0])
    estimate = EmotionEstimate(p.probabilities, p.intensities, 0.9, valence, 0.0)
    shown = state("neutral", at, person=name)
    return Snapshot(type(shown)(shown.stamp_ns, shown.status, name, "f", "", estimate, ()), ns(at))


def falls(valences: list[float], **trend: object) -> bool:
    """Whether the condition is ever met by these valences at 10 Hz."""
    judge = Judge(ValenceTrend(**trend), Limits(enter=0.3, leave=0.15, hold=1.0))  # type: ignore[arg-type]
    at = [START + step / 10 for step in range(len(valences))]
    return any(judge.judge(mood(v, t), ns(t)).answer for v, t in zip(valences, at, strict=True))


def line(start: float, end: float, seconds: float) -> list[float]:
    count = round(seconds * 10)
    return [start + (end - start) * step / (count - 1) for step in range(count)]


def test_a_slow_fall_of_valence_is_noticed() -> None:
    assert falls(line(0.2, -0.5, 30))


def test_steady_valence_and_single_dips_are_no_trend() -> None:
    assert not falls([-0.4] * 400)
    dips = [0.1] * 300
    for start in (60, 150, 240):
        dips[start : start + 8] = [-0.7] * 8
    assert not falls(dips)


def test_from_delighted_to_content_is_no_reason_to_react() -> None:
    assert not falls(line(0.9, 0.1, 30))


def test_a_short_time_is_no_trend() -> None:
    assert not falls(line(0.2, -0.6, 8))
    assert falls(line(0.2, -0.6, 8), window=10.0)


def test_a_rise_is_a_trend_of_its_own() -> None:
    rise = line(-0.8, 0.4, 30)
    assert not falls(rise)
    assert falls(rise, direction="rising", below=1.0)


@pytest.mark.parametrize("wrong", [{"window": 0.5}, {"window": math.nan}, {"direction": "sideways"}])
def test_a_trend_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        EmotionTrend(**wrong)  # type: ignore[arg-type]


def test_the_memory_of_a_trend_is_bounded() -> None:
    trend = ValenceTrend(window=20.0)
    for step in range(6000):
        trend.score(mood(0.0, START + step / 100))
    assert len(trend._valences) <= 101


# --- the sample tree ----------------------------------------------------------------------------------------------


def test_who_walks_up_is_greeted() -> None:
    stage = Stage()
    stage.play("", 6)
    assert stage.play("neutral", 4, attention=PASSING) == ["attend"], "a newcomer who looks elsewhere"
    assert stage.play("neutral", 2, attention=WALKS_UP) == ["attend", "greet"]
    assert stage.play("neutral", 5, attention=ENGAGED)[-1] == "attend"


def test_who_passes_by_is_not_greeted() -> None:
    stage = Stage()
    stage.play("", 6)
    assert stage.play("neutral", 5, attention=PASSING) == ["attend"]
    assert stage.play("", 1) == ["idle"]


def test_a_newcomer_who_looks_at_the_robot_is_greeted() -> None:
    stage = Stage()
    stage.play("", 6)
    assert stage.play("neutral", 5, attention=ENGAGED) == ["attend", "greet", "attend"]


def test_a_step_closer_in_a_conversation_is_no_arrival() -> None:
    stage = Stage()
    stage.play("", 6)
    stage.play("neutral", 70, attention=ENGAGED)
    assert stage.play("neutral", 2, attention=ENGAGED | {"approach_speed": 0.6}) == ["attend"]


def test_who_walks_to_and_fro_is_greeted_once() -> None:
    stage = Stage()
    stage.play("", 6)
    stage.play("neutral", 4, attention=PASSING)
    assert "greet" in stage.play("neutral", 2, attention=WALKS_UP)
    stage.play("neutral", 5, attention=PASSING)
    assert stage.play("neutral", 2, attention=WALKS_UP) == ["attend"]


@pytest.mark.parametrize(("emotion", "action"), [("sad", "apologise_and_offer_staff"), ("happy", "celebrate")])
def test_who_speaks_is_not_interrupted(emotion: str, action: str) -> None:
    stage = Stage()
    stage.play("neutral", 10, attention=ENGAGED)
    assert stage.play(emotion, 8, attention=ENGAGED | {"speaking": 0.9}) == ["attend"]
    assert stage.play(emotion, 0.5, attention=ENGAGED)[-1] == action, "at once when the person has finished"


def test_a_newcomer_who_speaks_is_listened_to() -> None:
    stage = Stage()
    stage.play("", 6)
    assert stage.play("neutral", 5, attention=ENGAGED | {"speaking": 0.9}) == ["attend"]


def test_a_threatened_speaker_is_not_left_waiting() -> None:
    stage = Stage()
    stage.play("neutral", 10, attention=ENGAGED)
    assert stage.play("angry", 1, attention=ENGAGED | {"speaking": 0.9})[-1] == "soften_and_step_back"


def test_a_smile_at_somebody_else_is_not_celebrated() -> None:
    stage = Stage()
    stage.play("neutral", 10, attention=PASSING)
    assert stage.play("happy", 4, attention=PASSING) == ["attend"]
    assert stage.play("happy", 1, attention=ENGAGED)[-1] == "celebrate"


def test_growing_unhappiness_is_noticed_before_the_person_is_upset() -> None:
    stage = Stage()
    stage.play("neutral", 12, attention=ENGAGED)
    chosen: list[str] = []
    for step in range(30):  # sadness grows slowly and stays below what is called upset
        chosen += stage.play("sad", 1, probability=0.13 + 0.013 * step, attention=ENGAGED)
    assert "apologise_and_offer_staff" in chosen


def test_bystanders_change_nothing_for_the_partner() -> None:
    stage = Stage()
    stage.play("neutral", 10, attention=ENGAGED)
    for _ in range(10):
        stage.node.seconds += 0.1
        bystander = person(stage.node.seconds, "bob", False, **WALKS_UP)
        held = persons(stage.node.seconds, bystander, **ENGAGED)
        py_trees.blackboard.Blackboard.set("/emotion/persons", held)
        py_trees.blackboard.Blackboard.set("/emotion/snapshot", mood(0.0, stage.node.seconds, "person_1"))
        assert stage.tick() == "attend"
