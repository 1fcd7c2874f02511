"""ROS recordings (MCAP, sqlite3, ROS 1 bags) as a stream of frames and audio blocks, without ROS.

The image and audio topics are found by their types: ``sensor_msgs/Image``, ``CompressedImage`` (with H.264 and other
video, too), ``FFMPEGPacket`` and ``foxglove_msgs/CompressedVideo``, and every dialect of audio that
``messages/audio.py`` knows. Time is that of the messages' stamps, so image and sound keep the offset with which they
were captured; where stamps jump or are missing, the time of recording is used.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from rosbags.interfaces import Connection

from emotion_perception.media.bag_files import BagReader
from emotion_perception.media.items import LazyFrame, MediaAudio, MediaError, MediaFrame, MediaItem, thumbnail_of
from emotion_perception.media.source import FALLBACK_FPS, StoredMedia, interval_number
from emotion_perception.messages.audio import ArrivalStamps, Dialect, SoundForm, dialects_of, form_from_audio_info
from emotion_perception.messages.compressed import (
    CompressedDecoder,
    DecodedImage,
    image_from_compressed,
    video_codec,
)
from emotion_perception.messages.samples import to_int16
from emotion_perception.messages.sensors import ConversionError, image_from_message, stamp_to_ns
from emotion_perception.types import SECOND

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = (
    "sensor_msgs/msg/CompressedImage",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "foxglove_msgs/msg/CompressedVideo",
)
DEPTH_ENCODINGS = ("16UC1", "32FC1")  # infrared cameras use them, too
FIRST_KEY_FRAME = 300  # messages of a video in which its first key frame is searched
OUR_OUTPUTS = "/emotion/"  # our annotated image is not a camera
JUMP = SECOND  # ns; change of the delay from stamp to recording from which a stamp counts as jumped
REORDER = SECOND // 2  # ns; an audio chunk is recorded after its last sample but stamped with its first


class Recording(StoredMedia):
    """A ROS recording.

    Args:
        path: the folder of the bag, or a file as :class:`~emotion_perception.media.bag_files.BagReader` reads it.
        image_topic, audio_topic: the topics to read; found by message type where empty.

    Attributes:
        start_ns: the stamp at media time 0.
        note: which topics are read, and why one is not.

    Raises:
        MediaError: not a readable recording, or neither images nor sound in it; lists its topics.
    """

    def __init__(self, path: str | Path, image_topic: str = "", audio_topic: str = "") -> None:
        super().__init__(Path(path))
        self._image_topic = self._audio_topic = ""
        self._dialect: Dialect | None = None
        self._form = SoundForm()
        self._lag = 0  # ns from the stamp to the recording, for messages without a stamp
        self.start_ns = 0
        with self._open() as reader:
            self.duration = reader.duration / SECOND
            self._probe(reader, image_topic, audio_topic)

    def frames(self, start: float = 0.0, interval: float = 0.0) -> Iterator[LazyFrame]:
        """See :meth:`StoredMedia.frames`."""
        newest = -1
        for frame in self._items({self._image_topic}, _lazy_frame) if self.has_video else ():
            assert isinstance(frame, LazyFrame)
            number = interval_number(frame.time, interval) if interval > 0 else newest + 1
            if number > newest and frame.time >= start:
                newest = number
                yield frame

    def sound(self, start: float = 0.0) -> Iterator[MediaAudio]:
        """See :meth:`StoredMedia.sound`."""
        for block in self._items({self._audio_topic}, _lazy_frame) if self.has_audio else ():
            assert isinstance(block, MediaAudio)
            if block.end > start:
                yield block

    @contextmanager
    def _open(self) -> Iterator[BagReader]:
        if not self.path.exists():
            raise MediaError(f"{self.path}: no such file")
        reader = BagReader(self.path)
        try:
            reader.__enter__()
        except Exception as error:  # rosbags raises any exception on a damaged file
            hint = ""
            if "end magic" in str(error) or "footer" in str(error):
                hint = "; it was not closed at the end of the recording, `mcap recover` repairs it"
            raise MediaError(f"{self.path}: not a readable recording ({_one_line(error)}{hint})") from error
        try:
            yield reader
        finally:
            reader.__exit__()

    # --- topics

    def _probe(self, reader: BagReader, image_topic: str, audio_topic: str) -> None:
        connections = {connection.topic: connection for connection in reader.connections}
        for wanted in filter(None, (image_topic, audio_topic)):
            if wanted not in connections:
                raise MediaError(f"{self.path}: no topic {wanted}; {_listed(reader)}")
        firsts: list[_First] = []
        notes = [*self._find_images(reader, image_topic, firsts), *self._find_sound(reader, audio_topic, firsts)]
        if not (self.has_video or self.has_audio):
            raise MediaError(f"{self.path}: {'; '.join(notes) or 'no images and no sound in it'}; {_listed(reader)}")
        self.note = "; ".join(filter(None, [reader.note, *notes]))
        self._lag = next((first.logged - first.stamp for first in firsts if first.stamp is not None), 0)
        self.start_ns = min(
            first.logged - self._lag - first.length if first.stamp is None else first.stamp for first in firsts
        )

    def _find_images(self, reader: BagReader, wanted: str, firsts: list[_First]) -> list[str]:
        """Choose the image topic and add its first message to ``firsts``; returns notes for the user."""
        found: list[tuple[tuple[Any, ...], _First, np.ndarray]] = []
        problems = []
        for connection in reader.connections:
            named = connection.topic == wanted
            if connection.msgtype not in (IMAGE, *COMPRESSED) or (wanted and not named) or not connection.msgcount:
                continue
            try:
                first = _first(reader, connection)
                image = _first_image(reader, connection)
            except Exception as error:  # a damaged definition may give a message of any content
                problems.append(f"{connection.topic} cannot be used: {_reason(error)}")
                continue
            grey, compressed = image.ndim == 2, connection.msgtype in COMPRESSED
            rank = (OUR_OUTPUTS in connection.topic, grey, compressed, -connection.msgcount, connection.topic)
            found.append((rank, first, image))
        if not found:
            return problems
        _, first, image = min(found, key=lambda item: item[0])
        firsts.append(first)
        self._image_topic, self.has_video = first.connection.topic, True
        self.height, self.width = image.shape[:2]
        self.fps = first.connection.msgcount / self.duration if self.duration else FALLBACK_FPS
        self.fps = self.fps if 0.1 <= self.fps <= 240 else FALLBACK_FPS
        return [f"images from {self._image_topic}"]

    def _find_sound(self, reader: BagReader, wanted: str, firsts: list[_First]) -> list[str]:
        """The same for the audio topic."""
        problems = []
        for dialect in dialects_of(connection.msgtype for connection in reader.connections):
            for connection in sorted(reader.connections, key=lambda c: (-c.msgcount, c.topic)):
                if connection.msgtype != dialect.type_name or (wanted and connection.topic != wanted):
                    continue
                if not connection.msgcount:
                    continue
                try:
                    form = _sound_form(reader, connection.topic, dialect)
                    first = _first(reader, connection)
                    sound = dialect.read(first.message, form)
                except Exception as error:  # as for images
                    problems.append(f"{connection.topic} cannot be used: {_reason(error)}")
                    continue
                firsts.append(replace(first, length=len(sound.samples) * SECOND // sound.sample_rate))
                self._audio_topic, self._dialect, self._form = connection.topic, dialect, form
                self.has_audio = True
                self.sample_rate, self.channels = sound.sample_rate, sound.samples.shape[1]
                return [f"sound from {connection.topic}"]
        return problems

    # --- reading

    def _read(self) -> Generator[MediaItem, None, None]:
        topics = {self._image_topic, self._audio_topic} - {""}
        return cast(Generator[MediaItem, None, None], self._items(topics, _frame))

    def _items(
        self, topics: set[str], make_frame: Callable[[float, Any], MediaFrame | LazyFrame]
    ) -> Generator[MediaFrame | LazyFrame | MediaAudio, None, None]:
        """The content of the topics in the order of time; ``make_frame`` converts an image message."""
        with self._open() as reader:
            chosen = [connection for connection in reader.connections if connection.topic in topics]
            decoder = CompressedDecoder()
            lines = {topic: _Timeline(self._lag) for topic in topics}
            arrivals = ArrivalStamps()
            waiting: list[tuple[float, int, MediaFrame | LazyFrame | MediaAudio]] = []
            messages = reader.messages(chosen)
            count = itertools.count()
            while True:
                try:
                    connection, logged, data = next(messages)
                except StopIteration:
                    break
                except Exception:  # the file breaks off
                    self.errors += 1
                    break
                try:
                    message = reader.decode(connection, data)
                    line = lines[connection.topic]
                    stamp = line.stamp(_stamp(message), logged)
                    items: list[MediaFrame | LazyFrame | MediaAudio]
                    if connection.topic != self._image_topic:
                        items = [self._block(message, stamp, logged, arrivals)]
                    elif connection.msgtype in COMPRESSED and video_codec(message):
                        items = [
                            make_frame(self._time(stamp - max(0, _raw(message) - image.stamp_ns)), image)
                            for image in decoder.decode(message)
                        ]
                    else:
                        items = [make_frame(self._time(stamp), message)]
                except Exception:  # a malformed message: rosbags may raise any exception
                    self.errors += 1
                    continue
                for item in items:
                    heapq.heappush(waiting, (item.time, next(count), item))
                settled = self._time(logged - line.lag - REORDER)
                while waiting and waiting[0][0] <= settled:
                    yield heapq.heappop(waiting)[2]
            while waiting:
                yield heapq.heappop(waiting)[2]
            self.repaired += sum(line.jumps for line in lines.values())

    def _block(self, message: Any, stamp: int, logged: int, arrivals: ArrivalStamps) -> MediaAudio:
        assert self._dialect is not None  # there is an audio topic
        sound = self._dialect.read(message, self._form)
        if sound.stamp_ns is None:
            stamp = arrivals.stamp(logged - self._lag, len(sound.samples), sound.sample_rate)
        return MediaAudio(self._time(stamp), to_int16(sound.samples), sound.sample_rate)

    def _time(self, stamp_ns: int) -> float:
        """Media time, s; 0 for stamps before the first messages of both topics."""
        return max(0.0, (stamp_ns - self.start_ns) / SECOND)


class _Timeline:
    """The stamps of one topic, with jumps of the clock removed.

    Args:
        lag: ns from capture to recording, for messages without a stamp.
    """

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self.jumps = 0
        self._known = False
        self._shift = 0  # ns by which the clock was set since the first message

    def stamp(self, stamp: int | None, logged: int) -> int:
        """The stamp on the clock of the first message, ns."""
        if stamp is None:
            return logged - self.lag
        lag = logged - stamp - self._shift
        if not self._known:
            self._known, self.lag = True, lag
        elif abs(lag - self.lag) > JUMP:
            self._shift += lag - self.lag
            self.jumps += 1
        return stamp + self._shift


@dataclass(frozen=True)
class _First:
    """A topic's first message."""

    connection: Connection
    message: Any
    stamp: int | None  # ns
    logged: int  # ns, time of recording
    length: int = 0  # ns of sound in it


