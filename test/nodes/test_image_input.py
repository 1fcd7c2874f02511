"""Cameras as drivers publish them: raw, compressed or video, on the topic or next to it; reports if none does."""

from __future__ import annotations

import array
import time
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_world import World, now_header
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from emotion_msgs.msg import AudioChunk
from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.messages.compressed import DecodedImage
from emotion_perception.nodes.overlay_node import OverlayNode
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, input_watch, qos
from emotion_perception.ros.audio_input import AudioInput
from emotion_perception.ros.image_input import ImageInput, ReceivedImage
from emotion_perception.ros.lifecycle import PerceptionNode
from emotion_perception.ros.node_settings import AudioInputSettings, ImageInputSettings, StampSettings
from emotion_perception.settings import settings_of
from emotion_perception.types import SECOND

GREY = np.full((120, 160, 3), 90, np.uint8)


class CameraNode(PerceptionNode):
    """Receives images and audio, and nothing else."""

    def __init__(self, **options: Any) -> None:
        settings = (*settings_of(ImageInputSettings), *settings_of(AudioInputSettings), *settings_of(StampSettings))
        super().__init__("camera_node", settings, **options)
        self.images: list[tuple[ReceivedImage, DecodedImage]] = []
        self.input: ImageInput | None = None
        self.audio: AudioInput | None = None
        self.logged: list[str] = []

    def activate(self) -> None:
        self.input = ImageInput(self, "image_raw", lambda image: self.images.append((image, image.decode())))
        self.input.open(report_silence=True)
        self.audio = AudioInput(self, "audio", lambda chunk: None, report_silence=True)

    def deactivate(self) -> None:
        self.input = self.audio = None

    def input_failure(self) -> str:
        return self.input.watch.problem if self.input else ""

    def input_problem(self) -> str:
        return self.input.problem if self.input else ""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is reported after a second."""
    monkeypatch.setattr(input_watch, "SILENCE", 1.0)


def jpeg(stamp_ns: int | None = None) -> CompressedImage:
    message = conversions.image_to_compressed(GREY, now_header(), 90)
    if stamp_ns is not None:
        message.header.stamp = conversions.ns_to_stamp(stamp_ns)
    return message


def arrives(ros: World, node: CameraNode, publisher: Any, make: Any) -> bool:
    """Publish until the node has received an image."""

    def received() -> bool:
        publisher.publish(make())
        ros.spin(0.05)
        return bool(node.images)

    return ros.until(received)


@pytest.mark.parametrize(
    ("transport", "message_type", "topic"),
    [
        ("auto", Image, "/camera/color/image_raw"),
        ("auto", CompressedImage, "/camera/color/image_raw/compressed"),
        ("auto", CompressedImage, "/camera/color/image_raw"),
        ("compressed", CompressedImage, "/camera/color/image_raw/compressed"),
        ("compressed", CompressedImage, "/camera/color/image_raw"),
        ("raw", Image, "/camera/color/image_raw"),
    ],
)
def test_a_remapped_camera_is_received_however_it_publishes(ros: World, transport: str, message_type: type, topic: str):
    publisher = ros.node.create_publisher(message_type, topic, qos.profile("image_out"))
    node = ros.add(RemappedNode, image_transport=transport)
    node.trigger_configure()
    node.trigger_activate()
    make = jpeg if message_type is CompressedImage else lambda: conversions.image_to_message(GREY, now_header())
    assert arrives(ros, node, publisher, make)
    assert node.images[0][1].image.shape == GREY.shape
    assert node.input.status["image topic"] == topic


class RemappedNode(CameraNode):
    """Remapped as the launch argument image_topic:=/camera/color/image_raw does."""

    def __init__(self, cli_args: list[str], **options: Any) -> None:
        super().__init__(cli_args=[*cli_args, "-r", "image_raw:=/camera/color/image_raw"], **options)


def test_raw_images_are_preferred_when_they_appear_later(ros: World):
    node = ros.begin(CameraNode)
    compressed = ros.node.create_publisher(CompressedImage, "image_raw/compressed", qos.profile("image_out"))
    assert arrives(ros, node, compressed, jpeg)
    raw = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    assert ros.until(lambda: node.input.status["image type"] == "sensor_msgs/Image")
    node.images.clear()
    assert arrives(ros, node, raw, lambda: conversions.image_to_message(GREY, now_header()))


def test_video_in_compressed_images_is_received_message_by_message(ros: World):
    node = ros.begin(CameraNode)
    reliable = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
    publisher = ros.node.create_publisher(CompressedImage, "image_raw/compressed", reliable)
    assert ros.matched(publisher)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 160, 120, "yuv420p", 25
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    sent = []
    for _ in range(12):
        for packet in encoder.encode(av.VideoFrame.from_ndarray(GREY, format="bgr24")):
            sent.append(now_header())
            publisher.publish(CompressedImage(header=sent[-1], format="h264", data=array.array("B", bytes(packet))))
        ros.spin(0.02)
    assert ros.until(lambda: len(node.images) == 12)
    assert [image.header for image, _ in node.images] == sent
    assert abs(int(node.images[-1][1].image.mean()) - 90) < 4


def test_a_message_type_that_is_not_installed_is_named_with_its_package(ros: World, monkeypatch: pytest.MonkeyPatch):
    ffmpeg = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
    ends = [SimpleNamespace(topic_type=ffmpeg, node_name="camera", qos_profile=qos.profile("image_out"))]
    node = ros.begin(CameraNode)
    monkeypatch.setattr(
        node, "get_publishers_info_by_topic", lambda topic: ends if topic == "/image_raw/ffmpeg" else []
    )
    assert ros.until(lambda: "ffmpeg_image_transport_msgs/FFMPEGPacket is published" in node.input_failure())
    assert "install ros-$ROS_DISTRO-ffmpeg-image-transport-msgs" in node.input_failure()


def test_the_overlay_draws_on_compressed_images(ros: World):
    ros.begin(OverlayNode)
    camera = ros.node.create_publisher(CompressedImage, "image_raw/compressed", qos.profile("image_out"))
    drawn = ros.hear(Image, "emotion/image_annotated", qos.profile("annotated_image"))

    def shown() -> bool:
        camera.publish(jpeg())
        ros.spin(0.1)
        return bool(drawn)

    assert ros.until(shown)
    assert (drawn[0].width, drawn[0].height) == (160, 120)


def test_faces_of_a_reduced_image_are_published_in_pixels_of_the_camera(ros: World):
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    portrait = np.ascontiguousarray(data.astronaut()[..., ::-1])
    large = np.zeros((1080, 1920, 3), np.uint8)
    large[:1024, 400:1424] = cv2.resize(portrait, (1024, 1024))
    message = conversions.image_to_compressed(large, now_header(), 90)
    node = ros.add(VisualNode)
    node.trigger_configure()
    heard: list[Any] = []
    node._faces = SimpleNamespace(publish=heard.append)
    node.trigger_activate()
    worker_input = ImageInput(node, "image_raw", node._process_image, 960)
    for number in range(4):
        message.header.stamp = conversions.ns_to_stamp(time.time_ns() + number)
        worker_input._on_message(message)
    assert worker_input._decoder._still_size == (1920, 1080)
    roi = heard[-1].faces[0].roi
    assert (roi.x_offset + roi.width / 2, roi.y_offset + roi.height / 2) == pytest.approx((846, 230), abs=40)


# --- silence


def diagnosed(ros: World, node_name: str = "camera_node") -> list[DiagnosticStatus]:
    statuses: list[DiagnosticStatus] = []

    def keep(message: DiagnosticArray) -> None:
        statuses.extend(status for status in message.status if status.name.startswith(node_name))

    ros.node.create_subscription(DiagnosticArray, "/diagnostics", keep, 10)
    return statuses


def test_a_mistyped_topic_is_reported_once_with_the_topic_that_is_meant_and_cleared(
    ros: World, capfd: pytest.CaptureFixture
):
    statuses = diagnosed(ros)
    camera = ros.node.create_publisher(Image, "/image_row", qos.profile("image_out"))
    node = ros.begin(CameraNode, diagnostics_period=0.2)
    words = "no publisher on /image_raw; image topics now: /image_row (sensor_msgs/Image); did you mean /image_row?"
    assert ros.until(lambda: words in node.input_failure())
    assert "Set image_topic:=/image_row" in node.input_failure()
    assert ros.until(lambda: any(s.level == DiagnosticStatus.ERROR and words in s.message for s in statuses))
    ros.spin(2.0)
    assert capfd.readouterr().err.count(words) == 1
    real = ros.node.create_publisher(Image, "/image_raw", qos.profile("image_out"))
    assert arrives(ros, node, real, lambda: conversions.image_to_message(GREY, now_header()))
    assert ros.until(lambda: not node.input_failure())
    assert camera is not None


def test_a_type_clash_names_both_types_and_the_fix(ros: World):
    camera = ros.node.create_publisher(CompressedImage, "image_raw", qos.profile("image_out"))
    node = ros.begin(CameraNode, image_transport="raw")
    words = "/image_raw carries sensor_msgs/CompressedImage, not sensor_msgs/Image: set image_transport to auto"
    assert ros.until(lambda: node.input_failure() == words), node.input_failure()
    assert camera is not None


def test_a_qos_that_cannot_match_is_named(ros: World):
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    node = ros.begin(CameraNode, **{"qos_overrides./image_raw.subscription.reliability": "reliable"})
    assert ros.until(lambda: "the QoS of /image_raw does not match its publisher test" in node.input_failure())
    assert "qos_overrides./image_raw.subscription.reliability" in node.input_failure()
    assert camera is not None


def test_a_publisher_that_sends_nothing_is_named(ros: World):
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    node = ros.begin(CameraNode)
    assert ros.until(lambda: "no image data on /image_raw, although test publishes it" in node.input_failure())
    assert camera is not None


def test_a_source_of_ours_that_waits_or_has_ended_is_not_taken_for_a_broken_device(ros: World):
    source = rclpy.create_node("media_source_node")
    try:
        assert source.create_publisher(Image, "image_raw", qos.profile("image_out"))
        node = ros.begin(CameraNode)
        words = "no image data on /image_raw: media_source_node is waiting for other nodes, or its source has ended"
        assert ros.until(lambda: node.input_failure() == words), node.input_failure()
    finally:
        source.destroy_node()


def test_without_any_camera_the_driver_is_asked_for(ros: World):
    node = ros.begin(CameraNode)
    assert ros.until(lambda: "nor any other image topic: is the driver running" in node.input_failure())


def test_a_clock_that_does_not_run_is_named(ros: World):
    node = ros.begin(CameraNode, use_sim_time=True)
    assert ros.until(lambda: "no time arrives on /clock" in node.input_failure())


def test_an_audio_topic_next_to_an_empty_one_is_suggested(ros: World):
    microphone = ros.node.create_publisher(AudioChunk, "/audio_stamped", qos.profile("audio_out"))
    node = ros.begin(CameraNode)
    assert ros.until(lambda: "did you mean /audio_stamped? Set audio_topic:=/audio_stamped" in node.audio.watch.problem)
    assert microphone is not None


# --- stamps


@pytest.mark.parametrize(
    ("source", "offset_s", "expected_s", "words"),
    [
        ("auto", 0.0, 0.0, ""),
        ("auto", 5.0, 0.0, "5.0 s behind this computer's clock; they are corrected (stamp_source: auto)"),
        ("auto", -30.0, 0.0, "30.0 s ahead of this computer's clock"),
        ("header", 5.0, 5.0, "synchronize the clocks (chrony), or set stamp_source to auto"),
        ("arrival", 5.0, 0.0, "(stamp_source: arrival)"),
    ],
)
def test_a_camera_clock_that_is_off_is_named_and_corrected(
    ros: World, source: str, offset_s: float, expected_s: float, words: str
):
    statuses = diagnosed(ros)
    node = ros.begin(CameraNode, stamp_source=source, diagnostics_period=0.2)
    camera = ros.node.create_publisher(CompressedImage, "image_raw/compressed", qos.profile("image_out"))

    def sent() -> bool:
        camera.publish(jpeg(time.time_ns() - round(offset_s * SECOND)))
        ros.spin(0.05)
        return len(node.images) >= 8

    assert ros.until(sent)
    age_s = (time.time_ns() - node.images[-1][0].stamp_ns) / SECOND
    assert age_s == pytest.approx(expected_s, abs=0.5)
    assert words in node.input_problem()
    if words:
        assert ros.until(lambda: any(s.level == DiagnosticStatus.WARN and words in s.message for s in statuses))
    else:
        assert node.input_problem() == ""


def test_images_without_stamps_get_the_time_of_arrival_and_this_is_said_once(ros: World, capfd: pytest.CaptureFixture):
    node = ros.begin(CameraNode)
    camera = ros.node.create_publisher(CompressedImage, "image_raw/compressed", qos.profile("image_out"))
    assert ros.matched(camera)
    for _ in range(5):
        camera.publish(jpeg(0))
        ros.spin(0.05)
    assert ros.until(lambda: len(node.images) == 5)
    stamps = [image.stamp_ns for image, _ in node.images]
    assert stamps == sorted(stamps) and abs(time.time_ns() - stamps[-1]) < 2 * SECOND
    assert capfd.readouterr().err.count("no stamp (0); using the time of arrival") == 1


# --- launch arguments


def test_the_launch_arguments_reach_the_nodes_that_need_them():
    nodes = {
        node.name: node
        for node in graph_nodes(
            {"image_transport": "compressed", "dashboard": "true", "port": "9000", "source": "x.mp4", "loop": "true"}
        )
    }
    for name in ("visual_node", "overlay_node", "dashboard_node"):
        assert nodes[name].parameters["image_transport"] == "compressed"
    assert nodes["dashboard_node"].parameters["port"] == 9000
    assert nodes["media_source_node"].parameters["loop"] is True
    assert "image_transport" not in graph_nodes()[0].parameters, "the parameter file decides"


def test_a_port_that_is_none_is_refused():
    with pytest.raises(ValueError, match="port must be a number from 0 to 65535, got 'http'"):
        graph_nodes({"port": "http"})
