"""Images and audio from messages by their fields, for ``rclpy`` and ``rosbags`` alike. Needs no ROS.

Whatever a message contains, only :class:`ConversionError` is raised; its text gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emotion_perception.types import SECOND

MAX_PIXELS = 64_000_000  # more than any camera has; a larger image means a broken header


class ConversionError(ValueError):
    """A message that cannot be used; the text gives the reason."""


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds since the clock's epoch."""
    return int(stamp.sec * SECOND + stamp.nanosec)


# --- images -------------------------------------------------------------------------------------------------------

_Converter = Callable[[np.ndarray], np.ndarray]


def _keep(image: np.ndarray) -> np.ndarray:
    return image


def _recolour(code: str) -> _Converter:
    def convert(image: np.ndarray) -> np.ndarray:
        import cv2  # here, so that nodes without images do not load OpenCV

        try:
            return cv2.cvtColor(image, getattr(cv2, code))
        except cv2.error as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConversionError(f"cannot convert a {image.shape} image by {code}: {reason}") from error

    return convert


# By encoding: channels, and the conversion to bgr8 or mono8. OpenCV names a Bayer pattern by its second row, ROS by its
# first: rggb is "BG" in OpenCV.
_EIGHT_BIT: dict[str, tuple[int, _Converter]] = {
    "bgr8": (3, _keep),
    "8UC3": (3, _keep),
    "rgb8": (3, _recolour("COLOR_RGB2BGR")),
    "bgra8": (4, _recolour("COLOR_BGRA2BGR")),
    "8UC4": (4, _recolour("COLOR_BGRA2BGR")),
    "rgba8": (4, _recolour("COLOR_RGBA2BGR")),
    "mono8": (1, _keep),
    "8UC1": (1, _keep),
    "yuv422": (2, _recolour("COLOR_YUV2BGR_UYVY")),
    "uyvy": (2, _recolour("COLOR_YUV2BGR_UYVY")),
    "yuv422_yuy2": (2, _recolour("COLOR_YUV2BGR_YUY2")),
    "yuyv": (2, _recolour("COLOR_YUV2BGR_YUY2")),
    "bayer_rggb8": (1, _recolour("COLOR_BayerBG2BGR")),
    "bayer_bggr8": (1, _recolour("COLOR_BayerRG2BGR")),
    "bayer_gbrg8": (1, _recolour("COLOR_BayerGR2BGR")),
    "bayer_grbg8": (1, _recolour("COLOR_BayerGB2BGR")),
}
_HIGH_BYTE: dict[str, tuple[int, _Converter]] = {
    "bgr16": (3, _keep),
    "rgb16": (3, _recolour("COLOR_RGB2BGR")),
    "bayer_rggb16": (1, _recolour("COLOR_BayerBG2BGR")),
    "bayer_bggr16": (1, _recolour("COLOR_BayerRG2BGR")),
    "bayer_gbrg16": (1, _recolour("COLOR_BayerGR2BGR")),
    "bayer_grbg16": (1, _recolour("COLOR_BayerGB2BGR")),
}
# Infrared and thermal cameras, which use a part of the range of values. Name of the numpy type, without byte order.
_WIDE: dict[str, str] = {"mono16": "u2", "16UC1": "u2", "32FC1": "f4"}
_SEMI_PLANAR: dict[str, str] = {"nv21": "COLOR_YUV2BGR_NV21", "nv12": "COLOR_YUV2BGR_NV12"}
IMAGE_ENCODINGS: tuple[str, ...] = (*_EIGHT_BIT, *_HIGH_BYTE, *_WIDE, *_SEMI_PLANAR)
FEW_BITS = 1 << 12  # mono16 images with smaller values come from sensors of 10 or 12 bits
PERCENTILES = (1.0, 99.0)  # become black and white where an image is stretched