def _first(reader: BagReader, connection: Connection) -> _First:
    _, logged, data = next(reader.messages([connection]))
    message = reader.decode(connection, data)
    return _First(connection, message, _stamp(message), logged)


def _first_image(reader: BagReader, connection: Connection) -> np.ndarray:
    """The first image of a topic; of a video, that of its first key frame."""
    decoder = CompressedDecoder()
    for _, _, data in itertools.islice(reader.messages([connection]), FIRST_KEY_FRAME):
        message = reader.decode(connection, data)
        if connection.msgtype == IMAGE:
            if message.encoding in DEPTH_ENCODINGS and "depth" in connection.topic:
                raise ConversionError(f"{message.encoding!r} is a depth image; choose the topic of the colour camera")
            return _pixels(message)
        if images := decoder.decode(message):
            return images[0].image
    raise ConversionError(f"no key frame in the first {FIRST_KEY_FRAME} messages of the video")


def _sound_form(reader: BagReader, topic: str, dialect: Dialect) -> SoundForm:
    """The audio format of a topic as ros-drivers' capture node published it, if that was recorded."""
    info = f"{topic.removesuffix('_stamped')}_info"
    for connection in reader.connections:
        if dialect.info and connection.topic == info and connection.msgcount:
            return form_from_audio_info(_first(reader, connection).message)
    return SoundForm()


