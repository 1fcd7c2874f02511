"""Coordinates of faces in an image that was scaled before detection."""

from __future__ import annotations

from dataclasses import replace

from emotion_perception.types import Box, FaceObservation


def scale_face(face: FaceObservation, scale: float) -> FaceObservation:
    """A face with its coordinates multiplied by ``scale``."""
    if scale == 1:
        return face
    box = face.box
    return replace(face, box=Box(box.x * scale, box.y * scale, box.width * scale, box.height * scale))
