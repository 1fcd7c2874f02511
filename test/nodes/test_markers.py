"""What rviz is told: each field of a label, how labels come and go, the line of text, the rviz configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from node_world import a_face, happy_estimate
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from emotion_perception.attention.geometry import FACE_HEIGHT
from emotion_perception.emotions import EMOTIONS, HAPPY
from emotion_perception.ros import qos
from emotion_perception.ros.conversions import make_header
from emotion_perception.types import Box, EmotionEstimate, EmotionState, EmotionStatus
from emotion_perception.visualization import markers
from emotion_perception.visualization.markers import Camera, Labels, camera_from_info, camera_from_size, face_to_marker
from emotion_perception.visualization.overlay import EMOTION_BGR

ROOT = Path(__file__).parents[2]
HEADER = make_header(1_700_000_000_123_456_789, "camera")
CAMERA = Camera(500.0, 400.0, 320.0, 240.0)


# --- where


def test_the_calibration_of_a_camera_is_taken():
    info = CameraInfo(k=[500.0, 0, 320.0, 0, 400.0, 240.0, 0, 0, 1.0])
    assert camera_from_info(info) == CAMERA


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -500.0])
def test_no_calibration_is_none(value: float):
    info = CameraInfo(k=[value, 0, 320.0, 0, 400.0, 240.0, 0, 0, 1.0])
    assert camera_from_info(info) is None
    assert camera_from_info(CameraInfo()) is None


def test_without_a_calibration_the_view_is_as_wide_as_said():
    camera = camera_from_size(640, 480, 90.0)
    assert (camera.focal_x, camera.focal_y) == pytest.approx((320.0, 320.0))
    assert (camera.centre_x, camera.centre_y) == (320.0, 240.0)


def test_a_label_stands_above_the_face_and_farther_away_for_a_smaller_one():
    near = markers.place_above(Box(270, 240, 100, 80), CAMERA)
    assert near.z == pytest.approx(400 * FACE_HEIGHT / 80)
    assert near.x == pytest.approx(0.0), "in the middle"
    assert near.y == pytest.approx(-0.1), "above the upper edge, which is at the middle row; y points down"
    far = markers.place_above(Box(520, 140, 40, 40), CAMERA)
    assert far.z == pytest.approx(400 * FACE_HEIGHT / 40)
    assert far.x == pytest.approx((540 - 320) * far.z / 500)
    assert far.y == pytest.approx((140 - 240) * far.z / 400 - 0.1)


def test_a_box_without_height_does_not_end_the_world():
    assert math.isfinite(markers.place_above(Box(0, 0, 0, 0), CAMERA).z)


# --- one label


def test_a_label_in_the_cameras_frame():
    marker = face_to_marker(a_face("abc"), 7, HEADER, CAMERA, 0.15)
    assert marker.header == HEADER
    assert marker.ns == "emotion"
    assert marker.id == 7
    assert marker.type == Marker.TEXT_VIEW_FACING == 9
    assert marker.action == Marker.ADD == 0
    assert marker.pose.position == markers.place_above(a_face().box, CAMERA)
    assert marker.pose.orientation.w == 1.0
    assert marker.scale.z == 0.15
    assert (marker.color.r, marker.color.g, marker.color.b) == pytest.approx((240 / 255, 228 / 255, 66 / 255), abs=1e-6)
    assert marker.color.a == 1.0
    assert marker.lifetime.sec == 1 and marker.lifetime.nanosec == 0
    assert not marker.frame_locked
    assert marker.text == "abc: happy 65 %"


def test_a_label_above_a_tf_frame():
    marker = face_to_marker(a_face("abc"), 7, HEADER, None, 0.15, scores=False)
    assert marker.header.frame_id == "face_abc"
    assert marker.header.stamp == HEADER.stamp
    assert HEADER.frame_id == "camera", "the source's header is left as it is"
    position = marker.pose.position
    assert (position.x, position.y, position.z) == (0.0, 0.0, 0.25)
    assert marker.frame_locked, "the label follows the head between messages"
    assert marker.text == "abc: happy"


def test_every_emotion_has_its_colour_of_the_picture():
    for label in range(len(EMOTIONS)):
        colour = markers.emotion_colour(label)
        told = tuple(round(255 * channel) for channel in (colour.b, colour.g, colour.r))
        assert told == EMOTION_BGR[label]


def test_a_label_that_goes_is_deleted_by_its_namespace_and_number():
    marker = markers.gone_marker(7, HEADER)
    assert marker.action == Marker.DELETE == 2
    assert (marker.ns, marker.id, marker.header) == ("emotion", 7, HEADER)


# --- labels over time


def update(labels: Labels, *face_ids: str) -> list[tuple[str, int]]:
    """What one picture's faces lead to: ``("add" or "delete", number)``."""
    told = labels.update([a_face(face_id) for face_id in face_ids], HEADER, CAMERA, 0.1, True)
    return [("delete" if marker.action == Marker.DELETE else "add", marker.id) for marker in told.markers]


