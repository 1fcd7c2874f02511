"""What the node tests share: nodes driven in-process, and messages to feed them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from machine import elapsed
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from emotion_perception.emotions import HAPPY
from emotion_perception.ros.conversions import make_header
from emotion_perception.types import Box, EmotionEstimate, FaceObservation, VoiceObservation


def happy_estimate(share: float = 0.65) -> EmotionEstimate:
    """A distribution with ``happy`` on top."""
    probabilities = np.full(8, (1 - share) / 7, np.float32)
    probabilities[HAPPY] = share
    return EmotionEstimate.from_probabilities(probabilities)


def a_face(face_id: str = "f1", box: Box | None = None) -> FaceObservation:
    """A good face."""
    return FaceObservation(face_id, box or Box(10.0, 20.0, 100.0, 120.0), 0.9, 0.8, happy_estimate())


def a_voice(stamp_ns: int) -> VoiceObservation:
    """A clear voice, at the end of an utterance."""
    return VoiceObservation(stamp_ns, 1.5, "anonymous_speaker", 20.0, False, True, happy_estimate())


def now_header(frame_id: str = "camera") -> Header:
    """A header of this moment."""
    return make_header(time.time_ns(), frame_id)


def children(process: subprocess.Popen) -> dict[str, int]:
    """Process ids of the nodes that a bringup has started, by executable."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (entry / "cmdline").read_text().split("\0")
        except (OSError, IndexError):
            continue
        if parent == process.pid and "-m" in command:
            found[command[command.index("-m") + 1].rsplit(".", 1)[1]] = int(entry.name)
    return found


class World:
    """One executor with a node that listens and speaks for the test."""

    def __init__(self) -> None:
        self.executor = SingleThreadedExecutor()
        self.node = rclpy.create_node("test")
        self.executor.add_node(self.node)
        self._nodes: list[Node] = [self.node]

    def add(self, make: Callable[..., Node], **parameters: Any) -> Any:
        """Make a node under test; it does not start itself unless ``autostart`` is given."""
        parameters.setdefault("autostart", False)
        arguments = ["--ros-args"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={_yaml(value)}"]
        node = make(cli_args=arguments, use_global_arguments=False)
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def begin(self, make: Callable[..., Node], **parameters: Any) -> Any:
        """The same, active."""
        node = self.add(make, **parameters)
        node.trigger_configure()
        assert node.state_label == "inactive", node.problem
        node.trigger_activate()
        return node

    def hear(self, message_type: type, topic: str, qos: Any = 10) -> list[Any]:
        """Everything that is published on a topic from now on."""
        heard: list[Any] = []
        self.node.create_subscription(message_type, topic, heard.append, qos)
        return heard

    def spin(self, seconds: float) -> None:
        """Let everything run for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Run until ``condition`` holds; whether it came to hold within ``seconds`` of an idle machine."""
        began = time.monotonic()
        while elapsed(began) < seconds:
            if condition():
                return True
            self.executor.spin_once(timeout_sec=0.02)
        return condition()

    def matched(self, publisher: Any) -> bool:
        """Whether somebody listens to a publisher; waits until the listener knows of it as well."""
        found = self.until(lambda: publisher.get_subscription_count() == 1)
        self.spin(0.25)
        return found

    def close(self) -> None:
        """End all nodes."""
        for node in reversed(self._nodes):
            node.destroy_node()
        self.executor.shutdown()


def set_parameter(node: Node, name: str, value: Any) -> tuple[bool, str]:
    """Whether a node takes a parameter's value, and the reason if not."""
    result = node.set_parameters([Parameter(name, value=value)])[0]
    return result.successful, result.reason


@contextmanager
def world() -> Iterator[World]:
    """A running ROS 2 with one executor."""
    rclpy.init(args=[])
    made = World()
    try:
        yield made
    finally:
        made.close()
        rclpy.try_shutdown()


def _yaml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
