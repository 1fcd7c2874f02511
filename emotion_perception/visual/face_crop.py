"""A face of one image as the classifier gets it: cut out, judged for quality, not yet classified."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from emotion_perception.types import Box, EmotionEstimate, FaceDetection, FaceLandmarks
from emotion_perception.visual.alignment import FRAME, TEMPLATE, crop_face
from emotion_perception.visual.detector import check_image
from emotion_perception.visual.quality import face_quality

TINY_IMAGE = 64  # px; a face found in an image no larger in either direction may fill it (FER2013's have 48x48)
FILLED = 0.6  # share of the image's longer side from which a face fills it; in FER2013's faces it is 0.86
QUALITY_SIZE = 48  # px, side of the grey crop of which the quality is measured


@dataclass(frozen=True)
class DetectedFace:
    """A face found in one image, before its expression is classified."""

    face_id: str
    box: Box
    detection_score: float  # 0..1
    quality: float  # 0..1; 0 where the face is not classified
    crop: np.ndarray | None  # uint8, of the classifier's `crop_shape`; None where the face is not classified
    mouth_opening: float = math.nan  # as in FaceObservation
    mouth_motion: float = math.nan
    landmarks: FaceLandmarks | None = None  # None: not measured in this image
    # (7,) log-likelihood ratios of the facial actions measured last, in the order of VISUAL_EMOTIONS; None: not known
    action_evidence: np.ndarray | None = None


@dataclass(frozen=True)
class ClassifiedCrop:
    """The newest crop of a face in view with the classifier's estimate for it, without temporal filter."""

    face_id: str
    stamp_ns: int
    crop: np.ndarray  # uint8, of the classifier's `crop_shape`
    emotion: EmotionEstimate
    landmarks: FaceLandmarks | None = None  # the newest measured of this face; None before the first


def cut_face(image: np.ndarray, face_id: str, face: FaceDetection, shape: tuple[int, ...]) -> DetectedFace:
    """Cut a face out for a classifier and measure its quality.

    Args:
        image: uint8 ``(H, W, 3)`` BGR.
        face_id: of the face.
        face: where it is.
        shape: of the crop, the classifier's ``crop_shape``.
    """
    crop = crop_face(image, face, shape[0], colour=len(shape) == 3)
    grey = crop if shape == (QUALITY_SIZE, QUALITY_SIZE) else crop_face(image, face, QUALITY_SIZE)
    return DetectedFace(face_id, face.box, face.score, face_quality(grey, face), crop)


def is_tiny(image: np.ndarray) -> bool:
    """Whether an image is so small that it may be a face crop such as those of FER2013."""
    return max(image.shape[:2]) <= TINY_IMAGE


def fills(image: np.ndarray, face: FaceDetection) -> bool:
    """Whether a face fills an image, so that the image is a face crop already."""
    return float(np.sqrt(face.box.width * face.box.height)) >= FILLED * max(image.shape[:2])


def whole_image(width: int, height: int, score: float = 0.0) -> FaceDetection:
    """A detection that covers an image, as if a frontal face filled it; ``score`` 0: assumed, not detected."""
    landmarks = TEMPLATE * np.array([width, height], np.float32) / FRAME
    return FaceDetection(Box(0.0, 0.0, float(width), float(height)), score, landmarks)


def whole_crop(image: np.ndarray, shape: tuple[int, ...] = (QUALITY_SIZE, QUALITY_SIZE)) -> np.ndarray:
    """An image that is a face from edge to edge, as a classifier with this ``crop_shape`` gets it: uint8.

    Raises:
        ValueError: the image is empty, or of another type or shape.
    """
    check_image(image, (0, 3))
    if image.ndim == 3 and len(shape) == 2:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    elif image.ndim == 2 and len(shape) == 3:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    shrink = min(image.shape[:2]) > shape[0]
    return cv2.resize(image, shape[:2], interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


def whole_face(image: np.ndarray, shape: tuple[int, ...], score: float = 0.0) -> DetectedFace:
    """An image that is a face from edge to edge; the face is named face_1.

    Args:
        image: uint8 ``(H, W[, 3])``.
        shape: of the crop, the classifier's ``crop_shape``.
        score: of the detection; 0 where the face is assumed, not detected.

    Raises:
        ValueError: as :func:`whole_crop`.
    """
    crop, grey = whole_crop(image, shape), whole_crop(image)
    face = whole_image(image.shape[1], image.shape[0], score)
    return DetectedFace("face_1", face.box, face.score, face_quality(grey, face), crop)
