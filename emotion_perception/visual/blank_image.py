"""Detect a camera that shows nothing: a lens cap, a hand on the lens, a camera in the dark."""

from __future__ import annotations

import numpy as np

from emotion_perception.types import SECOND

BLACK = "the image is black"
UNIFORM = "the image is uniform: covered lens?"

HOLD_S = 3.0  # an image must be blank for this long (s), so that a blink of the light or a passing hand is no problem
PERIOD_S = 0.25  # s between two checks; a check of a 640x480 image takes 0.1 ms
MAX_SAMPLES = 64  # rows and columns that are sampled
BLOCK = 8  # samples on each side of a block, whose mean is free of most noise
# Of 0..255. Sensor noise in the dark stays below 16; a wall in even light still has a spread of 10 and more by its
# shading. A blank image must exceed its limit by half before it counts as normal again (hysteresis).
BLACK_LEVEL = 16.0
UNIFORM_SPREAD = 6.0
HYSTERESIS = 1.5


class BlankImageMonitor:
    """Reports why a stream of images shows nothing. One instance per camera; not thread-safe.

    >>> monitor = BlankImageMonitor()
    >>> for second in range(5):
    ...     monitor.update(np.zeros((48, 64, 3), np.uint8), second * SECOND)
    >>> monitor.problem
    'the image is black'
    """

    def __init__(self) -> None:
        self.problem = ""  # BLACK, UNIFORM, or empty if the images show something
        self._kind = ""  # what the newest image looks like, not yet for long
        self._since_ns = 0
        self._looked_ns: int | None = None

    def reset(self) -> None:
        """Forget all images, as when the camera or the clock has changed."""
        self.__init__()  # type: ignore[misc]

    def update(self, image: np.ndarray, stamp_ns: int) -> None:
        """Look at an image, uint8 ``(H, W, 3)`` or ``(H, W)``; most are skipped, because four a second are enough."""
        if self._looked_ns is not None and 0 <= stamp_ns - self._looked_ns < PERIOD_S * SECOND:
            return
        if self._looked_ns is not None and stamp_ns < self._looked_ns:
            self.reset()
        self._looked_ns = stamp_ns
        kind = self._kind_of(image)
        if kind != self._kind:
            self._kind, self._since_ns = kind, stamp_ns
        if not kind:
            self.problem = ""
        elif stamp_ns - self._since_ns >= HOLD_S * SECOND:
            self.problem = kind

    def _kind_of(self, image: np.ndarray) -> str:
        level, spread = brightness_and_spread(image)
        factor = HYSTERESIS if self._kind else 1.0
        if level < BLACK_LEVEL * factor:
            return BLACK
        return UNIFORM if spread < UNIFORM_SPREAD * factor else ""


def brightness_and_spread(image: np.ndarray) -> tuple[float, float]:
    """How bright the brightest parts of an image are, and by how much its parts differ in brightness or colour; 0..255.

    Args:
        image: uint8 ``(H, W, 3)`` or ``(H, W)``. Every n-th row and column is used, averaged over blocks, so that noise
            is not taken for contrast.
    """
    rows, columns = (max(1, -(-size // MAX_SAMPLES)) for size in image.shape[:2])
    samples = np.asarray(image[::rows, ::columns], np.float32)
    samples = samples.reshape(*samples.shape[:2], -1)  # (h, w, channels)
    height, width = samples.shape[:2]
    block = min(BLOCK, height, width)
    height, width = height // block, width // block
    blocks = samples[: height * block, : width * block].reshape(height, block, width, block, -1).mean((1, 3))
    high = blocks.max((0, 1))  # (channels,)
    return float(high.max()), float((high - blocks.min((0, 1))).max())
