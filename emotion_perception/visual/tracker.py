"""Multi-face tracker: keeps the id of each face from frame to frame.

Each track has a constant-velocity Kalman filter over the box's centre and size, and a small appearance patch of the
face. Detections are assigned by the Hungarian method with a cost of overlap, distance and appearance, so that ids
survive an occlusion of about a second and people who cross paths.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emotion_perception.types import SECOND, Box, FaceDetection
from emotion_perception.visual.detector import box_row, iou_matrix

PATCH = 16  # px, side of the appearance patch of a track
FORBIDDEN = 1e6  # cost of an impossible pair


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of the tracker; lengths in face sizes (mean side of the box), times in s."""

    timeout: float = 1.5  # a track without a detection for this long is removed; its id is not reused
    confirm_time: float = 0.1  # a low-score detection is confirmed after this time ...
    sure_score: float = 0.75  # ... and a detection with this score immediately
    gate: float = 1.0  # maximum distance of a detection from the predicted position
    gate_growth: float = 1.2  # growth of the gate per second without a detection
    max_gate: float = 2.5
    measurement_noise: float = 0.04  # standard deviation of a detected centre or side
    acceleration: float = 6.0  # face sizes / s^2, standard deviation of the head's acceleration
    appearance_weight: float = 2.0  # weight of 1 - appearance correlation; the position cost is 0..2
    damping: float = 0.6  # s, time constant of velocity decay in the prediction
    max_lateness: float = 0.5  # an image late by up to this is ignored; a larger step back is a new recording
    seed: int = -1  # of the random ids; -1: different in every run


@dataclass(frozen=True)
class TrackedFace:
    """A track after an update."""

    face_id: str  # a letter, then four letters or digits
    box: Box  # filtered
    detection: FaceDetection  # the newest
    seen: bool  # detected in this update
    confirmed: bool
    age: float  # s since the first detection
    unseen: float  # s since the newest detection


@dataclass
class _Track:
    face_id: str
    state: np.ndarray  # (4, 2) centre x, y, width, height: value and speed per second
    covariance: np.ndarray  # (4, 2, 2)
    detection: FaceDetection
    first_ns: int
    seen_ns: int
    confirmed: bool
    patch: np.ndarray | None

    @property
    def box(self) -> Box:
        return _box(self.state)

    @property
    def size(self) -> float:
        return max(float(self.state[2, 0] + self.state[3, 0]) / 2, 1.0)


