"""Distances of faces from a depth image, by the fields of its message. Needs no ROS.

The depth image must be registered to the colour image: the same field of view, not necessarily the same size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emotion_perception.messages.sensors import MAX_PIXELS, ConversionError
from emotion_perception.types import Box

# By encoding (REP-118): numpy type without byte order, and metres per unit.
ENCODINGS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}
MIDDLE = 0.5  # share of the box, around its middle, that is surely face and not background
LEAST_VALID = 0.2  # share of these pixels that must have a depth
NEAREST, FARTHEST = 0.1, 30.0  # m; other values are wrong
MAX_SAMPLES = 24  # pixels per axis that are read


def depth_image(message: Any) -> np.ndarray:
    """``(H, W)`` depth in the units of the message, a view of its memory.

    Raises:
        ConversionError: not a depth encoding, no pixels, or fewer bytes than the header states.
    """
    if message.encoding not in ENCODINGS:
        raise ConversionError(f"depth image has encoding {message.encoding!r}; known: {', '.join(ENCODINGS)}")
    height, width = message.height, message.width
    if not 0 < height * width <= MAX_PIXELS:
        raise ConversionError(f"depth image has {width}x{height} pixels")
    kind = np.dtype(ENCODINGS[message.encoding][0]).newbyteorder(">" if message.is_bigendian else "<")
    data = np.frombuffer(message.data, np.uint8)
    step = message.step
    if step < width * kind.itemsize or step % kind.itemsize or data.size < height * step:
        raise ConversionError(f"depth image has {data.size} bytes in steps of {step}, too few for {width}x{height}")
    return data[: height * step].view(kind).reshape(height, step // kind.itemsize)[:, :width]


def depth_in_box(message: Any, box: Box, image_size: tuple[float, float] | None = None) -> float:
    """Depth of a face along the camera's axis, m: the median in the middle of its box; NaN where it is not known.

    Args:
        message: ``sensor_msgs/Image`` with depth.
        box: of the face, px of the colour image.
        image_size: width and height of the colour image, px; None: those of the depth image.

    Raises:
        ConversionError: see :func:`depth_image`.
    """
    pixels = depth_image(message)
    height, width = pixels.shape
    across, down = (width / image_size[0], height / image_size[1]) if image_size else (1.0, 1.0)
    rows = _middle(box.y * down, box.height * down, height)
    columns = _middle(box.x * across, box.width * across, width)
    if not rows.size or not columns.size:
        return math.nan
    values = pixels[np.ix_(rows, columns)].astype(np.float64) * ENCODINGS[message.encoding][1]
    valid = values[(values >= NEAREST) & (values <= FARTHEST)]  # false for NaN
    return float(np.median(valid)) if valid.size >= LEAST_VALID * values.size else math.nan


def _middle(start: float, length: float, size: int) -> np.ndarray:
    """Indices of at most ``MAX_SAMPLES`` pixels in the middle of a range, inside an axis of ``size`` pixels."""
    margin = length * (1 - MIDDLE) / 2
    if not (math.isfinite(start) and 0 < length < math.inf):
        return np.zeros(0, int)
    count = max(1, min(MAX_SAMPLES, int(length * MIDDLE)))
    places = np.linspace(start + margin, start + length - margin, count)
    return np.unique(places[(places >= 0) & (places < size)].astype(int))
