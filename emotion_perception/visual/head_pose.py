"""Direction of the head and of the gaze from face landmarks.

The head's rotation fits MediaPipe's canonical face to the landmarks by weighted orthogonal Procrustes analysis
(Schönemann 1966; Umeyama 1991) under weak perspective, over the points and weights that respond to the pose and hardly
to the expression. The gaze follows from the iris of an eyeball whose centre is fixed in the head.

Angles are relative to the line from the camera to the face, as ``FaceEmotion`` defines them: yaw is positive towards
the image's right, pitch upwards, roll clockwise; all are 0 for a face that looks straight into the camera. Radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The points of MediaPipe's procrustes_landmark_basis, their weights, and their positions in its canonical face model
# (cm; x towards the person's left, y up, z out of the face). geometry_pipeline_metadata_landmarks.pbtxt, Apache-2.0.
# fmt: off
_BASIS = np.array([
    (4, 0.070910, 0.0000, -0.4632, 7.5866), (6, 0.032100, 0.0000, 2.4733, 5.7886),
    (10, 0.008447, 0.0000, 8.2618, 4.4815), (33, 0.058724, -4.4459, 2.6640, 3.1734),
    (54, 0.007667, -6.2793, 6.6154, 1.4259), (67, 0.009078, -3.5240, 8.0060, 3.7292),
    (117, 0.009792, -5.2587, 0.9458, 2.9743), (119, 0.014565, -3.3007, 0.8616, 3.8728),
    (121, 0.018591, -1.8207, 1.4680, 4.2241), (127, 0.005198, -7.7431, 2.3650, -2.0052),
    (129, 0.120625, -1.7858, -0.9783, 4.8505), (132, 0.005560, -7.2709, -2.8909, -2.2525),
    (133, 0.053286, -1.8564, 2.5852, 3.7579), (136, 0.066890, -5.0853, -7.1786, 0.7147),
    (143, 0.014817, -6.4076, 2.2360, 1.5608), (147, 0.014263, -6.2349, -1.9444, 1.6635),
    (198, 0.025462, -1.2468, 0.2303, 5.6810), (205, 0.047252, -3.8329, -1.5373, 4.1377),
    (263, 0.058724, 4.4459, 2.6640, 3.1734), (284, 0.007667, 6.2793, 6.6154, 1.4259),
    (297, 0.009078, 3.5240, 8.0060, 3.7292), (346, 0.009792, 5.2587, 0.9458, 2.9743),
    (348, 0.014565, 3.3007, 0.8616, 3.8728), (350, 0.018591, 1.8207, 1.4680, 4.2241),
    (356, 0.005198, 7.7431, 2.3650, -2.0052), (358, 0.120625, 1.7858, -0.9783, 4.8505),
    (361, 0.005560, 7.2709, -2.8909, -2.2525), (362, 0.053286, 1.8564, 2.5852, 3.7579),
    (365, 0.066890, 5.0853, -7.1786, 0.7147), (372, 0.014817, 6.4076, 2.2360, 1.5608),
    (376, 0.014263, 6.2349, -1.9444, 1.6635), (420, 0.025462, 1.2468, 0.2303, 5.6810),
    (425, 0.047252, 3.8329, -1.5373, 4.1377),
])
# fmt: on
_INDICES = _BASIS[:, 0].astype(int)
_WEIGHTS = _BASIS[:, 1:2] / _BASIS[:, 1].sum()
_CANONICAL = _BASIS[:, 2:]

# The person's right and left eye: outer and inner corner, centre of the iris.
EYES = ((33, 133, 468), (263, 362, 473))
# Centre of the left eyeball relative to the middle between the eye's corners (mirrored in x for the right one), and its
# distance from the iris, cm of the canonical face. x and y are medians over 204 portraits that look into the camera;
# the depth gives the steadiest gaze there and in video (docs/landmarks.md).
EYE_CENTRE = np.array([0.15, 0.24, -0.3])
EYE_RADIUS = 1.0


@dataclass(frozen=True)
class HeadPose:
    """The rotation of a head and its scale in the image."""

    yaw: float  # rad
    pitch: float  # rad
    roll: float  # rad
    rotation: np.ndarray  # (3, 3) from the canonical face to x right, y up, z towards the camera
    scale: float  # px per cm of the canonical face


@dataclass(frozen=True)
class Gaze:
    """The direction in which a person looks."""

    yaw: float  # rad
    pitch: float  # rad


def head_pose(points: np.ndarray) -> HeadPose:
    """The pose of the head with these landmarks.

    Args:
        points: ``(478, 3)`` or ``(468, 3)`` px, z smaller towards the camera, as :class:`FaceMesh` has them.
    """
    seen = points[_INDICES] * [1.0, -1.0, -1.0]
    seen = seen - (_WEIGHTS * seen).sum(0)
    canonical = _CANONICAL - (_WEIGHTS * _CANONICAL).sum(0)
    left, singular, right = np.linalg.svd(seen.T @ (_WEIGHTS * canonical))
    proper = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])  # a rotation, never a reflection
    rotation = left @ np.diag(proper) @ right
    scale = float(singular @ proper / (_WEIGHTS * canonical**2).sum())
    return HeadPose(*head_angles(rotation), rotation, scale)


def head_angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll, rad, of a head's rotation ``(3, 3)``."""
    yaw, pitch = direction_angles(rotation[:, 2])
    up = (head_rotation(yaw, pitch, 0.0).T @ rotation)[:, 1]
    return yaw, pitch, float(np.arctan2(up[0], up[1]))


def head_rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation ``(3, 3)`` of a head by roll, then pitch, then yaw: the inverse of :func:`head_angles`."""
    (sin_y, sin_p, sin_r), (cos_y, cos_p, cos_r) = np.sin([yaw, pitch, roll]), np.cos([yaw, pitch, roll])
    turn = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    nod = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
    tilt = np.array([[cos_r, sin_r, 0], [-sin_r, cos_r, 0], [0, 0, 1]])
    return turn @ nod @ tilt


def gaze_direction(points: np.ndarray, pose: HeadPose) -> Gaze:
    """Where the eyes look, the mean of both.

    Under weak perspective the iris of an eyeball of radius r lies at ``centre + r * gaze`` in the image, so that its
    offset from the projected centre gives the gaze relative to the camera.

    Args:
        points: ``(478, 3)`` px, as :class:`FaceMesh` has them.
        pose: of the head with these points.
    """
    offsets = []
    for side, (outer, inner, iris) in zip((-1.0, 1.0), EYES, strict=True):
        seen = (points[iris] - (points[outer] + points[inner]) / 2)[:2] * [1.0, -1.0] / pose.scale
        offsets.append(seen - (pose.rotation @ (EYE_CENTRE * [side, 1.0, 1.0]))[:2])
    across, up = np.clip(np.mean(offsets, 0) / EYE_RADIUS, -1.0, 1.0)
    return Gaze(*direction_angles(np.array([across, up, np.sqrt(max(0.0, 1.0 - across**2 - up**2))])))


def direction_angles(forward: np.ndarray) -> tuple[float, float]:
    """Yaw and pitch, rad, of a unit vector with x right, y up, z towards the camera."""
    return float(np.arctan2(forward[0], forward[2])), float(np.arcsin(np.clip(forward[1], -1.0, 1.0)))


def direction_vector(yaw: float, pitch: float) -> np.ndarray:
    """The unit vector ``(3,)`` with this yaw and pitch, rad: the inverse of :func:`direction_angles`."""
    return head_rotation(yaw, pitch, 0.0)[:, 2]
