"""overlay_node's labels, compressed pictures and text: made only while somebody watches them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from node_world import World, a_face, now_header
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.attention.geometry import FACE_HEIGHT
from emotion_perception.nodes import overlay_node
from emotion_perception.nodes.overlay_node import OverlayNode
from emotion_perception.ros import conversions, qos

GREY = np.full((240, 320, 3), 30, np.uint8)


def start(ros: World, **parameters: Any) -> tuple[Any, Any]:
    """An active node, and a publisher of faces, to which it subscribes once it is watched."""
    node = ros.add(OverlayNode, **parameters)
    node.trigger_configure()
    node.trigger_activate()
    return node, ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))


def tell(ros: World, publisher: Any, *face_ids: str) -> Any:
    """Publish faces; their header."""
    header = now_header()
    publisher.publish(conversions.faces_to_message([a_face(face_id) for face_id in face_ids], header, 320, 240))
    ros.spin(0.1)
    return header


def test_labels_come_with_faces_and_go_with_them(ros: World):
    node, faces = start(ros)
    camera = ros.node.create_publisher(CameraInfo, "camera_info", qos.profile("image_out"))
    told: list[MarkerArray] = ros.hear(MarkerArray, "emotion/markers", qos.profile("markers"))
    assert ros.matched(camera) and ros.matched(faces)
    camera.publish(CameraInfo(k=[300.0, 0, 160.0, 0, 300.0, 120.0, 0, 0, 1.0]))
    ros.spin(0.2)
    header = tell(ros, faces, "f1", "f2")
    assert ros.until(lambda: bool(told))
    labels = told[-1].markers
    assert [label.text for label in labels] == ["f1: happy 65 %", "f2: happy 65 %"]
    assert all(label.header == header for label in labels)
    assert labels[0].pose.position.z == pytest.approx(300 * FACE_HEIGHT / 120), "by the calibration"
    tell(ros, faces, "f2")
    assert ros.until(lambda: len(told) == 2)
    assert [(label.action, label.id) for label in told[-1].markers] == [
        (Marker.DELETE, labels[0].id),
        (Marker.ADD, labels[1].id),
    ]
    assert node.extra_diagnostics() == {"watched": "labels"}
    assert node.meter.total == 2


def test_without_a_calibration_the_pictures_size_and_the_parameter_do(ros: World):
    _, faces = start(ros, horizontal_fov=90.0)
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    told = ros.hear(MarkerArray, "emotion/markers", qos.profile("markers"))
    assert ros.matched(camera) and ros.matched(faces)
    tell(ros, faces, "f1")
    assert told == [], "nobody knows the camera yet"
    camera.publish(conversions.image_to_message(GREY, now_header()))
    ros.spin(0.2)
    tell(ros, faces, "f1")
    assert ros.until(lambda: bool(told))
    assert told[0].markers[0].pose.position.z == pytest.approx(160 * FACE_HEIGHT / 120)


def test_labels_above_tf_frames_need_no_camera(ros: World):
    _, faces = start(ros, label_frame="face", label_size=0.3)
    told = ros.hear(MarkerArray, "emotion/markers", qos.profile("markers"))
    assert ros.matched(faces)
    assert ros.node.count_subscribers("image_raw") == 0 and ros.node.count_subscribers("camera_info") == 0
    tell(ros, faces, "f1")
    assert ros.until(lambda: bool(told))
    label = told[0].markers[0]
    assert label.header.frame_id == "face_f1"
    assert label.scale.z == pytest.approx(0.3)


def test_nothing_is_made_or_received_while_nobody_watches(ros: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(overlay_node, "overlay_text_type", lambda: String)
    monkeypatch.setattr(overlay_node, "state_to_overlay", lambda *_: pytest.fail("text made for nobody"))
    node, faces = start(ros, label_frame="face")
    monkeypatch.setattr(node._labels, "update", lambda *_: pytest.fail("labels made for nobody"))
    states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
    ros.spin(0.5)
    states.publish(EmotionState())
    tell(ros, faces, "f1")
    assert node.extra_diagnostics() == {"watched": "nothing"}
    assert not any(map(ros.node.count_subscribers, ("image_raw", "faces/emotions", "emotion_state")))
    assert node.meter.total == 0


def test_the_compressed_picture_alone_can_be_watched(ros: World):
    node, faces = start(ros)
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    seen = ros.hear(CompressedImage, "emotion/image_annotated/compressed", qos.profile("annotated_image"))
    assert ros.matched(camera) and ros.matched(faces)
    header = now_header()
    camera.publish(conversions.image_to_message(GREY, header))
    ros.spin(0.1)
    faces.publish(conversions.faces_to_message([a_face()], header, 320, 240))
    assert ros.until(lambda: len(seen) == 1)
    assert seen[0].header == header
    assert seen[0].format == "bgr8; jpeg compressed bgr8"
    picture = conversions.image_from_compressed(seen[0])
    assert picture.shape == GREY.shape
    assert picture[60:100, 10, 1].mean() > 100, "the box's left side"
    assert node.meter.total == 1


def test_the_line_of_text_follows_the_state_where_its_package_is_there(ros: World, monkeypatch: pytest.MonkeyPatch):
    # A stand-in with one field: the real message's package need not be installed.
    monkeypatch.setattr(overlay_node, "overlay_text_type", lambda: String)
    monkeypatch.setattr(overlay_node, "state_to_overlay", lambda state, kind, _: kind(data=state.status.name))
    node, _ = start(ros)
    told = ros.hear(String, "emotion/overlay_text")
    states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
    assert ros.matched(states)
    assert ros.until(lambda: node.extra_diagnostics() == {"watched": "text"})
    broken = EmotionState()
    broken.status = 77
    states.publish(broken)
    good = EmotionState()
    good.emotion.probabilities[0] = 1.0
    ros.spin(0.2)
    states.publish(good)
    assert ros.until(lambda: bool(told))
    assert [message.data for message in told] == ["NO_EVIDENCE"]
    assert node.meter.rejected == 1


def test_a_broken_face_is_reported_and_the_next_one_labelled(ros: World):
    node, faces = start(ros, label_frame="face")
    told = ros.hear(MarkerArray, "emotion/markers", qos.profile("markers"))
    assert ros.matched(faces)
    header = now_header()
    message = conversions.faces_to_message([a_face()], header, 320, 240)
    message.faces[0].emotion.probabilities[0] = float("nan")
    faces.publish(message)
    assert ros.until(lambda: node.meter.rejected == 1)
    tell(ros, faces, "f1")
    assert ros.until(lambda: len(told) == 1)


def test_a_deactivated_node_labels_nothing_and_starts_afresh(ros: World):
    node, faces = start(ros, label_frame="face")
    told = ros.hear(MarkerArray, "emotion/markers", qos.profile("markers"))
    assert ros.matched(faces)
    tell(ros, faces, "f1")
    assert ros.until(lambda: len(told) == 1)
    node.trigger_deactivate()
    tell(ros, faces, "f1")
    ros.spin(0.2)
    assert len(told) == 1
    node.trigger_activate()
    assert ros.matched(faces)
    tell(ros, faces, "f2")
    assert ros.until(lambda: len(told) == 2)
    assert [label.action for label in told[-1].markers] == [Marker.ADD]