def test_a_face_keeps_its_number_and_each_has_its_own():
    labels = Labels()
    assert update(labels, "a", "b") == [("add", 1), ("add", 2)]
    assert update(labels, "b", "a") == [("add", 2), ("add", 1)]
    assert update(labels, "b", "c") == [("delete", 1), ("add", 2), ("add", 3)]
    assert update(labels, "b", "a", "c") == [("add", 2), ("add", 1), ("add", 3)], "back, under the old number"
    assert sorted(update(labels)) == [("delete", 1), ("delete", 2), ("delete", 3)]
    assert update(labels) == [], "each is deleted once"


def test_cleared_labels_are_not_deleted_again():
    labels = Labels()
    update(labels, "a")
    labels.clear()
    assert update(labels, "b") == [("add", 2)]


def test_the_memory_for_numbers_is_bounded_and_never_gives_one_twice():
    labels = Labels()
    numbers = [update(labels, f"f{i}")[-1][1] for i in range(600)]
    assert len(set(numbers)) == 600
    assert len(labels._numbers) <= markers.MAX_NUMBERS


# --- the line of text


class _Fields:
    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        return {name: "" for name in cls.__dataclass_fields__}


@dataclass
class TwoDOverlayText(_Fields):
    """Fields of rviz_2d_overlay_msgs/OverlayText 1.4."""

    action: int = 9
    width: int = 0
    height: int = 0
    horizontal_distance: int = 0
    vertical_distance: int = 0
    horizontal_alignment: int = 9
    vertical_alignment: int = 9
    bg_color: ColorRGBA = field(default_factory=ColorRGBA)
    line_width: int = 0
    text_size: float = 0.0
    font: str = ""
    fg_color: ColorRGBA = field(default_factory=ColorRGBA)
    text: str = ""


@dataclass
class JskOverlayText(_Fields):
    """Fields of jsk_rviz_plugins' OverlayText, and of early rviz_2d_overlay_msgs."""

    action: int = 9
    width: int = 0
    height: int = 0
    left: int = 0
    top: int = 0
    bg_color: ColorRGBA = field(default_factory=ColorRGBA)
    line_width: int = 0
    text_size: float = 0.0
    font: str = ""
    fg_color: ColorRGBA = field(default_factory=ColorRGBA)
    text: str = ""


def a_state(status: EmotionStatus, emotion: EmotionEstimate) -> EmotionState:
    return EmotionState(0, status, "", "f1", "", emotion, ())


@pytest.mark.parametrize("dialect", [TwoDOverlayText, JskOverlayText])
def test_the_state_is_a_line_of_text_in_either_dialect(dialect: type):
    message = markers.state_to_overlay(a_state(EmotionStatus.AUDIO_VISUAL, happy_estimate()), dialect)
    assert message.text == "happy 65 % (face + voice)"
    assert message.action == 0
    assert message.width > 0 and message.height > message.text_size > 0
    assert message.line_width > 0 and message.font
    assert message.fg_color == markers.emotion_colour(HAPPY)
    assert 0 < message.bg_color.a < 1
    if dialect is TwoDOverlayText:
        assert (message.horizontal_alignment, message.vertical_alignment) == (0, 3)  # LEFT, TOP
        assert message.horizontal_distance > 0 and message.vertical_distance > 0
    else:
        assert message.left > 0 and message.top > 0


def test_no_evidence_is_told_in_white_and_names_no_emotion():
    message = markers.state_to_overlay(a_state(EmotionStatus.NO_EVIDENCE, EmotionEstimate.unknown()), TwoDOverlayText)
    assert message.text == "no evidence"
    assert message.fg_color == markers.WHITE


# --- the rviz configuration


def test_the_rviz_configuration_shows_what_the_node_publishes_under_its_qos():
    manager = yaml.safe_load((ROOT / "config" / "emotion.rviz").read_text())["Visualization Manager"]
    shown = {display["Class"].rpartition("/")[2]: display for display in manager["Displays"]}
    for name, topic, use in (
        ("Image", "/emotion/image_annotated", "annotated_image"),
        ("MarkerArray", "/emotion/markers", "markers"),
    ):
        asked = shown[name]["Topic"]
        offered = qos.profile(use)
        assert shown[name]["Enabled"] and asked["Value"] == topic
        assert asked["Reliability Policy"].upper() == offered.reliability.name
        assert asked["Durability Policy"].upper() == offered.durability.name
        assert asked["Depth"] == offered.depth
    assert shown["MarkerArray"]["Namespaces"] == {markers.NAMESPACE: True}
    assert manager["Global Options"]["Fixed Frame"] == "camera_optical_frame"
