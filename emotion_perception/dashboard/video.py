"""Video for the page: each frame is encoded once for all viewers, within a bandwidth limit."""

from __future__ import annotations

import json
import math
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from emotion_perception.types import SECOND, FaceObservation


@dataclass(frozen=True)
class VideoConfig:
    """Size and rate."""

    fps: float = 12.0  # Hz, at most
    width: int = 640  # px; larger frames are scaled down
    quality: int = 70  # JPEG, 1..100
    max_mbit: float = 20.0  # Mbit/s for all viewers together; more viewers get fewer frames each


@dataclass(frozen=True)
class EncodedFrame:
    """One frame as every viewer gets it: length of the header (uint32, little endian), header (JSON), JPEG."""

    number: int
    data: bytes


class VideoFeed:
    """Receives frames in one thread and provides the newest one to all viewers in another.

    Args:
        config: size and rate.
        clock: monotonic seconds; for tests.
    """

    def __init__(self, config: VideoConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config or VideoConfig()
        self._clock = clock
        self._lock = threading.Lock()
        self._viewers = 0
        self._due = -math.inf
        self._newest: EncodedFrame | None = None
        self._made_at = -math.inf
        self.encoded = 0

    @property
    def viewers(self) -> int:
        """Number of viewers who want frames."""
        return self._viewers

    @viewers.setter
    def viewers(self, count: int) -> None:
        with self._lock:
            self._viewers = count
            if count == 0:
                self._newest = None  # the next viewer must not see an old frame

    @property
    def wanted(self) -> bool:
        """Whether a frame offered now would be shown."""
        return self._viewers > 0 and self._clock() >= self._due

    @property
    def newest(self) -> EncodedFrame | None:
        """The newest frame; None if there is none of the last second."""
        frame = self._newest
        return frame if self._clock() - self._made_at <= 1.0 else None

    def offer(self, image: np.ndarray, stamp_ns: int, faces: Sequence[FaceObservation], chosen: str = "") -> bool:
        """Encode a frame if one is due.

        Args:
            image: uint8 ``(H, W, 3)`` BGR or ``(H, W)`` grey.
            stamp_ns: capture time.
            faces: faces in it, in its pixels.
            chosen: id of the conversation partner's face.

        Returns:
            Whether it was encoded.
        """
        if not self.wanted:
            return False
        now = self._clock()
        data = encode_frame(image, stamp_ns, faces, chosen, self.config)
        with self._lock:
            if self._viewers == 0:
                return False
            self.encoded += 1
            self._newest = EncodedFrame(self.encoded, data)
            self._made_at = now
            # A frame that is slightly early is accepted: 25 Hz must give 12.5 Hz, not 8.3 Hz.
            interval = max(0.9 / self.config.fps, len(data) * 8e-6 * self._viewers / self.config.max_mbit)
            self._due = now + interval
        return True


def encode_frame(
    image: np.ndarray, stamp_ns: int, faces: Sequence[FaceObservation], chosen: str, config: VideoConfig
) -> bytes:
    """A frame with its faces in the format of :class:`EncodedFrame`; the page draws the boxes."""
    height, width = image.shape[:2]
    if width > config.width:
        size = (config.width, max(1, round(height * config.width / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, config.quality))[1].tobytes()
    fields = {
        "time": stamp_ns / SECOND,
        "width": width,
        "height": height,
        "faces": [face_fields(face, width, height, chosen) for face in faces],
    }
    header = json.dumps(fields, separators=(",", ":")).encode()
    return struct.pack("<I", len(header)) + header + jpeg


def face_fields(face: FaceObservation, width: int, height: int, chosen: str = "") -> dict[str, Any]:
    """What the page draws of a face. The box is relative to the image size, 0..1, and clipped to the image."""
    left, top = max(0.0, face.box.x / width), max(0.0, face.box.y / height)
    right = min(1.0, (face.box.x + face.box.width) / width)
    bottom = min(1.0, (face.box.y + face.box.height) / height)
    return {
        "id": face.face_id,
        "box": [round(v, 4) for v in (left, top, max(0.0, right - left), max(0.0, bottom - top))],
        "label": face.emotion.label,
        "confidence": round(face.emotion.confidence, 3),
        "quality": round(face.quality, 3),
        "chosen": face.face_id == chosen,
    }
