"""fusion_node's person_states: who is engaged, how far away, and who is the conversation partner."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from node_world import World, a_face, a_voice
from sensor_msgs.msg import CameraInfo, Image

from emotion_msgs.msg import EmotionState, FaceEmotionArray, PersonState, PersonStateArray, VoiceEmotion
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.ros.conversions import ConversionError
from emotion_perception.types import Box, DistanceZone, Engagement, FaceLandmarks, FaceObservation

POINTS, BLENDSHAPES = np.zeros((70, 2), np.float32), np.zeros(52, np.float32)


def looks(yaw: float) -> FaceLandmarks:
    """Landmarks of a face turned by ``yaw`` degrees."""
    turn = math.radians(yaw)
    return FaceLandmarks(0.9, turn, 0.0, 0.0, turn, 0.0, 0.1, 0.1, POINTS, BLENDSHAPES)


def face(name: str, yaw: float, side: float = 100.0, x: float = 200.0) -> FaceObservation:
    return replace(a_face(name, Box(x, 200.0, side, side)), landmarks=looks(yaw))


class Scene:
    """fusion_node with a camera, and what it publishes."""

    def __init__(self, ros: World, **parameters: object) -> None:
        self.ros = ros
        self.node = ros.begin(FusionNode, **parameters)
        self.persons = ros.hear(PersonStateArray, "person_states", qos.profile("state"))
        self.state = ros.hear(EmotionState, "emotion_state", qos.profile("state"))
        self.faces = self.publisher(FaceEmotionArray, "faces/emotions", "estimates")
        self.camera = self.publisher(CameraInfo, "camera_info", "image_out")
        self.camera.publish(CameraInfo(width=640, height=480, k=[500.0, 0, 320, 0, 500, 240, 0, 0, 1]))
        ros.spin(0.1)

    def publisher(self, message_type: type, topic: str, use: str):
        made = self.ros.node.create_publisher(message_type, topic, qos.profile(use))
        assert self.ros.matched(made)
        return made

    def show(self, faces: Sequence[FaceObservation], seconds: float) -> None:
        """Show these faces at 20 Hz."""
        for _ in range(round(seconds * 20)):
            header = conversions.make_header(self.node.now_ns, "camera")
            self.faces.publish(conversions.faces_to_message(faces, header, 640, 480))
            self.ros.spin(0.05)

    def people(self) -> dict[str, PersonState]:
        return {state.face_id: state for state in self.persons[-1].states}


def test_who_looks_into_the_camera_is_engaged_and_the_conversation_partner(ros: World):
    scene = Scene(ros)
    scene.show([face("near", 45.0, 120.0, 20.0), face("far", 0.0, 60.0, 400.0)], 4.0)
    first, second = scene.persons[-1].states
    assert (first.face_id, first.is_partner, first.engagement) == ("far", True, PersonState.ENGAGED)
    assert (second.face_id, second.is_partner, second.engagement) == ("near", False, PersonState.DISENGAGED)
    assert first.looking > 0.8 and first.attention > 0.9 and first.looking_duration > 2.5
    assert second.looking < 0.2 and second.attention < 0.1 and second.looking_duration == 0
    assert first.person_id and second.person_id and first.person_id != second.person_id
    assert math.isnan(first.speaking), "no voice was ever heard"
    assert scene.state[-1].face_id == "far"
    assert "engaged at 1.5 m" in scene.node.extra_diagnostics()["engagement"]


def test_distance_and_zone_come_from_the_size_of_the_face(ros: World):
    scene = Scene(ros)
    scene.show([face("f", 0.0, 125.0)], 0.5)
    state = scene.people()["f"]
    assert state.distance == pytest.approx(0.72, abs=0.05)
    assert state.zone == PersonState.ZONE_PERSONAL


def test_a_depth_image_goes_before_the_size_of_the_face(ros: World):
    scene = Scene(ros, depth_topic="depth/image")
    depth = scene.publisher(Image, "depth/image", "image_out")
    for _ in range(8):
        metres = np.full((240, 320), 2500, np.uint16)  # half the size of the colour image
        header = conversions.make_header(scene.node.now_ns, "camera")
        image = Image(header=header, height=240, width=320, encoding="16UC1", step=640, data=metres.tobytes())
        depth.publish(image)
        ros.spin(0.03)
        scene.show([face("f", 0.0, 125.0, 260.0)], 0.05)
    assert scene.people()["f"].distance == pytest.approx(2.5, abs=0.05)
    broken = Image(header=conversions.make_header(scene.node.now_ns), height=4, width=4, encoding="rgb8", step=12)
    depth.publish(broken)
    ros.spin(0.05)
    scene.show([face("f", 0.0, 125.0)], 0.05)
    assert "rgb8" in scene.node.input_problem()


def test_speech_is_of_the_face_it_was_assigned_to_and_ends_with_the_utterance(ros: World):
    scene = Scene(ros)
    voices = scene.publisher(VoiceEmotion, "voices/emotions", "estimates")
    for final in (False, True):
        scene.show([face("f", 0.0)], 0.2)
        voice = replace(a_voice(scene.node.now_ns), final=final)
        voices.publish(conversions.voice_to_message(voice))
        scene.show([face("f", 0.0)], 0.5)
        speaking = scene.people()["f"].speaking
        assert speaking == 0.0 if final else speaking > 0.5


def test_nobody_in_view_is_an_empty_list(ros: World):
    scene = Scene(ros)
    assert ros.until(lambda: bool(scene.persons))
    assert list(scene.persons[-1].states) == []
    scene.show([face("f", 0.0)], 0.5)
    assert len(scene.persons[-1].states) == 1
    scene.show([], 1.0)
    assert list(scene.persons[-1].states) == []


def stand_in_tf2(monkeypatch: pytest.MonkeyPatch, position: tuple[float, float, float] | None) -> None:
    """A tf2_ros whose buffer has one transform, or none."""

    class TransformException(Exception):
        pass

    class Buffer:
        def lookup_transform(self, target: str, source: str, time: object) -> SimpleNamespace:
            assert (target, source) == ("camera", "head")
            if position is None:
                raise TransformException("no such frame")
            x, y, z = position
            return SimpleNamespace(transform=SimpleNamespace(translation=SimpleNamespace(x=x, y=y, z=z)))

    class TransformListener:
        def __init__(self, buffer: Buffer, node: object) -> None: ...

        def unregister(self) -> None: ...

    module = ModuleType("tf2_ros")
    module.__dict__.update(Buffer=Buffer, TransformListener=TransformListener, TransformException=TransformException)
    monkeypatch.setitem(sys.modules, "tf2_ros", module)


def test_with_the_head_elsewhere_a_look_into_the_camera_is_none_at_the_robot(
    ros: World, monkeypatch: pytest.MonkeyPatch
):
    stand_in_tf2(monkeypatch, (0.8, 0.0, 0.0))  # the head is 0.8 m to the right of the camera
    scene = Scene(ros, robot_head_frame="head")
    at_head = math.degrees(math.atan2(0.8, 0.9))
    scene.show([face("camera", 0.0, 100.0, 270.0), face("head", at_head, 100.0, 270.0)], 1.0)
    people = scene.people()
    assert people["camera"].looking < 0.2
    assert people["head"].looking > 0.8


def test_without_its_transform_nobody_is_known_to_look_at_the_head(ros: World, monkeypatch: pytest.MonkeyPatch):
    stand_in_tf2(monkeypatch, None)
    scene = Scene(ros, robot_head_frame="head")
    scene.show([face("f", 0.0)], 0.5)
    assert math.isnan(scene.people()["f"].looking)
    assert scene.people()["f"].engagement == PersonState.UNKNOWN
    assert "head" in scene.node.input_problem()


def test_a_robot_head_without_tf2_is_refused_with_the_reason(ros: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    node = ros.add(FusionNode, robot_head_frame="head")
    node.trigger_configure()
    node.trigger_activate()
    assert node.state_label == "inactive"
    assert "tf2_ros" in node.problem


def test_constants_of_the_message_are_those_of_the_core():
    assert {level.name: level.value for level in Engagement} == {
        name: getattr(PersonState, name) for name in Engagement.__members__
    }
    for zone in DistanceZone:
        assert getattr(PersonState, f"ZONE_{zone.name}") == zone.value


@pytest.mark.parametrize(
    "wrong",
    [{"engagement": 9}, {"zone": 7}, {"looking": 1.5}, {"speaking": -0.1}, {"distance": -1.0},
     {"looking_duration": math.nan}, {"approach_speed": math.inf}],
)  # fmt: skip
def test_a_message_with_impossible_values_is_refused(wrong: dict[str, float]):
    good = PersonState(looking=math.nan, engagement=PersonState.ENGAGED)
    assert conversions.person_from_message(good).engagement is Engagement.ENGAGED
    for name, value in wrong.items():
        setattr(good, name, value)
    with pytest.raises(ConversionError):
        conversions.person_from_message(good)
