"""Checks that need ``hri_msgs``, ``rviz_2d_overlay_msgs`` and ``foxglove_msgs``: test_ros4hri.py builds them first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from foreign_messages import EXPRESSIONS
from foxglove_msgs.msg import ImageAnnotations, PointsAnnotation
from hri_msgs.msg import (
    EngagementLevel,
    Expression,
    FacialActionUnits,
    FacialLandmarks,
    Gaze,
    IdsList,
    NormalizedRegionOfInterest2D,
)
from node_world import World, a_face, happy_estimate, now_header
from rviz_2d_overlay_msgs.msg import OverlayText
from sensor_msgs.msg import CameraInfo, Image

from emotion_msgs.msg import EmotionState, FaceEmotionArray, PersonStateArray
from emotion_perception.emotions import ANGRY, CALM, EMOTIONS, FEARFUL, HAPPY
from emotion_perception.nodes.overlay_node import OverlayNode
from emotion_perception.nodes.ros4hri_node import Ros4HriNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import Box, EmotionEstimate, Engagement, FaceLandmarks, PersonState
from emotion_perception.visual.landmarks import BLENDSHAPES

TRACKED = "/humans/faces/tracked"


@pytest.fixture(scope="module")
def smile() -> np.ndarray:
    """A smiling face as ROS4HRI crops it, 128x128 bgr (NASA, public domain)."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    portrait = data.astronaut()[40:190, 150:300, ::-1]
    return cv2.resize(np.ascontiguousarray(portrait), (128, 128))


class Detector:
    """Stands in for a ROS4HRI face detector."""

    def __init__(self, ros: World) -> None:
        self.ros = ros
        self.tracked = ros.node.create_publisher(IdsList, TRACKED, 1)
        self.crops: dict[str, Any] = {}

    def track(self, *face_ids: str) -> None:
        self.tracked.publish(IdsList(header=now_header(), ids=list(face_ids)))
        for face_id in face_ids:
            if face_id not in self.crops:
                self.crops[face_id] = self.ros.node.create_publisher(Image, f"/humans/faces/{face_id}/cropped", 1)

    def show(self, face_id: str, picture: np.ndarray, header: Any = None) -> Any:
        header = header or now_header("camera")
        self.crops[face_id].publish(conversions.image_to_message(picture, header))
        self.ros.spin(0.15)
        return header

    def show_until(self, condition: Callable[[], bool], face_id: str, picture: np.ndarray) -> list[Any]:
        """Show a picture until ``condition`` holds: on a busy machine some are passed over. The headers sent."""
        headers = [self.show(face_id, picture)]
        while not condition():
            assert len(headers) < 100
            headers.append(self.show(face_id, picture))
        return headers


def start(ros: World, **parameters: Any) -> tuple[Any, Detector]:
    node = ros.add(Ros4HriNode, **parameters)
    node.trigger_configure()
    assert node.state_label == "inactive", node.problem
    node.trigger_activate()
    detector = Detector(ros)
    assert ros.matched(detector.tracked)
    return node, detector


def follow(ros: World, detector: Detector, *face_ids: str) -> dict[str, list[Expression]]:
    """Track faces; what is said of each."""
    heard = {face_id: ros.hear(Expression, f"/humans/faces/{face_id}/expression") for face_id in face_ids}
    detector.track(*face_ids)
    for face_id in face_ids:
        assert ros.matched(detector.crops[face_id])
    return heard


def test_every_emotion_becomes_one_of_the_allowed_strings():
    assert len(EXPRESSIONS) == 25 and all(getattr(Expression, word.upper()) == word for word in EXPRESSIONS)
    header = now_header("camera")
    named = []
    for certain in np.eye(len(EMOTIONS), dtype=np.float32):
        estimate = EmotionEstimate.from_probabilities(certain)
        message = conversions.estimate_to_expression(estimate, header, Expression)
        assert message.header == header
        assert message.confidence == 1.0
        assert (message.valence, message.arousal) == pytest.approx((estimate.valence, estimate.arousal))
        named.append(message.expression)
    assert set(named) <= set(EXPRESSIONS)
    assert (named[HAPPY], named[ANGRY]) == (Expression.HAPPY, Expression.ANGRY)
    assert named[FEARFUL] == Expression.SCARED
    assert named[CALM] == Expression.NEUTRAL, "ROS4HRI has no calm"


