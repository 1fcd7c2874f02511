"""A camera that is mounted on its side or upside down: the same states, in pixels of the image that it sends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_world import World, now_header, set_parameter
from sensor_msgs.msg import CompressedImage, Image

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.emotions import HAPPY
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, qos

MIDDLE = 223, 115  # px, of the upright portrait's face


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A smiling face, 512x512 bgr (NASA, public domain)."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def show_until(ros: World, camera: object, image: np.ndarray, condition: object, seconds: float = 20.0) -> bool:
    def shown() -> bool:
        camera.publish(conversions.image_to_message(image, now_header()))
        ros.spin(0.1)
        return condition()

    return ros.until(shown, seconds)


def middle(message: FaceEmotionArray) -> tuple[float, float]:
    roi = message.faces[0].roi
    return roi.x_offset + roi.width / 2, roi.y_offset + roi.height / 2


def test_a_camera_on_its_side_gives_the_state_of_an_upright_one(ros: World, portrait: np.ndarray):
    ros.begin(VisualNode, image_rotation="90", landmark_rate=10.0)
    ros.begin(FusionNode)
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    faces = ros.hear(FaceEmotionArray, "faces/emotions")
    states = ros.hear(EmotionState, "emotion_state", qos.profile("state"))
    sideways = cv2.rotate(portrait, cv2.ROTATE_90_COUNTERCLOCKWISE)
    assert show_until(ros, camera, sideways, lambda: bool(states) and states[-1].status == EmotionState.VISUAL_ONLY)
    assert show_until(ros, camera, sideways, lambda: states[-1].emotion.confidence > 0.8)
    assert states[-1].emotion.label == HAPPY
    last = [message for message in faces if message.faces][-1]
    assert middle(last) == pytest.approx((MIDDLE[1], 512 - MIDDLE[0]), abs=30)
    measured = [face for message in faces for face in message.faces if len(face.landmarks)]
    points = np.array(measured[-1].landmarks).reshape(-1, 2)
    assert points.mean(0) == pytest.approx((MIDDLE[1], 512 - MIDDLE[0]), abs=40)
    assert measured[-1].head_roll == pytest.approx(-np.pi / 2, abs=0.4), "in the camera's image the head lies"


def test_auto_is_reported_once_and_in_diagnostics(ros: World, portrait: np.ndarray):
    node = ros.begin(VisualNode, image_rotation="auto")
    logged: list[str] = []
    node.get_logger().info = logged.append  # type: ignore[method-assign]
    told = ros.hear(DiagnosticArray, "/diagnostics")
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))

    def rotation() -> str:
        values = {pair.key: pair.value for message in told[-1:] for pair in message.status[0].values}
        return values.get("image rotation", "")

    assert ros.until(lambda: rotation() == "auto: not known yet")
    upside_down = cv2.rotate(portrait, cv2.ROTATE_180)
    assert show_until(ros, camera, upside_down, lambda: rotation() == "auto: 180", 40.0)
    show_until(ros, camera, upside_down, lambda: False, 1.0)
    assert len([text for text in logged if "image_rotation auto" in text]) == 1


def test_an_upside_down_camera_without_the_parameter_is_a_warning_that_names_it(ros: World, portrait: np.ndarray):
    node = ros.begin(VisualNode, image_rotation=0)  # a number, as people write it
    told = ros.hear(DiagnosticArray, "/diagnostics")
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    upside_down = cv2.rotate(portrait, cv2.ROTATE_180)
    words = "faces are not upright with image_rotation 0: if the camera is mounted that way, set it to 180 or auto"
    assert show_until(ros, camera, upside_down, lambda: bool(told) and told[-1].status[0].message == words, 40.0)
    assert told[-1].status[0].level == DiagnosticStatus.WARN
    assert set_parameter(node, "image_rotation", 45) == (
        False,
        "image_rotation must be of type string, got 45",
    )


def test_faces_of_a_large_jpeg_are_in_pixels_of_the_camera(ros: World, portrait: np.ndarray):
    ros.begin(VisualNode, image_rotation=180, landmark_rate=10.0, detection_width=320)
    camera = ros.node.create_publisher(CompressedImage, "image_raw/compressed", qos.profile("image_out"))
    faces = ros.hear(FaceEmotionArray, "faces/emotions")
    large = cv2.resize(cv2.rotate(portrait, cv2.ROTATE_180), (2048, 2048))  # decoded at half its size

    def measured() -> bool:
        camera.publish(conversions.image_to_compressed(large, now_header()))
        ros.spin(0.2)
        return any(len(face.landmarks) for message in faces[2:] for face in message.faces)

    assert ros.until(measured, 40.0)
    face = [face for message in faces[2:] for face in message.faces if len(face.landmarks)][-1]
    roi = face.roi
    assert (roi.x_offset + roi.width / 2, roi.y_offset + roi.height / 2) == pytest.approx(
        (2048 - 4 * MIDDLE[0], 2048 - 4 * MIDDLE[1]), abs=120
    )
    points = np.array(face.landmarks).reshape(-1, 2)
    assert points.mean(0) == pytest.approx((2048 - 4 * MIDDLE[0], 2048 - 4 * MIDDLE[1]), abs=160)


def test_the_launch_arguments_reach_the_visual_node():
    nodes = {node.name: node for node in graph_nodes({"image_rotation": "90", "image_mirror": "true"})}
    assert nodes["visual_node"].parameters == {"image_rotation": "90", "image_mirror": True}
    assert "image_rotation" not in {name for node in graph_nodes() for name in node.parameters}
    with pytest.raises(ValueError, match="image_rotation must be one of"):
        graph_nodes({"image_rotation": "45"})
