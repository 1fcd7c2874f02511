"""Video, audio and picture files as a stream of frames and sample blocks in media-time order, through PyAV.

Times are seconds from the start of the earlier of the two streams, so a stream that begins later keeps its offset and
sound and picture stay together. Nothing here touches a network: only plain local files are opened.
"""

from __future__ import annotations

import heapq
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import av
import av.error
import cv2
import numpy as np

from emotion_perception.messages.samples import to_float, to_int16

if TYPE_CHECKING:
    from typing_extensions import Self

    from emotion_perception.media.rosbag import Recording

FALLBACK_FPS = 25.0  # where neither the container nor the codec says
STILL_FPS = 10.0  # rate at which `MediaFile.loop` repeats a still image
MAX_AUDIO_BLOCK_S = (
    0.032  # longer codec frames are cut, so that a live consumer gets sound as a microphone would give it
)
AUDIO_JITTER_S = 0.02  # stamps this near the sample count are rounding (FLV counts milliseconds), not gaps
MAX_GAP_S = 600.0  # no stream pauses longer
DEMUX_ATTEMPTS = 8  # breaks in a container after which the rest is given up
RECORDING_SUFFIXES = (".mcap", ".db3")
STREAM_KINDS = ("video", "audio")
THUMBNAIL = (32, 24)  # px, width and height of `LazyFrame.thumbnail`
# A due picture may be the next one that others are decoded from, where there are so many in the interval between two.
FRAMES_TO_SKIP = 4
SEEK_BACK_S = (0.0, 2.0, 10.0, 60.0)  # tried one after the other until a picture before the wanted time is found
LUMA_PLANE = ("yuv4", "yuvj4", "nv12", "nv21", "gray")  # pixel formats of which the first plane is bytes of brightness
# Demuxers that take any text for a picture, or whose files point at other files.
REFUSED_FORMATS = {"tty", "hls", "dash", "concat", "sdp", "applehttp"}


class MediaError(Exception):
    """A source cannot be read; the message is one line that names the source and the reason."""


@dataclass(frozen=True)
class MediaFrame:
    """One picture."""

    time: float  # s: media time of a file, Unix time of a live source
    image: np.ndarray  # (H, W, 3) uint8 BGR, contiguous


@dataclass(frozen=True)
class LazyFrame:
    """One picture that is converted only where it is wanted."""

    time: float  # s, media time
    due: bool  # the first one of all, or at or after a multiple of the interval asked for
    image: Callable[[], np.ndarray]  # makes the picture of `MediaFrame`; ValueError, MemoryError, FFmpegError
    thumbnail: Callable[[], np.ndarray]  # makes its brightness, uint8 (24, 32), not turned; raises as above


@dataclass(frozen=True)
class MediaAudio:
    """One block of sound."""

    time: float  # s, of the first sample
    samples: np.ndarray  # (T, channels) int16
    sample_rate: int  # Hz

    @property
    def end(self) -> float:
        """Time just after the last sample, s."""
        return self.time + len(self.samples) / self.sample_rate


MediaItem = MediaFrame | MediaAudio


class Closing(ABC):
    """A context manager that closes itself at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give back what is held."""


class Lending(Closing):
    """A file that hands out iterators over itself, and ends them when it is closed."""

    def __init__(self) -> None:
        self._readers: weakref.WeakSet[Generator[MediaItem, None, None]] = weakref.WeakSet()

    def close(self) -> None:
        """End every iterator handed out by :meth:`read` and :meth:`loop`; from the thread that iterates."""
        for reader in list(self._readers):
            reader.close()

    def _track(self, reader: Generator[MediaItem, None, None]) -> Iterator[MediaItem]:
        self._readers.add(reader)
        return reader


