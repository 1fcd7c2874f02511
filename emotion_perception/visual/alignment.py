"""Alignment: cut a face out of an image with the framing of the training faces.

FER2013 contains 48x48 crops made by the face detector of its authors. To match them, CenterFace was run on 1,500 of
them (PublicTest, upscaled four times, borders replicated); the constants below are medians over the 1,075 detections
with a score above 0.6. The method was chosen by the log loss of the (half trained) emotion network on newly cropped
faces: scale from the box, roll from a fit of all landmarks, centre halfway between those of the box and the landmarks.
Its log loss is 0.676, against 0.688 with the box alone and 0.696 with the landmarks alone; for faces with 25 degrees of
roll 0.710, against 0.728 and 0.709. Scale from the eye distance alone was worst: yaw shortens it, and the crop zooms
in.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from emotion_perception.types import FaceDetection

FRAME = 48.0  # px, side of the crop in which the template was measured
# Right eye, left eye, nose tip, right and left mouth corner, px from the crop's corner.
TEMPLATE = np.array([[14.90, 19.72], [32.79, 19.06], [23.84, 28.76], [17.30, 36.31], [31.76, 36.03]], np.float32)
BOX_CENTRE = np.array([24.47, 24.50], np.float32)
BOX_SIZE = 41.2  # sqrt(37.52 * 45.26), median width and height of the detected box
MOUTH_SCALE = 22.0  # px from the eyes to the mouth in a mouth patch; the mouth then fills half of the patch
MOUTH_DROP = 0.08  # share of that distance by which the patch's centre lies below the mouth corners
LEAST_MOUTH = 8.0  # px from the eyes to the mouth in the image; smaller mouths are not measured


def face_roll(landmarks: np.ndarray) -> float:
    """Roll of a face from its landmarks ``(5, 2)``, rad, clockwise positive, by least squares.

    The rotation of the similarity transform (Umeyama 1991) from the template to the landmarks.
    """
    source = TEMPLATE - TEMPLATE.mean(0)
    target = landmarks - landmarks.mean(0)
    along = float((source * target).sum())
    across = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum())
    return float(np.arctan2(across, along))


@dataclass(frozen=True)
class FaceFrame:
    """The upright square of an image that a face crop shows."""

    centre: np.ndarray  # (2,) px of the image
    axes: np.ndarray  # (2, 2) rotation from the crop to the image
    side: float  # px of the image

    @classmethod
    def of_image(cls, width: int, height: int) -> FaceFrame:
        """The frame of an image that is a face crop itself."""
        return cls(np.array([width, height]) / 2, np.eye(2), (width * height) ** 0.5)

    @classmethod
    def of_detection(cls, detection: FaceDetection) -> FaceFrame:
        """The frame of a detected face.

        Raises:
            ValueError: the box is empty.
        """
        box = detection.box
        if not (box.width > 0 and box.height > 0):
            raise ValueError(f"the face's box is empty: {box}")
        side = float(np.sqrt(box.width * box.height)) * FRAME / BOX_SIZE
        roll = face_roll(detection.landmarks)
        axes = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        seen = (np.array([box.x + box.width / 2, box.y + box.height / 2]) + detection.landmarks.mean(0)) / 2
        expected = (BOX_CENTRE + TEMPLATE.mean(0)) / 2
        return cls(seen + axes @ (FRAME / 2 - expected) * (side / FRAME), axes, side)


def crop_face(image: np.ndarray, detection: FaceDetection, size: int = 48, colour: bool = False) -> np.ndarray:
    """Cut out a face, upright, as uint8 ``(size, size)`` grey or ``(size, size, 3)`` BGR; image borders are replicated.

    Args:
        image: uint8 ``(H, W)`` grey or ``(H, W, 3)`` BGR; only the face's surroundings are converted to grey.
        detection: the face.
        size: side of the crop, px.
        colour: return BGR; a grey image gives three equal channels.

    Raises:
        ValueError: the image is empty, of another shape or not uint8, or the box is empty.
    """
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"crop_face takes a non-empty uint8 (H, W[, 3]) image, got {image.shape} of {image.dtype}")
    frame = FaceFrame.of_detection(detection)
    return sample_upright(image, frame.centre, frame.axes, frame.side / size, (size, size), frame.side * 0.75, colour)


def crop_mouth(image: np.ndarray, landmarks: np.ndarray, width: int = 32, height: int = 24) -> np.ndarray | None:
    """Cut out a mouth, upright, as grey uint8 ``(height, width)``; None if it is too small.

    Scale and position follow the distance from the eyes to the mouth, which hardly changes when the mouth opens and not
    at all with yaw; it is :data:`MOUTH_SCALE` px in the patch.

    Args:
        image: as :func:`crop_face`.
        landmarks: ``(5, 2)`` px.
    """
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    down = mouth - eyes
    length = float(np.hypot(*down))
    if not LEAST_MOUTH <= length < np.inf:
        return None
    roll = face_roll(landmarks)
    axes = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    step = length / MOUTH_SCALE
    # The centre lies slightly below the mouth corners, because the lower lip moves most.
    return sample_upright(
        image, mouth + MOUTH_DROP * down, axes, step, (width, height), step * (width + height) / 2 + 2
    )


def sample_upright(
    image: np.ndarray,
    centre: np.ndarray,
    axes: np.ndarray,
    step: float,
    size: tuple[int, int],
    reach: float,
    colour: bool = False,
) -> np.ndarray:
    """Sample a rotated rectangle of an image as uint8 ``(height, width)`` grey, or ``(height, width, 3)`` BGR.

    Args:
        centre: of the rectangle, px of the image.
        axes: ``(2, 2)`` rotation from the rectangle to the image.
        step: px of the image per px of the result.
        size: width and height of the result, px.
        reach: px around the centre that contain the rectangle.
        colour: return BGR.
    """
    # Downscale the neighbourhood by area averaging first, so that the rotation samples about every pixel: a single
    # interpolation from a large face would skip pixels and alias.
    left, top = max(0, int(centre[0] - reach)), max(0, int(centre[1] - reach))
    right, bottom = int(np.ceil(centre[0] + reach)) + 1, int(np.ceil(centre[1] + reach)) + 1
    near = image[top : max(bottom, 0), left : max(right, 0)]
    if near.size == 0:
        return np.zeros((*size[::-1], 3) if colour else size[::-1], np.uint8)
    if near.ndim == 3 and not colour:
        near = cv2.cvtColor(near, cv2.COLOR_BGR2GRAY)
    elif near.ndim == 2 and colour:
        near = cv2.cvtColor(near, cv2.COLOR_GRAY2BGR)
    if step > 1:
        shrunk = (max(1, round(near.shape[1] / step)), max(1, round(near.shape[0] / step)))
        near_x, near_y = shrunk[0] / near.shape[1], shrunk[1] / near.shape[0]
        near = cv2.resize(near, shrunk, interpolation=cv2.INTER_AREA)
    else:
        near_x = near_y = 1.0
    # image = centre + axes @ (result - size / 2) * step; cv2 places pixel centres at integers, hence the 0.5.
    turn = axes * step * np.array([[near_x], [near_y]])
    origin = (centre - [left, top]) * [near_x, near_y] - turn @ (np.array(size) / 2 - 0.5) - 0.5
    matrix = np.concatenate([turn, origin[:, np.newaxis]], axis=1)
    return cv2.warpAffine(
        near, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
