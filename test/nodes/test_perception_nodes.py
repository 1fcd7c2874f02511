"""visual_node, acoustic_node and overlay_node with their real models: what they publish, and what they survive."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_world import World, a_face, now_header
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, String

from emotion_msgs.msg import AudioChunk, EmotionState, FaceEmotionArray, VoiceEmotion
from emotion_perception.errors import ModelError
from emotion_perception.nodes.acoustic_node import AcousticNode
from emotion_perception.nodes.overlay_node import OverlayNode
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, qos
from emotion_perception.visualization.overlay import EMOTION_BGR


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A face, 512x512 bgr (NASA, public domain)."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def start(ros: World, node_class: type, message_type: type, topic: str, use: str, **parameters: object) -> tuple:
    """An active node, and a publisher that it listens to."""
    node = ros.add(node_class, **parameters)
    node.trigger_configure()
    assert node.state_label == "inactive", node.problem
    node.trigger_activate()
    publisher = ros.node.create_publisher(message_type, topic, qos.profile(use))
    assert ros.matched(publisher)
    return node, publisher


def show(ros: World, camera: object, picture: np.ndarray, seconds: float) -> list:
    """Publish a picture at 20 Hz; the headers that were sent."""
    sent = []
    for _ in range(round(20 * seconds)):
        sent.append(now_header())
        camera.publish(conversions.image_to_message(picture, sent[-1]))
        ros.spin(0.05)
    return sent


# --- visual_node


def test_a_face_is_found_under_the_images_own_header_with_one_id(ros: World, portrait: np.ndarray):
    node, camera = start(ros, VisualNode, Image, "image_raw", "image_out")
    heard = ros.hear(FaceEmotionArray, "faces/emotions")
    sent = show(ros, camera, portrait, 1.5)
    assert ros.until(lambda: len(heard) > 5)
    with_face = [message for message in heard if message.faces]
    assert len(with_face) > len(heard) / 2
    assert all(message.header in sent for message in heard)
    assert len({face.face_id for message in with_face for face in message.faces}) == 1
    face = with_face[-1].faces[0]
    assert sum(face.emotion.probabilities) == pytest.approx(1.0, abs=1e-4)
    middle = face.roi.x_offset + face.roi.width / 2, face.roi.y_offset + face.roi.height / 2
    assert middle == pytest.approx((223, 115), abs=30)
    assert "expression" in node.model_name


def test_an_image_without_a_face_gives_an_empty_list_not_silence(ros: World):
    _, camera = start(ros, VisualNode, Image, "image_raw", "image_out")
    heard = ros.hear(FaceEmotionArray, "faces/emotions")
    show(ros, camera, np.full((240, 320, 3), 127, np.uint8), 0.5)
    assert ros.until(lambda: bool(heard))
    assert all(not message.faces for message in heard)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "32FC3"}, "unknown image encoding '32FC3'"),
        ({"width": 0, "height": 0}, "no pixels"),
        ({"step": 5}, "step is 5 bytes"),
        ({"height": 4000}, "image data is"),
    ],
)
def test_a_broken_image_is_reported_counted_and_survived(ros: World, change: dict, words: str):
    node, camera = start(ros, VisualNode, Image, "image_raw", "image_out")
    told: list[str] = []
    node.reporter.log = told.append
    heard = ros.hear(FaceEmotionArray, "faces/emotions")
    grey = np.full((120, 160, 3), 127, np.uint8)

    def send_broken() -> bool:
        broken = conversions.image_to_message(grey, now_header())
        for name, value in change.items():
            setattr(broken, name, value)
        camera.publish(broken)
        ros.spin(0.1)
        return node.meter.rejected >= 3

    assert ros.until(send_broken)
    assert len(told) == 1 and words in told[0]
    assert heard == []
    show(ros, camera, grey, 0.3)
    assert ros.until(lambda: bool(heard))


def test_the_camera_may_change_size_and_encoding_in_mid_stream(ros: World, portrait: np.ndarray):
    node, camera = start(ros, VisualNode, Image, "image_raw", "image_out")
    heard = ros.hear(FaceEmotionArray, "faces/emotions")
    for picture in (portrait, cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY), cv2.resize(portrait, (320, 320))):
        before = len(heard)
        show(ros, camera, picture, 0.5)
        assert ros.until(lambda before=before: len(heard) > before)
    assert node.meter.rejected == 0


def test_compressed_images_are_looked_at(ros: World, portrait: np.ndarray):
    _, camera = start(
        ros, VisualNode, CompressedImage, "image_raw/compressed", "image_out", image_transport="compressed"
    )
    heard = ros.hear(FaceEmotionArray, "faces/emotions")
    data = cv2.imencode(".jpg", portrait)[1].tobytes()
    for _ in range(20):
        message = CompressedImage(header=now_header(), format="jpeg")
        message.data.frombytes(data)
        camera.publish(message)
        ros.spin(0.05)
    assert ros.until(lambda: any(message.faces for message in heard))


@pytest.mark.parametrize("kind", ["missing", "corrupt"])
@pytest.mark.parametrize(("node_class", "parameter"), [(VisualNode, "expression_model"), (AcousticNode, "model")])
def test_a_model_that_cannot_be_used_fails_the_configure_and_names_the_path(
    ros: World, tmp_path: Path, node_class: type, parameter: str, kind: str
):
    path = tmp_path / "model.safetensors"
    if kind == "corrupt":
        path.write_bytes(b"no weights at all" * 100)
    node = ros.add(node_class, **{parameter: str(path)})
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert str(path) in node.problem


# --- acoustic_node


def speech_like(seconds: float, rate: int, channels: int) -> np.ndarray:
    """Noise in the rhythm of syllables, int16 ``(T, channels)``: it need not be speech, only sound."""
    t = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * 4 * t))
    return np.repeat((3000 * tone).astype(np.int16)[:, None], channels, axis=1)


def say(ros: World, microphone: object, samples: np.ndarray, rate: int, began_ns: int) -> None:
    """Publish sound in chunks of 20 ms, faster than it was spoken."""
    step = rate // 50
    for first in range(0, len(samples) - step, step):
        header = conversions.make_header(began_ns + first * conversions.SECOND // rate, "mic")
        microphone.publish(conversions.audio_to_message(samples[first : first + step], rate, header))
        if first // step % 10 == 0:
            ros.spin(0.02)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (16_000, 1), (8_000, 1)])
def test_any_rate_and_stereo_are_listened_to(ros: World, rate: int, channels: int):
    node, microphone = start(ros, AcousticNode, AudioChunk, "audio", "audio_out")
    say(ros, microphone, speech_like(2.0, rate, channels), rate, node.now_ns)
    assert ros.until(lambda: node.meter.total >= 90, 20.0)
    assert node.meter.rejected == 0


def test_the_sample_rate_may_change_in_mid_stream(ros: World):
    node, microphone = start(ros, AcousticNode, AudioChunk, "audio", "audio_out")
    told: list[str] = []
    node.reporter.log = told.append
    began = node.now_ns - conversions.SECOND // 2  # stamps within 1 s of the clock are not corrected
    say(ros, microphone, speech_like(1.0, 16_000, 1), 16_000, began)
    ros.spin(0.5)
    say(ros, microphone, speech_like(1.0, 48_000, 2), 48_000, began + conversions.SECOND)
    assert ros.until(lambda: node.meter.total >= 90, 20.0)
    assert node.meter.rejected == 0
    assert told == ["sample rate changed from 16000 to 48000 Hz"]


def test_broken_sound_is_reported_counted_and_survived(ros: World):
    node, microphone = start(ros, AcousticNode, AudioChunk, "audio", "audio_out")
    told: list[str] = []
    node.reporter.log = told.append
    for _ in range(3):
        microphone.publish(AudioChunk(header=now_header(), sample_rate=0, channels=1))
    assert ros.until(lambda: node.meter.rejected == 3)
    assert len(told) == 1 and "sample rate of 0 Hz" in told[0]
    say(ros, microphone, speech_like(0.5, 16_000, 1), 16_000, node.now_ns)
    assert ros.until(lambda: node.meter.total > 10, 20.0)


def test_the_robots_own_voice_is_not_listened_to(ros: World):
    node, microphone = start(ros, AcousticNode, AudioChunk, "audio", "audio_out")
    heard = ros.hear(VoiceEmotion, "voices/emotions")
    robot = ros.node.create_publisher(Bool, "/robot_speaking", qos.profile("switch"))
    assert ros.matched(robot)
    robot.publish(Bool(data=True))
    assert ros.until(lambda: node.extra_diagnostics()["muted"] == "true")
    say(ros, microphone, speech_like(2.0, 16_000, 1), 16_000, node.now_ns)
    ros.spin(0.5)
    assert node.meter.total == 0 and heard == []
    robot.publish(Bool(data=False))
    assert ros.until(lambda: node.extra_diagnostics()["muted"] == "false")
    say(ros, microphone, speech_like(0.5, 16_000, 1), 16_000, node.now_ns)
    assert ros.until(lambda: node.meter.total > 10, 20.0)


# --- overlay_node


def test_pictures_are_drawn_on_only_while_watched_and_keep_their_header(ros: World):
    node = ros.add(OverlayNode)
    node.trigger_configure()
    node.trigger_activate()
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    faces = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    ros.spin(0.6)
    assert camera.get_subscription_count() == 0, "nobody watches: pictures are not even received"

    seen: list[Image] = []
    watcher = ros.node.create_subscription(
        Image, "emotion/image_annotated", seen.append, qos.profile("annotated_image")
    )
    assert ros.matched(camera)
    assert ros.matched(faces)
    header = now_header()
    camera.publish(conversions.image_to_message(np.full((240, 320, 3), 30, np.uint8), header))
    ros.spin(0.1)
    assert seen == [], "the picture waits for its faces"
    faces.publish(conversions.faces_to_message([a_face()], header, 320, 240))
    assert ros.until(lambda: len(seen) == 1)
    assert seen[0].header == header
    drawn = conversions.image_from_message(seen[0])
    happy = np.array(EMOTION_BGR[EmotionState().emotion.HAPPY])
    assert (np.abs(drawn[80, 10].astype(int) - happy) < 3).all(), "the box's left side"

    ros.node.destroy_subscription(watcher)
    assert ros.until(lambda: camera.get_subscription_count() == 0)


def test_a_picture_without_faces_is_shown_when_the_next_one_comes(ros: World):
    node = ros.add(OverlayNode)
    node.trigger_configure()
    node.trigger_activate()
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    seen = ros.hear(Image, "emotion/image_annotated", qos.profile("annotated_image"))
    assert ros.matched(camera)
    headers = show(ros, camera, np.zeros((48, 64, 3), np.uint8), 0.5)
    assert ros.until(lambda: len(seen) >= 3)
    assert all(message.header in headers for message in seen)


def test_a_known_persons_own_face_is_kept_for_the_persons_next_face_track(ros: World):
    """Without hri_msgs: the list of persons comes as a stand-in, the topics of a person are std_msgs."""
    node = ros.begin(VisualNode)
    known: list[tuple[str, str]] = []
    node._perception.set_person = lambda face_id, person_id: known.append((face_id, person_id))
    node._persons._on_persons(SimpleNamespace(ids=["anna", "no name"]))
    latched = ros.node.create_publisher(String, "/humans/persons/anna/face_id", qos.profile("state"))
    latched.publish(String(data="abcde"))
    assert ros.until(lambda: known == [("abcde", "anna")])
    latched.publish(String(data=""))  # out of view
    latched.publish(String(data="fghij"))
    assert ros.until(lambda: known == [("abcde", "anna"), ("fghij", "anna")])
    node.trigger_deactivate()
    assert ros.node.count_subscribers("/humans/persons/anna/face_id") == 0


def test_what_is_wrong_with_a_model_is_a_model_error():
    """The nodes tell a bad set-up from a bug by its class."""
    assert issubclass(ModelError, VisualNode.expected_problems)


def test_a_covered_camera_is_named_in_the_diagnostics_until_a_picture_returns(ros: World):
    node = ros.begin(VisualNode, diagnostics_period=0.1)
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
    heard = ros.hear(DiagnosticArray, "/diagnostics", 10)
    assert ros.matched(camera)

    def status() -> tuple[bytes, str]:
        return heard[-1].status[0].level, heard[-1].status[0].message

    def show(image: np.ndarray, expected: tuple[bytes, str]) -> bool:
        for _ in range(100):
            camera.publish(conversions.image_to_message(image, conversions.make_header(time.time_ns(), "camera")))
            if ros.until(lambda: bool(heard) and status() == expected, 0.2):
                return True
        return False

    black, grey = np.zeros((120, 160, 3), np.uint8), np.full((120, 160, 3), 127, np.uint8)
    picture = grey.copy()
    picture[40:90, 60:120] = 220
    assert show(picture, (DiagnosticStatus.OK, "active"))
    assert show(black, (DiagnosticStatus.WARN, "the image is black"))
    assert show(picture, (DiagnosticStatus.OK, "active"))
    assert show(grey, (DiagnosticStatus.WARN, "the image is uniform: covered lens?"))
    node.trigger_deactivate()
    node.trigger_activate()
    assert node.input_problem() == "", "a new start does not know the old images"
