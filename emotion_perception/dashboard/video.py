"""Pictures for the page: each encoded once, however many watch, and no more bytes than allowed."""

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
    """How large and how often."""

    fps: float = 12.0  # pictures a second at most
    width: int = 640  # px; larger pictures are made smaller
    quality: int = 70  # JPEG, 1..100
    max_mbit: float = 20.0  # Mbit/s for all viewers together; with more viewers there are fewer pictures


@dataclass(frozen=True)
class EncodedFrame:
    """One picture as every viewer gets it: length of the header (uint32, little endian), header (JSON), JPEG."""

    number: int
    data: bytes


class VideoFeed:
    """Takes pictures from one thread, hands the newest one to many viewers in another.

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
        """How many watch."""
        return self._viewers

    @viewers.setter
    def viewers(self, count: int) -> None:
        with self._lock:
            self._viewers = count
            if count == 0:
                self._newest = None  # no picture of long ago for the next one who comes

    @property
    def wanted(self) -> bool:
        """Whether a picture that comes now would be shown."""
        return self._viewers > 0 and self._clock() >= self._due

    @property
    def newest(self) -> EncodedFrame | None:
        """The newest picture, None where there is none of the last second."""
        frame = self._newest
        return frame if self._clock() - self._made_at <= 1.0 else None

    def offer(self, image: np.ndarray, stamp_ns: int, faces: Sequence[FaceObservation], chosen: str = "") -> bool:
        """Encode a picture where one is due; whether it was.

        Args:
            image: uint8 ``(H, W, 3)`` bgr or ``(H, W)`` grey.
            stamp_ns: when it was taken.
            faces: those in it, in its pixels.
            chosen: id of the face that the robot talks with.
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
            # A picture that comes a little early is in time: 25 a second must give 12.5, not 8.3.
            rest = max(0.9 / self.config.fps, len(data) * 8e-6 * self._viewers / self.config.max_mbit)
            self._due = now + rest
        return True


def encode_frame(
    image: np.ndarray, stamp_ns: int, faces: Sequence[FaceObservation], chosen: str, config: VideoConfig
) -> bytes:
    """A picture with its faces as :class:`EncodedFrame` describes; the page draws the boxes."""
    height, width = image.shape[:2]
    if width > config.width:
        size = (config.width, max(1, round(height * config.width / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, config.quality))[1].tobytes()
    told = {
        "time": stamp_ns / SECOND,
        "width": width,
        "height": height,
        "faces": [face_fields(face, width, height, chosen) for face in faces],
    }
    header = json.dumps(told, separators=(",", ":")).encode()
    return struct.pack("<I", len(header)) + header + jpeg


def face_fields(face: FaceObservation, width: int, height: int, chosen: str = "") -> dict[str, Any]:
    """What the page draws of a face; the box is in shares of the picture, cut to it."""
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
