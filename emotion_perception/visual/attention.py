"""Whom to look at in a crowd: reading an expression costs time, so only so many faces of an image are read.

A face ranks by its side in the image (the near ones) times how long it has faced the camera (those who talk with the
robot, or want to): ``side * (0.5 + engagement) * hold``. Engagement is the pose factor of quality, 0.2 in profile to 1
frontal, through a low-pass from 0, so that a glance aside costs nothing and somebody who turns away soon counts less.
``hold`` favours who is read already: two faces of about the same rank do not take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion_perception.types import SECOND, Box
from emotion_perception.visual.quality import pose_quality
from emotion_perception.visual.tracker import TrackedFace

ENGAGEMENT_TIME = 2.0  # s, time constant of the low-pass
HOLD = 1.3  # a face must rank so much higher than one that is read to take its place
HOLD_TIME = 1.0  # s for which a face that was read is favoured: a missed detection does not cost it its place


@dataclass
class _Known:
    engagement: float
    stamp_ns: int  # of the newest image with this face
    read_ns: int | None = None  # when it was last chosen


class Attention:
    """Chooses the faces to read, image by image.

    Args:
        places: how many faces may be read in one image.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._known: dict[str, _Known] = {}

    def reset(self) -> None:
        """Forget everybody."""
        self._known.clear()

    def choose(self, faces: Sequence[TrackedFace], alive: set[str], stamp_ns: int) -> set[str]:
        """The ids of at most ``places`` of ``faces``, those in view at ``stamp_ns``; forgets who is not ``alive``."""
        self._known = {face_id: known for face_id, known in self._known.items() if face_id in alive}
        ranks = {face.face_id: self._rank(face, stamp_ns) for face in faces}
        chosen = set(sorted(ranks, key=lambda face_id: (-ranks[face_id], face_id))[: self.places])
        for face_id in chosen:
            self._known[face_id].read_ns = stamp_ns
        return chosen

    def _rank(self, face: TrackedFace, stamp_ns: int) -> float:
        known = self._known.setdefault(face.face_id, _Known(0.0, stamp_ns))
        if face.seen:  # else its landmarks are old, and say nothing new
            change = 1 - np.exp(-(stamp_ns - known.stamp_ns) / SECOND / ENGAGEMENT_TIME)
            known.engagement += change * (pose_quality(face.detection.landmarks) - known.engagement)
            known.stamp_ns = stamp_ns
        held = known.read_ns is not None and stamp_ns - known.read_ns <= HOLD_TIME * SECOND
        return box_side(face.box) * (0.5 + known.engagement) * (HOLD if held else 1.0)


def box_side(box: Box) -> float:
    """Geometric mean of width and height, px."""
    return float(np.sqrt(max(box.width, 0.0) * max(box.height, 0.0)))
