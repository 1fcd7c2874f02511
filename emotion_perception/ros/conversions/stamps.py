"""Times: nanoseconds and seconds to ROS messages and back."""

from __future__ import annotations

import math

from builtin_interfaces.msg import Duration, Time
from std_msgs.msg import Header

from emotion_perception.types import SECOND


def ns_to_stamp(ns: int) -> Time:
    """The inverse of :func:`stamp_to_ns`; times outside the message's range are clipped."""
    sec, nanosec = divmod(int(ns), SECOND)
    if not -(2**31) <= sec < 2**31:
        return Time(sec=2**31 - 1) if sec > 0 else Time(sec=-(2**31))
    return Time(sec=sec, nanosec=nanosec)


def seconds_to_duration(seconds: float) -> Duration:
    """Seconds as a message; NaN and infinity become 0."""
    if not math.isfinite(seconds) or abs(seconds) >= 2**31:
        return Duration()
    sec, nanosec = divmod(round(seconds * SECOND), SECOND)
    return Duration(sec=sec, nanosec=nanosec)


def duration_to_seconds(duration: Duration) -> float:
    """The inverse of :func:`seconds_to_duration`."""
    return duration.sec + duration.nanosec / SECOND


def make_header(stamp_ns: int, frame_id: str = "") -> Header:
    """A header with a stamp in nanoseconds."""
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)