class MediaFile(Lending):
    """A readable video, audio or image file; made by :func:`open_media`.

    Attributes:
        has_video, has_audio: what can be decoded; a cover picture in a music file is not video.
        is_image: a still image: one frame at time 0.
        duration: s as the container states it, None where it does not; the true end is known after reading.
        fps, width, height: 0 without video; width and height after rotation.
        sample_rate, channels: 0 without audio.
        errors: packets that could not be decoded so far, over all reads.
        repaired: stamps that were missing or ran backwards and were replaced, over all reads.
        seekable: reading may begin in the middle.
        created: when it was recorded, as the container states it; empty where it does not.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.has_video = self.has_audio = self.is_image = self.seekable = False
        self.created = ""
        self.duration: float | None = None
        self.fps = 0.0
        self.width = self.height = self.sample_rate = self.channels = 0
        self.errors = self.repaired = 0
        self._origin = 0.0  # s on the container's clock that is media time 0
        if _is_image(path):
            image = read_image(path)
            self.is_image = self.has_video = True
            self.height, self.width = image.shape[:2]
            self.fps, self.duration = STILL_FPS, 0.0
        else:
            self._probe()

    def read(self) -> Iterator[MediaItem]:
        """Frames and audio blocks in time order, once from start to end; may be called again for another pass.

        A packet that cannot be decoded is counted in ``errors`` and skipped; a container that breaks off ends the
        stream. Neither raises.

        Raises:
            MediaError: the file can no longer be opened.
        """
        return self._track(self._read())

    def pictures(self, start: float = 0.0, interval: float = 0.0) -> Iterator[LazyFrame]:
        """The pictures from ``start`` (s) on in time order; of those between two that are due, no more than is needed.

        Where every picture stands for itself (MJPEG, ProRes), only those that are due are decoded; elsewhere those
        from which no other is decoded (B frames) are left out, as long as there are enough.

        Args:
            start: 0 unless the file is ``seekable``.
            interval: s between pictures that are due; 0 makes every picture due.
        """
        return self._lazy_frames(start, interval)

    def sound(self, start: float = 0.0) -> Iterator[MediaAudio]:
        """The blocks of sound from the one at ``start`` (s; 0 unless the file is ``seekable``) on, in time order."""
        return self._blocks(start)

    def loop(self) -> Iterator[MediaItem]:
        """The file over and over, times going on.

        A repetition starts where the longer of the two streams ended (last frame plus its duration, last sample), the
        same offset for both, so that sync is that of the file in every round. A still image is repeated at `STILL_FPS`.

        Raises:
            MediaError: the file can no longer be read, or a round gave nothing.
        """
        return self._track(self._loop())

    def _read(self) -> Generator[MediaItem, None, None]:
        if self.is_image:
            yield MediaFrame(0.0, read_image(self.path))
            return
        streams: list[Generator[MediaItem, None, None]] = []
        if self.has_video:
            streams.append(self._frames())
        if self.has_audio:
            streams.append(self._blocks())
        # Each stream has its own container, so however the file is interleaved one item of each is held at most.
        try:
            yield from heapq.merge(*streams, key=lambda item: item.time)
        finally:
            for stream in streams:
                stream.close()

    def _loop(self) -> Generator[MediaItem, None, None]:
        if self.is_image:
            frame = MediaFrame(0.0, read_image(self.path))
            count = 0
            while True:
                yield replace(frame, time=count / STILL_FPS)
                count += 1
        yield from repeated(self._read, 1 / (self.fps or FALLBACK_FPS), self.path)

    def _probe(self) -> None:
        """Find the streams and decode the first frame of each: what is promised here can be read."""
        first: dict[str, float] = {}
        for kind in STREAM_KINDS:
            with _open_container(self.path) as container:
                stream = _pick_stream(container, kind)
                if stream is None:
                    continue
                if container.duration:
                    self.duration = container.duration / av.time_base
                self.created = str(container.metadata.get("creation_time", ""))
                frame = next(_decode(container, stream, self._count_error), None)
                if frame is None:
                    continue
                first[kind] = frame.time if frame.pts is not None and frame.time is not None else math.nan
                if kind == "video":
                    self.has_video = True
                    self.fps = _frame_rate(stream)
                    self.height, self.width = _frame_to_bgr(frame).shape[:2]
                else:
                    self.has_audio = True
                    self.sample_rate, self.channels = frame.sample_rate, len(frame.layout.channels)
        if not first:
            raise MediaError(f"{self.path}: no video or audio in it that can be decoded")
        known = [time for time in first.values() if not math.isnan(time)]
        self._origin = min(known, default=0.0)
        self.seekable = self.duration is not None and len(known) == len(first)
        self.errors = 0  # the probe's are met again by read()

    def _count_error(self) -> None:
        self.errors += 1

    def _is_wild(self, time: float, last: float) -> bool:
        """A stamp far past the stated end or the stamp before is damage; believing it would stop the play for hours."""
        return (self.duration is not None and time > self.duration + 10.0) or time > last + MAX_GAP_S

    def _frames(self) -> Generator[MediaItem, None, None]:
        for frame in self._lazy_frames():
            try:
                image = frame.image()
            except (av.error.FFmpegError, ValueError, MemoryError):
                self.errors += 1
                continue
            yield MediaFrame(frame.time, image)

    def _lazy_frames(self, start: float = 0.0, interval: float = 0.0) -> Generator[LazyFrame, None, None]:
        if self.is_image:
            image = read_image(self.path)
            yield LazyFrame(0.0, True, lambda: image, lambda: thumbnail_of(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)))
            return
        with _open_container(self.path) as container:
            stream = _pick_stream(container, "video")
            if stream is None:
                return
            period = 1 / self.fps
            last: float | None = None
            in_row = 0  # stamps repaired one after the other
            slot = -1  # number of the interval of the newest picture that was due
            for frame in self._decoded(container, stream, start, interval):
                time = math.nan if frame.pts is None else float(frame.time) - self._origin
                if last is None:
                    last = -period if start == 0 or math.isnan(time) else time - period
                if time > last and not self._is_wild(time, last):
                    in_row = 0
                else:
                    # One doubled stamp: half a frame on leaves room for the next. A run of them: count by the rate.
                    time = last + (period / 2 if in_row == 0 and not math.isnan(time) else period)
                    in_row += 1
                    self.repaired += 1
                last = time
                if time < start:
                    continue
                due = interval <= 0 or interval_number(time, interval) > slot
                if due and interval > 0:
                    slot = interval_number(time, interval)
                yield LazyFrame(time, due, partial(_frame_to_bgr, frame), partial(_frame_thumbnail, frame))

    def _decoded(self, container: Any, stream: Any, start: float, interval: float) -> Iterator[Any]:
        """Frames from the last one before ``start`` on, fewer where that is enough for the interval."""
        wanted = None
        if interval > 0 and stream.codec_context.codec.intra_only:
            wanted = partial(_DuePackets, self._origin, interval)
        elif interval * self.fps >= FRAMES_TO_SKIP:
            stream.codec_context.skip_frame = "NONREF"
        return _decode_from(container, stream, self._origin + start, self._origin, self._count_error, wanted)

    def _blocks(self, start: float = 0.0) -> Generator[MediaAudio, None, None]:
        with _open_container(self.path) as container:
            stream = _pick_stream(container, "audio")
            if stream is None:
                return
            clock: float | None = None  # where the next sample belongs by count
            for frame in _decode_from(container, stream, self._origin + start, self._origin, self._count_error):
                try:
                    samples = to_int16(_frame_to_samples(frame))
                except (av.error.FFmpegError, ValueError, MemoryError):
                    self.errors += 1
                    continue
                rate = frame.sample_rate
                time = math.nan if frame.pts is None else float(frame.time) - self._origin
                if clock is None:
                    clock = 0.0 if math.isnan(time) or self._is_wild(time, start) else time
                elif math.isnan(time) or self._is_wild(time, clock) or time < clock - 1.0:
                    self.repaired += 1
                elif time > clock + AUDIO_JITTER_S:
                    clock = time  # samples are missing here; the gap keeps the rest in sync
                elif time < clock - AUDIO_JITTER_S:
                    samples = samples[round((clock - time) * rate) :]  # already played
                    self.repaired += 1
                step = max(1, int(rate * MAX_AUDIO_BLOCK_S))
                pieces = max(1, math.ceil(len(samples) / step))
                for block in np.array_split(samples, pieces):
                    if not len(block):
                        continue
                    if clock + len(block) / rate > start:
                        yield MediaAudio(clock, np.ascontiguousarray(block), rate)
                    clock += len(block) / rate


def repeated(
    read: Callable[[], Iterator[MediaItem]], frame_period: float, path: Path
) -> Generator[MediaItem, None, None]:
    """One pass after the other, times going on; ``frame_period`` is how long a last frame is shown, s.

    Raises:
        MediaError: a pass gave nothing.
    """
    offset = 0.0
    while True:
        end = 0.0
        for item in read():
            end = max(end, item.end if isinstance(item, MediaAudio) else item.time + frame_period)
            yield replace(item, time=item.time + offset)
        if end <= 0.0:
            raise MediaError(f"{path}: nothing in it can be decoded any more")
        offset += end


def open_media(path: str | Path, image_topic: str = "", audio_topic: str = "") -> MediaFile | Recording:
    """Open a local video, audio or image file, or a rosbag2 recording; use as a context manager.

    Args:
        path: a file, or a recording's folder.
        image_topic, audio_topic: what of a recording is read; empty: found by type.

    Raises:
        MediaError: missing, a directory, empty, not readable, corrupt, or nothing in it can be decoded.
    """
    if is_recording(path):
        from emotion_perception.media.rosbag import Recording  # it builds on this module; films need no rosbags

        return Recording(path, image_topic, audio_topic)
    if image_topic or audio_topic:
        raise MediaError(f"{path}: only a recording (.mcap, .db3, or its folder) has topics")
    return MediaFile(_checked(path))


def is_recording(path: str | Path) -> bool:
    """Whether a path is a rosbag2 recording: its folder, or one of its files."""
    path = Path(path)
    return path.suffix.lower() in RECORDING_SUFFIXES or (path / "metadata.yaml").is_file()


def read_image(path: str | Path) -> np.ndarray:
    """A still image (png, jpg, bmp, webp, gif, tiff, pgm ...) as ``(H, W, 3)`` uint8 BGR, turned as its EXIF says.

    Of an animation it is the first frame.

    Raises:
        MediaError: missing, empty, or not an image that can be decoded.
    """
    file = _checked(path)
    try:
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, OSError):
        image = None
    if image is None:  # PyAV knows more formats
        try:
            with _open_container(file) as container:
                frame = next(container.decode(video=0), None)
                image = None if frame is None else _frame_to_bgr(frame)
        except (MediaError, av.error.FFmpegError, OSError, ValueError, IndexError):
            image = None
    if image is None or image.size == 0:
        raise MediaError(f"{file}: not an image that can be decoded")
    return np.ascontiguousarray(image)


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """All sound of a file as ``((T,) float32 in -1..1, sample rate in Hz)``, channels averaged.

    A damaged end is left away; where the sample rate changes in mid-file, reading ends there.

    Raises:
        MediaError: the file cannot be opened or holds no sound that can be decoded.
    """
    file = _checked(path)
    parts: list[np.ndarray] = []
    rate = 0
    with _open_container(file) as container:
        stream = _pick_stream(container, "audio")
        if stream is not None:
            for frame in _decode(container, stream):
                rate = rate or frame.sample_rate
                if frame.sample_rate != rate:
                    break
                parts.append(np.clip(np.nan_to_num(to_float(_frame_to_samples(frame))), -1.0, 1.0).mean(axis=1))
    if not parts:
        raise MediaError(f"{file}: no audio in it that can be decoded")
    return np.concatenate(parts), rate


def _checked(path: str | Path) -> Path:
    """The path, if it is a non-empty regular file; MediaError otherwise."""
    file = Path(path)
    try:
        if not file.exists():
            raise MediaError(f"{file}: no such file")
        if file.is_dir():
            raise MediaError(f"{file}: is a directory, not a media file")
        if not file.is_file():
            raise MediaError(f"{file}: not a regular file")
        if file.stat().st_size == 0:
            raise MediaError(f"{file}: the file is empty")
        with file.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise MediaError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    return file


def _is_image(path: Path) -> bool:
    """Whether a file's first bytes are those of a still-image format (a raw MJPEG stream begins like a JPEG)."""
    with path.open("rb") as file:
        head = file.read(16)
    if path.suffix.lower() in {".mjpg", ".mjpeg"}:
        return False
    return (
        head.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*"))
        or (head[:2] == b"BM" and head[6:10] == b"\x00\x00\x00\x00")
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \n\r\t")
    )


