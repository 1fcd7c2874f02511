"""Quality of a face crop, 0..1: how far its classification can be trusted, from size, sharpness, lighting and pose.

Each factor is 1 for an ordinary good image and falls where the expression classifier begins to fail. The quality is
their product, so one severe defect is enough to lower it.

The ramps were fitted with ``scripts/measure_quality.py`` on 3,529 FER+ PublicTest faces with graded degradations, so
that equal quality means equal loss of accuracy whatever the defect: about 1 where the classifier's distribution is best
used unchanged, and q where the exponent 0.4 + 0.6 q gives the lowest log loss. With the weights of the sixth round
(85.9 % accuracy without degradation), the resulting distribution has an expected calibration error of 0.05 or less in
all rows but blur of 3 px and more, a mean of 10 and less and a deviation of 3 (0.07 to 0.22):

| degradation | accuracy, and best exponent |
|---|---|
| face of 24, 16, 12, 10, 8, 6 px | 83 % 1, 77 % 0.9, 69 % 0.8, 62 % 0.75, 49 % 0.6, 40 % 0.45 |
| Gaussian blur of 1, 1.5, 2, 3, 4 px of the crop | 84 % 1, 78 % 0.9, 71 % 0.8, 54 % 0.55, 40 % 0.45 |
| underexposed to a mean of 30, 15, 10, 6, 4 levels | 82 % 0.95, 75 % 0.85, 65 % 0.75, 47 % 0.5, 40 % 0.4 |
| overexposed to a mean of 210, 225, 235, 245, 250 | 82 % 0.8, 77 % 0.65, 69 % 0.55, 56 % 0.45, 48 % 0.4 |
| contrast reduced to a deviation of 12, 8, 5, 3 | 82 % 0.95, 79 % 0.9, 71 % 0.85, 56 % 0.65 |

(Camera noise of 3 levels in the last three rows.) Darkness lowers the ratio of contrast to noise: its row agrees with
the last one at equal deviation.
"""

from __future__ import annotations

import cv2
import numpy as np

from emotion_perception.types import FaceDetection

# log10 of the Laplacian's variance. FER2013's faces have -0.2 in the median; blurred by a Gaussian of 1 px, -1.2; of
# 2 px, -2.0; of 3 px, -2.4.
SOFT, SHARP = -2.6, -1.3
# Noise raises it above that of any clean face: 0.5 is the 99.9th percentile of FER2013. With a noise deviation of 60
# grey levels (median 1.06) the classifier's accuracy is 58 %; with 100 (median 1.20) it labels all faces neutral.
CLEAN, NOISY = 0.6, 1.2


def ramp(value: float, low: float, high: float) -> float:
    """0 at ``low``, 1 at ``high``, linear between, clipped; falls where ``low`` is over ``high``."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def size_quality(detection: FaceDetection) -> float:
    """Size factor from the face's side length in the image: 1 from 20 px up, 0 at 5 px, logarithmic between."""
    side = float(np.sqrt(max(detection.box.width, 1e-3) * max(detection.box.height, 1e-3)))
    return ramp(np.log2(side), np.log2(5.0), np.log2(20.0))


def sharpness_quality(crop: np.ndarray) -> float:
    """Sharpness factor from the Laplacian's variance of the 48x48 crop at unit contrast: low in blur, high in noise."""
    face = crop.astype(np.float32)
    contrast = float(face.std())
    if contrast < 1.0:
        return 0.0
    variance = float(cv2.Laplacian(face / contrast, cv2.CV_32F, ksize=1)[2:-2, 2:-2].var())
    detail = np.log10(variance + 1e-9)
    return ramp(detail, SOFT, SHARP) * ramp(detail, NOISY, CLEAN)


def light_quality(crop: np.ndarray) -> float:
    """Lighting factor of the 48x48 crop: below 1 for a mean under 14 or over 205, or a standard deviation under 6.5."""
    mean, deviation = float(crop.mean()), float(crop.std())
    return ramp(mean, 0.0, 14.0) * ramp(mean, 255.0, 205.0) * ramp(deviation, 2.5, 6.5)


def yaw_offset(landmarks: np.ndarray) -> float:
    """Offset of the nose tip from the midpoint of the eyes along the eye line, in eye distances, >= 0.

    0 for a frontal face, about 0.5 at 45 degrees of yaw; infinite if the eyes coincide. Landmarks are ``(5, 2)`` px.
    """
    eyes = landmarks[1] - landmarks[0]
    distance = float(np.hypot(*eyes))
    if distance < 1e-3:
        return np.inf
    return abs(float((landmarks[2] - landmarks[:2].mean(0)) @ eyes)) / distance**2


def pose_quality(landmarks: np.ndarray) -> float:
    """Pose factor from yaw: 1 up to about 20 degrees, 0.2 in profile.

    Roll does not lower it: a rolled face is detected in a window turned upright (:mod:`.face_search`) and its crop is
    aligned.
    """
    offset = yaw_offset(landmarks)
    return max(0.2, ramp(offset, 0.6, 0.2)) if np.isfinite(offset) else 0.0


def face_quality(crop: np.ndarray, detection: FaceDetection) -> float:
    """Quality of an aligned ``(48, 48)`` crop and its detection, 0..1: the product of the four factors."""
    return size_quality(detection) * sharpness_quality(crop) * light_quality(crop) * pose_quality(detection.landmarks)


def quality_exponent(quality: float) -> float:
    """Exponent of the distribution of a face of ``quality`` (1: best); a lower exponent gives a flatter distribution.

    Quality is defined so that the exponent of lowest log loss is about 0.4 + 0.6 q (measured on degraded
    FER+ PublicTest faces). Below q = 0.05 the exponent falls to 0: at quality 0, such as a black image, the
    distribution is uniform over the face classifier's emotions.
    """
    return float(np.interp(quality, (0.0, 0.05, 1.0), (0.0, 0.43, 1.0)))
