"""visual_node's service: which parts of a face spoke for an emotion, without keeping the camera waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from machine import elapsed
from node_world import World, now_header
from rclpy.task import Future
from sensor_msgs.msg import Image

from emotion_msgs.msg import EmotionEstimate, FaceEmotionArray
from emotion_msgs.srv import ExplainFace
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, qos
from emotion_perception.visual import explain


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A smiling face, 512x512 bgr (NASA, public domain)."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


class Room:
    """A visual_node with a camera before it and somebody who asks."""

    def __init__(self, ros: World) -> None:
        self.ros = ros
        self.node = ros.add(VisualNode)
        self.client = ros.node.create_client(ExplainFace, "visual_node/explain_face")
        self.heard: list[FaceEmotionArray] = ros.hear(FaceEmotionArray, "faces/emotions")

    def open(self) -> None:
        """Activate the node."""
        self.node.trigger_configure()
        self.node.trigger_activate()
        assert self.node.state_label == "active", self.node.problem
        self.camera = self.ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
        assert self.ros.matched(self.camera)

    def show(self, picture: np.ndarray, until: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Publish a picture at 20 Hz until something holds; whether it came to hold."""
        began = time.monotonic()
        while not until() and elapsed(began) < seconds:
            self.camera.publish(conversions.image_to_message(picture, now_header("camera")))
            self.ros.spin(0.05)
        return until()

    def look_at(self, picture: np.ndarray) -> str:
        """Show a picture until its face is published; the face's id."""
        assert self.show(picture, lambda: any(message.faces for message in self.heard))
        return next(message for message in self.heard if message.faces).faces[0].face_id

    def ask(self, face_id: str = "", label: int | None = None) -> Future:
        """Call the service."""
        assert self.ros.until(self.client.service_is_ready)
        request = ExplainFace.Request(face_id=face_id, explain_top_label=label is None, label=label or 0)
        return self.client.call_async(request)

    def answer(self, *request: Any) -> ExplainFace.Response:
        """Call the service and wait for the answer."""
        future = self.ask(*request)
        assert self.ros.until(future.done, 60.0)
        return future.result()


@pytest.fixture
def room(ros: World) -> Room:
    return Room(ros)


def test_the_largest_face_is_explained_by_its_likeliest_emotion(room: Room, portrait: np.ndarray):
    room.open()
    room.look_at(portrait)
    answer = room.answer()
    assert answer.success, answer.message
    assert answer.label == answer.emotion.label == EmotionEstimate.HAPPY
    assert answer.image.encoding == "bgr8" and answer.image.header.frame_id == "camera"
    assert answer.image.header.stamp in [message.header.stamp for message in room.heard]
    drawn = conversions.image_from_message(answer.image)
    face, heat = np.split(drawn.astype(int), 2, axis=1)
    assert np.ptp(face, axis=2).max() == 0, "the face is grey"
    assert np.ptp(heat, axis=2).max() > 30, "its map is coloured"


def test_a_named_emotion_of_a_named_face_has_its_own_map(room: Room, portrait: np.ndarray):
    room.open()
    face_id = room.look_at(portrait)
    happy, angry = room.answer(face_id, EmotionEstimate.HAPPY), room.answer(face_id, EmotionEstimate.ANGRY)
    assert happy.success and angry.success
    assert angry.label == EmotionEstimate.ANGRY and angry.emotion.label == EmotionEstimate.HAPPY
    assert happy.image.data != angry.image.data


def test_an_unknown_face_and_one_that_is_gone_are_refused_by_name(room: Room, portrait: np.ndarray):
    room.open()
    face_id = room.look_at(portrait)
    unknown = room.answer("nobody")
    assert not unknown.success and "'nobody'" in unknown.message
    assert room.show(np.full((240, 320, 3), 127, np.uint8), lambda: not room.heard[-1].faces)
    gone, nobody = room.answer(face_id), room.answer()
    assert not gone.success and face_id in gone.message
    assert not nobody.success and "no face in view" in nobody.message


@pytest.mark.parametrize(("label", "word"), [(EmotionEstimate.CALM, "calm"), (8, "8"), (255, "255")])
def test_an_emotion_that_faces_do_not_show_is_refused(room: Room, portrait: np.ndarray, label: int, word: str):
    room.open()
    room.look_at(portrait)
    answer = room.answer("", label)
    assert not answer.success and word in answer.message
    assert len(answer.image.data) == 0


def test_a_node_that_is_not_active_says_so(room: Room, portrait: np.ndarray):
    assert "unconfigured" in room.answer().message
    room.open()
    face_id = room.look_at(portrait)
    room.node.trigger_deactivate()
    answer = room.answer(face_id)
    assert not answer.success and "inactive" in answer.message
    room.node.trigger_activate()
    assert "no face" in room.answer().message, "what was seen before is forgotten"


def test_a_slow_explanation_does_not_keep_the_camera_waiting(
    room: Room, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    quick = explain.explain_face

    def slow(*request: Any) -> explain.Explanation:
        time.sleep(2.0)
        return quick(*request)

    monkeypatch.setattr(explain, "explain_face", slow)
    room.open()
    room.look_at(portrait)
    before = len(room.heard)
    future = room.ask()
    assert room.show(portrait, lambda: len(room.heard) >= before + 10, 10.0)
    assert not future.done(), "the pictures came before the answer"
    assert room.ros.until(future.done, 60.0) and future.result().success


def test_a_node_stopped_in_mid_explanation_still_answers(
    room: Room, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    quick = explain.explain_face

    def slow(*request: Any) -> explain.Explanation:
        time.sleep(0.5)
        return quick(*request)

    monkeypatch.setattr(explain, "explain_face", slow)
    room.open()
    room.look_at(portrait)
    future = room.ask()
    room.ros.spin(0.2)
    room.node.trigger_deactivate()
    room.node.trigger_cleanup()
    assert room.ros.until(future.done, 60.0) and future.result().success
