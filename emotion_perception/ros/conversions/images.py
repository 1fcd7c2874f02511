"""Images and boxes as messages."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from emotion_perception.types import Box


def image_to_message(image: np.ndarray, header: Header) -> Image:
    """A uint8 image ``(H, W, 3)`` bgr or ``(H, W)`` grey as a raw image, copied once."""
    height, width = image.shape[:2]
    data = array.array("B")
    # array.array is what the message stores: handing it over skips the per-element check of the setter.
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    encoding, step = ("mono8", width) if image.ndim == 2 else ("bgr8", 3 * width)
    return Image(header=header, height=height, width=width, encoding=encoding, step=step, data=data)


def image_to_compressed(image: np.ndarray, header: Header, quality: int = 80) -> CompressedImage:
    """A uint8 image ``(H, W, 3)`` bgr or ``(H, W)`` grey as JPEG of a quality 1..100."""
    import cv2

    encoded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    data = array.array("B")
    data.frombytes(encoded.data.cast("B"))
    kind = "mono8" if image.ndim == 2 else "bgr8"
    return CompressedImage(header=header, format=f"{kind}; jpeg compressed {kind}", data=data)


def box_to_roi(box: Box, width: int, height: int) -> RegionOfInterest:
    """A box clipped to the image, in whole pixels."""
    left, top = (min(max(round(v), 0), limit) for v, limit in ((box.x, width), (box.y, height)))
    right = min(max(round(box.x + box.width), left), width)
    bottom = min(max(round(box.y + box.height), top), height)
    return RegionOfInterest(x_offset=left, y_offset=top, width=right - left, height=bottom - top)


def roi_to_box(roi: RegionOfInterest) -> Box:
    """A region of interest as a box."""
    return Box(float(roi.x_offset), float(roi.y_offset), float(roi.width), float(roi.height))
