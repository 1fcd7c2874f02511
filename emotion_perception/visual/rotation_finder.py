"""Find how far a camera's images are turned, from the faces in them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emotion_perception.types import SECOND, Box
from emotion_perception.visual.detector import FaceDetector
from emotion_perception.visual.face_selection import box_side
from emotion_perception.visual.mounting import Mounting
from emotion_perception.visual.tracker import TrackedFace

SIGHTINGS = 5  # newest sightings that are compared ...
AGREEING = 4  # ... and how many of them must agree; one wrong sighting, the first included, decides nothing
SIGHTING_PERIOD_S = 0.4  # between two sightings, so that one odd moment is not counted several times; doubled ...
LONGEST_PERIOD_S = 6.4  # ... up to this while faces are too small or too tilted to say
VANISHED_S = 10.0  # without a face, after which the rotation is checked again

# Of 69 upright faces (25 portraits, 44 news photographs) 68 were certain by these limits, all of them upright.
CHECKED_SCORE = 0.7  # least score of the window in the orientation that is taken for upright ...
CHECKED_GAIN = 0.02  # ... and by how much it must exceed the others
CHECKED_PER_IMAGE = 2  # orientations examined in one image


class OrientationCheck:
    """Finds which way up a tracked face is, independently of its track: in windows in all four orientations.

    The windows are spread over two images, so that no image costs much more time than others.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._scores: list[float] = []  # by counter-clockwise quarter turns of the window
        self.face_id = ""  # of the face that is examined; empty: none

    def step(self, bgr: np.ndarray, face_id: str, box: Box) -> bool:
        """Examine the face with this box in two more orientations; whether :attr:`quarter_turns` is known now."""
        if face_id != self.face_id:
            self.face_id, self._scores = face_id, []
        for _ in range(CHECKED_PER_IMAGE):
            found = self._detector.refine(bgr, box, len(self._scores))
            self._scores.append(0.0 if found is None else found.score)
        if len(self._scores) < 4:
            return False
        self.face_id = ""
        return True

    @property
    def quarter_turns(self) -> int | None:
        """Counter-clockwise quarter turns of the image that bring the face upright; None: uncertain."""
        second, best = sorted(self._scores)[-2:]
        return self._scores.index(best) if best >= max(CHECKED_SCORE, second + CHECKED_GAIN) else None


class RotationFinder:
    """Finds how far the images of a stream are turned, from the faces in them. Not thread-safe.

    A rotation is decided once :data:`AGREEING` of the newest :data:`SIGHTINGS` sightings agree, and then kept: a person
    who lies down does not turn the camera. After :data:`VANISHED_S` without a face it is checked again, but kept until
    other sightings agree on another one.

    Example:
        >>> finder = RotationFinder()
        >>> for rotation in (0, 90, 90, 90, 90):
        ...     finder.add(rotation)
        >>> finder.rotation
        90
    """

    def __init__(self) -> None:
        self.rotation: int | None = None  # degrees clockwise that bring faces upright; None: not decided yet
        self._checking = True
        self._sightings: deque[int] = deque(maxlen=SIGHTINGS)
        self._checked_ns: int | None = None
        self._period_s = SIGHTING_PERIOD_S
        self._seen_ns: int | None = None

    def due(self, face_in_view: bool, stamp_ns: int) -> bool:
        """Whether a sighting of the face in view would count now; call it for every image."""
        if self._seen_ns is None or face_in_view or stamp_ns < self._seen_ns:
            self._seen_ns = stamp_ns
        if not self._checking and stamp_ns - self._seen_ns >= VANISHED_S * SECOND:
            self._checking = True
            self._sightings.clear()
        early = self._checked_ns is not None and 0 <= stamp_ns - self._checked_ns < self._period_s * SECOND
        if not (self._checking and face_in_view) or early:
            return False
        self._checked_ns = stamp_ns
        return True

    def add(self, rotation: int | None) -> None:
        """A face was seen that is upright after turning the camera's image by ``rotation`` degrees clockwise.

        Args:
            rotation: 0, 90, 180 or 270; None: uncertain.
        """
        if rotation is None:
            self._period_s = min(2 * self._period_s, LONGEST_PERIOD_S)
            return
        self._period_s = SIGHTING_PERIOD_S
        self._sightings.append(rotation)
        most, count = Counter(self._sightings).most_common(1)[0]
        if count >= AGREEING:
            self.rotation, self._checking = most, False


class CameraMounting:
    """The mounting of one camera: as configured, and as the faces in its images show it. Not thread-safe.

    Args:
        detector: examines faces in other orientations.
        configured: how images are brought upright at first.
        automatic: use the rotation that is found; otherwise it is only reported.
    """

    def __init__(self, detector: FaceDetector, configured: Mounting, automatic: bool) -> None:
        self._detector, self.configured, self._automatic = detector, configured, automatic
        self.reset()

    def reset(self) -> None:
        """Another camera: forget what was found."""
        self.current = self.configured
        self._finder, self._check = RotationFinder(), OrientationCheck(self._detector)

    @property
    def found_rotation(self) -> int | None:
        """Degrees clockwise that bring the camera's images upright; None: not known yet."""
        return self._finder.rotation

    def apply_found(self) -> bool:
        """Use what was found, before the next image; whether images are turned another way from now on."""
        found = self._finder.rotation
        if not self._automatic or found is None or found == self.current.rotation:
            return False
        self.current = replace(self.current, rotation=found)
        return True

    def look(self, bgr: np.ndarray, faces: Sequence[TrackedFace], stamp_ns: int) -> None:
        """Examine the nearest face if that is due.

        Args:
            bgr: uint8 ``(H, W, 3)``, upright as far as known.
            faces: detected in it.
            stamp_ns: time of capture.
        """
        check = self._check
        if not self._finder.due(bool(faces), stamp_ns) and not (check.face_id and faces):
            return
        nearest = max(faces, key=lambda face: (face.face_id == check.face_id, box_side(face.box)))
        if check.step(bgr, nearest.face_id, nearest.detection.box):
            turns = check.quarter_turns
            self._finder.add(None if turns is None else self.current.after(-90 * turns).rotation)
