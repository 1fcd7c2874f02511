"""What the page shows: the newest of everything the robot knows, as JSON texts that all viewers share.

Fed with the core's dataclasses from one thread, read from another. Each *section* (state, trail, group, conversation,
health, conversations) has a version; its text is made once per version, whoever and however many ask.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from emotion_perception.interaction.group import GroupEmotion
from emotion_perception.types import (
    SECOND,
    EmotionEstimate,
    EmotionState,
    EmotionStatus,
    FaceObservation,
    NodeHealth,
    RunningConversation,
)

TRAIL_STEP_S = 0.5  # between two points of the scrolling arc
TRAIL_S = 240.0  # what a new viewer is given of it
TRAIL_NEWS = 20  # points told again with each new one, so that a viewer who misses a message misses no point
STATE_RATE_HZ = 5.0  # faster than eyes can read figures
GROUP_RATE_HZ = 2.0
SILENT_AFTER_S = 3.0  # a node that reports every second and has not for so long
EXPECTED_NODES = ("visual_node", "acoustic_node", "fusion_node")  # without them there is nothing to show


class Store:
    """The newest of everything.

    Args:
        clock: monotonic seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._versions: dict[str, int] = {}
        self._texts: dict[str, tuple[int, str]] = {}
        self._state: EmotionState | None = None
        self._made_ns = 0
        self._state_at = -math.inf
        self._state_told = -math.inf
        self._latency_s = 0.0
        self._evidence_at: float | None = None  # when there last was any
        self._trail: deque[list[Any]] = deque(maxlen=round(TRAIL_S / TRAIL_STEP_S))
        self._group: GroupEmotion | None = None
        self._group_told = -math.inf
        self._people: tuple[FaceObservation, ...] = ()
        self._conversation: RunningConversation | None = None
        self._health: dict[str, tuple[NodeHealth, float]] = {}
        self._conversations: list[dict[str, Any]] = []
        self._started = clock()
        for section in ("state", "trail", "group", "conversation", "health", "conversations"):
            self._versions[section] = 1

    # --- what the node tells ------------------------------------------------------------------------------------

    def add_state(self, state: EmotionState, made_ns: int) -> None:
        """The state of the person spoken with, made at ``made_ns``."""
        with self._lock:
            now = self._clock()
            changed = self._state is None or (state.status, state.emotion.label) != (
                self._state.status,
                self._state.emotion.label,
            )
            self._state, self._made_ns, self._state_at = state, made_ns, now
            self._latency_s = max(0, made_ns - state.stamp_ns) / SECOND
            if state.status != EmotionStatus.NO_EVIDENCE:
                self._evidence_at = now
            if changed or now - self._state_told >= 0.9 / STATE_RATE_HZ:
                self._state_told = now
                self._touch("state")
            self._add_to_trail(state, made_ns / SECOND)

    def add_faces(self, faces: Iterable[FaceObservation]) -> None:
        """Everybody in the newest picture."""
        with self._lock:
            self._people = tuple(faces)

    def add_group(self, group: GroupEmotion) -> None:
        """The mood of everybody in view."""
        with self._lock:
            changed = self._group is None or self._group.faces_counted != group.faces_counted
            self._group = group
            if changed or self._clock() - self._group_told >= 0.9 / GROUP_RATE_HZ:
                self._group_told = self._clock()
                self._touch("group")

    def add_conversation(self, running: RunningConversation) -> None:
        """How the conversation goes."""
        with self._lock:
            self._conversation = running
            self._touch("conversation")

    def add_health(self, reports: Iterable[NodeHealth]) -> None:
        """What nodes say about themselves."""
        with self._lock:
            for report in reports:
                self._health[report.name] = (report, self._clock())
            self._touch("health")

    def set_conversations(self, conversations: list[dict[str, Any]]) -> None:
        """The stored conversations, newest first, as ``interaction.history.listed`` gives them."""
        with self._lock:
            if conversations != self._conversations:
                self._conversations = conversations
                self._touch("conversations")

    def tick(self) -> None:
        """To be called once a second: silence grows although nobody tells."""
        with self._lock:
            self._touch("health")
            if self._clock() - self._state_at > SILENT_AFTER_S:
                self._touch("state")

    def forget(self) -> None:
        """Nothing is known any more: the node stops listening."""
        with self._lock:
            self._state = self._group = self._conversation = None
            self._evidence_at = None
            self._people = ()
            self._trail.clear()
            self._health.clear()
            for section in self._versions:
                self._touch(section)

    # --- what viewers get ---------------------------------------------------------------------------------------

    @property
    def chosen_face(self) -> str:
        """Id of the face that the robot talks with; empty where there is none."""
        state = self._state
        return state.face_id if state is not None else ""

    @property
    def running(self) -> str:
        """Id of the conversation that goes on; empty where there is none."""
        conversation = self._conversation
        return conversation.interaction_id if conversation is not None else ""

    @property
    def shown_emotion(self) -> str:
        """What the person that the robot talks with shows; empty where there is no evidence, or no news."""
        with self._lock:
            state = self._state
            silent = self._clock() - self._state_at > SILENT_AFTER_S
            known = state is not None and not silent and state.status != EmotionStatus.NO_EVIDENCE
            return state.emotion.name if state is not None and known else ""

    def versions(self) -> dict[str, int]:
        """The sections with their versions."""
        with self._lock:
            return dict(self._versions)

    def text(self, section: str, whole: bool = False) -> str:
        """A section as the page gets it. ``whole`` gives the trail from its beginning, for a new viewer."""
        with self._lock:
            key = f"{section} whole" if whole and section == "trail" else section
            version = self._versions[section]
            made, text = self._texts.get(key, (-1, ""))
            if made != version:
                fields = {"type": section, **self._fields(section, key != section)}
                text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
                self._texts[key] = (version, text)
            return text

    def _fields(self, section: str, whole: bool) -> dict[str, Any]:
        if section == "state":
            return self._state_fields()
        if section == "trail":
            points = list(self._trail)
            return {"whole": whole, "step": TRAIL_STEP_S, "points": points if whole else points[-TRAIL_NEWS:]}
        if section == "group":
            return self._group_fields()
        if section == "conversation":
            return self._conversation_fields()
        if section == "health":
            return {"nodes": self._health_fields()}
        return {"conversations": self._conversations}

    def _touch(self, section: str) -> None:
        self._versions[section] += 1

    def _add_to_trail(self, state: EmotionState, when: float) -> None:
        if self._trail and when < self._trail[-1][0] - 1.0:
            self._trail.clear()  # the clock was set back; two times do not mix
        if self._trail and when - self._trail[-1][0] < 0.9 * TRAIL_STEP_S:
            return
        point: list[Any] = [round(when, 2), int(state.status)]
        if state.status != EmotionStatus.NO_EVIDENCE:
            emotion = state.emotion
            point += [emotion.label, *(round(v, 3) for v in (emotion.confidence, emotion.valence, emotion.arousal))]
        self._trail.append(point)
        self._touch("trail")

    def _state_fields(self) -> dict[str, Any]:
        now = self._clock()
        if self._state is None or now - self._state_at > SILENT_AFTER_S:
            # Not even "no evidence" is known: whoever says so is silent.
            return {"status": None, "silent_s": None if self._state is None else round(now - self._state_at)}
        state = self._state
        quiet = None if self._evidence_at is None else round(now - self._evidence_at, 1)
        fields: dict[str, Any] = {
            "status": state.status.name,
            "time": round(self._made_ns / SECOND, 3),
            "quiet_s": quiet,  # since there last was any evidence; null: never
            "face_id": state.face_id,
            "voice_id": state.voice_id,
            "person_id": state.person_id,
        }
        if state.status == EmotionStatus.NO_EVIDENCE:
            return fields
        return {
            **fields,
            "latency_ms": round(1000 * self._latency_s),
            "evidence": [
                {
                    "modality": item.modality.name.lower(),
                    "weight": _number(item.weight),
                    "age": _number(item.age),
                    "label": item.emotion.label,
                    "confidence": _number(item.emotion.confidence),
                }
                for item in state.evidence
            ],
            **estimate_fields(state.emotion),
        }

    def _group_fields(self) -> dict[str, Any]:
        group = self._group
        if group is None or group.faces_counted == 0:
            return {"faces": 0}
        return {
            "faces": group.faces_counted,
            "agreement": _number(group.agreement),
            "spread": _number(group.valence_spread),
            "differing": list(group.differing),
            "people": [
                {
                    "id": face.face_id,
                    "label": face.emotion.label,
                    "confidence": _number(face.emotion.confidence),
                    "valence": _number(face.emotion.valence),
                    "arousal": _number(face.emotion.arousal),
                }
                for face in self._people
            ],
            **estimate_fields(group.emotion),
        }

    def _conversation_fields(self) -> dict[str, Any]:
        running = self._conversation
        if running is None:
            return {"listening": False}
        if not running.interaction_id:
            return {"listening": True, "id": ""}
        return {
            "listening": True,
            "id": running.interaction_id,
            "person_id": running.person_id,
            "start": running.start_ns / SECOND,
            "seconds": round((running.end_ns - running.start_ns) / SECOND, 1),
            "shape": running.shape,
            "trend": _number(running.valence_trend),
            "turning_points": running.turning_points,
            "mean_valence": _number(running.mean_valence),
        }

    def _health_fields(self) -> list[dict[str, Any]]:
        now = self._clock()
        nodes = []
        for report, heard in self._health.values():
            silent = now - heard
            level, message = report.level, report.message
            if silent > SILENT_AFTER_S:
                level, message = "stale", f"no word for {silent:.0f} s"
            nodes.append({"name": report.name, "level": level, "message": message, "values": dict(report.values)})
        known = {name.rpartition("/")[2] for name in self._health}
        if now - self._started > SILENT_AFTER_S:
            nodes += [
                {"name": name, "level": "stale", "message": "never heard of; is it started?", "values": {}}
                for name in EXPECTED_NODES
                if name not in known
            ]
        return sorted(nodes, key=lambda node: node["name"])


def estimate_fields(emotion: EmotionEstimate) -> dict[str, Any]:
    """An estimate for the page; emotions are told by their index, intensities that are not known are null."""
    return {
        "label": emotion.label,
        "confidence": _number(emotion.confidence),
        "probabilities": [_number(p) for p in emotion.probabilities],
        "intensities": [_number(i) for i in emotion.intensities],
        "valence": _number(emotion.valence),
        "arousal": _number(emotion.arousal),
    }


def _number(value: float, digits: int = 3) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
