"""Mouth opening and mouth motion, two cues for active-speaker detection, from the pixels of a face in each frame.

**Opening**: how much darker the inside of the mouth is than the face around it. It follows the loudness of speech,
syllable by syllable.

**Motion**: change of the mouth patch since the previous frame, after the head's motion is compensated by phase
correlation. It is several times as large for a speaking mouth as for a still one, however the head moves.

Chosen by measurement: on six CREMA-D clips the motion separates speech from silence with an area under the ROC curve of
0.84 per frame and 0.90 over 0.3 s. Crops of 48 px, in which the mouth is 14 px wide, gave 0.63.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from emotion_perception.visual.alignment import crop_mouth

WIDTH, HEIGHT = 32, 24  # px, size of a mouth patch
INSIDE = (slice(5, 19), slice(8, 24))  # where the gap between the lips may be
DARK_SHARE = 0.2  # quantile of the inside that represents its darkness
RIM = 3  # px left out of the comparison: a shift moves unknown pixels in at the border
LARGEST_SHIFT = 3.0  # px; a larger shift is a wrong match, not head motion
LEAST_CONTRAST = 8.0  # grey levels; lower bound of the contrast that the change is divided by
LONGEST_GAP = 0.25  # s between two frames that are compared
USUAL_GAP = 1 / 30  # s; changes are normalised to this interval
_WINDOW = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)


@dataclass(frozen=True)
class Mouth:
    """The mouth of one face in one frame."""

    stamp_ns: int
    patch: np.ndarray  # (24, 32) float32 grey
    opening: float  # 0 (closed or not visible) .. 1
    motion: float  # mean change over 1/30 s, relative to the patch's contrast; NaN in the first frame


def measure_mouth(image: np.ndarray, landmarks: np.ndarray, stamp_ns: int, before: Mouth | None) -> Mouth | None:
    """Measure a face's mouth in one frame and compare it with the previous frame; None if it is too small.

    Args:
        image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
        landmarks: ``(5, 2)`` px.
        stamp_ns: time of capture.
        before: the same face's mouth in the previous frame, if any.
    """
    crop = crop_mouth(image, landmarks, WIDTH, HEIGHT)
    if crop is None:
        return None
    patch = crop.astype(np.float32)
    motion = math.nan
    if before is not None and 0 < stamp_ns - before.stamp_ns <= LONGEST_GAP * 1e9:
        # The change of a random walk grows with the square root of time; that of a speaking mouth does so roughly.
        motion = _change(before.patch, patch) * math.sqrt(USUAL_GAP / ((stamp_ns - before.stamp_ns) * 1e-9))
    return Mouth(stamp_ns, patch, _opening(patch), motion)


def _opening(patch: np.ndarray) -> float:
    inside = patch[INSIDE].ravel()
    rank = int(DARK_SHARE * (len(inside) - 1))
    face = float(np.median(patch))
    if face < 1:  # black patch: nothing visible
        return 0.0
    return float(np.clip(1.0 - np.partition(inside, rank)[rank] / face, 0.0, 1.0))


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean difference of two patches after aligning the second with the first, divided by the first's contrast."""
    # phaseCorrelate modifies its arguments.
    (right, down), _ = cv2.phaseCorrelate(before.copy(), after.copy(), _WINDOW)
    if max(abs(right), abs(down)) <= LARGEST_SHIFT:
        shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
        after = cv2.warpAffine(
            after,
            shift,
            (WIDTH, HEIGHT),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    inner = np.abs(after - before)[RIM:-RIM, RIM:-RIM]
    return float(inner.mean()) / max(float(before.std()), LEAST_CONTRAST)
