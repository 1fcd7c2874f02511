"""What the MCP server knows about the graph, and what it says when it knows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from emotion_perception.language.knowledge import GraphError, Knowledge, signature
from emotion_perception.language.server import explanation


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def person(**fields: Any) -> dict[str, Any]:
    return {"people": [{"face_id": "f1", "emotion": "happy", "speaking": False, **fields}]}


def test_graph_that_does_not_run_is_an_error_with_the_remedy(clock: Clock) -> None:
    with pytest.raises(GraphError, match=r"not running.*ros2 launch emotion_perception robot.launch.py"):
        Knowledge(clock).people()


def test_missing_node_is_named(clock: Clock) -> None:
    knowledge = Knowledge(clock)
    knowledge.put("state", {"label": "happy"})
    assert knowledge.state() == {"label": "happy"}
    with pytest.raises(GraphError, match=r"interaction_node does not run.*interaction:=true"):
        knowledge.arc()


def test_silent_node_is_named_instead_of_old_news(clock: Clock) -> None:
    knowledge = Knowledge(clock)
    knowledge.put("people", person())
    clock.seconds += 2.0
    assert knowledge.people() == person()
    clock.seconds += 5.0
    with pytest.raises(GraphError, match="interaction_node has been silent for 7 s"):
        knowledge.people()


def test_facial_actions_of_a_face_out_of_view_are_unknown(clock: Clock) -> None:
    knowledge = Knowledge(clock)
    knowledge.put("faces", {"f1": "brows lowered 0.6"})
    assert knowledge.facial_actions("f1") == "brows lowered 0.6"
    assert knowledge.facial_actions("f2") == ""
    clock.seconds += 10.0
    assert knowledge.facial_actions("f1") == ""


@pytest.mark.parametrize(
    "other",
    [
        {"people": []},
        person(emotion="sad"),
        person(speaking=True),
        person(engagement="engaged"),
        person(face_id="f2"),
        person(change={"valence_before": 0.4, "valence_now": -0.2}),
    ],
)
def test_what_is_worth_mentioning_is_a_change(other: dict[str, Any]) -> None:
    assert signature(other) != signature(person())


def test_growing_older_or_a_little_happier_is_no_change() -> None:
    assert signature(person(age=1.9, valence=0.5, confidence=0.8)) == signature(person(age=0.1, valence=0.6))


def test_explanation_is_in_words_only() -> None:
    found = explanation(4, {"emotion": "angry", "confidence": 0.7}, "brows lowered 0.6")
    assert found["explained_emotion"] == "angry" and "brows lowered 0.6" in found["text"]
    assert "No facial action" in explanation(4, {"emotion": "angry", "confidence": 0.7}, "")["text"]