def test_a_crop_becomes_an_expression_under_its_own_header(ros: World, smile: np.ndarray):
    node, detector = start(ros)
    said = follow(ros, detector, "abcde")["abcde"]
    headers = detector.show_until(lambda: len(said) >= 4, "abcde", smile)
    assert all(message.header in headers for message in said)
    told = said[-1]
    assert told.expression == Expression.HAPPY
    assert 0.5 < told.confidence <= 1
    assert 0.3 < told.valence <= 1
    assert -1 <= told.arousal <= 1
    assert "expression" in node.model_name


def test_publishers_live_as_long_as_their_face(ros: World, smile: np.ndarray):
    node, detector = start(ros)
    said = follow(ros, detector, "aaaaa", "bbbbb")
    detector.show("aaaaa", smile)
    assert ros.until(lambda: bool(said["aaaaa"]))
    before = node._faces["aaaaa"].publisher
    for _ in range(5):
        detector.track("aaaaa", "bbbbb")
        ros.spin(0.05)
    assert node._faces["aaaaa"].publisher is before, "kept, not made anew with every list"
    detector.track("bbbbb")
    assert ros.until(lambda: ros.node.count_publishers("/humans/faces/aaaaa/expression") == 0)
    assert ros.until(lambda: ros.node.count_subscribers("/humans/faces/aaaaa/cropped") == 0)
    assert ros.node.count_publishers("/humans/faces/bbbbb/expression") == 1
    detector.show("bbbbb", smile)
    assert ros.until(lambda: bool(said["bbbbb"]))
    node.trigger_deactivate()
    assert ros.until(lambda: ros.node.count_publishers("/humans/faces/bbbbb/expression") == 0)


def test_of_a_black_crop_nothing_is_said(ros: World, smile: np.ndarray):
    node, detector = start(ros)
    said = follow(ros, detector, "abcde")["abcde"]
    detector.show_until(lambda: node.meter.total >= 3, "abcde", np.zeros((128, 128, 3), np.uint8))
    assert said == []
    detector.show_until(lambda: bool(said), "abcde", smile)  # and it goes on with the next good one


def test_broken_crops_and_odd_stamps_are_reported_and_survived(ros: World, smile: np.ndarray):
    node, detector = start(ros)
    said = follow(ros, detector, "abcde")["abcde"]
    broken = conversions.image_to_message(smile, now_header())
    broken.encoding = "32FC3"
    detector.crops["abcde"].publish(broken)
    assert ros.until(lambda: node.meter.rejected == 1)
    header = detector.show("abcde", smile)
    assert ros.until(lambda: len(said) == 1)
    detector.show("abcde", smile, header)
    assert ros.until(lambda: node.meter.rejected == 2), "a stamp that repeats"
    earlier = conversions.make_header(conversions.stamp_to_ns(header.stamp) - 3600 * conversions.SECOND, "camera")
    detector.show("abcde", smile, earlier)
    assert ros.until(lambda: len(said) == 2), "a clock that was set back is followed"
    assert said[-1].header == earlier


def test_ids_that_are_no_topic_names_and_too_many_faces_are_left_out(ros: World):
    node, detector = start(ros, max_tracked=2)
    detector.tracked.publish(IdsList(ids=["not a name", "7seven", "", "aaaaa", "aaaaa", "bbbbb", "ccccc"]))
    assert ros.until(lambda: len(node._faces) == 2)
    assert sorted(node._faces) == ["aaaaa", "bbbbb"]
    assert node.meter.rejected == 4
    assert node.extra_diagnostics() == {"faces": "2"}


