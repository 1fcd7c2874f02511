"""Cut a face out of an image the way the training faces were framed.

FER2013's faces lie in 48x48 frames that its makers' face detector drew. To match them, CenterFace was run on 1,500 of
them (PublicTest, enlarged four times, the border repeated); on the 1,075 found with a score over 0.6 the medians are
the numbers below. The rule was chosen by the log loss of the (half trained) emotion network on faces cut out anew:
scale from the box, roll from a fit of all landmarks, centre halfway between the box's and the landmarks'. It gives
0.676 where the box alone gives 0.688 and the landmarks alone 0.696; for faces turned by 25 degrees 0.710 against 0.728
and 0.709. Scale from the eyes alone was worst: in a turned head they come closer and the cut zooms in.
"""

from __future__ import annotations

import cv2
import numpy as np

from emotion_perception.types import FaceDetection

FRAME = 48.0  # px, side of the frame in which the template was measured
# Right eye, left eye, nose tip, right and left mouth corner, px from the frame's corner.
TEMPLATE = np.array([[14.90, 19.72], [32.79, 19.06], [23.84, 28.76], [17.30, 36.31], [31.76, 36.03]], np.float32)
BOX_CENTRE = np.array([24.47, 24.50], np.float32)
BOX_SIZE = 41.2  # sqrt(37.52 * 45.26), median width and height of the detected box
MOUTH_SCALE = 22.0  # px from the eyes to the mouth in a mouth's patch, of which a mouth then fills half
MOUTH_DROP = 0.08  # of that distance, by which the patch lies lower than the corners of the mouth
LEAST_MOUTH = 8.0  # px from the eyes to the mouth in the image; below, there is too little to see


def face_roll(landmarks: np.ndarray) -> float:
    """Angle in radians by which the face ``(5, 2)`` is turned in the image (clockwise positive), by least squares.

    The rotation of the similarity transform (Umeyama 1991) from the template to the landmarks.
    """
    source = TEMPLATE - TEMPLATE.mean(0)
    target = landmarks - landmarks.mean(0)
    along = float((source * target).sum())
    across = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum())
    return float(np.arctan2(across, along))


def crop_face(image: np.ndarray, detection: FaceDetection, size: int = 48, colour: bool = False) -> np.ndarray:
    """The face of an image, upright, as uint8 ``(size, size)`` grey or ``(size, size, 3)`` BGR; edges are repeated.

    Args:
        image: uint8 ``(H, W)`` grey or ``(H, W, 3)`` bgr, of which only the face's surroundings are made grey.
        detection: the face.
        size: px.
        colour: keep the colours; a grey image is grey in all three channels.

    Raises:
        ValueError: the image is empty, of another shape or not uint8, or the box is empty.
    """
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"crop_face takes a non-empty uint8 (H, W[, 3]) image, got {image.shape} of {image.dtype}")
    box = detection.box
    if not (box.width > 0 and box.height > 0):
        raise ValueError(f"the face's box is empty: {box}")
    side = float(np.sqrt(box.width * box.height)) * FRAME / BOX_SIZE  # of the frame, in px of the image
    roll = face_roll(detection.landmarks)
    axes = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])  # frame -> image
    seen = (np.array([box.x + box.width / 2, box.y + box.height / 2]) + detection.landmarks.mean(0)) / 2
    expected = (BOX_CENTRE + TEMPLATE.mean(0)) / 2
    centre = seen + axes @ (FRAME / 2 - expected) * (side / FRAME)

    return _upright(image, centre, axes, side / size, (size, size), side * 0.75, colour)


def crop_mouth(image: np.ndarray, landmarks: np.ndarray, width: int = 32, height: int = 24) -> np.ndarray | None:
    """The mouth of a face, upright, grey, as uint8 ``(height, width)``; None where it is too small to be read.

    Scale and place go by the distance from the eyes to the mouth, which opening the mouth hardly changes and turning
    the head not at all; it is :data:`MOUTH_SCALE` px in the patch.

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
    # A little below the corners: the lower lip moves most.
    return _upright(image, mouth + MOUTH_DROP * down, axes, step, (width, height), step * (width + height) / 2 + 2)


def _upright(
    image: np.ndarray,
    centre: np.ndarray,
    axes: np.ndarray,
    step: float,
    size: tuple[int, int],
    reach: float,
    colour: bool = False,
) -> np.ndarray:
    """A turned rectangle of an image as uint8 ``(height, width)`` grey, or ``(height, width, 3)`` BGR in ``colour``.

    Args:
        centre: of it, px of the image.
        axes: ``(2, 2)`` rotation from the rectangle to the image.
        step: px of the image to one of the result.
        size: width and height of the result, px.
        reach: px of the image around the centre that are enough.
    """
    # Shrink the neighbourhood by averaging areas first, so that the rotation samples it about pixel by pixel: a single
    # interpolated step from a large face would skip pixels and alias.
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
    # image = centre + axes @ (result - size / 2) * step; cv2 counts from pixel centres, hence the halves.
    turn = axes * step * np.array([[near_x], [near_y]])
    origin = (centre - [left, top]) * [near_x, near_y] - turn @ (np.array(size) / 2 - 0.5) - 0.5
    matrix = np.concatenate([turn, origin[:, np.newaxis]], axis=1)
    return cv2.warpAffine(
        near, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