class FaceTracker:
    """Assigns detections to face tracks. Call :meth:`update` for every searched image, also without detections."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._random = random.Random(self.config.seed if self.config.seed >= 0 else None)
        self._tracks: list[_Track] = []
        self._stamp: int | None = None
        self._used: set[str] = set()

    def reset(self) -> None:
        """Remove all tracks. Ids are not reused."""
        self._tracks, self._stamp = [], None

    def predict(self, stamp_ns: int) -> list[tuple[str, Box]]:
        """Predicted box of each track at ``stamp_ns``; changes no track."""
        states, _ = self._propagated(max(0, stamp_ns - (self._stamp or stamp_ns)) / SECOND)
        return [(track.face_id, _box(state)) for track, state in zip(self._tracks, states, strict=True)]

    def detection(self, face_id: str) -> FaceDetection:
        """The newest detection of a track; KeyError if there is no such track."""
        for track in self._tracks:
            if track.face_id == face_id:
                return track.detection
        raise KeyError(face_id)

    def update(
        self, detections: Sequence[FaceDetection], stamp_ns: int, image: np.ndarray | None = None
    ) -> list[TrackedFace]:
        """Predict all tracks to ``stamp_ns``, correct them with the detections; returns all, detected ones first.

        Args:
            detections: faces of one image.
            stamp_ns: time of capture. A repeated or slightly earlier stamp changes nothing; a much earlier one resets.
            image: uint8 ``(H, W)`` or ``(H, W, 3)`` for the appearance; None: assign by position only.
        """
        if self._stamp is not None and stamp_ns <= self._stamp:
            if self._stamp - stamp_ns <= self.config.max_lateness * SECOND:
                return self._report(self._stamp)
            self.reset()
        elapsed = 0.0 if self._stamp is None else (stamp_ns - self._stamp) / SECOND
        self._stamp = stamp_ns
        for track, state, covariance in zip(self._tracks, *self._propagated(elapsed), strict=True):
            track.state, track.covariance = state, covariance
        patches = [appearance(image, detection.box) if image is not None else None for detection in detections]
        rows, columns = self._assign(detections, patches, stamp_ns)
        for row, column in zip(rows, columns, strict=True):
            self._correct(self._tracks[row], detections[column], patches[column], stamp_ns)
        for column in set(range(len(detections))) - set(columns):
            self._tracks.append(self._start(detections[column], patches[column], stamp_ns))
        limit = stamp_ns - self.config.timeout * SECOND
        self._tracks = [
            track
            for track in self._tracks
            # An unconfirmed track is removed sooner than a confirmed one.
            if track.seen_ns >= (limit if track.confirmed else stamp_ns - self.config.timeout * SECOND / 3)
        ]
        return self._report(stamp_ns)

    def _report(self, stamp_ns: int) -> list[TrackedFace]:
        faces = [
            TrackedFace(
                track.face_id,
                track.box,
                track.detection,
                track.seen_ns == stamp_ns,
                track.confirmed,
                (stamp_ns - track.first_ns) / SECOND,
                (stamp_ns - track.seen_ns) / SECOND,
            )
            for track in self._tracks
        ]
        return sorted(faces, key=lambda face: (not face.seen, -face.box.width * face.box.height))

    def _propagated(self, elapsed: float) -> tuple[np.ndarray, np.ndarray]:
        """States ``(N, 4, 2)`` and covariances ``(N, 4, 2, 2)`` of all tracks, predicted ``elapsed`` seconds ahead.

        Motion model: white-noise acceleration, damped velocity, almost constant size.
        """
        if not self._tracks:
            return np.zeros((0, 4, 2)), np.zeros((0, 4, 2, 2))
        decay = np.exp(-elapsed / self.config.damping)
        travel = self.config.damping * (1 - decay)
        motion = np.array([[1.0, travel], [0.0, decay]])
        sizes = np.array([track.size for track in self._tracks])
        scale = sizes[:, np.newaxis] * self.config.acceleration * np.array([1.0, 1.0, 0.3, 0.3])  # (N, 4)
        unit = np.array([[elapsed**4 / 4, elapsed**3 / 2], [elapsed**3 / 2, elapsed**2]])
        noise = (scale**2)[:, :, np.newaxis, np.newaxis] * unit
        states = np.stack([track.state for track in self._tracks])
        covariances = np.stack([track.covariance for track in self._tracks])
        return states @ motion.T, motion @ covariances @ motion.T + noise

    def _correct(self, track: _Track, detection: FaceDetection, patch: np.ndarray | None, stamp_ns: int) -> None:
        measured = box_vector(detection.box)
        noise = (self.config.measurement_noise * track.size) ** 2
        gain = track.covariance[:, :, 0] / (track.covariance[:, :1, 0] + noise)  # (4, 2)
        track.state = track.state + gain * (measured - track.state[:, 0])[:, np.newaxis]
        track.covariance = track.covariance - gain[:, :, np.newaxis] * track.covariance[:, np.newaxis, 0, :]
        track.detection, track.seen_ns = detection, stamp_ns
        track.confirmed |= (
            detection.score >= self.config.sure_score or stamp_ns - track.first_ns >= self.config.confirm_time * SECOND
        )
        if patch is not None:
            track.patch = patch if track.patch is None else normalise(0.9 * track.patch + 0.1 * patch)

    def _start(self, detection: FaceDetection, patch: np.ndarray | None, stamp_ns: int) -> _Track:
        state = np.stack([box_vector(detection.box), np.zeros(4)], axis=1)
        size = float(state[2:, 0].mean())
        # The initial velocity is unknown: standard deviation of two face sizes per second.
        covariance = np.tile(np.diag([(self.config.measurement_noise * size) ** 2, (2 * size) ** 2]), (4, 1, 1))
        sure = detection.score >= self.config.sure_score
        return _Track(self._new_id(), state, covariance, detection, stamp_ns, stamp_ns, sure, patch)

    def _new_id(self) -> str:
        while True:
            letters = string.ascii_lowercase
            name = self._random.choice(letters) + "".join(self._random.choices(letters + string.digits, k=4))
            if name not in self._used:
                self._used.add(name)
                return name

    def _assign(
        self, detections: Sequence[FaceDetection], patches: Sequence[np.ndarray | None], stamp_ns: int
    ) -> tuple[list[int], list[int]]:
        """Pairs (track, detection) of lowest total cost within the gates."""
        if not self._tracks or not detections:
            return [], []
        expected = np.array([box_row(track.box) for track in self._tracks])
        found = np.array([box_row(detection.box) for detection in detections])
        sizes = np.array([track.size for track in self._tracks])[:, np.newaxis]
        unseen = np.array([(stamp_ns - track.seen_ns) / SECOND for track in self._tracks])[:, np.newaxis]
        gate = np.minimum(self.config.gate + self.config.gate_growth * unseen, self.config.max_gate)
        centres = np.array([track.state[:2, 0] for track in self._tracks])
        offset = found[:, :2] + found[:, 2:] / 2 - centres[:, np.newaxis]
        distance = np.hypot(offset[..., 0], offset[..., 1]) / sizes
        growth = np.abs(np.log(found[:, 2:].mean(1) / sizes))
        # Without a detection the gate grows, and position counts less.
        cost = (1 - iou_matrix(expected, found) + distance) / gate
        cost += self.config.appearance_weight * appearance_distance([track.patch for track in self._tracks], patches)
        cost[(distance > gate) | (growth > np.log(2.0))] = FORBIDDEN
        rows, columns = assign(cost)
        allowed = cost[rows, columns] < FORBIDDEN
        return list(rows[allowed]), list(columns[allowed])


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns ``(min(N, M),)`` of the assignment with the lowest total of ``cost (N, M)``."""
    if 1 in cost.shape:  # a single face needs no SciPy, whose import takes a second
        row, column = np.unravel_index(int(cost.argmin()), cost.shape)
        return np.array([row]), np.array([column])
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    return rows, columns


