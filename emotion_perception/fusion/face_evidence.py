"""Faces as evidence: the recent observations of each face track, and their weights.

A face counts from its newest observation of sufficient quality until ``visual_max_age_s``; once a newer image lacks it,
only for ``face_hold_s`` after it was last seen, which bridges a missed detection. Observations are filtered over time
before they arrive (:mod:`emotion_perception.hmm_filter`), so the newest stands for all.

A face id ends when the tracker loses the face, as behind a raised hand. A new face is therefore the same person's if it
appears, within ``person_hold_s``, where a face that is no longer in view was last seen.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.persons import Persons
from emotion_perception.fusion.pooling import half_life_decay, ramp
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.types import Box, EmotionEstimate, FaceObservation, to_seconds

MAX_FACES = 64  # per image; the largest are kept
MAX_OBSERVATIONS = 32  # per face
MAX_TRACKS = 256
MAX_LEFT = 64  # faces remembered after their observations are too old
SAME_PLACE = 1.0  # face sizes between the centres of two faces that may be one person's
SAME_SIZE = 1.5  # ratio of their sizes


@dataclass(frozen=True, order=True)
class FaceEvidence:
    """One observation of a face."""

    stamp_ns: int
    face: FaceObservation = field(compare=False)
    emotion: EmotionEstimate = field(compare=False)  # likelihood ratios after the class factors of the model
    size: float = field(compare=False)  # px^2: area of the box, reduced off-centre
    weight: float = field(compare=False)  # in the pool, without staleness


class FaceTrack:
    """The observations of one face, oldest first; at least one."""

    def __init__(self, person_id: str, evidence: FaceEvidence) -> None:
        self.person_id, self.face_id = person_id, evidence.face.face_id
        self.observations, self.newest = [evidence], evidence

    def add(self, evidence: FaceEvidence) -> None:
        """One more observation; of two with the same stamp the later arrival counts."""
        if evidence.stamp_ns > self.newest.stamp_ns:
            self.observations.append(evidence)
        else:
            self.observations = [held for held in self.observations if held.stamp_ns != evidence.stamp_ns]
            insort(self.observations, evidence)
        del self.observations[:-MAX_OBSERVATIONS]
        self.newest = self.observations[-1]

    def keep(self, oldest_ns: int, newest_ns: int) -> bool:
        """Drop observations outside a time range; returns whether any is left."""
        if oldest_ns <= self.observations[0].stamp_ns and self.newest.stamp_ns <= newest_ns:
            return True
        kept = [held for held in self.observations if oldest_ns <= held.stamp_ns <= newest_ns]
        if kept:
            self.observations, self.newest = kept, kept[-1]
        return bool(kept)


class FaceTracks:
    """All faces of the last seconds.

    Args:
        config: of the engine.
        reliability: of the face model.
        persons: numbers the persons of new faces.
    """

    def __init__(self, config: FusionConfig, reliability: Reliability, persons: Persons) -> None:
        self._config, self._reliability, self._persons = config, reliability, persons
        self.tracks: dict[str, FaceTrack] = {}  # by face id
        self._left: deque[FaceTrack] = deque(maxlen=MAX_LEFT)  # removed from the tracks for their age

    def clear(self) -> None:
        """Forget all faces."""
        self.tracks.clear()
        self._left.clear()

    def add(
        self,
        stamp_ns: int,
        face: FaceObservation,
        image_size: tuple[int, int] | None,
        in_view: Collection[str] = (),
    ) -> bool:
        """One observation; returns whether it is evidence.

        One of poor quality is none, and leaves that of a sharp image just before in force.

        Args:
            stamp_ns: capture of the image, ns.
            face: the face.
            image_size: width and height, px; None if unknown.
            in_view: ids of all faces in the image.
        """
        weight = self._weight(face)
        if weight <= 0:
            return False
        emotion = self._reliability.as_evidence(face.emotion)
        evidence = FaceEvidence(stamp_ns, face, emotion, _size(face, image_size), weight)
        track = self.tracks.get(face.face_id)
        if track is None:
            self.tracks[face.face_id] = FaceTrack(self._person(evidence, in_view), evidence)
        else:
            track.add(evidence)
        return True

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        """Drop observations outside a time range, faces without any, and the longest unseen beyond MAX_TRACKS."""
        for face_id, track in list(self.tracks.items()):
            if not track.keep(oldest_ns, newest_ns):
                self._left.append(self.tracks.pop(face_id))
        if len(self.tracks) > MAX_TRACKS:
            by_age = sorted(self.tracks, key=lambda face_id: self.tracks[face_id].newest.stamp_ns)
            for face_id in by_age[: len(by_age) - MAX_TRACKS]:
                del self.tracks[face_id]

    def fresh(self, now_ns: int, newest_image_ns: int) -> list[FaceTrack]:
        """The faces that are evidence now."""
        return [
            track
            for track in self.tracks.values()
            if self.weight_at(track, now_ns) > 0
            and (
                track.newest.stamp_ns == newest_image_ns
                or to_seconds(newest_image_ns - track.newest.stamp_ns) <= self._config.face_hold_s
            )
        ]

    def weight_at(self, track: FaceTrack, now_ns: int) -> float:
        """The weight of a face in the pool at a time, with staleness."""
        config = self._config
        age = to_seconds(now_ns - track.newest.stamp_ns)
        return track.newest.weight * half_life_decay(
            age, config.visual_fresh_s, config.visual_half_life_s, config.visual_max_age_s
        )

    def _person(self, evidence: FaceEvidence, in_view: Collection[str]) -> str:
        """The person of a face that appears."""
        config = self._config
        present = {track.person_id for face_id, track in self.tracks.items() if face_id in in_view}
        before = [
            track
            for track in (*self._left, *self.tracks.values())
            if track.person_id not in present
            and config.face_hold_s < to_seconds(evidence.stamp_ns - track.newest.stamp_ns) <= config.person_hold_s
            and _same_place(evidence.face.box, track.newest.face.box)
        ]
        newest = max(before, key=lambda track: track.newest.stamp_ns, default=None)
        return self._persons.number(evidence.face.face_id, newest.person_id if newest else None, present)

    def _weight(self, face: FaceObservation) -> float:
        """Without staleness; 0 where the quality is too poor."""
        if not face.quality > self._config.min_quality:
            return 0.0
        detected = ramp(face.detection_score, 0.0, self._config.good_detection_score)
        return self._config.visual_weight * detected * self._reliability.weight_at(face.quality)


def _size(face: FaceObservation, image_size: tuple[int, int] | None) -> float:
    """Area of the box, px^2; reduced to half of it towards the border of the image."""
    box = face.box
    area = max(0.0, box.width) * max(0.0, box.height)
    if image_size is None or min(image_size) <= 0:
        return area
    eccentricity = max(
        abs((box.x + box.width / 2) / image_size[0] - 0.5), abs((box.y + box.height / 2) / image_size[1] - 0.5)
    )  # 0 in the middle, 0.5 at the border
    return area * (1.0 - float(np.clip(eccentricity, 0.0, 0.5)))


def _same_place(one: Box, other: Box) -> bool:
    """Whether two faces are so near and so alike in size that they may be one person's."""
    sizes = sorted(((one.width + one.height) / 2, (other.width + other.height) / 2))
    right = one.x + one.width / 2 - other.x - other.width / 2
    down = one.y + one.height / 2 - other.y - other.height / 2
    return math.hypot(right, down) <= SAME_PLACE * sizes[0] and sizes[1] <= SAME_SIZE * sizes[0]
