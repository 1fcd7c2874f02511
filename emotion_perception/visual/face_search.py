"""Search an image for faces: scales, tiles and orientations, each candidate confirmed in a window around it.

A search of the downscaled image proposes candidates; each is then detected again in a window of its own
(:meth:`FaceDetector.refine`), and the two scores are combined. Neither detection alone decides: a far face scores low
in the downscaled image and high in its window, a face that fills the image the other way round.

The network detects turned faces, but places their landmarks as if they were upright. A candidate with a low score in
its window is therefore examined in windows turned by 90, 180 and 270 degrees as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emotion_perception.types import SECOND, Box, FaceDetection
from emotion_perception.visual.alignment import face_roll
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.detector import (
    MIN_FACE_IN_COPY,
    FaceDetector,
    box_row,
    iou_matrix,
    non_max_suppression,
)
from emotion_perception.visual.face_selection import box_side

# The search keeps candidates down to this share of the minimum score, since the window decides as well. A face of 20 px
# in a 640x480 image is 10 px in the downscaled copy and scores about 0.5 there, but 0.88 at full resolution.
CANDIDATE_SCORE = 0.6
MISSED_SCORE = 0.15  # stands for the score of a window in which nothing was detected
SAME_PLACE = 0.3  # IoU above which a candidate is the face expected there
NEWCOMERS = 2  # windows per search beyond max_faces, so that many new faces are found over several searches

LARGE_FACE_WIDTH = 160  # px, copy in which a face that fills the image has the size that the network knows best
TINY_WIDTHS = (96, 160)  # px, copies of a tiny image: 97 % of FER+'s 48x48 faces have 0.5 or more in one of them

TURNS = (1, 3, 2)  # quarter turns that are tried, most frequent first
# Upright faces have 0.9 in their window, and 0.7 in windows turned the wrong way; medians of studio portraits.
UPRIGHT_SCORE = 0.8  # of the window: from here on a face counts as upright
TURN_GAIN = 0.05  # by which a turned window must score higher than the upright one
SURE_SCORE = 0.7  # combined score of the best face below which a single image is searched for turned faces, too
TURN_INTERVAL_S = 1.0  # s between two searches of a stream for turned faces, one orientation each

# Large images are searched in tiles besides: those of which the copy is so small that faces of 80 px are lost, and
# panoramas, whose shorter side nearly vanishes in the copy.
TILED_LENGTH = 8  # longer side over the width of the copy, above which an image is tiled ...
TILE_SCALE = 0.25  # ... and searched at this scale
TILED_ASPECT = 2.5  # longer over shorter side, above which the shorter side is searched ...
TILED_SHORT_SIDE = 0.75  # ... at this share of the width of the copy, that of a 4:3 image
MAX_TILES = 48  # bounds the time of one image; beyond it the tiles are downscaled more


@dataclass(frozen=True)
class ExpectedFace:
    """Where a tracked face is expected."""

    box: Box
    quarter_turns: int = 0  # counter-clockwise turns of the image that bring the face upright


class FaceSearch:
    """Finds the faces of single images and of streams. One instance per camera; not thread-safe.

    Args:
        detector: keeps candidates from :data:`CANDIDATE_SCORE` times ``config.min_detection_score``.
        config: settings of the pipeline.
    """

    def __init__(self, detector: FaceDetector, config: VisualConfig) -> None:
        self.detector, self.config = detector, config
        self.reset()

    def reset(self) -> None:
        """Forget what was searched."""
        self.complete = True  # whether each candidate of the last search was examined
        self._turned_ns: int | None = None
        self._next_turn = 0

    def single_image(self, bgr: np.ndarray) -> list[FaceDetection]:
        """The faces of one uint8 ``(H, W, 3)`` image in any quarter turn, unordered.

        A large image is searched in overlapping tiles as well, at most :data:`MAX_TILES`.
        """
        width = self.config.still_detection_width
        found = self.detector.detect(bgr, width) + self._tiled(bgr, width)
        found += self.detector.detect(bgr, min(width, LARGE_FACE_WIDTH))
        faces = self._confirm(bgr, _distinct(found), turned=len(found))
        if max((face.score for face in faces), default=0.0) < SURE_SCORE:
            for turns in TURNS:
                found = self.detector.detect(bgr, min(width, self.config.detection_width), turns)
                faces += self._confirm(bgr, found, turned=len(found))
        return _distinct(faces)

    def tiny_image(self, bgr: np.ndarray) -> list[FaceDetection]:
        """The faces of an image of at most 64 px, such as an icon or a thumbnail; from enlarged copies, unordered."""
        found = [face for width in TINY_WIDTHS for face in self.detector.detect(bgr, width)]
        return _distinct([face for face in found if face.score >= self.config.min_detection_score])

    def follow(self, bgr: np.ndarray, expected: Sequence[ExpectedFace]) -> list[FaceDetection] | None:
        """Each expected face, detected in a window; None if one of them is not there."""
        found = [self.detector.refine(bgr, face.box, face.quarter_turns) for face in expected]
        return None if None in found else _distinct([face for face in found if face is not None])

    def frame(
        self, bgr: np.ndarray, stamp_ns: int, expected: Sequence[ExpectedFace] = (), known: Sequence[Box] = ()
    ) -> list[FaceDetection]:
        """The faces of one frame of a stream, unordered.

        Args:
            bgr: uint8 ``(H, W, 3)``.
            stamp_ns: time of capture.
            expected: tracked faces; windows go to these first.
            known: predicted boxes of all tracks.
        """
        faces = self._confirm(bgr, self.detector.detect(bgr), expected, known, turned=1)
        if not faces:
            faces = self._confirm(bgr, self.detector.detect(bgr, LARGE_FACE_WIDTH), expected, known, turned=1)
        if not faces and (self._turned_ns is None or abs(stamp_ns - self._turned_ns) >= TURN_INTERVAL_S * SECOND):
            turns = TURNS[self._next_turn]
            self._turned_ns, self._next_turn = stamp_ns, (self._next_turn + 1) % len(TURNS)
            faces = self._confirm(bgr, self.detector.detect(bgr, None, turns), turned=1)
        return faces

    def _confirm(
        self,
        bgr: np.ndarray,
        candidates: list[FaceDetection],
        expected: Sequence[ExpectedFace] = (),
        known: Sequence[Box] = (),
        turned: int = 0,
    ) -> list[FaceDetection]:
        """The faces among the candidates; ``max_faces`` and a few more are detected again in windows.

        Crops are then framed alike after a search and while tracking. Windows go to expected faces first, then to new
        ones, large ones first. Of the others, a candidate at the position of a known face may have a low score (as in
        ByteTrack, Zhang et al. 2022), a new one may not.

        Args:
            turned: number of new candidates that may be examined in turned windows.
        """
        ranked = sorted(candidates, key=lambda face: -box_side(face.box))
        match = _matches(ranked, [face.box for face in expected])
        is_known = _matches(ranked, known) >= 0
        order = sorted(range(len(ranked)), key=lambda i: (match[i] < 0, is_known[i]))
        windows = set(order[: self.config.max_faces + NEWCOMERS])
        self.complete = len(windows) == len(ranked)
        faces = []
        for i, face in enumerate(ranked):
            if i not in windows:
                keep = is_known[i] or face.score >= self.config.min_detection_score
                faces += [face] if keep else []
                continue
            if match[i] >= 0:
                closer = self.detector.refine(bgr, face.box, expected[match[i]].quarter_turns)
            else:
                turns = quarter_turns(face.landmarks)
                closer = self.detector.refine(bgr, face.box, turns)
                if turned > 0 and (closer is None or closer.score < UPRIGHT_SCORE):
                    turned -= 1
                    closer = self._turned(bgr, face.box, turns, closer)
            score = combined_score(face.score, closer.score if closer else None)
            if score >= self.config.min_detection_score:
                faces.append(replace(closer or face, score=score))
        return _distinct(faces)

    def _turned(self, bgr: np.ndarray, box: Box, tried: int, best: FaceDetection | None) -> FaceDetection | None:
        """The best detection in turned windows if it is clearly better than ``best``, else ``best``."""
        for turns in (0, *TURNS):
            found = self.detector.refine(bgr, box, turns) if turns != tried else None
            if found is not None and found.score > (best.score + TURN_GAIN if best else 0.0):
                best = found
        return best

    def _tiled(self, bgr: np.ndarray, width: int) -> list[FaceDetection]:
        found = []
        for left, top, side in tiles(bgr.shape[1], bgr.shape[0], width):
            for face in self.detector.detect(bgr[top : top + side, left : left + side], width):
                box, origin = face.box, np.array([left, top], np.float32)
                box = Box(box.x + left, box.y + top, box.width, box.height)
                found.append(FaceDetection(box, face.score, face.landmarks + origin))
        return found


def combined_score(search: float, window: float | None) -> float:
    """Score of a face from those of the search and of its window, 0..1: the mean of their log odds.

    A window without detection (None) counts as :data:`MISSED_SCORE`, so that a search of 0.85 and more stands alone.

    >>> round(combined_score(0.95, 0.35), 2), round(combined_score(0.35, 0.9), 2), round(combined_score(0.6, None), 2)
    (0.76, 0.69, 0.34)
    """
    p = np.clip([search, MISSED_SCORE if window is None else window], 1e-4, 1 - 1e-4)
    return float(1 / (1 + np.exp(-np.log(p / (1 - p)).mean())))


def quarter_turns(landmarks: np.ndarray) -> int:
    """Counter-clockwise quarter turns of the image, 0..3, that bring a face closest to upright; ``(5, 2)`` px."""
    return round(face_roll(landmarks) / (np.pi / 2)) % 4


def tiles(width: int, height: int, copy_width: int) -> Iterator[tuple[int, int, int]]:
    """Left, top and side in px of the square tiles in which a large image is searched, row by row; none for others.

    Tiles overlap by the size of the smallest face that the search of the whole image finds, so that each smaller face
    lies within one of them. A tile may be cut off at the right or lower edge if the image is smaller than a tile.

    Args:
        width, height: of the image, px.
        copy_width: px, longer side of the downscaled copy in which the image and each tile are searched.
    """
    longer, shorter = max(width, height), min(width, height)
    scale = 0.0
    if longer > TILED_LENGTH * copy_width:
        scale = TILE_SCALE
    if longer > TILED_ASPECT * shorter:
        scale = max(scale, min(1.0, TILED_SHORT_SIDE * copy_width / shorter))
    if scale * longer <= copy_width:
        return
    overlap = MIN_FACE_IN_COPY * 1.5 * longer / copy_width  # px; 1.5: the detector needs the surroundings, too
    side = max(copy_width / scale, 2 * overlap)
    while True:
        columns, rows = (_starts(length, round(side), overlap) for length in (width, height))
        if len(columns) * len(rows) <= MAX_TILES:
            break
        side *= 1.1
    for top in rows:
        for left in columns:
            yield left, top, round(side)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Evenly spaced starts of intervals of ``side`` that cover ``length`` and overlap by at least ``overlap``."""
    if length <= side:
        return [0]
    count = 1 + int(np.ceil((length - side) / (side - overlap)))
    return [round(start) for start in np.linspace(0, length - side, count)]


def _matches(faces: Sequence[FaceDetection], boxes: Sequence[Box]) -> np.ndarray:
    """``(N,)`` int: index of the box that overlaps each face most, -1 where none does."""
    if not faces or not boxes:
        return np.full(len(faces), -1)
    rows = [np.array([box_row(box) for box in some]) for some in ([face.box for face in faces], boxes)]
    overlap = iou_matrix(*rows)
    return np.where(overlap.max(1) > SAME_PLACE, overlap.argmax(1), -1)


def _distinct(faces: list[FaceDetection]) -> list[FaceDetection]:
    """The faces without duplicates found in two windows, tiles or copies; the best of each."""
    if len(faces) < 2:
        return faces
    boxes = np.array([box_row(face.box) for face in faces])
    return [faces[i] for i in non_max_suppression(boxes, np.array([f.score for f in faces]), 0.5)]