def _box(state: np.ndarray) -> Box:
    """The box of a state ``(4, 2)``."""
    x, y, width, height = state[:, 0].tolist()
    width, height = max(width, 1.0), max(height, 1.0)
    return Box(x - width / 2, y - height / 2, width, height)


def appearance_distance(tracks: Sequence[np.ndarray | None], detections: Sequence[np.ndarray | None]) -> np.ndarray:
    """1 - correlation ``(N, M)`` of the patches of tracks and detections; 0 where either has none."""
    distance = np.zeros((len(tracks), len(detections)))
    rows = [i for i, patch in enumerate(tracks) if patch is not None]
    columns = [j for j, patch in enumerate(detections) if patch is not None]
    if rows and columns:
        one = np.stack([np.ravel(patch) for patch in tracks if patch is not None])
        other = np.stack([np.ravel(patch) for patch in detections if patch is not None])
        distance[np.ix_(rows, columns)] = 1 - one @ other.T
    return distance


def box_vector(box: Box) -> np.ndarray:
    """Centre x, y, width, height of a box."""
    return np.array([box.x + box.width / 2, box.y + box.height / 2, box.width, box.height])


def appearance(image: np.ndarray, box: Box) -> np.ndarray | None:
    """Appearance patch ``(16, 16[, 3])`` of zero mean and unit norm: the dot product of two is their correlation."""
    height, width = image.shape[:2]
    left, top = max(0, int(box.x)), max(0, int(box.y))
    right, bottom = min(width, int(box.x + box.width) + 1), min(height, int(box.y + box.height) + 1)
    if right - left < 2 or bottom - top < 2:
        return None
    small = cv2.resize(image[top:bottom, left:right], (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    return normalise(small.astype(np.float32))


def normalise(patch: np.ndarray) -> np.ndarray:
    """Zero mean, unit norm; a blank patch stays zero."""
    centred = patch - patch.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)
