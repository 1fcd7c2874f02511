"""How a camera is mounted: images to upright, faces in the upright image back to pixels of the camera's image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from emotion_perception.types import Box, FaceLandmarks, FaceObservation
from emotion_perception.visual.face_crop import DetectedFace
from emotion_perception.visual.head_pose import direction_angles, direction_vector, head_angles, head_rotation

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_MIRROR = np.diag([-1.0, 1.0, 1.0])
Face = TypeVar("Face", DetectedFace, FaceObservation)


@dataclass(frozen=True)
class Mounting:
    """Brings a camera's images upright: first a rotation, then a horizontal flip.

    Example:
        >>> upside_down = Mounting(rotation=180)
        >>> upside_down.upright(np.array([[1, 2], [3, 4]], np.uint8)).tolist()
        [[4, 3], [2, 1]]
        >>> upside_down.box_to_camera(Box(0.0, 0.0, 10.0, 20.0), 640, 480)
        Box(x=630.0, y=460.0, width=10.0, height=20.0)
    """

    rotation: int = 0  # degrees clockwise: 0, 90, 180 or 270
    mirror: bool = False  # the camera's images are mirrored

    @property
    def is_upright(self) -> bool:
        """Whether images stay as they are."""
        return self.rotation == 0 and not self.mirror

    def upright(self, image: np.ndarray) -> np.ndarray:
        """A camera image ``(H, W[, 3])`` upright; the image itself if it is upright already."""
        if self.rotation:
            image = cv2.rotate(image, _TURNS[self.rotation])
        return cv2.flip(image, 1) if self.mirror else image

    def after(self, rotation: int) -> Mounting:
        """This mounting if its upright image must still be turned by ``rotation`` degrees clockwise."""
        turn = -rotation if self.mirror else rotation  # a turn after a flip is the opposite turn before it
        return replace(self, rotation=(self.rotation + turn) % 360)

    def points_to_camera(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        """Points ``(N, 2)`` of the upright image, px, in a camera image of ``width`` x ``height`` px."""
        if self.is_upright:
            return points
        upright_width = height if self.rotation in (90, 270) else width
        x, y = points[:, 0], points[:, 1]
        if self.mirror:
            x = upright_width - x
        if self.rotation == 90:
            x, y = y, height - x
        elif self.rotation == 180:
            x, y = width - x, height - y
        elif self.rotation == 270:
            x, y = width - y, x
        return np.stack([x, y], axis=1).astype(points.dtype)

    def box_to_camera(self, box: Box, width: int, height: int) -> Box:
        """A box of the upright image in a camera image of ``width`` x ``height`` px."""
        if self.is_upright:
            return box
        corners = np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]])
        corners = self.points_to_camera(corners, width, height)
        (left, top), (right, bottom) = corners.min(0), corners.max(0)
        return Box(float(left), float(top), float(right - left), float(bottom - top))

    def landmarks_to_camera(self, landmarks: FaceLandmarks, width: int, height: int) -> FaceLandmarks:
        """Points and angles in a camera image of ``width`` x ``height`` px: yaw towards its right, pitch upwards."""
        if self.is_upright or not len(landmarks.points):
            return landmarks
        angle = np.radians(self.rotation)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        if self.mirror:
            turn = turn @ _MIRROR
        head = turn @ head_rotation(landmarks.head_yaw, landmarks.head_pitch, landmarks.head_roll)
        if self.mirror:
            head = head @ _MIRROR  # a rotation again: a head is its own mirror image
        yaw, pitch, roll = head_angles(head)
        gaze_yaw, gaze_pitch = direction_angles(turn @ direction_vector(landmarks.gaze_yaw, landmarks.gaze_pitch))
        return replace(
            landmarks,
            head_yaw=yaw,
            head_pitch=pitch,
            head_roll=roll,
            gaze_yaw=gaze_yaw,
            gaze_pitch=gaze_pitch,
            points=self.points_to_camera(landmarks.points, width, height),
        )

    def face_to_camera(self, face: Face, width: int, height: int) -> Face:
        """A face of the upright image in a camera image of ``width`` x ``height`` px; its crop stays upright."""
        if self.is_upright:
            return face
        landmarks = face.landmarks and self.landmarks_to_camera(face.landmarks, width, height)
        return replace(face, box=self.box_to_camera(face.box, width, height), landmarks=landmarks)


def scale_face(face: FaceObservation, scale: float) -> FaceObservation:
    """A face with its coordinates multiplied by ``scale``."""
    if scale == 1:
        return face
    box, landmarks = face.box, face.landmarks
    if landmarks is not None:
        landmarks = replace(landmarks, points=landmarks.points * np.float32(scale))
    scaled = Box(box.x * scale, box.y * scale, box.width * scale, box.height * scale)
    return replace(face, box=scaled, landmarks=landmarks)
