"""How a mouth moves, to tell who speaks: two numbers a picture, from the pixels of the image itself.

**Opening**: how much darker than the face around it the mouth's inside is. It follows the loudness of the person's
speech, syllable by syllable.

**Motion**: how much the mouth's patch changed since the picture before, once the head's own motion is taken out by
phase correlation. A mouth that speaks has several times as much as one that is still, wherever the head goes.

Chosen by measurement (docs/fusion.md, "Mouths"; ``scripts/measure_mouths.py``): in six CREMA-D clips the motion tells
speech from silence with an area under the curve of 0.84 a picture and 0.90 over 0.3 s; crops of 48 px, in which a mouth
has 14, gave 0.63.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from emotion_perception.visual.alignment import crop_mouth

WIDTH, HEIGHT = 32, 24  # px of a patch
INSIDE = (slice(5, 19), slice(8, 24))  # where the gap between the lips may be
DARK_SHARE = 0.2  # of the inside that is darker than what stands for it
RIM = 3  # px left out of the comparison, as a shift brings in what was not seen
LARGEST_SHIFT = 3.0  # px; more is no motion of the head but a wrong match
LEAST_CONTRAST = 8.0  # grey levels; a darker or blanker patch is not stretched to more
LONGEST_GAP = 0.25  # s between two pictures that are compared
USUAL_GAP = 1 / 30  # s; the change is told as over this time
_WINDOW = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)


@dataclass(frozen=True)
class Mouth:
    """A mouth in one picture."""

    stamp_ns: int
    patch: np.ndarray  # (24, 32) float32 grey
    opening: float  # 0 (closed or unseen) .. 1
    motion: float  # share of the patch's contrast that changed over 1/30 s; NaN for a first picture


def see_mouth(image: np.ndarray, landmarks: np.ndarray, stamp_ns: int, before: Mouth | None) -> Mouth | None:
    """The mouth of a face in an image, compared with the same face's in the picture before; None if it is too small.

    Args:
        image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
        landmarks: ``(5, 2)`` px.
        stamp_ns: when it was taken.
        before: of the picture before, where there is one.
    """
    crop = crop_mouth(image, landmarks, WIDTH, HEIGHT)
    if crop is None:
        return None
    patch = crop.astype(np.float32)
    motion = math.nan
    if before is not None and 0 < stamp_ns - before.stamp_ns <= LONGEST_GAP * 1e9:
        # A random walk's change grows with the root of time, and so about does a speaking mouth's.
        motion = _change(before.patch, patch) * math.sqrt(USUAL_GAP / ((stamp_ns - before.stamp_ns) * 1e-9))
    return Mouth(stamp_ns, patch, _opening(patch), motion)


def _opening(patch: np.ndarray) -> float:
    inside = patch[INSIDE].ravel()
    rank = int(DARK_SHARE * (len(inside) - 1))
    face = float(np.median(patch))
    if face < 1:  # black: nothing to see
        return 0.0
    return float(np.clip(1.0 - np.partition(inside, rank)[rank] / face, 0.0, 1.0))


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean difference of two patches, the second moved onto the first, over the first's contrast."""
    # phaseCorrelate writes into what it is given.
    (right, down), _ = cv2.phaseCorrelate(before.copy(), after.copy(), _WINDOW)
    if max(abs(right), abs(down)) <= LARGEST_SHIFT:
        move = np.array([[1, 0, right], [0, 1, down]], np.float32)
        after = cv2.warpAffine(
            after,
            move,
            (WIDTH, HEIGHT),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    inner = np.abs(after - before)[RIM:-RIM, RIM:-RIM]
    return float(inner.mean()) / max(float(before.std()), LEAST_CONTRAST)
