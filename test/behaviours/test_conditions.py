"""The py_trees behaviours, ticked on a clock set by hand; what a subscription would bring is handed over directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import py_trees
import pytest
from py_trees.common import Status
from states import START, FakeNode, persons, snapshot

from emotion_perception.behaviours import (
    ACTIONS,
    HasEvidence,
    IsEmotion,
    IsSatisfied,
    IsUpset,
    Resting,
    create_root,
)
from emotion_perception.behaviours.conditions import EmotionCondition
from emotion_perception.behaviours.decision import Judge, Limits, Snapshot
from emotion_perception.behaviours.to_blackboard import ToBlackboard


@pytest.fixture(autouse=True)
def blackboard() -> Iterator[None]:
    py_trees.blackboard.Blackboard.clear()
    yield
    py_trees.blackboard.Blackboard.clear()


def write(held: Snapshot | None, namespace: str = "/emotion") -> None:
    py_trees.blackboard.Blackboard.set(f"{namespace}/snapshot", held)


def ready(condition: py_trees.behaviour.Behaviour, node: FakeNode | None = None) -> py_trees.behaviour.Behaviour:
    """The condition after setup, with its children."""
    for behaviour in condition.iterate():
        behaviour.setup(node=node or FakeNode())
    return condition


def tick(behaviour: py_trees.behaviour.Behaviour) -> Status:
    behaviour.tick_once()
    return behaviour.status


def every_condition(**more: object) -> list[EmotionCondition]:
    return [
        IsEmotion("neutral", "neutral", **more),  # type: ignore[arg-type]
        IsUpset(**more),  # type: ignore[arg-type]
        IsSatisfied(**more),  # type: ignore[arg-type]
        HasEvidence(**more),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("on_stale", ["FAILURE", "SUCCESS", "RUNNING"])
def test_the_first_tick_before_any_message_answers_as_on_stale_says(on_stale: str) -> None:
    for condition in every_condition(on_stale=on_stale):
        assert tick(ready(condition)) is Status[on_stale], condition.name
        assert "nothing received" in condition.feedback_message


@pytest.mark.parametrize("on_stale", ["FAILURE", "SUCCESS", "RUNNING"])
@pytest.mark.parametrize(("age", "word"), [(30.0, "stale"), (-30.0, "ahead of the clock")])
def test_an_old_or_future_state_answers_as_on_stale_says(on_stale: str, age: float, word: str) -> None:
    write(snapshot("neutral", START - age, received=START))
    for condition in every_condition(on_stale=on_stale):
        assert tick(ready(condition)) is Status[on_stale], condition.name
        assert word in condition.feedback_message


@pytest.mark.parametrize("on_stale", ["FAILURE", "SUCCESS", "RUNNING"])
def test_no_evidence_is_failure_whatever_on_stale_says(on_stale: str) -> None:
    write(snapshot("", START))
    conditions = [
        *(c("c", enter=0.0, leave=0.0, hold=0.0, on_stale=on_stale) for c in (IsUpset, IsSatisfied)),
        IsEmotion("neutral", "neutral", enter=0.0, leave=0.0, hold=0.0, on_stale=on_stale),
        HasEvidence(on_stale=on_stale),
    ]
    assert [tick(ready(condition)) for condition in conditions] == [Status.FAILURE] * 4


@pytest.mark.parametrize(
    ("emotion", "upset", "satisfied"),
    [
        ("neutral", False, False),
        ("calm", False, True),
        ("happy", False, True),
        ("sad", True, False),
        ("angry", True, False),
        ("fearful", True, False),
        ("disgusted", True, False),
        ("surprised", False, False),
    ],
)
def test_which_emotions_are_upset_and_which_satisfied(emotion: str, upset: bool, satisfied: bool) -> None:
    write(snapshot(emotion, START))
    assert (tick(ready(IsUpset(hold=0.0))) is Status.SUCCESS) is upset
    assert (tick(ready(IsSatisfied(hold=0.0))) is Status.SUCCESS) is satisfied
    assert tick(ready(HasEvidence())) is Status.SUCCESS


def test_age_runs_on_the_nodes_clock() -> None:
    node = FakeNode()
    condition = ready(HasEvidence(max_age=2.0), node)
    write(snapshot("happy", START))
    assert tick(condition) is Status.SUCCESS
    node.seconds += 2.1
    assert tick(condition) is Status.FAILURE
    assert condition.feedback_message == "stale: 2.1 s old"


def test_setup_without_a_node_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="node.*Upset"):
        IsUpset().setup()


@pytest.mark.parametrize("wrong", [{"on_stale": "MAYBE"}, {"enter": 0.2, "leave": 0.5}, {"hold": -1.0}])
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        IsUpset(**wrong)  # type: ignore[arg-type]


def test_two_persons_in_one_tree_have_their_own_namespaces() -> None:
    write(snapshot("angry", START), "/left")
    write(snapshot("happy", START), "/right")
    left = ready(IsUpset(hold=0.0, namespace="/left"))
    right = ready(IsUpset(hold=0.0, namespace="/right"))
    assert (tick(left), tick(right)) == (Status.SUCCESS, Status.FAILURE)


def test_a_condition_of_ones_own_takes_any_scorer() -> None:
    class Arousal:
        def score(self, held: Snapshot) -> float:
            return held.state.emotion.arousal

        def reset(self) -> None: ...

    condition = ready(EmotionCondition("Aroused?", Judge(Arousal(), Limits(enter=0.5, leave=0.3))))
    write(snapshot("surprised", START))
    assert tick(condition) is Status.SUCCESS


def test_resting_holds_back_the_same_reaction_for_a_while() -> None:
    node = FakeNode()
    resting = ready(Resting("Not again for 20 s", HasEvidence(), 20.0), node)
    answers = {}
    for second in (0.0, 0.5, 1.0, 5.0, 5.5, 22.0):
        node.seconds = START + second
        write(snapshot("happy", node.seconds))
        answers[second] = tick(resting)
    held_back = [second for second, status in answers.items() if status is Status.FAILURE]
    assert held_back == [5.0, 5.5]


# --- the sample tree ----------------------------------------------------------------------------------------------


class Stage:
    """The empathetic tree without ROS at its ends: states are written to the blackboard, the action is read from it."""

    def __init__(self, **options: object) -> None:
        self.node = FakeNode()
        self.root = create_root(**options)  # type: ignore[arg-type]
        source, persons_source, _, sink = self.root.children
        self.root.replace_child(source, py_trees.behaviours.Success("source"))
        self.root.replace_child(persons_source, py_trees.behaviours.Success("persons"))
        self.root.replace_child(sink, py_trees.behaviours.Success("sink"))
        ready(self.root, self.node)

    def play(
        self,
        emotion: str,
        seconds: float,
        person: str = "person_1",
        attention: dict[str, object] | None = None,
        **more: object,
    ) -> list[str]:
        """Show one emotion at 10 Hz; the actions chosen, in order, without repetition.

        With ``attention``, the conversation partner's fields of PersonState; without, nothing is known of attention.
        """
        chosen: list[str] = []
        for _ in range(round(seconds * 10)):
            self.node.seconds += 0.1
            held = persons(self.node.seconds, name=person, **attention) if attention else None
            py_trees.blackboard.Blackboard.set("/emotion/persons", held)
            write(snapshot(emotion, self.node.seconds, person=person, **more))  # type: ignore[arg-type]
            chosen.append(self.tick())
        return [a for i, a in enumerate(chosen) if i == 0 or a != chosen[i - 1]]

    def tick(self) -> str:
        self.root.tick_once()
        return str(py_trees.blackboard.Blackboard.get("/emotion/action"))


def test_a_visit_is_met_with_tact() -> None:
    stage = Stage()
    assert stage.play("", 3) == ["idle"]
    assert stage.play("neutral", 6) == ["attend", "greet", "attend"]
    assert stage.play("happy", 1) == ["attend", "celebrate"]
    assert stage.play("neutral", 5) == ["celebrate", "attend"]
    assert stage.play("happy", 3) == ["attend"]  # celebrated a moment ago
    assert stage.play("angry", 3)[-1] == "soften_and_step_back"
    assert stage.play("neutral", 5)[-1] == "attend"
    assert stage.play("sad", 5)[-1] == "apologise_and_offer_staff"
    assert stage.play("", 1) == ["idle"]


@pytest.mark.parametrize("emotion", ["angry", "fearful"])
def test_stepping_back_comes_before_anything_else_and_soon(emotion: str) -> None:
    stage = Stage()
    stage.play("neutral", 1)  # still being greeted
    assert stage.play(emotion, 0.5)[-1] == "soften_and_step_back"


def test_nobody_and_nothing_known_is_idle_never_attend() -> None:
    stage = Stage()
    assert stage.tick() == "idle"  # before any message
    assert stage.play("", 2) == ["idle"]
    write(snapshot("angry", START - 60, received=stage.node.seconds))  # latched
    for _ in range(50):
        stage.node.seconds += 0.1
        assert stage.tick() == "idle"


def test_when_states_stop_coming_the_tree_goes_idle() -> None:
    stage = Stage(max_age=1.0)
    assert stage.play("angry", 3)[-1] == "soften_and_step_back"
    stage.node.seconds += 1.1
    assert stage.tick() == "idle"


def test_own_actions_run_and_are_stopped_by_something_more_urgent() -> None:
    dance = py_trees.behaviours.Running("dance")
    stage = Stage(own_actions={"celebrate": dance})
    stage.play("neutral", 6)
    assert stage.play("happy", 2)[-1] == "celebrate"
    assert dance.status is Status.RUNNING
    assert stage.play("angry", 1)[-1] == "soften_and_step_back"
    assert dance.status is Status.INVALID


def test_an_own_action_for_an_unknown_reaction_is_refused() -> None:
    with pytest.raises(ValueError, match="juggle"):
        create_root(own_actions={"juggle": py_trees.behaviours.Success("x")})


def test_every_action_of_the_table_is_in_the_tree_in_order_of_urgency() -> None:
    names = [b.name for b in create_root().iterate() if b.name in ACTIONS]
    assert names == list(ACTIONS)


def test_a_condition_that_is_not_asked_says_nothing() -> None:
    stage = Stage()
    stage.play("happy", 6)
    happy = next(b for b in stage.root.iterate() if b.name == "Happy?")
    assert happy.feedback_message
    stage.play("angry", 1)
    assert (happy.status, happy.feedback_message) == (Status.INVALID, "")


def test_the_subscriber_starts_with_an_honest_blackboard() -> None:
    ToBlackboard()
    get = py_trees.blackboard.Blackboard.get
    assert get("/emotion/snapshot") is None
    assert get("/emotion/age") == float("inf")
    assert get("/emotion/freshness") == "nothing received yet"
    assert get("/emotion/label") == ""


def test_the_drawing_in_the_manual_is_the_tree() -> None:
    page = (Path(__file__).parents[2] / "docs" / "behaviour_trees.md").read_text(encoding="utf-8")
    assert py_trees.display.ascii_tree(create_root()) in page
    rows = [
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and line.split("`")[1] in ACTIONS
    ]
    assert rows == list(ACTIONS)