def _open_container(path: Path) -> Any:
    try:
        # The prefix keeps a colon in a name from being taken for a protocol, the list keeps playlists off the network.
        container = av.open(f"file:{path}", mode="r", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: not a readable media file ({reason})") from error
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise MediaError(f"{path}: not a readable media file (looks like text)")
    return container


def _pick_stream(container: Any, kind: str) -> Any:
    """The stream of a kind that a player would choose: the default one, else the first; cover pictures aside."""
    streams = [
        stream
        for stream in getattr(container.streams, kind)
        if stream.codec_context is not None and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    preferred = [stream for stream in streams if stream.disposition & av.stream.Disposition.default]
    return (preferred or streams or [None])[0]


class _DuePackets:
    """Says which packets of a stream whose pictures stand for themselves hold one that is due.

    Args:
        origin: s on the container's clock that is media time 0.
        interval: s.
    """

    def __init__(self, origin: float, interval: float) -> None:
        self._origin, self._interval, self._newest = origin, interval, -1

    def __call__(self, packet: Any) -> bool:
        if packet.pts is None or packet.time_base is None:
            return True
        slot = interval_number(float(packet.pts * packet.time_base) - self._origin, self._interval)
        due = slot > self._newest
        self._newest = max(slot, self._newest)
        return due


def interval_number(time: float, interval: float) -> int:
    """Number of the interval that a time (s) lies in; a little before its begin counts as in it, for rounding."""
    return math.floor(time / interval + 1e-4)


def _decode_from(
    container: Any,
    stream: Any,
    start: float,
    origin: float,
    on_error: Callable[[], None],
    make_wanted: Callable[[], Callable[[Any], bool]] | None = None,
) -> Iterator[Any]:
    """Decoded frames of one stream from the last one at or before ``start`` (s on the container's clock) on, or more.

    Some containers lead to a place behind what was sought, or into the middle of what hangs together: then the search
    goes farther back, at last to ``origin``, where the stream begins.
    """
    if start > origin:
        for back in SEEK_BACK_S:
            if start - back <= origin:
                break
            try:
                container.seek(round((start - back) * av.time_base), backward=True)
            except (av.error.FFmpegError, OSError):
                continue
            frames = _decode(container, stream, on_error, make_wanted and make_wanted())
            first = next(frames, None)
            if first is not None and first.pts is not None and first.time <= start:
                yield first
                yield from frames
                return
        container.seek(round(min(origin, 0.0) * av.time_base), backward=True)
    yield from _decode(container, stream, on_error, make_wanted and make_wanted())


def _decode(
    container: Any,
    stream: Any,
    on_error: Callable[[], None] = lambda: None,
    wanted: Callable[[Any], bool] | None = None,
) -> Iterator[Any]:
    """Decoded frames of one stream; damage is told to ``on_error`` and skipped, not raised.

    Args:
        wanted: whether a packet is to be decoded at all; left out: all are.
    """
    packets = container.demux(stream)
    broken = 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError, IndexError):  # IndexError: damage that looks like one more stream
            on_error()
            broken += 1
            if broken > DEMUX_ATTEMPTS:
                return
            packets = container.demux(stream)  # goes on behind the damage
            continue
        if wanted is not None and packet.size and not wanted(packet):
            continue
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError, MemoryError):
            on_error()
            continue
        yield from frames


