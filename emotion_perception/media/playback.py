"""Sources by name, and playing a file as if it were live: what ``media_source_node`` and the demo are fed by.

A source is a path to a video, audio or image file or to a rosbag2 recording, or ``webcam``, ``webcam:1``,
``webcam:/dev/video2`` (with the default microphone where there is one), or ``microphone``, ``microphone:NAME``.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from emotion_perception.media.files import MediaError, MediaFile, MediaFrame, MediaItem, open_media
from emotion_perception.media.live import Microphone, Webcam

if TYPE_CHECKING:
    from emotion_perception.media.rosbag import Recording


TOO_LATE = 0.1  # s; a picture later than this is worth less than the next one
PATIENCE = 0.5  # s of media without any picture because all were late, until the play waits for the computer
BEHIND = 1.0  # s; further behind, nothing is caught up any more


@dataclass(frozen=True)
class Source:
    """An open source.

    Attributes:
        devices: what its items come from: one file, or one or two live devices.
        live: its items come when they come, with Unix time on them; otherwise they have media time and need pacing.
        note: something worth telling the user, or empty.
    """

    description: str
    devices: tuple[MediaFile | Recording | Webcam | Microphone, ...]
    live: bool
    has_video: bool
    has_audio: bool
    note: str = ""

    def close(self) -> None:
        """Give files and devices back."""
        for device in self.devices:
            device.close()


def open_source(
    name: str,
    width: int = 640,
    height: int = 480,
    fps: float = 30.0,
    webcam_sound: bool = True,
    image_topic: str = "",
    audio_topic: str = "",
) -> Source:
    """Open a source by its name; size and rate are wishes to a webcam, topics are a recording's (empty: by type).

    Raises:
        MediaError: it cannot be read; one line that says why.
    """
    kind, _, device = name.partition(":")
    if not name:
        raise MediaError("no source given: a file, webcam or microphone")
    if kind == "microphone":
        return Source(name, (Microphone(device or None),), live=True, has_video=False, has_audio=True)
    if kind == "webcam" or name.startswith("/dev/video"):
        # OpenCV tells of a missing camera in ten lines; MediaError does in one.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        camera = Webcam(name if kind != "webcam" else device or 0, width, height, fps)
        if not webcam_sound:
            return Source(name, (camera,), live=True, has_video=True, has_audio=False)
        try:
            return Source(name, (camera, Microphone()), live=True, has_video=True, has_audio=True)
        except MediaError as error:
            return Source(name, (camera,), live=True, has_video=True, has_audio=False, note=f"without sound: {error}")
    file = open_media(name, image_topic, audio_topic)
    note = getattr(file, "note", "")  # a recording's: which topics were chosen
    return Source(name, (file,), live=False, has_video=file.has_video, has_audio=file.has_audio, note=note)


def check_source(name: str) -> None:
    """Try whether a source can be opened.

    Raises:
        MediaError: it cannot.
    """
    open_source(name).close()


def due_time(item: MediaItem) -> float:
    """When a live device would have handed the item over: a frame at once, sound when its last sample is in."""
    return item.time if isinstance(item, MediaFrame) else item.end


class Pace:
    """When a media time is due on the monotonic clock.

    Args:
        began: s, when media time 0 is due.
        rate: media seconds per second.
    """

    def __init__(self, began: float, rate: float = 1.0) -> None:
        self.began, self.rate = began, rate
        self.held_up = 0.0  # s that the play waited for the computer, all together

    def due(self, media_time: float) -> float:
        """s on the monotonic clock."""
        return self.began + media_time / self.rate

    def media_time(self, now: float) -> float:
        """The media time that is due now."""
        return (now - self.began) * self.rate

    def hold_up(self, late: float) -> None:
        """Go on from here: everything is due ``late`` seconds later."""
        self.began += late
        self.held_up += late


def paced(
    items: Iterable[MediaItem],
    wait_until: Callable[[float], float | None],
    on_skip: Callable[[], None],
    hold_up: Callable[[float], None],
) -> Iterator[MediaItem]:
    """The items of a file, each when it is due.

    Deadlines are absolute, so that waiting adds up no error. A frame more than `TOO_LATE` seconds late is skipped
    (sound never is), so that a slow machine loses pictures and not the pace. Where it cannot follow even so, or was
    halted, ``hold_up`` is told how late it is and the play goes on from there: nobody is shown sound without pictures
    for long, and no minutes of sound at once.

    Args:
        items: in the order of their ``time``.
        wait_until: waits for a media time and returns how late it is then, s; None means stop.
        on_skip: is called for each frame that is skipped.
        hold_up: makes everything from now on due so many seconds later.
    """
    waiting: list[tuple[float, int, MediaItem]] = []  # by due time; the number keeps equal ones in order
    numbers = itertools.count()
    skipped_from: float | None = None  # due time of the first frame of those skipped in a row

    def hand_over(until: float) -> Iterator[MediaItem | None]:
        nonlocal skipped_from
        while waiting and waiting[0][0] <= until:
            due, _, item = heapq.heappop(waiting)
            late = wait_until(due)
            if late is None:
                yield None
                return
            is_frame = isinstance(item, MediaFrame)
            if late > BEHIND or (is_frame and skipped_from is not None and due - skipped_from >= PATIENCE):
                hold_up(late)
            elif is_frame and late > TOO_LATE:
                skipped_from = due if skipped_from is None else skipped_from
                on_skip()
                continue
            if is_frame:
                skipped_from = None
            yield item

    for item in items:
        for ready in hand_over(item.time):  # nothing that comes later in the file can be due before this
            if ready is None:
                return
            yield ready
        heapq.heappush(waiting, (due_time(item), next(numbers), item))
    for ready in hand_over(float("inf")):
        if ready is None:
            return
        yield ready
