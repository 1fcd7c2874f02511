"""The newest that is known about people, as plain values; filled by a ROS thread, read by the MCP server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

STALE_S = 3.0  # age of a message from which its publisher counts as stopped
START = "ros2 launch emotion_perception robot.launch.py interaction:=true"


class GraphError(RuntimeError):
    """The robot cannot answer; the text gives the reason and the remedy."""


class Knowledge:
    """Newest value of each kind, with the time of its arrival. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def put(self, kind: str, value: Mapping[str, Any]) -> None:
        """Replace the newest value of ``kind``."""
        with self._lock:
            self._values[kind] = (self._clock(), value)

    def get(self, kind: str, publisher: str) -> dict[str, Any]:
        """The newest value of ``kind``; ``publisher`` is the node that sends it, for the error.

        Raises:
            GraphError: there is none, or it is older than :data:`STALE_S`.
        """
        with self._lock:
            found = self._values.get(kind)
            anything = bool(self._values)
        if found is None and not anything:
            raise GraphError(f"the emotion perception graph is not running, or not on this network; start it: {START}")
        if found is None:
            raise GraphError(f"{publisher} does not run; start the graph with it: {START}")
        age = self._clock() - found[0]
        if age > STALE_S:
            raise GraphError(f"{publisher} has been silent for {age:.0f} s; it was stopped, or is being restarted")
        return dict(found[1])

    def state(self) -> dict[str, Any]:
        """The emotion state of the conversation partner.

        Raises:
            GraphError: see :meth:`get`.
        """
        return self.get("state", "fusion_node")

    def people(self) -> dict[str, Any]:
        """``emotion_context``: everybody who is seen or heard.

        Raises:
            GraphError: see :meth:`get`.
        """
        return self.get("people", "interaction_node")

    def arc(self) -> dict[str, Any]:
        """The emotional arc of the conversation.

        Raises:
            GraphError: see :meth:`get`.
        """
        return self.get("arc", "interaction_node")

    def facial_actions(self, face_id: str) -> str:
        """Facial actions of a face that was seen just now; empty if unknown."""
        with self._lock:
            arrived, faces = self._values.get("faces", (0.0, {}))
        return str(faces.get(face_id, "")) if self._clock() - arrived <= STALE_S else ""


def signature(people: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must differ for a change that is worth mentioning: who is there, emotion, engagement, speaking, a trend.

    Example:
        >>> calm = {"people": [{"face_id": "f", "emotion": "calm", "valence": 0.41}]}
        >>> signature(calm) == signature({"people": [{"face_id": "f", "emotion": "calm", "valence": 0.43}]})
        True
    """
    return tuple(
        (
            person.get("person_id") or person.get("face_id", ""),
            person.get("emotion", ""),
            person.get("engagement", ""),
            person.get("speaking", False),
            _direction(person.get("change")),
        )
        for person in people.get("people", ())
    )


def _direction(change: Mapping[str, float] | None) -> int:
    if change is None:
        return 0
    return 1 if change["valence_now"] > change["valence_before"] else -1