def _frame_rate(stream: Any) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0.1 <= float(rate) <= 240:
            return float(rate)
    return FALLBACK_FPS


def _frame_to_bgr(frame: Any) -> np.ndarray:
    """Any pixel format and size to ``(H, W, 3)`` uint8 BGR, turned as the file's display matrix says."""
    image = cast(np.ndarray, frame.to_ndarray(format="bgr24"))
    turn = round(frame.rotation / 90) % 4  # quarter turns counterclockwise
    return np.ascontiguousarray(np.rot90(image, turn) if turn else image)


def _frame_thumbnail(frame: Any) -> np.ndarray:
    """The brightness of any pixel format and size, uint8 ``(24, 32)``, as it lies in the file."""
    if not frame.format.name.startswith(LUMA_PLANE) or frame.format.components[0].bits != 8:
        return thumbnail_of(frame.to_ndarray(format="gray"))
    plane = frame.planes[0]
    return thumbnail_of(np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width])


def thumbnail_of(grey: np.ndarray) -> np.ndarray:
    """A grey picture, uint8 ``(24, 32)``; every fourth pixel of every fourth line of a large one is enough."""
    stride = max(1, min(grey.shape[0] // (4 * THUMBNAIL[1]), grey.shape[1] // (4 * THUMBNAIL[0])))
    return cv2.resize(grey[::stride, ::stride], THUMBNAIL, interpolation=cv2.INTER_AREA)


def _frame_to_samples(frame: Any) -> np.ndarray:
    """Samples ``(T, channels)`` in the frame's own number format."""
    samples = frame.to_ndarray()
    return samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))
