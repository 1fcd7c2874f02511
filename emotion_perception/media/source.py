"""The base classes of all sources: read and closed alike."""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from emotion_perception.media.items import LazyFrame, MediaAudio, MediaError, MediaItem

if TYPE_CHECKING:
    from typing_extensions import Self

FALLBACK_FPS = 25.0  # where the file does not state a frame rate


class MediaSource(ABC):
    """A camera, a microphone, a file or a recording; a context manager that closes it.

    Attributes:
        has_video, has_audio: what it yields.
        errors: frames or packets that could not be read so far.
        note: what the user should know about it, or empty.
    """

    has_video = False
    has_audio = False
    errors = 0
    note = ""

    @abstractmethod
    def read(self) -> Iterator[MediaItem]:
        """Images and blocks of sound, in the order of their time.

        Raises:
            MediaError: the source can no longer be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the device or file, and end the iterators over it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TrackedReaders:
    """The running iterators over one source, to end them with it."""

    def __init__(self) -> None:
        self._readers: weakref.WeakSet[Generator[MediaItem, None, None]] = weakref.WeakSet()

    def track(self, reader: Generator[MediaItem, None, None]) -> Iterator[MediaItem]:
        """Keep a weak reference to an iterator; returns it."""
        self._readers.add(reader)
        return reader

    def close(self) -> None:
        """End all of them; from the thread that iterates."""
        for reader in list(self._readers):
            reader.close()


class StoredMedia(MediaSource):
    """A file or recording: it has media time from 0 and can be read several times. Made by ``open_media``.

    Attributes:
        path: of the file or folder.
        is_image: a still image: one frame at time 0.
        seekable: reading may begin in the middle.
        duration: s as the container states it, None where it does not; the true end is known after reading.
        created: when it was recorded, as the container states it; empty where it does not.
        fps, width, height: 0 without video; width and height after rotation.
        sample_rate, channels: 0 without audio.
        audio_tracks: their number; 0 or 1 where a file cannot have several.
        audio_track: number of the one that is read, from 1; 0 without audio.
        errors: packets or messages that could not be decoded so far, over all reads.
        repaired: stamps that were missing or jumped and were replaced, over all reads.
    """

    is_image = False
    seekable = False
    created = ""
    duration: float | None = None
    fps = 0.0
    width = height = sample_rate = channels = repaired = audio_tracks = audio_track = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._readers = TrackedReaders()

    def close(self) -> None:
        """End every iterator returned by :meth:`read` and :meth:`loop`; from the thread that iterates."""
        self._readers.close()

    def read(self) -> Iterator[MediaItem]:
        """Frames and audio blocks in the order of their time, once from start to end; each call is a new pass.

        What cannot be decoded is counted in ``errors`` and skipped; a file that breaks off ends the stream.

        Raises:
            MediaError: it can no longer be opened.
        """
        return self._readers.track(self._read())

    def loop(self) -> Iterator[MediaItem]:
        """Frames and blocks over and over, with increasing times.

        A repetition starts where the longer of the two streams ended (last frame plus its duration, last sample), with
        the same offset for both, so that they stay synchronised. A still image is repeated at `STILL_FPS`.

        Raises:
            MediaError: it can no longer be read, or a pass was empty.
        """
        return self._readers.track(self._loop())

    @abstractmethod
    def frames(self, start: float = 0.0, interval: float = 0.0) -> Iterator[LazyFrame]:
        """The frames from ``start`` (s) on in the order of their time; of those that are not due, as few as possible.

        Where each frame is compressed by itself (MJPEG, ProRes), only those due are decoded; elsewhere the frames that
        no other depends on (B frames) are skipped if enough remain. A recording yields only those due.

        Args:
            start: 0 unless ``seekable``; a recording is read from its beginning.
            interval: s between frames that are due; 0: every frame is due.

        Raises:
            MediaError: it can no longer be opened.
        """

    @abstractmethod
    def sound(self, start: float = 0.0) -> Iterator[MediaAudio]:
        """The audio blocks from the one at ``start`` (s; as for :meth:`frames`) on, in the order of their time.

        Raises:
            MediaError: it can no longer be opened.
        """

    @abstractmethod
    def _read(self) -> Generator[MediaItem, None, None]:
        """One pass."""

    def _loop(self) -> Generator[MediaItem, None, None]:
        offset, frame_period = 0.0, 1 / (self.fps or FALLBACK_FPS)
        while True:
            end = 0.0
            for item in self._read():
                end = max(end, item.end if isinstance(item, MediaAudio) else item.time + frame_period)
                yield replace(item, time=item.time + offset)
            if end <= 0.0:
                raise MediaError(f"{self.path}: nothing in it can be decoded any more")
            offset += end


def interval_number(time: float, interval: float) -> int:
    """Number of the interval that a time lies in, both in s; slightly before its start counts as in it, for rounding.

    Example:
        >>> [interval_number(time, 0.2) for time in (0.0, 0.19, 0.4 - 1e-6)]
        [0, 0, 2]
    """
    return math.floor(time / interval + 1e-4)
