"""Choice of the faces to classify when many are in view: classification costs time, so the number per image is limited.

A face ranks by its side length in the image (near faces) times how long it has faced the camera (people who talk or
want to talk with the robot): ``side * (0.5 + engagement) * hold``. Engagement is the pose factor of quality, 0.2 in
profile to 1 frontal, low-pass filtered from 0: a short glance away hardly changes it, turning away lowers it within
seconds. ``hold`` favours faces that are already classified, so that two faces of similar rank do not alternate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion_perception.types import SECOND, Box
from emotion_perception.visual.quality import pose_quality
from emotion_perception.visual.tracker import TrackedFace

ENGAGEMENT_TIME = 2.0  # s, time constant of the low-pass
HOLD = 1.3  # factor by which a face must outrank a classified one to replace it
HOLD_TIME = 1.0  # s for which a classified face keeps this advantage, so that a missed detection does not end it


@dataclass
class _Known:
    engagement: float
    stamp_ns: int  # of the newest image with this face
    chosen_ns: int | None = None  # when it was last chosen


class FaceSelection:
    """Chooses the faces to classify in each image.

    Args:
        places: maximum number of faces classified in one image.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._known: dict[str, _Known] = {}

    def reset(self) -> None:
        """Forget all faces."""
        self._known.clear()

    def choose(self, faces: Sequence[TrackedFace], alive: set[str], stamp_ns: int) -> set[str]:
        """Ids of at most ``places`` of the ``faces`` in view at ``stamp_ns``; forgets ids that are not ``alive``."""
        self._known = {face_id: known for face_id, known in self._known.items() if face_id in alive}
        ranks = {face.face_id: self._rank(face, stamp_ns) for face in faces}
        chosen = set(sorted(ranks, key=lambda face_id: (-ranks[face_id], face_id))[: self.places])
        for face_id in chosen:
            self._known[face_id].chosen_ns = stamp_ns
        return chosen

    def _rank(self, face: TrackedFace, stamp_ns: int) -> float:
        known = self._known.setdefault(face.face_id, _Known(0.0, stamp_ns))
        if face.seen:  # otherwise its landmarks are from an earlier image
            change = 1 - np.exp(-(stamp_ns - known.stamp_ns) / SECOND / ENGAGEMENT_TIME)
            known.engagement += change * (pose_quality(face.detection.landmarks) - known.engagement)
            known.stamp_ns = stamp_ns
        held = known.chosen_ns is not None and stamp_ns - known.chosen_ns <= HOLD_TIME * SECOND
        return box_side(face.box) * (0.5 + known.engagement) * (HOLD if held else 1.0)


def box_side(box: Box) -> float:
    """Geometric mean of width and height, px."""
    return float(np.sqrt(max(box.width, 0.0) * max(box.height, 0.0)))
