"""Attention and engagement of every person in view, from face observations and their stamps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from emotion_perception.attention.config import AttentionConfig
from emotion_perception.attention.distance import DistanceTrack
from emotion_perception.attention.engagement import Cues, EngagementMachine
from emotion_perception.attention.geometry import Camera, Vector, distance_from_size, line_of_sight
from emotion_perception.attention.looking import LookingFilter, LookingHistory
from emotion_perception.types import SECOND, Engagement, FaceObservation, PersonState

MAX_PERSONS = 64
IN_VIEW_S = 0.5  # time for which a face is still in view although newer images lack it, as in fusion
OLDEST_S = 1.0  # age of an image from which nobody is known to be in view, as in fusion
FORGET_S = 3.0  # s after which a person who left is forgotten: a return starts at UNKNOWN
JUMP_S = 0.5  # a stamp older than the newest by more is from another clock
ATTENTION_TIME = 0.5  # s, time constant of the attention that engagement is judged by
FACING = math.radians(30.0)  # angle between head and robot up to which a speaker speaks to the robot
SPEAKER_ATTENTION = 0.75  # attention of a person who speaks to the robot, at least


class _Person:
    """What is kept of one person."""

    def __init__(self, config: AttentionConfig, stamp_ns: int) -> None:
        self.looking = LookingFilter(math.radians(config.looking_angle), config.gaze_hold_s)
        self.history = LookingHistory(config.attention_window_s)
        self.distance = DistanceTrack()
        self.machine = EngagementMachine(config)
        self.attention = math.nan  # smoothed, 0..1
        self.speaking = math.nan
        self.seen_ns = stamp_ns
        self.height = 0.0  # px, of the face
        self.face_id = ""
        self.person_id = ""


class AttentionTracker:
    """The people in view and their engagement. Bounded memory; not thread-safe; reads no clock.

    A person is known by ``person_id`` where there is one, so that a face that comes back under another id continues,
    and otherwise by face id. Stamps that jump back by more than half a second start everything over.

    Args:
        config: see :class:`AttentionConfig`.

    Example:
        >>> from emotion_perception.types import Box, EmotionEstimate, FaceLandmarks
        >>> into_camera = FaceLandmarks(0.9, 0.0, 0.0, 0.0, 0.0, 0.0, eye_closure=0.1)
        >>> face = FaceObservation("f", Box(90, 90, 90, 90), 0.9, 0.8, EmotionEstimate.unknown(), landmarks=into_camera)
        >>> tracker = AttentionTracker()
        >>> for tenth in range(30):  # looks into the camera for 3 s
        ...     tracker.add_faces(tenth * SECOND // 10, [face], {"f": "anna"})
        >>> (state,) = tracker.states(29 * SECOND // 10)
        >>> state.person_id, state.engagement.name, round(state.attention, 2), state.looking > 0.9
        ('anna', 'ENGAGED', 1.0, True)
    """

    def __init__(self, config: AttentionConfig | None = None) -> None:
        self.config = config or AttentionConfig()
        self._camera: Camera | None = None
        self._robot_head: Vector | None = None
        self._head_is_elsewhere = False
        self.clock_jumps = 0
        self.reset()

    def reset(self) -> None:
        """Forget all persons; camera and robot head stay."""
        self._persons: dict[str, _Person] = {}  # by person id, or "face " and the face id
        self._newest_ns: int | None = None

    def set_camera(self, camera: Camera | None) -> None:
        """Without a camera, distances come from depth only."""
        self._camera = camera

    def set_robot_head(self, position: Vector | None) -> None:
        """Position of the robot's head in the camera's optical TF frame, m.

        None: not known at present, nobody is known to look at it. Without any call the camera is the robot's head.
        """
        self._robot_head, self._head_is_elsewhere = position, True

    def add_faces(
        self,
        stamp_ns: int,
        faces: Sequence[FaceObservation],
        person_ids: Mapping[str, str] | None = None,
        speaking: Mapping[str, float] | None = None,
        depths: Mapping[str, float] | None = None,
    ) -> None:
        """All faces of one image; empty if there are none.

        Args:
            stamp_ns: capture of the image, ns; an image that is not newer than the last one is ignored.
            faces: in any order; the ``MAX_PERSONS`` largest are used.
            person_ids: person of each face id as far as known.
            speaking: probability of each face id to be speaking now, others 0; None: not known.
            depths: distance of each face id from a depth image, m, as far as known.
        """
        if self._newest_ns is not None and stamp_ns <= self._newest_ns:
            if self._newest_ns - stamp_ns <= JUMP_S * SECOND:
                return
            self.clock_jumps += 1
            self.reset()
        before_ns, self._newest_ns = self._newest_ns, stamp_ns
        step = 0.0 if before_ns is None else (stamp_ns - before_ns) / SECOND
        for key, person in list(self._persons.items()):
            if (stamp_ns - person.seen_ns) / SECOND > FORGET_S:
                del self._persons[key]
        if len(faces) > MAX_PERSONS:
            faces = sorted(faces, key=lambda face: -face.box.height)[:MAX_PERSONS]
        for face in faces:
            person = self._person_of(face.face_id, (person_ids or {}).get(face.face_id, ""), stamp_ns)
            chance = math.nan if speaking is None else speaking.get(face.face_id, 0.0)
            self._observe(person, stamp_ns, face, chance, (depths or {}).get(face.face_id, math.nan))
            self._judge(person, stamp_ns, step)

    def states(self, now_ns: int, partner: str = "") -> tuple[PersonState, ...]:
        """The persons in view at ``now_ns``, the conversation partner first, then by the height of their face.

        Args:
            now_ns: time of the query, ns.
            partner: face id of the conversation partner.
        """
        present = self._present(now_ns)
        present.sort(key=lambda person: (person.face_id != partner, -person.height, person.face_id))
        return tuple(self._state(person, partner) for person in present)

    def levels(self, now_ns: int) -> dict[str, Engagement]:
        """Engagement by face id of the persons in view at ``now_ns``."""
        return {person.face_id: person.machine.level for person in self._present(now_ns)}

    def _present(self, now_ns: int) -> list[_Person]:
        return [
            person
            for person in self._persons.values()
            if abs(now_ns - person.seen_ns) <= OLDEST_S * SECOND
            and (self._newest_ns or 0) - person.seen_ns <= IN_VIEW_S * SECOND
        ]

    def _person_of(self, face_id: str, person_id: str, stamp_ns: int) -> _Person:
        """The record of a person, moved when a face gets its person or a person another face."""
        unnamed = f"face {face_id}"  # no valid ROS4HRI id, so that it cannot be a person's
        key = person_id or unnamed
        found = self._persons.get(key)
        if found is not None and found.seen_ns == stamp_ns and found.face_id not in ("", face_id):
            key, person_id = unnamed, ""  # two faces of one image are not one person
            found = self._persons.get(key)
        if person_id and unnamed in self._persons:
            moved = self._persons.pop(unnamed)
            found = found or moved
        if found is None:
            other = next((k for k, person in self._persons.items() if person.face_id == face_id), None)
            found = self._persons.pop(other) if other is not None else _Person(self.config, stamp_ns)
        self._persons[key] = found
        if len(self._persons) > MAX_PERSONS:
            del self._persons[min(self._persons, key=lambda k: self._persons[k].seen_ns)]
        found.face_id, found.person_id = face_id, person_id
        return found

    def _observe(self, person: _Person, stamp_ns: int, face: FaceObservation, speaking: float, depth: float) -> None:
        person.seen_ns, person.height = stamp_ns, face.box.height
        person.speaking = speaking if 0 <= speaking <= 1 else math.nan
        distance = depth if depth > 0 else math.nan
        if math.isnan(distance) and self._camera is not None and face.detection_score > 0:
            distance = distance_from_size(face.box, self._camera, self.config.face_height)
        person.distance.add(stamp_ns, distance)
        if face.landmarks is None:
            return
        if not self._head_is_elsewhere:
            person.looking.measure(stamp_ns, face.landmarks, face.box.height)
        elif self._robot_head is not None and self._camera is not None:
            sight = line_of_sight(face.box, self._camera)
            away = person.distance.distance
            person.looking.measure(stamp_ns, face.landmarks, face.box.height, sight, away, self._robot_head)

    def _judge(self, person: _Person, stamp_ns: int, step: float) -> None:
        looking = person.looking.at(stamp_ns)
        person.history.add(stamp_ns, looking)
        to_robot = person.speaking >= 0.5 and person.looking.head_miss <= FACING
        attention = max(looking, SPEAKER_ATTENTION) if to_robot and not math.isnan(looking) else looking
        if math.isnan(attention) or math.isnan(person.attention):
            person.attention = attention
        else:
            person.attention += (1 - math.exp(-step / ATTENTION_TIME)) * (attention - person.attention)
        away = person.distance
        person.machine.step(stamp_ns, Cues(person.attention, away.distance, away.approach_speed, to_robot))

    def _state(self, person: _Person, partner: str) -> PersonState:
        return PersonState(
            stamp_ns=person.seen_ns,
            person_id=person.person_id,
            face_id=person.face_id,
            is_partner=person.face_id == partner,
            engagement=person.machine.level,
            looking=person.looking.at(person.seen_ns),
            attention=person.history.share(),
            looking_duration=person.history.duration(person.seen_ns),
            distance=person.distance.distance,
            zone=person.distance.zone,
            approach_speed=person.distance.approach_speed,
            speaking=person.speaking,
        )
