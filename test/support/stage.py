"""A robot's senses for the fault tests: nodes in this process, a camera and a microphone that can be made to fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import elapsed
from node_world import World
from sensor_msgs.msg import Image

from emotion_msgs.msg import AudioChunk, EmotionState, FaceEmotionArray, VoiceEmotion
from emotion_perception.nodes.acoustic_node import AcousticNode
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import SECOND

FPS = 20
STATUS = ("NO_EVIDENCE", "VISUAL_ONLY", "ACOUSTIC_ONLY", "AUDIO_VISUAL")


def face_picture(width: int = 320, height: int = 256) -> np.ndarray:
    """A face (NASA, public domain), uint8 bgr."""
    import cv2
    import pytest

    data = pytest.importorskip("skimage.data", reason="needs scikit-image's portrait")
    return cv2.resize(np.ascontiguousarray(data.astronaut()[:256, 64:384, ::-1]), (width, height))


class Stage:
    """visual_node and fusion_node before a camera, and what they say."""

    def __init__(self, ros: World) -> None:
        self.ros = ros
        self.visual, self.fusion = ros.begin(VisualNode), ros.begin(FusionNode)
        self.camera = ros.node.create_publisher(Image, "image_raw", qos.profile("image_out"))
        self.faces: list[FaceEmotionArray] = ros.hear(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
        self.states: list[tuple[float, EmotionState]] = []  # with the time of arrival, monotonic s
        ros.node.create_subscription(
            EmotionState, "emotion_state", lambda m: self.states.append((time.monotonic(), m)), qos.profile("state")
        )
        self.told: list[str] = []
        self.visual.reporter.log = self.told.append
        assert ros.matched(self.camera)
        self.picture = face_picture()
        assert self.show_until(self.sees), "a face is seen before anything fails"

    @property
    def status(self) -> str:
        """The newest state's."""
        return STATUS[self.states[-1][1].status] if self.states else ""

    def sees(self) -> bool:
        return self.status == "VISUAL_ONLY"

    def show(self, picture: np.ndarray | Image | None = None, stamp_ns: int | None = None) -> None:
        """One picture, or a message as it is, and the time until the next."""
        picture = self.picture if picture is None else picture
        if isinstance(picture, np.ndarray):
            stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
            picture = conversions.image_to_message(picture, conversions.make_header(stamp_ns, "camera"))
        self.camera.publish(picture)
        self.ros.spin(1 / FPS)

    def show_until(self, condition: Callable[[], bool], seconds: float = 20.0, **shown: Any) -> bool:
        """Good pictures until ``condition`` holds; whether it came to."""
        began = time.monotonic()
        while not condition() and elapsed(began) < seconds:
            self.show(**shown)
        return condition()

    def recovery(self) -> float:
        """Seconds of good pictures until a state rests on a new one."""
        began, began_ns = time.monotonic(), time.time_ns()
        before = len(self.states)

        def new() -> bool:
            return any(
                message.status == EmotionState.VISUAL_ONLY and conversions.stamp_to_ns(message.header.stamp) >= began_ns
                for _, message in self.states[before:]
            )

        assert self.show_until(new), f"no recovery: {self.status}, {self.told[-3:]}"
        return time.monotonic() - began

    def seen_meanwhile(self, since: int) -> str:
        """Statuses of the states from a count on, in the order in which they came, and the longest silence."""
        heard = self.states[since:]
        names = list(dict.fromkeys(STATUS[message.status] for _, message in heard))
        return ", then ".join(names)


class Ear:
    """acoustic_node before a microphone."""

    RATE = 16_000

    def __init__(self, ros: World) -> None:
        self.ros = ros
        self.node = ros.begin(AcousticNode)
        self.microphone = ros.node.create_publisher(AudioChunk, "audio", qos.profile("audio_out"))
        self.voices: list[VoiceEmotion] = ros.hear(VoiceEmotion, "voices/emotions", qos.profile("estimates"))
        self.told: list[str] = []
        self.node.reporter.log = self.told.append
        assert ros.matched(self.microphone)
        t = np.arange(self.RATE) / self.RATE
        buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * 4 * t))
        self.second = (3000 * buzz).astype(np.int16)  # one second in the rhythm of syllables

    def say(self, start_ns: int, seconds: float = 1.0, rate: int = RATE, live: bool = False) -> int:
        """Sound in chunks of 20 ms, as fast as it was spoken if live, else faster; the stamp after its end."""
        step = rate // 50
        for i in range(round(seconds * 50)):
            header = conversions.make_header(start_ns + i * SECOND // 50, "microphone")
            first = i * step % (len(self.second) - step)
            self.microphone.publish(conversions.audio_to_message(self.second[first : first + step], rate, header))
            if i % 10 == 0:
                self.ros.spin(0.2 if live else 0.02)
        return start_ns + round(seconds * SECOND)

    def listens(self, start_ns: int) -> float:
        """Seconds until good sound is worked on again."""
        began, before = time.monotonic(), self.node.meter.total
        self.say(start_ns, 0.5)
        assert self.ros.until(lambda: self.node.meter.total >= before + 20, 20.0), self.told[-3:]
        return time.monotonic() - began
