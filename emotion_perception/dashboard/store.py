"""Data shown on the page: the newest values of all topics, as JSON texts that all viewers share.

One thread adds the core's dataclasses, another one reads texts. Each *section* (state, trail, group, conversation,
health, conversations) has a version; its text is made once per version for all viewers. A section whose source is
silent for :data:`SILENT_AFTER_S` reports that instead of its last value, so the page never shows an old state as new.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from emotion_perception.files import json_number
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
from emotion_perception.visual.blank_image import BLACK, UNIFORM

TRAIL_STEP_S = 0.5  # between two points of the scrolling arc
TRAIL_S = 240.0  # length of the trail that a new viewer gets
TRAIL_REPEATED = 20  # points sent again with each new one, so that a viewer who misses a message misses no point
STATE_RATE_HZ = 5.0  # numbers that change faster are not readable
GROUP_RATE_HZ = 2.0
SILENT_AFTER_S = 3.0  # nodes report to /diagnostics every second
_number = partial(json_number, digits=3)
EXPECTED_NODES = ("visual_node", "acoustic_node", "fusion_node")  # without them there is nothing to show


class Store:
    """The newest data of all sections.

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
        self._state_shown_at = -math.inf
        self._latency_s = 0.0
        self._evidence_at: float | None = None  # time of the last evidence
        self._trail: deque[list[Any]] = deque(maxlen=round(TRAIL_S / TRAIL_STEP_S))
        self._group: GroupEmotion | None = None
        self._group_at = -math.inf
        self._group_shown_at = -math.inf
        self._people: tuple[FaceObservation, ...] = ()
        self._conversation: RunningConversation | None = None
        self._conversation_at = -math.inf
        self._health: dict[str, tuple[NodeHealth, float]] = {}
        self._conversations: dict[str, Any] = {}
        self._started = clock()
        for section in ("state", "trail", "group", "conversation", "health", "conversations"):
            self._versions[section] = 1

    # --- input --------------------------------------------------------------------------------------------------

    def add_state(self, state: EmotionState, made_ns: int) -> None:
        """The state of the conversation partner, computed at ``made_ns``."""
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
            if changed or now - self._state_shown_at >= 0.9 / STATE_RATE_HZ:
                self._state_shown_at = now
                self._touch("state")
            self._add_to_trail(state, made_ns / SECOND)

    def add_faces(self, faces: Iterable[FaceObservation]) -> None:
        """All faces of the newest frame."""
        with self._lock:
            self._people = tuple(faces)

    def add_group(self, group: GroupEmotion) -> None:
        """The group mood."""
        with self._lock:
            now = self._clock()
            changed = self._group is None or self._group.faces_counted != group.faces_counted
            self._group, self._group_at = group, now
            if changed or now - self._group_shown_at >= 0.9 / GROUP_RATE_HZ:
                self._group_shown_at = now
                self._touch("group")

    def add_conversation(self, running: RunningConversation) -> None:
        """The conversation in progress, or that there is none."""
        with self._lock:
            self._conversation, self._conversation_at = running, self._clock()
            self._touch("conversation")

    def add_health(self, reports: Iterable[NodeHealth]) -> None:
        """Health reports of nodes."""
        with self._lock:
            for report in reports:
                self._health[report.name] = (report, self._clock())
            for section in ("health", "state", "group"):  # the last two name a camera problem
                self._touch(section)

    def set_conversations(self, version: dict[str, Any]) -> None:
        """The state of the store (:meth:`ConversationStore.version`); viewers load the list again when it changes."""
        with self._lock:
            if version != self._conversations:
                self._conversations = version
                self._touch("conversations")

    def tick(self) -> None:
        """Call it once a second, so that data expire even if no message arrives."""
        with self._lock:
            for section in ("health", "state", "group", "conversation"):
                if section == "health" or self._is_silent(section):
                    self._touch(section)

    def forget(self) -> None:
        """Clear all data when the node is deactivated."""
        with self._lock:
            self._state = self._group = self._conversation = None
            self._state_at = self._group_at = self._conversation_at = -math.inf
            self._evidence_at = None
            self._people = ()
            self._trail.clear()
            self._health.clear()
            for section in self._versions:
                self._touch(section)

    # --- output -------------------------------------------------------------------------------------------------

    @property
    def chosen_face(self) -> str:
        """Id of the conversation partner's face; empty without one."""
        state = self._state
        return state.face_id if state is not None else ""

    @property
    def running(self) -> str:
        """Id of the conversation in progress; empty if there is none, or if its node is silent."""
        with self._lock:
            conversation = self._conversation
            return "" if conversation is None or self._is_silent("conversation") else conversation.interaction_id

    @property
    def shown_emotion(self) -> str:
        """Emotion of the conversation partner; empty without evidence, or if the state is not published."""
        with self._lock:
            state = self._state
            known = state is not None and not self._is_silent("state") and state.status != EmotionStatus.NO_EVIDENCE
            return state.emotion.name if state is not None and known else ""

    def versions(self) -> dict[str, int]:
        """The version of each section."""
        with self._lock:
            return dict(self._versions)

    def text(self, section: str, whole: bool = False) -> str:
        """A section as the page gets it, JSON. ``whole``: the trail from its beginning, for a new viewer."""
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
            return {"whole": whole, "step": TRAIL_STEP_S, "points": points if whole else points[-TRAIL_REPEATED:]}
        if section == "group":
            return self._group_fields()
        if section == "conversation":
            return self._conversation_fields()
        if section == "health":
            return {"nodes": self._health_fields()}
        return self._conversations

    def _touch(self, section: str) -> None:
        self._versions[section] += 1

    def _is_silent(self, section: str) -> bool:
        """Whether the source of a section has been silent for :data:`SILENT_AFTER_S`."""
        now = self._clock()
        if section == "conversation":
            # interaction/arc may be published as rarely as once a minute: health reports show that its node lives.
            reports = [at for health, at in self._health.values() if health.name.endswith("interaction_node")]
            return now - max(self._conversation_at, *reports, -math.inf) > SILENT_AFTER_S
        return now - (self._state_at if section == "state" else self._group_at) > SILENT_AFTER_S

    def _add_to_trail(self, state: EmotionState, when: float) -> None:
        if self._trail and when < self._trail[-1][0] - 1.0:
            self._trail.clear()  # the clock was set back: times before and after do not compare
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
        if self._state is None or self._is_silent("state"):
            # Not even "no evidence" is known: the node that reports it is silent.
            return {"status": None, "silent_s": None if self._state is None else round(now - self._state_at)}
        state = self._state
        quiet = None if self._evidence_at is None else round(now - self._evidence_at, 1)
        fields: dict[str, Any] = {
            "status": state.status.name,
            "time": round(self._made_ns / SECOND, 3),
            "quiet_s": quiet,  # since the last evidence; null: there never was any
            "face_id": state.face_id,
            "voice_id": state.voice_id,
            "person_id": state.person_id,
        }
        if state.status == EmotionStatus.NO_EVIDENCE:
            return {**fields, "camera": self._camera_problem()}
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
        if group is None or self._is_silent("group"):
            return {"faces": None}
        if group.faces_counted == 0:
            return {"faces": 0, "camera": self._camera_problem()}
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
        if running is None or self._is_silent("conversation"):
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

    def _camera_problem(self) -> str:
        """Why no face can be seen in the camera's image, as visual_node reports it; empty if the image is fine."""
        for report, at in self._health.values():
            recent = self._clock() - at <= SILENT_AFTER_S
            if recent and report.name.endswith("visual_node") and report.message in (BLACK, UNIFORM):
                return report.message
        return ""

    def _health_fields(self) -> list[dict[str, Any]]:
        now = self._clock()
        nodes = []
        for report, at in self._health.values():
            silent = now - at
            level, message = report.level, report.message
            if silent > SILENT_AFTER_S:
                level, message = "stale", f"silent for {silent:.0f} s"
            nodes.append({"name": report.name, "level": level, "message": message, "values": dict(report.values)})
        known = {name.rpartition("/")[2] for name in self._health}
        if now - self._started > SILENT_AFTER_S:
            nodes += [
                {"name": name, "level": "stale", "message": "no report yet; is it started?", "values": {}}
                for name in EXPECTED_NODES
                if name not in known
            ]
        return sorted(nodes, key=lambda node: node["name"])


def estimate_fields(emotion: EmotionEstimate) -> dict[str, Any]:
    """An estimate for the page: emotions as indices, unknown intensities as null."""
    return {
        "label": emotion.label,
        "confidence": _number(emotion.confidence),
        "probabilities": [_number(p) for p in emotion.probabilities],
        "intensities": [_number(i) for i in emotion.intensities],
        "valence": _number(emotion.valence),
        "arousal": _number(emotion.arousal),
    }
