"""Where a face is relative to the camera, and how far its gaze misses the robot's head.

Positions and directions are in the camera's optical TF frame (REP-103): x right, y down, z forward, m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from emotion_perception.types import Box

FACE_HEIGHT = 0.18  # m, mean of adults' faces as the detector boxes them


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; all values in px."""

    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float


class Vector(NamedTuple):
    """A position, m, or a direction."""

    x: float
    y: float
    z: float


def line_of_sight(box: Box, camera: Camera) -> Vector:
    """Unit vector from the camera to the middle of a face."""
    x = (box.x + box.width / 2 - camera.centre_x) / camera.focal_x
    y = (box.y + box.height / 2 - camera.centre_y) / camera.focal_y
    return _unit(x, y, 1.0)


def distance_from_size(box: Box, camera: Camera, face_height: float) -> float:
    """Distance between camera and face, m, from the height of its box.

    The face is taken to be upright and ``face_height`` m tall. Sizes of adults' heads differ by about 6 % (standard
    deviation) and the heights of boxes of equally large heads by 5 %, so that the distance has a standard error of 8 %.
    Turning the head does not change the height. NaN where the box touches the upper or lower edge of the image: part
    of the face is not seen.
    """
    if box.height <= 0 or box.y <= 0.5 or box.y + box.height >= 2 * camera.centre_y - 0.5:
        return math.nan
    sight = line_of_sight(box, camera)
    return camera.focal_y * face_height / box.height / sight.z


def miss_angle(yaw: float, pitch: float) -> float:
    """Angle between a gaze and the line to the camera, rad.

    Args:
        yaw, pitch: of the gaze relative to that line, rad, as :class:`FaceLandmarks` has them.
    """
    return math.acos(max(-1.0, min(1.0, math.cos(yaw) * math.cos(pitch))))


def miss_angle_of_target(yaw: float, pitch: float, sight: Vector, distance: float, target: Vector) -> float:
    """Angle between a gaze and the line from the face to a target, rad.

    Args:
        yaw, pitch: of the gaze relative to the line from the face to the camera, rad.
        sight: unit vector from the camera to the face.
        distance: between them, m.
        target: position of the robot's head, m.
    """
    # A look into the camera is -sight; yaw turns it towards the image's right, pitch upwards.
    right = _unit(sight.z, 0.0, -sight.x)
    up = _unit(sight.x * sight.y, sight.y**2 - 1, sight.z * sight.y)
    ahead, across, above = math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch)
    gaze = [above * u + across * r - ahead * s for u, r, s in zip(up, right, sight, strict=True)]
    wanted = _unit(*(goal - distance * s for goal, s in zip(target, sight, strict=True)))
    return math.acos(max(-1.0, min(1.0, sum(a * b for a, b in zip(gaze, wanted, strict=True)))))


def _unit(x: float, y: float, z: float) -> Vector:
    length = math.sqrt(x * x + y * y + z * z)
    return Vector(x / length, y / length, z / length) if length > 0 else Vector(0.0, 0.0, 1.0)
