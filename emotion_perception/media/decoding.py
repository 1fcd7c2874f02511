"""Opening and decoding container files through PyAV. Nothing here touches a network: only local files are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np

from emotion_perception.media.items import MediaError, thumbnail_of
from emotion_perception.media.source import FALLBACK_FPS, interval_number

DEMUX_ATTEMPTS = 8  # breaks in a container after which the rest is given up
SEEK_BACK_S = (0.0, 2.0, 10.0, 60.0)  # tried in this order until a frame before the wanted time is found
LUMA_PLANE = ("yuv4", "yuvj4", "nv12", "nv21", "gray")  # pixel formats whose first plane is brightness in bytes
MAX_PIXEL_ASPECT = 4.0  # larger or smaller (the inverse): a broken header
# Demuxers that take any text for an image, or whose files refer to other files.
REFUSED_FORMATS = {"tty", "hls", "dash", "concat", "sdp", "applehttp"}


def open_container(path: Path) -> Any:
    """An open PyAV container; close it, or use it as a context manager.

    Raises:
        MediaError: not a media file, or of a format that takes text or refers to other files.
    """
    try:
        # The prefix prevents a colon in the name from being read as a protocol; the list keeps playlists off the net.
        container = av.open(f"file:{path}", mode="r", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: not a readable media file ({reason})") from error
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise MediaError(f"{path}: not a readable media file (looks like text)")
    return container


def pick_video(container: Any) -> Any:
    """The video stream that a player would choose: the default or the first, None without any.

    Cover images of songs do not count.
    """
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    preferred = [stream for stream in streams if stream.disposition & av.stream.Disposition.default]
    return (preferred or streams or [None])[0]


def audio_streams(container: Any) -> list[Any]:
    """The audio tracks that have a decoder."""
    return [stream for stream in container.streams.audio if stream.codec_context is not None]


class DuePackets:
    """Whether a packet of an intra-only stream holds a frame that is due.

    Args:
        origin: s on the container's clock that is media time 0.
        interval: s between frames that are due.
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


def decode_from(
    container: Any,
    stream: Any,
    start: float,
    origin: float,
    on_error: Callable[[], None],
    make_wanted: Callable[[], Callable[[Any], bool]] | None = None,
) -> Iterator[Any]:
    """Decoded frames of one stream from the last one at or before ``start`` on, or from an earlier one.

    Some containers seek to a place after the wanted one, or between frames that depend on each other. Then the search
    continues further back, finally from the beginning.

    Args:
        container, stream: of PyAV.
        start, origin: s on the container's clock: the wanted time, and media time 0.
        on_error: called for each packet that cannot be decoded.
        make_wanted: makes the filter of packets, as for :func:`decode`, anew for each attempt.
    """
    if start > origin:
        for back in SEEK_BACK_S:
            if start - back <= origin:
                break
            try:
                container.seek(round((start - back) * av.time_base), backward=True)
            except (av.error.FFmpegError, OSError):
                continue
            frames = decode(container, stream, on_error, make_wanted and make_wanted())
            first = next(frames, None)
            if first is not None and first.pts is not None and first.time <= start:
                yield first
                yield from frames
                return
        container.seek(round(min(origin, 0.0) * av.time_base), backward=True)
    yield from decode(container, stream, on_error, make_wanted and make_wanted())


def decode(
    container: Any,
    stream: Any,
    on_error: Callable[[], None] = lambda: None,
    wanted: Callable[[Any], bool] | None = None,
) -> Iterator[Any]:
    """Decoded frames of one stream; damage is skipped, not raised.

    Args:
        container, stream: of PyAV.
        on_error: called for each packet that cannot be decoded.
        wanted: whether a packet is to be decoded; None: all are.
    """
    packets = container.demux(stream)
    broken = 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError, IndexError):  # IndexError: damage that looks like a further stream
            on_error()
            broken += 1
            if broken > DEMUX_ATTEMPTS:
                return
            packets = container.demux(stream)  # continues after the damage
            continue
        if wanted is not None and packet.size and not wanted(packet):
            continue
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError, MemoryError):
            on_error()
            continue
        yield from frames


def frame_rate(stream: Any) -> float:
    """Frames per second of a video stream; `FALLBACK_FPS` where none is stated or it is implausible."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0.1 <= float(rate) <= 240:
            return float(rate)
    return FALLBACK_FPS


def pixel_aspect_ratio(stream: Any) -> float:
    """Width over height of a pixel of a video stream; 1 where it is not stated or implausible."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return ratio if 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT else 1.0


def frame_to_bgr(frame: Any, pixel_aspect: float = 1.0) -> np.ndarray:
    """Any pixel format and size to ``(H, W, 3)`` uint8 BGR with square pixels, rotated and mirrored for display.

    Args:
        frame: of PyAV.
        pixel_aspect: width over height of its pixels.
    """
    image = cast(np.ndarray, frame.to_ndarray(format="bgr24", width=max(1, round(frame.width * pixel_aspect))))
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return image if matrix is None else np.ascontiguousarray(_oriented(image, np.frombuffer(matrix, np.int32)))


def _oriented(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An image after a display matrix of ISO/IEC 14496-12, of which the nearest quarter turn and mirroring count.

    Args:
        image: (H, W, 3).
        matrix: nine numbers: the stored place (x, y) is shown at (m0 x + m3 y, m1 x + m4 y).
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def frame_thumbnail(frame: Any) -> np.ndarray:
    """The brightness of any pixel format and size, uint8 ``(24, 32)``, without rotation."""
    if not frame.format.name.startswith(LUMA_PLANE) or frame.format.components[0].bits != 8:
        return thumbnail_of(frame.to_ndarray(format="gray"))
    plane = frame.planes[0]
    return thumbnail_of(np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width])


def frame_to_samples(frame: Any) -> np.ndarray:
    """Samples ``(T, channels)`` in the frame's own number format."""
    samples = frame.to_ndarray()
    return samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))
