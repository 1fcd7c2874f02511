"""fusion_node: whose voice it is, what is said, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from node_world import World, a_face, a_voice
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float32, String

from emotion_msgs.msg import EmotionState, EmotionStateArray, FaceEmotionArray, ModalityEvidence, VoiceEmotion
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import Box

WIDTH, HEIGHT = 640, 480
LOUD = (20 * np.sin(np.arange(20) * 0.9) - 30).astype(np.float32)  # dB, two a picture


class Scene:
    """Two faces of equal size, left and right in the picture, and somebody who speaks."""

    def __init__(self, ros: World, **parameters: object) -> None:
        self.ros = ros
        self.node = ros.add(FusionNode, **parameters)
        self.node.trigger_configure()
        assert self.node.state_label == "inactive", self.node.problem
        self.node.trigger_activate()
        self.states = ros.hear(EmotionStateArray, "emotion_states", qos.profile("state"))
        self.state = ros.hear(EmotionState, "emotion_state", qos.profile("state"))
        self.faces = self._speak(FaceEmotionArray, "faces/emotions", "estimates")
        self.voices = self._speak(VoiceEmotion, "voices/emotions", "estimates")

    def _speak(self, message_type: type, topic: str, use: str):
        publisher = self.ros.node.create_publisher(message_type, topic, qos.profile(use))
        assert self.ros.matched(publisher)
        return publisher

    def play(self, direction: float | None = None, words: str = "", mouth: str = "") -> None:
        """Half a second of it; with the name of a face, its mouth goes with the voice, and the other's is still."""
        sound = self._speak(Float32, "sound_direction", "estimates") if direction is not None else None
        camera = self._speak(CameraInfo, "camera_info", "image_out") if direction is not None else None
        text = self._speak(String, "transcript", "estimates") if words else None
        boxes = {"left": Box(60.0, 200.0, 100.0, 100.0), "right": Box(480.0, 200.0, 100.0, 100.0)}
        begin = self.node.now_ns
        for step in range(10):
            now = self.node.now_ns
            if camera is not None and sound is not None:
                camera.publish(CameraInfo(width=WIDTH, height=HEIGHT))
                sound.publish(Float32(data=direction))
            loud = LOUD[2 * step]
            pair = [
                replace(
                    a_face(name, box),
                    mouth_opening=0.4 + 0.01 * (loud + 30) * (name == mouth) if mouth else np.nan,
                    mouth_motion=(0.25 if name == mouth else 0.05) if mouth else np.nan,
                )
                for name, box in boxes.items()
            ]
            header = conversions.make_header(now, "camera")
            self.faces.publish(conversions.faces_to_message(pair, header, WIDTH, HEIGHT))
            if text is not None and step == 5:
                text.publish(String(data=words))
            if step >= 5:
                spoken = (now - begin) * 1e-9
                level = np.interp(np.linspace(0, 1, 20), np.linspace(0, 1, 2 * step + 1), LOUD[: 2 * step + 1])
                voice = replace(a_voice(now), duration=spoken, level_db=level if mouth else LOUD[:0])
                self.voices.publish(conversions.voice_to_message(voice))
            self.ros.spin(0.05)

    def speaker(self) -> str:
        """The face that had the voice last."""
        heard = [state.face_id for state in self.states[-1].states if state.voice_id]
        assert len(heard) == 1
        return heard[0]


@pytest.mark.parametrize(("direction", "face"), [(0.4, "left"), (-0.4, "right")])
def test_the_voice_is_of_the_face_that_the_sound_comes_from(ros: World, direction: float, face: str):
    scene = Scene(ros)
    scene.play(direction)
    assert scene.speaker() == face
    assert scene.node.extra_diagnostics()["speaker"].startswith(face)


@pytest.mark.parametrize("face", ["left", "right"])
def test_the_voice_is_of_the_face_whose_mouth_goes_with_it(ros: World, face: str):
    scene = Scene(ros)
    scene.play(mouth=face)
    assert scene.speaker() == face
    assert scene.node.extra_diagnostics()["speaker"].startswith(f"{face} 0.")


def test_mouth_and_direction_count_together(ros: World):
    scene = Scene(ros)
    scene.play(direction=-0.4, mouth="right")
    who, share = scene.node.extra_diagnostics()["speaker"].replace(",", " ").split()[:2]
    assert who == "right" and float(share) > 0.9


def test_where_nothing_tells_whose_voice_it_is_it_weighs_less(ros: World):
    scene = Scene(ros, voice_model="")
    scene.play()
    (weight,) = [
        item.weight
        for state in scene.states[-1].states
        for item in state.evidence
        if item.modality == ModalityEvidence.ACOUSTIC
    ]
    assert weight < 0.75


def test_words_are_evidence_beside_the_face(ros: World):
    pytest.importorskip("vaderSentiment", reason="needs vaderSentiment")
    scene = Scene(ros)
    scene.play(words="This is wonderful, thank you so much!")
    told = [item for item in scene.state[-1].evidence if item.modality == ModalityEvidence.TEXT]
    assert len(told) == 1
    assert told[0].emotion.valence > 0.2


def test_a_model_without_reliability_is_assumed_fully_reliable(ros: World, tmp_path: Path):
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(b"")  # fusion reads the card only
    bare.with_suffix(".yaml").write_text("model: bare\nlabels: [happy, sad]\n")
    node = ros.add(FusionNode, expression_model=str(bare), voice_model="")
    node.trigger_configure()
    assert node.state_label == "inactive"


def test_a_missing_card_fails_the_configure_and_names_the_file(ros: World, tmp_path: Path):
    node = ros.add(FusionNode, expression_model=str(tmp_path / "gone.safetensors"))
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert "gone.safetensors" in node.problem


def test_it_is_small_and_needs_no_torch():
    code = (
        "import sys, rclpy\n"
        "from emotion_perception.nodes.fusion_node import FusionNode\n"
        "rclpy.init()\n"
        "node = FusionNode(parameter_overrides=[rclpy.parameter.Parameter('autostart', value=False)])\n"
        "node.trigger_configure(); node.trigger_activate()\n"
        "assert node.state_label == 'active', node.problem\n"
        "from emotion_perception.fusion.text import text_available, text_evidence\n"
        "text_available() and text_evidence('good')\n"
        "status = open('/proc/self/status').read()\n"
        "print(int(status.split('VmRSS:')[1].split()[0]) / 1024, 'torch' in sys.modules, 'cv2' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    resident, torch, cv2 = done.stdout.split()[-3:]
    assert float(resident) < 120, "MB"
    assert (torch, cv2) == ("False", "False")


def test_ros4hris_ids_say_whose_voice_it_is_and_who_that_is(ros: World):
    """Without hri_msgs: the list of ids comes as a stand-in, the persons' own topics are std_msgs."""
    scene = Scene(ros)
    scene.node._persons._on_persons(SimpleNamespace(ids=["anna"]))
    for kind, value in (("face_id", "right"), ("voice_id", "anonymous_speaker")):
        latched = ros.node.create_publisher(String, f"/humans/persons/anna/{kind}", qos.profile("state"))
        latched.publish(String(data=value))
    assert ros.until(lambda: len(scene.node._persons._ids["anna"]) == 2)
    scene.play()
    assert scene.speaker() == "right"
    (state,) = [state for state in scene.states[-1].states if state.face_id == "right"]
    assert state.person_id == "anna"
    scene.node._persons._on_persons(SimpleNamespace(ids=[]))
    scene.play()
    assert "anna" not in {state.person_id for state in scene.states[-1].states}