def test_landmarks_and_action_units_are_published_under_the_id_of_the_tracked_face_at_the_same_place(ros: World):
    node, detector = start(ros)
    points = ros.hear(FacialLandmarks, "/humans/faces/abcde/landmarks")
    units = ros.hear(FacialActionUnits, "/humans/faces/abcde/facs")
    cameras = ros.node.create_publisher(CameraInfo, "camera_info", qos.profile("image_in"))
    faces = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    assert ros.matched(cameras) and ros.matched(faces)
    cameras.publish(CameraInfo(width=640, height=480))
    assert ros.until(lambda: node._image_size == (640, 480))
    detector.track("abcde", "fghij")
    roi = ros.node.create_publisher(NormalizedRegionOfInterest2D, "/humans/faces/abcde/roi", 1)
    other = ros.node.create_publisher(NormalizedRegionOfInterest2D, "/humans/faces/fghij/roi", 1)
    assert ros.matched(roi) and ros.matched(other)
    roi.publish(NormalizedRegionOfInterest2D(xmin=0.5, ymin=0.25, xmax=0.75, ymax=0.5))
    other.publish(NormalizedRegionOfInterest2D(xmin=0.6, ymin=0.25, xmax=0.85, ymax=0.5))  # overlaps less
    pixels = np.full((70, 2), [320.0, 120.0], np.float32)
    shapes = np.zeros(52, np.float32)
    shapes[BLENDSHAPES.index("jawOpen")] = 0.5
    found = FaceLandmarks(0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, points=pixels, blendshapes=shapes)
    here, elsewhere = Box(325.0, 125.0, 150.0, 110.0), Box(10.0, 20.0, 100.0, 120.0)

    def show(*observations: Any) -> Any:
        header = now_header("camera")
        faces.publish(conversions.faces_to_message(observations, header, 640, 480))
        return header

    assert ros.until(lambda: all(face.box is not None for face in node._faces.values()))
    broken = replace(found, points=pixels[:69])
    show(a_face("f1", here), replace(a_face("f2", elsewhere), landmarks=found))
    show(replace(a_face("f3", here), landmarks=broken))
    ros.spin(0.3)
    assert all(face.measured is None for face in node._faces.values()), "not measured, elsewhere, not 70 points"
    headers = []

    def heard() -> bool:
        headers.append(show(replace(a_face("f1", here), landmarks=found), a_face("f2", elsewhere)))
        ros.spin(0.1)
        return bool(points and units)

    assert ros.until(heard)
    assert (points[0].width, points[0].height, len(points[0].landmarks)) == (640, 480, 70)
    point = points[0].landmarks[69]
    assert (point.x, point.y, point.c) == pytest.approx((0.5, 0.25, 0.75))
    assert points[0].header in headers and units[0].header in headers
    jaw_drop = 26
    assert (units[0].intensity[jaw_drop], units[0].confidence[jaw_drop]) == pytest.approx((0.5, 0.75))
    assert node._faces["fghij"].measured is None
    detector.track("fghij")
    assert ros.until(lambda: ros.node.count_publishers("/humans/faces/abcde/landmarks") == 0)
    assert ros.until(lambda: ros.node.count_publishers("/humans/faces/abcde/facs") == 0)


