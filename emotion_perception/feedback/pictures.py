"""Small face images of the conversation partner for reports, if people consented to storing them.

Without consent nothing is written and no report has an image. With it, one small image of the face is stored at the
beginning of a conversation and whenever the displayed emotion has changed::

    <folder>/<conversation>/<time written>-<stamp, ns>-<emotion>.jpg     only the robot's own user can read it

Each is deleted after ``retention_days``, even if consent was withdrawn in the meantime; *Delete everything* removes
them all.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.feedback.recent import face_crop
from emotion_perception.feedback.retention import Retention, time_name
from emotion_perception.files import write_atomically
from emotion_perception.interaction.history import is_conversation_id
from emotion_perception.types import SECOND, FaceObservation

LARGEST = 160  # px, of the longer side
QUALITY = 80  # JPEG; about 6 kB
HOLD_S = 1.0  # an emotion displayed for a shorter time is ignored
EVERY_S = 3.0  # shortest time between two images
PER_CONVERSATION = 60  # most images of one conversation
_NAME = re.compile(r"\d{8}T\d{6}Z-(\d{1,19})-(" + "|".join(EMOTIONS) + r")\.jpg")
CONSENT = "storing pictures was not consented to; set store_pictures and pictures_directory"


class NoConsent(ValueError):
    """Images were requested, but the configuration does not declare consent to storing them."""

    status = 409


@dataclass(frozen=True)
class PictureConfig:
    """Where face images are stored, for how long, and whether new ones may be stored."""

    folder: Path
    consented: bool
    retention_days: float = 30.0
    max_mb: float = 200.0  # no more are stored beyond this size


@dataclass(frozen=True)
class Picture:
    """One face image on disk."""

    stamp_ns: int
    label: str
    path: Path


class Pictures:
    """The face images of a folder. Safe to use from several threads.

    Args:
        config: folder, consent, retention.
        warn: called with the first problem.
        clock: seconds since the epoch; for tests.
    """

    def __init__(
        self,
        config: PictureConfig,
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._warn, self._clock = warn, clock
        self._lock = threading.Lock()
        self._retention = Retention(config.retention_days, _delete)
        self._warned = False
        self._size = 0  # bytes on the disk, counted by sweep
        self._start("")

    def _start(self, conversation: str) -> None:
        self._conversation = conversation
        self._kept, self._last_ns = 0, 0  # of this conversation
        self._label = ""  # of the last image
        self._shown, self._since_ns = "", 0  # displayed emotion, and since when

    def offer(
        self, image: np.ndarray, stamp_ns: int, face: FaceObservation | None, conversation: str, label: str
    ) -> bool:
        """Store the face from a camera image if one is due; returns whether it was stored.

        Args:
            image: uint8 ``(H, W, 3)`` bgr or ``(H, W)`` grey.
            stamp_ns: of the image.
            face: of the conversation partner in this image; None if it is not visible.
            conversation: its id; empty if none is running.
            label: displayed emotion; empty if unknown.
        """
        if not self.config.consented:
            return False
        self.sweep()
        with self._lock:
            if conversation != self._conversation:
                self._start(conversation)
            if not is_conversation_id(conversation) or face is None or label not in EMOTIONS:
                return False
            if label != self._shown or stamp_ns < self._since_ns:
                self._shown, self._since_ns = label, stamp_ns
            held = stamp_ns - self._since_ns >= HOLD_S * SECOND
            early = self._kept > 0 and 0 <= stamp_ns - self._last_ns < EVERY_S * SECOND
            if not held or early or label == self._label or self._kept >= PER_CONVERSATION:
                return False
            crop = face_crop(image, face, LARGEST)
            if crop is None:
                return False
            jpeg = cv2.imencode(".jpg", crop, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
            if self._size + len(jpeg) > self.config.max_mb * 1e6:
                self._warn_once(f"{self.config.folder} holds {self.config.max_mb:g} MB of pictures; no more are kept")
                return False
            path = self.config.folder / conversation / f"{time_name(self._clock())}-{stamp_ns}-{label}.jpg"
            try:
                write_atomically(path, [jpeg])
            except OSError as error:
                self._warn_once(f"no picture can be kept in {self.config.folder}: {error}")
                return False
            self._size += len(jpeg)
            self._label, self._last_ns, self._kept = label, stamp_ns, self._kept + 1
            return True

    def of(self, conversation: str) -> list[Picture]:
        """The face images of a conversation, oldest first.

        Raises:
            NoConsent: there is no consent, or it was withdrawn.
        """
        if not self.config.consented:
            raise NoConsent(CONSENT)
        self.sweep()
        if not is_conversation_id(conversation):
            return []
        found = [
            Picture(int(name[1]), name[2], path)
            for path in (self.config.folder / conversation).glob("*.jpg")
            if (name := _NAME.fullmatch(path.name))
        ]
        return sorted(found, key=lambda picture: picture.stamp_ns)

    def sweep(self) -> int:
        """Delete what is older than the retention allows, at most once a minute; returns the number of images."""
        now = self._clock()
        with self._lock:
            if not self._retention.due(now):
                return 0
            deleted = self._retention.sweep(self._files(), now)
            self._size = 0
            for path in self._files():
                with contextlib.suppress(FileNotFoundError):  # another process has deleted it
                    self._size += path.stat().st_size
            return deleted

    def delete_all(self) -> int:
        """Delete every face image, but no other file in the folder; returns the number of deleted images."""
        with self._lock:
            images = list(self._files())
            for path in [*images, *self._files(".part.")]:
                _delete(path)
            self._size = 0
            self._start("")
            return len(images)

    def delete_of(self, conversations: Iterable[str]) -> int:
        """Delete the face images of conversations; returns their number."""
        deleted = 0
        with self._lock:
            for conversation in filter(is_conversation_id, conversations):
                for path in (self.config.folder / conversation).glob("*.jpg"):
                    if _NAME.fullmatch(path.name.removeprefix(".part.")):
                        size = path.stat().st_size
                        _delete(path)
                        self._size = max(0, self._size - size)
                        deleted += not path.name.startswith(".part.")
        return deleted

    def _files(self, prefix: str = "") -> list[Path]:
        """Face images, or with ``.part.`` those that were never completed; other files are ignored."""
        found = self.config.folder.glob(f"*/{prefix}*.jpg")
        return [path for path in found if _NAME.fullmatch(path.name, len(prefix)) and path.name.startswith(prefix)]

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warn(text)
        self._warned = True


def evenly(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """At most ``most`` of the images, evenly spaced, including the first."""
    count = min(most, len(pictures))
    return [pictures[i * len(pictures) // count] for i in range(count)]


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder holds more
        path.parent.rmdir()
