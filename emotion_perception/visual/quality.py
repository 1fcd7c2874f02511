"""How far the picture of a face can be trusted, 0..1: large, sharp, well lit, towards the camera.

Each factor is 1 for an ordinary good picture and falls where the expression classifier begins to fail; the quality is
their product, so that one bad defect is enough.

The ramps were set by ``scripts/measure_quality.py`` on 3,529 FER+ PublicTest faces, damaged step by step, so that one
quality means one loss whatever the defect: about 1 where the classifier's distribution is best believed as it is, and q
where raising it to the power 0.4 + 0.6 q gives the least log loss. With the weights of the sixth round (85.9 % right
undamaged), what is told keeps an expected calibration error of 0.05 or less in all of these but blur of 3 px and more,
a mean of 10 and less and a deviation of 3 (0.07 to 0.22):

| defect | right, and best power |
|---|---|
| face of 24, 16, 12, 10, 8, 6 px | 83 % 1, 77 % 0.9, 69 % 0.8, 62 % 0.75, 49 % 0.6, 40 % 0.45 |
| blurred by a Gaussian of 1, 1.5, 2, 3, 4 px of the crop | 84 % 1, 78 % 0.9, 71 % 0.8, 54 % 0.55, 40 % 0.45 |
| underexposed to a mean of 30, 15, 10, 6, 4 levels | 82 % 0.95, 75 % 0.85, 65 % 0.75, 47 % 0.5, 40 % 0.4 |
| overexposed to a mean of 210, 225, 235, 245, 250 | 82 % 0.8, 77 % 0.65, 69 % 0.55, 56 % 0.45, 48 % 0.4 |
| contrast flattened to a deviation of 12, 8, 5, 3 | 82 % 0.95, 79 % 0.9, 71 % 0.85, 56 % 0.65 |

(Camera noise of 3 levels in the last three rows.) What darkness costs is contrast over noise: its row agrees with the
last one at the same deviation.
"""

from __future__ import annotations

import cv2
import numpy as np

from emotion_perception.types import FaceDetection
from emotion_perception.visual.alignment import face_roll

# log10 of the Laplacian's variance. FER2013's faces have -0.2 in the median; blurred by a Gaussian of 1 px, -1.2; of
# 2 px, -2.0; of 3 px, -2.4.
SOFT, SHARP = -2.6, -1.3
# A noisy picture has more of it than any clean face: 0.5 in one of a thousand of FER2013's. With noise of 60 grey
# levels, 1.06 in the median, the classifier is right on 58 % of the faces; with 100, 1.20, it calls all of them
# neutral.
CLEAN, NOISY = 0.6, 1.2


def ramp(value: float, low: float, high: float) -> float:
    """0 at ``low``, 1 at ``high``, linear between, clipped; falls where ``low`` is over ``high``."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def size_quality(detection: FaceDetection) -> float:
    """By the face's side in the image: 1 from 20 px on, 0 at 5 px, on a logarithmic scale."""
    side = float(np.sqrt(max(detection.box.width, 1e-3) * max(detection.box.height, 1e-3)))
    return ramp(np.log2(side), np.log2(5.0), np.log2(20.0))


def sharpness_quality(crop: np.ndarray) -> float:
    """By the variance of the Laplacian of the 48x48 crop at unit contrast: little in blur, too much in noise."""
    face = crop.astype(np.float32)
    contrast = float(face.std())
    if contrast < 1.0:
        return 0.0
    variance = float(cv2.Laplacian(face / contrast, cv2.CV_32F, ksize=1)[2:-2, 2:-2].var())
    detail = np.log10(variance + 1e-9)
    return ramp(detail, SOFT, SHARP) * ramp(detail, NOISY, CLEAN)


def light_quality(crop: np.ndarray) -> float:
    """By mean and contrast of the 48x48 crop: falls under a mean of 14, over one of 205, under a deviation of 6.5."""
    mean, deviation = float(crop.mean()), float(crop.std())
    return ramp(mean, 0.0, 14.0) * ramp(mean, 255.0, 205.0) * ramp(deviation, 2.5, 6.5)


def yaw_offset(landmarks: np.ndarray) -> float:
    """How far the nose tip of ``(5, 2)`` lies off the middle of the eyes, in eye distances along the eye line, >= 0.

    0 in a frontal face, about 0.5 halfway to profile; infinite where both eyes are in one place.
    """
    eyes = landmarks[1] - landmarks[0]
    distance = float(np.hypot(*eyes))
    if distance < 1e-3:
        return np.inf
    return abs(float((landmarks[2] - landmarks[:2].mean(0)) @ eyes)) / distance**2


def pose_quality(landmarks: np.ndarray) -> float:
    """By yaw and roll: 1 up to about 20 degrees of yaw, 0.2 in profile; falls beyond 60 degrees of roll.

    Turned by up to 60 degrees, PublicTest faces that the detector finds are read as well as upright ones (86 to 90 %
    of 50 to 76 faces right, 86 % upright); of those turned by 90, it finds 9 %, and 67 % are read right.
    """
    offset = yaw_offset(landmarks)
    if not np.isfinite(offset):
        return 0.0
    roll = abs(float(np.degrees(face_roll(landmarks))))
    return max(0.2, ramp(offset, 0.6, 0.2)) * max(0.1, ramp(roll, 95.0, 60.0))


def face_quality(crop: np.ndarray, detection: FaceDetection) -> float:
    """Product of the four factors for one aligned ``(48, 48)`` crop and its detection, 0..1."""
    return size_quality(detection) * sharpness_quality(crop) * light_quality(crop) * pose_quality(detection.landmarks)