def image_from_message(message: Any) -> np.ndarray:
    """Pixels of a raw image: uint8 ``(H, W, 3)`` bgr, or ``(H, W)`` grey for the mono encodings.

    bgr8 and mono8 are a read-only view of the message's memory, without a copy.

    Raises:
        ConversionError: unknown encoding, no pixels, a step shorter than a row, fewer bytes than the header states, or
            no finite value.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if height == 0 or width == 0:
        raise ConversionError(f"image has no pixels ({width}x{height})")
    if height * width > MAX_PIXELS:
        raise ConversionError(f"image has {width}x{height} pixels by its header, more than any camera")
    if encoding in _EIGHT_BIT:
        (channels, convert), size = _EIGHT_BIT[encoding], 1
    elif encoding in _HIGH_BYTE:
        (channels, convert), size = _HIGH_BYTE[encoding], 2
    elif encoding in _WIDE:
        return _wide(message)
    elif encoding in _SEMI_PLANAR:
        return _semi_planar(message)
    else:
        raise ConversionError(f"unknown image encoding {encoding!r}; known: {', '.join(IMAGE_ENCODINGS)}")
    rows = _rows(message, height, width * channels * size)
    if size == 2:
        wide = np.ascontiguousarray(rows).view(">u2" if message.is_bigendian else "<u2")
        rows = (wide >> 8).astype(np.uint8)
    image = rows.reshape(height, width) if channels == 1 else rows.reshape(height, width, channels)
    return convert(image)


def _rows(message: Any, height: int, row_bytes: int) -> np.ndarray:
    """The image's rows without their padding, uint8 ``(height, row_bytes)``."""
    step = message.step
    if step < row_bytes:
        raise ConversionError(
            f"image step is {step} bytes, a row of {message.width} {message.encoding} pixels needs {row_bytes}"
        )
    needed = (height - 1) * step + row_bytes
    data = np.frombuffer(message.data, dtype=np.uint8)
    data.flags.writeable = False
    if data.size < needed:
        raise ConversionError(
            f"image data is {data.size} bytes, {message.width}x{height} {message.encoding} needs {needed}"
        )
    if step == row_bytes:
        return data[:needed].reshape(height, row_bytes)
    return np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1), writeable=False)


def _semi_planar(message: Any) -> np.ndarray:
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise ConversionError(f"{message.encoding} needs an even size, got {width}x{height}")
    return _recolour(_SEMI_PLANAR[message.encoding])(_rows(message, height * 3 // 2, width))


def _wide(message: Any) -> np.ndarray:
    kind = np.dtype(_WIDE[message.encoding]).newbyteorder(">" if message.is_bigendian else "<")
    rows = np.ascontiguousarray(_rows(message, message.height, message.width * kind.itemsize)).view(kind)
    image = rows.astype(kind.newbyteorder("="), copy=False)
    return stretch(image) if message.encoding != "mono16" else mono16_to_grey(image)


def mono16_to_grey(image: np.ndarray) -> np.ndarray:
    """The high byte of uint16 ``(H, W)``; stretched if the values fit into 12 bits, as of a sensor of 10 bits."""
    return stretch(image) if image.size and image.max() < FEW_BITS else (image >> 8).astype(np.uint8)


def stretch(image: np.ndarray) -> np.ndarray:
    """An image of any range of values as uint8 ``(H, W)``: the 1st percentile is black, the 99th white.

    Values that are not finite become black and do not count.

    Args:
        image: ``(H, W)`` integers or floats.

    Raises:
        ConversionError: no value is finite.
    """
    values = image.astype(np.float32)
    finite = np.isfinite(values)
    sample = values[finite] if not finite.all() else values[:: max(1, len(values) // 240)]  # a few rows are enough
    if sample.size == 0:
        raise ConversionError("image has no finite value")
    low, high = (float(value) for value in np.percentile(sample.astype(np.float64), PERCENTILES))
    scaled = (np.where(finite, values, low).astype(np.float64) - low) * (255.0 / max(high - low, 1e-6))
    return np.clip(scaled, 0, 255).astype(np.uint8)


# --- audio --------------------------------------------------------------------------------------------------------


def audio_from_message(message: Any) -> tuple[np.ndarray, int, int]:
    """Samples int16 ``(T, channels)``, sample rate in Hz, and the stamp of the first sample in ns.

    Raises:
        ConversionError: no channels, no rate, no samples, or samples that do not fill the channels evenly.
    """
    channels, rate = message.channels, message.sample_rate
    samples = np.frombuffer(message.samples, dtype=np.int16)
    if channels == 0:
        raise ConversionError("audio chunk has 0 channels")
    if not 1000 <= rate <= 768_000:
        raise ConversionError(f"audio chunk has a sample rate of {rate} Hz")
    if samples.size == 0:
        raise ConversionError("audio chunk is empty")
    if samples.size % channels:
        raise ConversionError(f"audio chunk has {samples.size} samples for {channels} channels")
    return samples.reshape(-1, channels), int(rate), stamp_to_ns(message.header.stamp)