def _stamp(message: Any) -> int | None:
    """A message's stamp, ns; None where it has none or it was never set."""
    stamp = message.header.stamp if hasattr(message, "header") else getattr(message, "timestamp", None)
    return stamp_to_ns(stamp) or None if stamp is not None else None


def _raw(message: Any) -> int:
    """The stamp as it is in the message, ns; 0 where it has none."""
    return _stamp(message) or 0


def _pixels(message: Any) -> np.ndarray:
    """The pixels of a message, or of an image of a video that is decoded already."""
    if isinstance(message, DecodedImage):
        return message.image
    return image_from_message(message) if hasattr(message, "encoding") else image_from_compressed(message)


def _frame(time: float, message: Any) -> MediaFrame:
    return MediaFrame(time, _bgr(_pixels(message)))


def _lazy_frame(time: float, message: Any) -> LazyFrame:
    @cache  # also used by the thumbnail
    def image() -> np.ndarray:
        try:
            return _bgr(_pixels(message))
        except Exception as error:  # rosbags may raise any exception
            raise ValueError(_one_line(error)) from error

    return LazyFrame(time, True, image, lambda: thumbnail_of(cv2.cvtColor(image(), cv2.COLOR_BGR2GRAY)))


def _bgr(image: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR, contiguous."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else np.ascontiguousarray(image)


def _listed(reader: BagReader) -> str:
    topics = sorted(f"{connection.topic} ({connection.msgtype})" for connection in reader.connections)
    return f"topics in it: {', '.join(topics) or 'none'}"


def _reason(error: Exception) -> str:
    return (
        str(error) if isinstance(error, ConversionError) else f"its first message cannot be read ({_one_line(error)})"
    )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
