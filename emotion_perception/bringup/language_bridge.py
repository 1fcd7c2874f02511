"""The ROS side of ``emotion-mcp``: topics of the running graph to :class:`Knowledge`, tools to service calls."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from emotion_msgs.msg import EmotionArc, EmotionState, FaceEmotionArray
from emotion_msgs.srv import ExplainFace, StartInteraction, StopInteraction
from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import parse_json
from emotion_perception.language.knowledge import START, GraphError, Knowledge
from emotion_perception.language.server import explanation
from emotion_perception.ros import conversions
from emotion_perception.ros.lifecycle import end_ros
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.qos import profile
from emotion_perception.types import SECOND

SERVICE_TIMEOUT_S = 5.0
ARC_POINTS = 60  # most points of an arc that a language model gets


class LanguageBridge(Knowledge):
    """The running graph, for :func:`emotion_perception.language.server.make_server`.

    Args:
        namespace: of the graph.
    """

    def __init__(self, namespace: str = "") -> None:
        super().__init__()
        make_new_files_private()
        # Signals end the server, which then calls close(); ROS must not end before it.
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("emotion_mcp", namespace=namespace)
        node = self._node
        node.create_subscription(EmotionState, "emotion_state", self._on_state, profile("state"))
        node.create_subscription(String, "emotion_context", self._on_context, profile("state"))
        node.create_subscription(EmotionArc, "interaction/arc", self._on_arc, profile("state"))
        node.create_subscription(FaceEmotionArray, "faces/emotions", self._on_faces, profile("estimates"))
        self._explain = node.create_client(ExplainFace, "visual_node/explain_face")
        self._start = node.create_client(StartInteraction, "interaction/start")
        self._stop = node.create_client(StopInteraction, "interaction/stop")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        end_ros()
        self._thread.join(2.0)
        self._node.destroy_node()

    def explain_face(self, face_id: str, label: int | None) -> dict[str, Any]:
        """The answer of ``visual_node/explain_face`` without its image, and the facial actions that were seen.

        Raises:
            GraphError: visual_node does not answer, or has no such face.
        """
        request = ExplainFace.Request(face_id=face_id, explain_top_label=label is None, label=label or 0)
        answer = self._call(self._explain, request, "visual_node")
        emotion = answer.emotion
        estimate = {
            "emotion": EMOTIONS[emotion.label],
            **{name: round(float(getattr(emotion, name)), 2) for name in ("confidence", "valence", "arousal")},
        }
        return explanation(answer.label, estimate, self.facial_actions(face_id))

    def start_conversation(self, name: str, person_id: str) -> dict[str, Any]:
        """Id and start of the new conversation.

        Raises:
            GraphError: interaction_node does not answer or refuses.
        """
        request = StartInteraction.Request(name=name, person_id=person_id)
        answer = self._call(self._start, request, "interaction_node")
        start = conversions.stamp_to_ns(answer.start) / SECOND
        return {"interaction_id": answer.interaction_id, "start": round(start, 3), "note": answer.message}

    def end_conversation(self, interaction_id: str) -> dict[str, Any]:
        """The summary of the conversation.

        Raises:
            GraphError: interaction_node does not answer, or no such conversation is running.
        """
        answer = self._call(self._stop, StopInteraction.Request(interaction_id=interaction_id), "interaction_node")
        summary = answer.summary
        return {
            "interaction_id": summary.interaction_id,
            "text": summary.text,
            "duration_s": round(conversions.duration_to_seconds(summary.duration), 1),
            "coverage": round(summary.coverage, 2),
            "satisfaction": _number(summary.satisfaction),
            "satisfaction_margin": _number(summary.satisfaction_margin),
            "satisfaction_reason": summary.satisfaction_reason,
            "note": answer.message,
        }

    def _call(self, client: Any, request: Any, server: str) -> Any:
        if not client.service_is_ready():
            raise GraphError(f"{server} does not run; start the graph with it: {START}")
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(SERVICE_TIMEOUT_S):
            client.remove_pending_request(future)
            raise GraphError(f"{server} did not answer within {SERVICE_TIMEOUT_S:.0f} s")
        answer = future.result()
        if not answer.success:
            raise GraphError(answer.message)
        return answer

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_state(self, message: EmotionState) -> None:
        try:
            self.put("state", conversions.state_to_record(message))
        except conversions.ConversionError as error:
            self._node.get_logger().warning(f"emotion_state: {error}", throttle_duration_sec=60.0)

    def _on_context(self, message: String) -> None:
        try:
            content = parse_json(message.data)
        except ValueError as error:
            self._node.get_logger().warning(f"emotion_context: {error}", throttle_duration_sec=60.0)
            return
        if isinstance(content, dict):
            self.put("people", content)

    def _on_arc(self, message: EmotionArc) -> None:
        self.put("arc", arc_record(message))

    def _on_faces(self, message: FaceEmotionArray) -> None:
        actions = {face.face_id: face.facial_actions for face in message.faces}
        largest = max(message.faces, key=lambda face: face.roi.width * face.roi.height, default=None)
        self.put("faces", actions | ({"": largest.facial_actions} if largest is not None else {}))


def arc_record(message: EmotionArc) -> dict[str, Any]:
    """An arc as JSON-ready values: its summary, and at most :data:`ARC_POINTS` points.

    Keys: ``running`` (whether a conversation is; otherwise the arc is of the last minute), ``interaction_id``,
    ``duration_s``, ``shape``, ``valence_trend_per_minute``, ``mean_valence`` (None if unknown), ``turning_points`` and
    ``points``: seconds from the start, valence, emotion, without times of no evidence.
    """
    running = conversions.running_from_message(message)
    step = conversions.duration_to_seconds(message.step)
    known = np.flatnonzero(np.isfinite(np.asarray(message.valence, np.float32)))
    chosen = known[np.linspace(0, len(known) - 1, min(len(known), ARC_POINTS)).round().astype(int)]
    return {
        "running": bool(running.interaction_id),
        "interaction_id": running.interaction_id,
        "duration_s": round((running.end_ns - running.start_ns) / SECOND, 1),
        "shape": running.shape,
        "valence_trend_per_minute": _number(running.valence_trend),
        "mean_valence": _number(running.mean_valence),
        "turning_points": running.turning_points,
        "points": [
            [round(float(i) * step, 1), round(message.valence[i], 2), EMOTIONS[message.labels[i]]]
            for i in chosen
            if message.labels[i] < len(EMOTIONS)
        ],
    }


def _number(value: float) -> float | None:
    return round(value, 2) if np.isfinite(value) else None
