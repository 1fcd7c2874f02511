"""Images from compressed messages: JPEG and PNG one by one, H.264, HEVC and other video in order. Needs no ROS.

Messages are read by their fields: ``sensor_msgs/CompressedImage``, ``ffmpeg_image_transport_msgs/FFMPEGPacket`` and
``foxglove_msgs/CompressedVideo``. Whatever a message contains, only :class:`ConversionError` is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from emotion_perception.messages.sensors import MAX_PIXELS, ConversionError, mono16_to_grey, stamp_to_ns, stretch
from emotion_perception.types import SECOND

REDUCTIONS = (8, 4, 2)  # scales at which JPEG can be decoded directly
PATIENCE = 150  # messages without a single image after which a video stream is reported as undecodable
MAX_PENDING = 64  # stamps kept for packets whose image has not come out of the decoder
DEPTH = "compressedDepth"
# Words in `format` or `encoding`, and FFmpeg's name of the decoder; encoder names (libx264, hevc_nvenc) contain them.
# A message cannot choose any other decoder.
VIDEO_CODECS = {"264": "h264", "avc": "h264", "265": "hevc", "hevc": "hevc", "av1": "av1", "vp9": "vp9", "vp8": "vp8"}
_START_CODES = (b"\x00\x00\x00\x01", b"\x00\x00\x01")


@dataclass(frozen=True)
class DecodedImage:
    """An image, possibly smaller than it was sent."""

    image: np.ndarray  # uint8 (h, w, 3) BGR or (h, w) grey
    stamp_ns: int  # of the message with this image; 0: none
    width: int  # px, as sent
    height: int  # px, as sent

    @property
    def scale(self) -> float:
        """Pixels as sent per pixel of ``image``, at least 1."""
        return self.width / self.image.shape[1]


def video_codec(message: Any) -> str:
    """FFmpeg's name of a message's video codec; empty for a still image (JPEG, PNG ...)."""
    if hasattr(message, "pts"):  # FFMPEGPacket: "libx264", or "h264;yuv420p;bgr8;bgr8" since its version 3
        codec = _codec_in(message.encoding.split(";")[0])
        if not codec:
            raise ConversionError(
                f"video of encoding {message.encoding!r} cannot be decoded; known: {', '.join(_known_codecs())}"
            )
        return codec
    codec = _codec_in(message.format)
    if codec:
        return codec
    data = bytes(memoryview(message.data)[:5])
    if data.startswith(_START_CODES):  # Annex B stream whose driver does not state the codec
        header = data[data.index(1) + 1] if 1 in data[:4] and len(data) > data.index(1) + 1 else 0
        return "hevc" if header in (0x40, 0x42, 0x44, 0x46) else "h264"  # HEVC: VPS, SPS, PPS, access unit delimiter
    return ""


class CompressedDecoder:
    """Decodes the messages of one topic in order. One instance per topic; not thread-safe.

    Args:
        min_side: px; a larger image may be decoded at half, a quarter or an eighth of its size, as long as its longer
            side keeps at least this many pixels. 0: always at full size.

    Example:
        >>> import cv2
        >>> from types import SimpleNamespace
        >>> jpeg = cv2.imencode(".jpg", np.zeros((1080, 1920, 3), np.uint8))[1]
        >>> message = SimpleNamespace(format="jpeg", data=jpeg.tobytes())
        >>> [decoded.image.shape for decoded in CompressedDecoder().decode(message)]
        [(1080, 1920, 3)]
    """

    def __init__(self, min_side: int = 0) -> None:
        self.min_side = min_side
        self._still_size = (0, 0)  # width, height of the previous still image
        self._video: _VideoDecoder | None = None

    def decode(self, message: Any) -> list[DecodedImage]:
        """The images that are complete with this message: one of a still image, none or several of video.

        A video stream gives nothing until its first key frame.

        Raises:
            ConversionError: the bytes cannot be decoded, or a video stream has sent no key frame for long.
        """
        stamp_ns = message_stamp(message)
        if len(message.data) == 0:
            raise ConversionError("compressed image is empty")
        codec = video_codec(message)
        if not codec:
            return [self._still(message, stamp_ns)]
        if self._video is None or self._video.codec != codec:
            self._video = _VideoDecoder(codec)
        return list(self._video.decode(message, stamp_ns, self.min_side))

    def reset(self) -> None:
        """Start over, as after a jump in time."""
        self._video = None

    def _still(self, message: Any, stamp_ns: int) -> DecodedImage:
        if DEPTH in message.format:
            raise ConversionError(f"{message.format!r} is a depth image; choose the topic of the colour camera")
        width, height = self._still_size
        factor = reduction(max(width, height), self.min_side)
        image = image_from_compressed(message, factor)
        if factor > 1 and image.shape[:2] != (-(-height // factor), -(-width // factor)):
            factor, image = 1, image_from_compressed(message)  # another size than the previous image
        if factor == 1:
            height, width = image.shape[:2]
            self._still_size = (width, height)
        return DecodedImage(image, stamp_ns, width, height)


def image_from_compressed(message: Any, factor: int = 1) -> np.ndarray:
    """Pixels of a JPEG, PNG or other still image, uint8 ``(h, w, 3)`` BGR, or ``(h, w)`` if it has 16 bits per pixel.

    Args:
        message: a ``sensor_msgs/CompressedImage``.
        factor: 1, 2, 4 or 8: decode at this fraction of the size, which takes less time for JPEG.

    Raises:
        ConversionError: OpenCV cannot decode the bytes.
    """
    import cv2  # here, so that nodes without images do not load OpenCV

    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size == 0:
        raise ConversionError("compressed image is empty")
    deep = message.format.lower().startswith(("mono16", "16uc1"))
    flags = cv2.IMREAD_UNCHANGED if deep else getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}", cv2.IMREAD_COLOR)
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ConversionError(f"compressed image ({message.format!r}) cannot be decoded: {error}") from error
    if image is None:
        raise ConversionError(f"compressed image ({message.format!r}, {data.size} bytes) cannot be decoded")
    if image.dtype == np.uint16 and image.ndim == 2:
        return mono16_to_grey(image) if message.format.lower().startswith("mono16") else stretch(image)
    if image.ndim == 3 and image.dtype == np.uint8:
        return image[..., :3] if image.shape[2] == 4 else image
    if image.ndim == 2 and image.dtype == np.uint8:
        return image
    raise ConversionError(f"compressed image ({message.format!r}) has pixels of type {image.dtype} {image.shape}")


def reduction(longer_side: int, min_side: int) -> int:
    """Largest of 8, 4, 2 and 1 by which a side can be divided with at least ``min_side`` pixels left."""
    if min_side <= 0:
        return 1
    return next((factor for factor in REDUCTIONS if longer_side >= factor * min_side), 1)


def message_stamp(message: Any) -> int:
    """Stamp of a compressed image message, ns; 0: none."""
    stamp = message.header.stamp if hasattr(message, "header") else getattr(message, "timestamp", None)
    return 0 if stamp is None else stamp_to_ns(stamp)


def _codec_in(text: str) -> str:
    low = text.lower()
    return next((codec for word, codec in VIDEO_CODECS.items() if word in low), "")


def _known_codecs() -> list[str]:
    return sorted(set(VIDEO_CODECS.values()))


class _VideoDecoder:
    """A video stream whose messages contain one access unit each (Annex B, parameter sets in the stream)."""

    def __init__(self, codec: str) -> None:
        import av  # here, so that nodes without video do not load FFmpeg

        self.codec = codec
        try:
            self._context: Any = av.CodecContext.create(codec, "r")
        except (av.error.FFmpegError, ValueError) as error:
            raise ConversionError(f"{codec} video cannot be decoded: PyAV has no decoder for it ({error})") from error
        self._context.thread_count = 1  # several threads would delay the images
        self._time_base = Fraction(1, SECOND)
        self._count = 0  # messages so far
        self._without = 0  # messages since the last image
        self._stamps: dict[int, int] = {}  # of messages whose image is still to come, by number

    def decode(self, message: Any, stamp_ns: int, min_side: int) -> Iterator[DecodedImage]:
        import av
        import av.error

        packet = av.Packet(bytes(message.data))
        # Numbers and not stamps, which drivers repeat or set back.
        packet.pts = self._count
        packet.time_base = self._time_base
        self._stamps[self._count] = stamp_ns
        self._count += 1
        self._without += 1
        if len(self._stamps) > MAX_PENDING:
            del self._stamps[next(iter(self._stamps))]
        try:
            frames = self._context.decode(packet)
        except (av.error.FFmpegError, ValueError, MemoryError):
            frames = []  # before the first key frame, or after a lost message
        for frame in frames:
            found = self._stamps.pop(frame.pts, stamp_ns) if frame.pts is not None else stamp_ns
            if frame.is_corrupt:  # refers to a lost one
                continue
            self._without = 0
            yield _scaled(frame, found, min_side)
        if self._without >= PATIENCE:
            raise ConversionError(
                f"{self.codec} video: no image from the last {self._without} messages, because no key frame arrived; "
                "set a shorter key frame interval (gop_size) in the encoder"
            )


def _scaled(frame: Any, stamp_ns: int, min_side: int) -> DecodedImage:
    width, height = frame.width, frame.height
    if not 0 < width * height <= MAX_PIXELS:
        raise ConversionError(f"video has images of {width}x{height} pixels")
    factor = reduction(max(width, height), min_side)
    small = {"width": -(-width // factor), "height": -(-height // factor)} if factor > 1 else {}
    return DecodedImage(frame.to_ndarray(format="bgr24", **small), stamp_ns, width, height)
