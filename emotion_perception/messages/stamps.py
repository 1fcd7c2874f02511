"""Capture times of a stream whose driver sets no stamps or stamps of a wrong clock."""

from __future__ import annotations

from collections import deque

from emotion_perception.types import SECOND

SOURCES = ("auto", "header", "arrival")
MAX_OFFSET = SECOND  # ns; stamps further from the time of arrival come from another clock
MESSAGES_TO_DECIDE = 3  # a single old message may have waited in the driver's queue
STEADY = SECOND // 4  # ns; jitter of the delay within which the offset between the clocks is kept
WINDOW = 50  # messages whose smallest delay is the offset between the clocks


class StampCorrection:
    """Stamps of one stream on this computer's clock.

    Args:
        stream: the device, for texts: "camera" or "microphone".
        source: ``header``: as the driver sets them. ``arrival``: time of arrival. ``auto``: as the driver sets them,
            or shifted by the offset between the clocks if this exceeds :data:`MAX_OFFSET`.

    In all three cases a stamp of 0 means that the driver sets none, and the time of arrival is used. The offset is the
    smallest delay of the last messages, so that a shifted stamp is late by the shortest transport time at most.

    Example:
        >>> camera = StampCorrection("camera")
        >>> [camera.stamp(n * SECOND, (n + 60) * SECOND) // SECOND for n in range(1, 5)]
        [1, 2, 63, 64]
        >>> camera.problem
        "the camera's stamps are 60.0 s behind this computer's clock; they are corrected (stamp_source: auto)"
    """

    def __init__(self, stream: str, source: str = "auto") -> None:
        self._stream, self._source = stream, source
        self._delays: deque[int] = deque(maxlen=WINDOW)  # ns, arrival minus stamp
        self._shift = 0  # ns added to the stamps
        self.unstamped = False  # whether a message without a stamp has arrived

    def stamp(self, header_ns: int, arrival_ns: int) -> int:
        """Capture time of a message, ns.

        Args:
            header_ns: stamp in the message; 0: none.
            arrival_ns: when the message arrived, on the clock of this computer; 0: this clock has no time yet.
        """
        if header_ns == 0:
            self.unstamped = True
            return arrival_ns
        if arrival_ns == 0:
            return header_ns
        delay = arrival_ns - header_ns
        if self._delays and abs(delay - self._delays[-1]) > MAX_OFFSET:
            self._delays.clear()  # one of the clocks was set
        self._delays.append(delay)
        if self._source == "arrival":
            return arrival_ns
        if self._source == "auto" and len(self._delays) >= MESSAGES_TO_DECIDE:
            offset = self.offset_ns
            if abs(offset) <= MAX_OFFSET:
                self._shift = 0
            elif abs(offset - self._shift) > STEADY:
                self._shift = offset
            else:
                self._shift += (offset - self._shift) // 100  # the clocks drift
        return header_ns + self._shift

    @property
    def offset_ns(self) -> int:
        """How far the stamps are behind this computer's clock, ns; negative: ahead. 0 if too few have arrived."""
        return min(self._delays) if len(self._delays) >= MESSAGES_TO_DECIDE else 0

    @property
    def problem(self) -> str:
        """What is wrong with the stamps; empty if nothing is."""
        if abs(self.offset_ns) <= MAX_OFFSET:
            return ""
        where = "behind" if self.offset_ns > 0 else "ahead of"
        text = f"the {self._stream}'s stamps are {abs(self.offset_ns) / SECOND:.1f} s {where} this computer's clock"
        if self._source == "header":
            return f"{text}; synchronize the clocks (chrony), or set stamp_source to auto: old evidence is ignored"
        return f"{text}; they are corrected (stamp_source: {self._source})"
