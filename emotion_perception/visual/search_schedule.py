"""When a stream is searched for new faces: at a fixed rate, and seldom while nothing moves in view.

A search of the whole image costs as much as all other work on two or three images. A new face cannot appear without
changing the picture outside the faces that are already followed, so a search may wait while that stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from emotion_perception.types import SECOND, Box

QUIET_INTERVAL_S = 1.0  # longest time between two searches of a picture that does not change
GRID = (80, 60)  # cells, width and height; one has 8x8 px of a VGA image, which averages sensor noise out
MAX_WIDTH = 960  # px; of larger images only some rows and columns are read
FACE_SURROUNDINGS = 2.0  # side of the area around a followed face that may change, over the side of its box
# Grey levels by which a cell must differ from the last search: 0.15 standard deviations of the picture's cells, within
# these limits. Of a person who talks in front of a still background, 70 to 95 % of the looks are below.
CHANGE = 0.15
LEAST_CHANGE, MOST_CHANGE = 2.0, 8.0


class SearchSchedule:
    """Decides whether an image is searched. One instance per camera; not thread-safe.

    Args:
        interval_s: s between two searches while the picture changes; 0: every image is searched.

    Example:
        >>> schedule = SearchSchedule(0.2)
        >>> image = np.zeros((480, 640, 3), np.uint8)
        >>> schedule.due(image, 0, [])
        True
        >>> schedule.searched(image, 0)
        >>> [schedule.due(image, round(s * SECOND), []) for s in (0.1, 0.3, 1.1)]
        [False, False, True]
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_ns = round(interval_s * SECOND)
        self.reset()

    def reset(self) -> None:
        """Forget the last search."""
        self.searched_ns: int | None = None  # stamp of the image that was searched last
        self._looked_ns = 0
        self._cells = np.zeros((0, 0), np.float32)

    def due(self, bgr: np.ndarray, stamp_ns: int, followed: Sequence[Box] | None) -> bool:
        """Whether to search this image.

        Args:
            bgr: uint8 ``(H, W, 3)``.
            stamp_ns: time of capture, after the previous one.
            followed: faces that are found without a search; None: the last search left a face out, or one is lost.
        """
        if self.searched_ns is None or self._interval_ns == 0:
            return True
        if stamp_ns - self._looked_ns < self._interval_ns:
            return False
        self._looked_ns = stamp_ns
        if followed is None or stamp_ns - self.searched_ns >= QUIET_INTERVAL_S * SECOND:
            return True
        return self._changed(bgr, followed)

    def searched(self, bgr: np.ndarray, stamp_ns: int) -> None:
        """This image was searched."""
        self.searched_ns = self._looked_ns = stamp_ns
        self._cells = cell_levels(bgr)

    def _changed(self, bgr: np.ndarray, followed: Sequence[Box]) -> bool:
        cells = cell_levels(bgr)
        difference = np.abs(cells - self._cells)
        height, width = bgr.shape[:2]
        for box in followed:
            half = FACE_SURROUNDINGS / 2 * max(box.width, box.height)
            x, y = box.x + box.width / 2, box.y + box.height / 2
            columns = slice(max(0, int((x - half) / width * GRID[0])), max(0, int((x + half) / width * GRID[0]) + 1))
            rows = slice(max(0, int((y - half) / height * GRID[1])), max(0, int((y + half) / height * GRID[1]) + 1))
            difference[rows, columns] = 0
        return bool(difference.max() > np.clip(CHANGE * self._cells.std(), LEAST_CHANGE, MOST_CHANGE))


def cell_levels(bgr: np.ndarray) -> np.ndarray:
    """Mean grey level of each cell of :data:`GRID`, float32 ``(60, 80)``, of a uint8 ``(H, W, 3)`` image."""
    step = -(-bgr.shape[1] // MAX_WIDTH)
    small = cv2.resize(np.ascontiguousarray(bgr[::step, ::step]), GRID, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
