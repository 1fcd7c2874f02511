"""emotion_context on real topics: what interaction_node makes of states, faces and attention."""

from __future__ import annotations

import json
import time
from typing import Any

from node_world import World, a_face, happy_estimate
from std_msgs.msg import String

from emotion_msgs.msg import EmotionStateArray, FaceEmotionArray, PersonState, PersonStateArray
from emotion_perception.nodes.interaction_node import InteractionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.ros.conversions import make_header
from emotion_perception.types import Box, EmotionModality, EmotionState, EmotionStatus, Evidence


class Room:
    """Two people in front of the node, one of whom the robot speaks with."""

    def __init__(self, ros: World, **parameters: Any) -> None:
        self.ros = ros
        self.node = ros.add(InteractionNode, autostart=True, context_period=0.1, **parameters)
        self.heard = ros.hear(String, "emotion_context", qos.profile("state"))
        self.states = ros.node.create_publisher(EmotionStateArray, "emotion_states", qos.profile("state"))
        self.faces = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
        self.persons = ros.node.create_publisher(PersonStateArray, "person_states", qos.profile("state"))
        for publisher in (self.states, self.faces, self.persons):
            assert ros.until(lambda publisher=publisher: publisher.get_subscription_count() == 1)

    def publish(self, engagement: int | None = None) -> None:
        now = time.time_ns()
        emotion = happy_estimate(0.8)
        evidence = (Evidence(EmotionModality.VISUAL, 1.0, 0.0, emotion),)
        states = [
            EmotionState(now, EmotionStatus.VISUAL_ONLY, "", face, "", emotion, evidence) for face in ("f1", "f2")
        ]
        self.states.publish(conversions.states_to_message(states, now))
        faces = (a_face("f1", Box(400.0, 20.0, 100.0, 120.0)), a_face("f2", Box(10.0, 20.0, 100.0, 120.0)))
        self.faces.publish(conversions.faces_to_message(faces, make_header(now), 640, 480))
        if engagement is not None:
            person = PersonState(header=make_header(now), face_id="f1", engagement=engagement, speaking=0.9)
            self.persons.publish(PersonStateArray(header=make_header(now), states=[person]))

    def context(self, people: int, **what: Any) -> dict[str, Any]:
        """The next context with so many people."""

        def newest() -> dict[str, Any]:
            return json.loads(self.heard[-1].data) if self.heard else {"people": []}

        def found() -> bool:
            self.publish(**what)
            return len(newest()["people"]) == people

        self.heard.clear()
        assert self.ros.until(found)
        return newest()


def test_context_states_everybody_in_english(ros: World) -> None:
    found = Room(ros).context(2)
    assert [person["sentence"] for person in found["people"]] == [
        "The person on the right, seems happy (confidence 0.8).",
        "The person on the left, seems happy (confidence 0.8).",
    ]
    assert [person["face_id"] for person in found["people"]] == ["f1", "f2"]
    assert 0 <= found["people"][0]["age"] < 2


def test_context_has_the_engagement_that_is_published(ros: World) -> None:
    room = Room(ros)
    assert "engagement" not in room.context(2)["people"][0], "it works without"
    engaged = {"engagement": PersonState.ENGAGED}
    assert ros.until(lambda: room.context(2, **engaged)["people"][0].get("engagement") == "engaged")
    assert room.context(2, **engaged)["people"][0]["sentence"].startswith("The person on the right, engaged, ")
    assert room.context(2, **engaged)["people"][0]["speaking"]


def test_nobody_in_view_is_an_empty_list_and_not_silence(ros: World) -> None:
    room = Room(ros)
    assert ros.until(lambda: bool(room.heard))
    assert json.loads(room.heard[-1].data)["people"] == []


def test_impossible_engagement_is_rejected_and_survived(ros: World) -> None:
    room = Room(ros)
    before = room.node.meter.rejected
    assert ros.until(lambda: room.publish(engagement=77) or room.node.meter.rejected > before)
    assert len(room.context(2)["people"]) == 2
