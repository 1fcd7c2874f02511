"""Small pictures of the person a conversation is with, for reports, if storing them was consented to.

Without consent nothing is written and no report has a picture. With it, one crop of the face is kept where the
conversation begins and where each stretch of another emotion begins::

    <folder>/<conversation>/<when it was written>-<stamp, ns>-<emotion>.jpg     readable for the robot's own user alone

Every one is deleted after ``retention_days``, also when consent has been withdrawn meanwhile; *Delete everything* takes
all of them at once.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.feedback.corrections import face_crop
from emotion_perception.files import write_atomically
from emotion_perception.interaction.history import is_conversation_id
from emotion_perception.types import SECOND, FaceObservation

LARGEST = 160  # px, of the longer side
QUALITY = 80  # JPEG; some 6 kB then
HOLD_S = 1.0  # an emotion shown for less begins no stretch
EVERY_S = 3.0  # at most
PER_CONVERSATION = 60  # and no more
_NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d{1,19})-(" + "|".join(EMOTIONS) + r")\.jpg")
CONSENT = "storing pictures was not consented to; set store_pictures and pictures_directory"


class NoConsent(ValueError):
    """Pictures were asked for, and the configuration has not consented to storing them."""

    status = 409


@dataclass(frozen=True)
class PictureConfig:
    """Where pictures are kept, for how long, and whether new ones may be."""

    folder: Path
    consented: bool
    retention_days: float = 30.0
    max_mb: float = 200.0  # no more are taken beyond


@dataclass(frozen=True)
class Picture:
    """One that was kept."""

    stamp_ns: int
    label: str
    path: Path


class Pictures:
    """The pictures of a folder. Safe to use from several threads.

    Args:
        config: folder, consent, retention.
        warn: is told what goes wrong, once.
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
        self._swept = 0.0
        self._told = False
        self._size = 0  # bytes on the disk, counted by sweep
        self._forget()

    def _forget(self) -> None:
        self._conversation = ""
        self._kept, self._last_ns = 0, 0  # of this conversation
        self._label = ""  # of the last picture
        self._shown, self._since_ns = "", 0  # what the face shows now, and since when

    def offer(
        self, image: np.ndarray, stamp_ns: int, face: FaceObservation | None, conversation: str, label: str
    ) -> bool:
        """Look at a picture of the camera; whether a crop of it was kept.

        Args:
            image: uint8 ``(H, W, 3)`` bgr or ``(H, W)`` grey.
            face: of the person the conversation is with, in this picture; None where it is not to be seen.
            conversation: its id; empty where none is going on.
            label: what the person shows, empty where it is not known.
        """
        if not self.config.consented:
            return False
        self.sweep()
        with self._lock:
            if conversation != self._conversation:
                self._forget()
                self._conversation = conversation
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
                self._tell(f"{self.config.folder} holds {self.config.max_mb:g} MB of pictures; no more are taken")
                return False
            made = datetime.fromtimestamp(self._clock(), timezone.utc)
            try:
                write_atomically(
                    self.config.folder / conversation / f"{made:%Y%m%dT%H%M%SZ}-{stamp_ns}-{label}.jpg", [jpeg]
                )
            except OSError as error:
                self._tell(f"no picture can be kept in {self.config.folder}: {error}")
                return False
            self._size += len(jpeg)
            self._label, self._last_ns, self._kept = label, stamp_ns, self._kept + 1
            return True

    def of(self, conversation: str) -> list[Picture]:
        """Those of a conversation, oldest first.

        Raises:
            NoConsent: the configuration has not consented, or not any more.
        """
        if not self.config.consented:
            raise NoConsent(CONSENT)
        self.sweep()
        if not is_conversation_id(conversation):
            return []
        found = [
            Picture(int(name[2]), name[3], path)
            for path in (self.config.folder / conversation).glob("*.jpg")
            if (name := _NAME.fullmatch(path.name))
        ]
        return sorted(found, key=lambda picture: picture.stamp_ns)

    def sweep(self) -> int:
        """Delete what is older than the retention allows; looks once a minute. How many were deleted."""
        now = self._clock()
        with self._lock:
            if 0 <= now - self._swept < 60:
                return 0
            self._swept, self._size, deleted = now, 0, 0
            for path in self.config.folder.glob("*/*.jpg"):
                name = _NAME.fullmatch(path.name)
                if name is None:
                    continue
                made = datetime.strptime(name[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
                if now - made > self.config.retention_days * 86400:
                    path.unlink(missing_ok=True)
                    deleted += 1
                    _remove_if_empty(path.parent)
                else:
                    with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
                        self._size += path.stat().st_size
            return deleted

    def delete_all(self) -> int:
        """Delete every picture; how many there were. What else lies in the folder stays."""
        with self._lock:
            count = 0
            for path in list(self.config.folder.glob("*/*.jpg")) + list(self.config.folder.glob("*/.part.*.jpg")):
                if _NAME.fullmatch(path.name.removeprefix(".part.")):
                    path.unlink(missing_ok=True)
                    count += not path.name.startswith(".part.")
                    _remove_if_empty(path.parent)
            self._size = 0
            self._forget()
            return count

    def _tell(self, text: str) -> None:
        if not self._told:
            self._warn(text)
        self._told = True


def evenly(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """``most`` of them, the first among them, spread over all."""
    count = min(most, len(pictures))
    return [pictures[i * len(pictures) // count] for i in range(count)]


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # there are more
        folder.rmdir()