def test_engagement_and_gaze_of_each_person_are_published_and_end_with_unknown(ros: World):
    node, _ = start(ros)
    levels = {name: ros.hear(EngagementLevel, f"/humans/persons/{name}/engagement_status") for name in ("ada", "bob")}
    gazes = ros.hear(Gaze, "/humans/interactions/gazing")
    arrays = ros.node.create_publisher(PersonStateArray, "person_states", qos.profile("state"))
    cameras = ros.node.create_publisher(CameraInfo, "camera_info", qos.profile("image_in"))
    faces = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    assert ros.matched(cameras) and ros.matched(faces) and ros.matched(arrays)

    def show(*names: str, **looks: float) -> None:
        now = node.now_ns
        engaged = (Engagement.DISENGAGED, Engagement.ENGAGED)
        persons = [
            PersonState(now, name, f"f_{name}", False, engaged[name in looks], looking_duration=looks.get(name, 0.0))
            for name in names
        ]
        arrays.publish(conversions.persons_to_message(persons, now, "camera"))
        ros.spin(0.05)

    old = [PersonState(node.now_ns - 60 * conversions.SECOND, "old", "f", False, Engagement.ENGAGED)]
    arrays.publish(conversions.persons_to_message(old, 0, "camera"))
    ros.spin(0.3)
    assert ros.node.count_publishers("/humans/persons/old/engagement_status") == 0, "latched from before"
    cameras.publish(CameraInfo(width=640, height=480, k=[500.0, 0, 320, 0, 500, 240, 0, 0, 1]))
    boxes = [a_face("f_ada", Box(300, 200, 80, 80)), a_face("f_bob", Box(20, 200, 80, 80))]
    faces.publish(conversions.faces_to_message(boxes, now_header("camera"), 640, 480))
    assert ros.until(lambda: set(node._boxes) == {"f_ada", "f_bob"} and node._camera is not None)
    gazes.clear()
    assert ros.until(lambda: [show("ada", "bob", ada=1.0)] and all(levels.values()))
    assert levels["ada"][-1].level == EngagementLevel.ENGAGED and levels["ada"][-1].header.frame_id == "camera"
    assert levels["bob"][-1].level == EngagementLevel.DISENGAGED
    assert {(gaze.sender, gaze.receiver) for gaze in gazes} == {("ada", ""), ("", "ada")}, "mutual; bob is aside"
    show("bob")
    assert ros.until(lambda: levels["ada"][-1].level == EngagementLevel.UNKNOWN)
    said = len(levels["ada"])

    def gone() -> bool:
        show("bob")
        return ros.node.count_publishers("/humans/persons/ada/engagement_status") == 0

    assert ros.until(gone)
    assert len(levels["ada"]) == said, "once"
    before = node.meter.rejected
    show("no name", "bob")
    assert ros.until(lambda: node.meter.rejected == before + 1)
    node.trigger_deactivate()
    assert ros.until(lambda: ros.node.count_publishers("/humans/persons/bob/engagement_status") == 0)


def test_engagement_is_left_to_another_node_on_request(ros: World):
    start(ros, publish_engagement=False)
    ros.spin(0.3)
    assert ros.node.count_publishers("/humans/interactions/gazing") == 0


def test_the_line_of_text_in_its_real_message(ros: World):
    node = ros.add(OverlayNode)
    node.trigger_configure()
    node.trigger_activate()
    told = ros.hear(OverlayText, "emotion/overlay_text")
    states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
    assert ros.matched(states)
    assert ros.until(lambda: node.extra_diagnostics() == {"watched": "text"})
    message = EmotionState(status=EmotionState.VISUAL_ONLY, emotion=conversions.estimate_to_message(happy_estimate()))
    states.publish(message)
    assert ros.until(lambda: bool(told))
    line = told[0]
    assert line.text == "happy 65 % (face only)"
    assert line.action == OverlayText.ADD
    assert (line.horizontal_alignment, line.vertical_alignment) == (OverlayText.LEFT, OverlayText.TOP)
    assert line.horizontal_distance > 0 and line.vertical_distance > 0


def test_boxes_and_labels_for_foxglove_only_while_somebody_watches(ros: World):
    node = ros.add(OverlayNode)
    node.trigger_configure()
    node.trigger_activate()
    faces = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    ros.spin(0.3)
    assert faces.get_subscription_count() == 0, "nobody watches"
    told = ros.hear(ImageAnnotations, "emotion/image_annotations")
    assert ros.matched(faces)
    assert node.extra_diagnostics() == {"watched": "boxes"}
    header = now_header()
    faces.publish(conversions.faces_to_message([a_face("f1"), a_face("f2")], header, 640, 480))
    assert ros.until(lambda: bool(told))
    message = told[0]
    assert message.timestamp == header.stamp
    box, label = message.points[0], message.texts[0]
    assert box.timestamp == label.timestamp == header.stamp, "the picture's own"
    assert box.type == PointsAnnotation.LINE_LOOP
    assert [(point.x, point.y) for point in box.points] == [(10, 20), (110, 20), (110, 140), (10, 140)]
    assert (label.position.x, label.position.y) == (10, 16)
    assert [text.text for text in message.texts] == ["f1: happy 65 %", "f2: happy 65 %"]
    assert box.outline_color.a == 1.0 and box.outline_color == label.text_color
    faces.publish(conversions.faces_to_message([], now_header(), 640, 480))
    assert ros.until(lambda: len(told) == 2)
    assert not told[1].points and not told[1].texts, "boxes go with the faces"
    assert node.meter.total == 2
