"""What every source of images and sound yields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

THUMBNAIL = (32, 24)  # px, width and height of `LazyFrame.thumbnail`


class MediaError(Exception):
    """A source cannot be read; the message is one line with the source and the reason."""


@dataclass(frozen=True)
class MediaFrame:
    """One image."""

    time: float  # s: media time of a file, Unix time of a live device
    image: np.ndarray  # (H, W, 3) uint8 BGR, contiguous


@dataclass(frozen=True)
class LazyFrame:
    """One image that is converted on demand."""

    time: float  # s, media time
    due: bool  # the first frame at or after a multiple of the requested interval, or the first of all
    image: Callable[[], np.ndarray]  # the image of `MediaFrame`; raises ValueError, MemoryError, FFmpegError
    thumbnail: Callable[[], np.ndarray]  # its brightness, uint8 (24, 32), not rotated; raises the same


@dataclass(frozen=True)
class MediaAudio:
    """One block of sound.

    Example:
        >>> MediaAudio(2.0, np.zeros((1600, 1), np.int16), 16000).end
        2.1
    """

    time: float  # s, of the first sample
    samples: np.ndarray  # (T, channels) int16
    sample_rate: int  # Hz

    @property
    def end(self) -> float:
        """Time just after the last sample, s."""
        return self.time + len(self.samples) / self.sample_rate


MediaItem = MediaFrame | MediaAudio


def thumbnail_of(grey: np.ndarray) -> np.ndarray:
    """The thumbnail, uint8 ``(24, 32)``, of a grey image uint8 ``(H, W)``; of a large one, of every fourth pixel."""
    stride = max(1, min(grey.shape[0] // (4 * THUMBNAIL[1]), grey.shape[1] // (4 * THUMBNAIL[0])))
    return cv2.resize(grey[::stride, ::stride], THUMBNAIL, interpolation=cv2.INTER_AREA)
