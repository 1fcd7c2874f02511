"""Measures the latency of ``/emotion_state`` in a separate process, from image stamp to reception."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.time import Time

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.ros.diagnostics import node_health
from emotion_perception.ros.lifecycle import end_ros
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.qos import profile
from emotion_perception.types import NodeHealth


@dataclass(frozen=True)
class Measured:
    """Measurements of the probe."""

    latencies: tuple[float, ...]  # s, one per state based on new evidence
    first: float  # s from the start to the first state with evidence, NaN if there was none
    frames: int  # face messages, one per processed image
    seconds: float  # length of the measurement
    health: tuple[NodeHealth, ...] = ()  # what the nodes reported on /diagnostics meanwhile


def listen(
    duration: float, patience: float = 60.0, settle: float = 2.0, on_start: Callable[[], None] = lambda: None
) -> Measured:
    """Wait up to ``patience`` s for a state with evidence and another ``settle`` s, then measure for ``duration`` s.

    Args:
        duration: s of measurement.
        patience: s to wait for a state with evidence.
        settle: s between that state and the measurement.
        on_start: called when the measurement begins.
    """
    make_new_files_private()
    rclpy.init(args=[])
    node = rclpy.create_node("emotion_latency_probe")
    latencies: list[float] = []
    health: list[NodeHealth] = []
    frames = 0
    newest = -1
    counting = False

    def on_state(message: EmotionState) -> None:
        nonlocal newest
        stamp = Time.from_msg(message.header.stamp).nanoseconds
        if message.status == EmotionState.NO_EVIDENCE or stamp <= newest:
            return  # a repeated state has no information about latency
        newest = stamp
        if counting:
            latencies.append((node.get_clock().now().nanoseconds - stamp) / 1e9)

    def on_faces(_: FaceEmotionArray) -> None:
        nonlocal frames
        frames += counting

    def on_diagnostics(message: DiagnosticArray) -> None:
        if counting:
            health.extend(node_health(message))

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, profile("diagnostics"))
    node.create_subscription(EmotionState, "/emotion_state", on_state, profile("state"))
    node.create_subscription(FaceEmotionArray, "/faces/emotions", on_faces, profile("estimates"))
    started = time.monotonic()
    first = float("nan")
    try:
        while newest < 0 and time.monotonic() - started < patience:
            rclpy.spin_once(node, timeout_sec=0.2)
        if newest >= 0:
            first = time.monotonic() - started
            _spin(node, settle)
            counting = True
            on_start()
            _spin(node, duration)
    except ExternalShutdownException:
        pass
    finally:
        node.destroy_node()
        end_ros()
    return Measured(tuple(latencies), first, frames, duration, tuple(health))


def _spin(node: rclpy.node.Node, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        rclpy.spin_once(node, timeout_sec=left)
