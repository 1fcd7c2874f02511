"""Sources by name, and playback of a file as if it were live: the input of ``media_source_node`` and of the demo.

A source is a path to a video, audio or image file or to a rosbag2 recording, or ``webcam``, ``webcam:1``,
``webcam:/dev/video2`` (with the default microphone if there is one), or ``microphone``, ``microphone:NAME``.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2

from emotion_perception.media.items import MediaError, MediaFrame, MediaItem
from emotion_perception.media.live import Microphone, Webcam
from emotion_perception.media.opening import open_media
from emotion_perception.media.source import MediaSource

TOO_LATE = 0.1  # s; a frame later than this is skipped in favour of the next one
PATIENCE = 0.5  # s of media without any frame because all were late, until the playback waits for the computer
BEHIND = 1.0  # s; with a larger delay, the playback does not try to catch up


@dataclass(frozen=True)
class Source:
    """An open source by its name.

    Attributes:
        devices: what its items come from: one file or recording, or one or two live devices.
        live: its items arrive by themselves, with Unix time; otherwise they have media time and need pacing.
        note: what the user should know, or empty.
    """

    description: str
    devices: tuple[MediaSource, ...]
    live: bool
    note: str = ""

    @property
    def has_video(self) -> bool:
        """Whether it yields images."""
        return any(device.has_video for device in self.devices)

    @property
    def has_audio(self) -> bool:
        """Whether it yields sound."""
        return any(device.has_audio for device in self.devices)

    def close(self) -> None:
        """Release files and devices."""
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
    """Open a source by its name.

    Args:
        name: see the module.
        width, height, fps: requested from a webcam, px and Hz.
        webcam_sound: open the default microphone together with a webcam.
        image_topic, audio_topic: topics of a recording; found by message type where empty.

    Raises:
        MediaError: it cannot be read.
    """
    kind, _, device = name.partition(":")
    if not name:
        raise MediaError("no source given: a file, webcam or microphone")
    if kind == "microphone":
        return Source(name, (Microphone(device or None),), live=True)
    if kind == "webcam" or name.startswith("/dev/video"):
        # OpenCV reports a missing camera in ten lines; MediaError does in one.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        camera = Webcam(name if kind != "webcam" else device or 0, width, height, fps)
        if not webcam_sound:
            return Source(name, (camera,), live=True)
        try:
            return Source(name, (camera, Microphone()), live=True)
        except MediaError as error:
            return Source(name, (camera,), live=True, note=f"without sound: {error}")
    file = open_media(name, image_topic, audio_topic)
    return Source(name, (file,), live=False, note=file.note)


def is_live(name: str) -> bool:
    """Whether a source is a device, which may be plugged in later."""
    return name.partition(":")[0] in ("webcam", "microphone") or name.startswith("/dev/video")


def check_source(name: str) -> None:
    """Check that a source can be opened.

    Raises:
        MediaError: it cannot.
    """
    open_source(name).close()


def due_time(item: MediaItem) -> float:
    """When a live device would have delivered the item, s: a frame at once, sound after its last sample."""
    return item.time if isinstance(item, MediaFrame) else item.end


class Pace:
    """When a media time is due on the monotonic clock.

    Args:
        began: time at which media time 0 is due, s.
        rate: media seconds per second.
    """

    def __init__(self, began: float, rate: float = 1.0) -> None:
        self.began, self.rate = began, rate
        self.held_up = 0.0  # s that the playback has waited for the computer so far

    def due(self, media_time: float) -> float:
        """Time on the monotonic clock, s."""
        return self.began + media_time / self.rate

    def media_time(self, now: float) -> float:
        """The media time that is due at a time on the monotonic clock, s."""
        return (now - self.began) * self.rate

    def hold_up(self, late: float) -> None:
        """Continue from here: everything is due ``late`` seconds later."""
        self.began += late
        self.held_up += late


def paced(
    items: Iterable[MediaItem],
    wait_until: Callable[[float], float | None],
    on_skip: Callable[[], None],
    hold_up: Callable[[float], None],
) -> Iterator[MediaItem]:
    """The items of a file, each when it is due.

    Deadlines are absolute, so that errors of the waiting do not accumulate. A frame more than `TOO_LATE` seconds late
    is skipped (sound never is), so that a slow computer loses frames instead of falling behind. If it still cannot
    follow, or was suspended, ``hold_up`` shifts the deadlines and playback continues from there: a viewer does not get
    sound without images for long, nor minutes of sound at once.

    Args:
        items: in the order of their ``time``.
        wait_until: waits for a media time and returns how late it is then, s; None means stop.
        on_skip: called for each frame that is skipped.
        hold_up: makes everything from now on due so many seconds later.
    """
    waiting: list[tuple[float, int, MediaItem]] = []  # by due time; the number keeps equal times in order
    numbers = itertools.count()
    skipped_from: float | None = None  # due time of the first of consecutive skipped frames

    def deliver(until: float) -> Iterator[MediaItem | None]:
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
        for ready in deliver(item.time):  # no later item of the file can be due before this
            if ready is None:
                return
            yield ready
        heapq.heappush(waiting, (due_time(item), next(numbers), item))
    for ready in deliver(float("inf")):
        if ready is None:
            return
        yield ready
