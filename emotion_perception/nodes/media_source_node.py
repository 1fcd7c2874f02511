"""Publishes a media file, a recording, a webcam or a microphone as ``image_raw`` and ``audio``."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecyclePublisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from emotion_msgs.msg import AudioChunk
from emotion_perception.media.items import MediaError, MediaFrame, MediaItem
from emotion_perception.media.opening import is_recording
from emotion_perception.media.playback import TOO_LATE, Pace, Source, due_time, is_live, open_source, paced
from emotion_perception.media.source import MediaSource, StoredMedia
from emotion_perception.ros import conversions
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, run
from emotion_perception.ros.node_settings import node_settings

if TYPE_CHECKING:
    from emotion_perception.media.rosbag import Recording

EXIT_NO_INPUT = 66  # EX_NOINPUT of sysexits.h: the source cannot be read
LEAD_IN = 0.05  # s between the start and the first frame
CLOCK_PERIOD = 0.01  # wall-clock s between two messages on /clock
RETRY = 2.0  # s before a live device that failed is reopened


class MediaSourceNode(PerceptionNode):
    """Plays one source.

    Stamps are capture times: those of a live device, or the ROS time at the start of a file plus media time, so that
    image and audio stay in sync. A recording can be replayed with its own stamps; this node then publishes ``/clock``,
    which jumps back when the recording is repeated, as with ``ros2 bag play --loop``.
    """

    expected_problems = (*PerceptionNode.expected_problems, MediaError)

    def __init__(self, **options: Any) -> None:
        super().__init__("media_source_node", node_settings("media_source_node"), **options)
        self._source: Source = NOT_CONFIGURED
        self._images: LifecyclePublisher = NOT_CONFIGURED
        self._audio: LifecyclePublisher = NOT_CONFIGURED
        self._clock_out: LifecyclePublisher = NOT_CONFIGURED
        self._threads: list[threading.Thread] = []
        self._stop_playing = threading.Event()
        self._missing = ""  # why a live device could not be opened; empty if it is open
        self._media_time = 0.0
        self._pace = Pace(0.0)  # of the file that is playing
        self._held_up = 0.0  # s for which playing waited for the computer, in all passes
        self._clock_time = 0.0  # newest media time on /clock in this pass

    def configure(self) -> None:
        """Open the source and make the publishers."""
        self._missing = ""
        try:
            self._source = self._open()
        except MediaError as error:
            if is_live(self.parameters["source"]):
                self._source = Source(self.parameters["source"], (), live=True)
                self._missing = f"{error}; trying again every {RETRY:g} s"
                self.get_logger().warning(self._missing)
                self._make_publishers()
                return
            if self.parameters["at_end"] == "exit":
                self.end_process(EXIT_NO_INPUT)
            raise
        if self._source.note:
            log = self.get_logger().warning if self._source.live else self.get_logger().info
            log(self._source.note)
        self._make_publishers()

    def _make_publishers(self) -> None:
        # Both, whatever the source contains: a silent topic is easier to understand than a missing one.
        self._images = self.publish_to(Image, "image_raw", "image_out")
        self._audio = self.publish_to(AudioChunk, "audio", "audio_out")
        if self._replays:
            self._clock_out = self.publish_to(Clock, "/clock", "clock")
        self.model_name = self._source.description

    def activate(self) -> None:
        """Play from the start."""
        self._held_up = 0.0
        self._stop_playing = threading.Event()
        play = self._play_live if self._source.live else self._replay if self._replays else self._play_file
        if self._missing:
            self._threads = [threading.Thread(target=self._wait_for_device, args=(play,), daemon=True)]
        else:
            self._threads = self._players(play)
        for thread in self._threads:
            thread.start()

    def _players(self, play: Callable[[Any], None]) -> list[threading.Thread]:
        numbers = range(len(self._source.devices))
        return [threading.Thread(target=self._play, args=(play, number), daemon=True) for number in numbers]

    def _wait_for_device(self, play: Callable[[Any], None]) -> None:
        """Open a device that was missing at start, and play it."""
        while not self._stop_playing.wait(RETRY):
            try:
                source = self._open()
            except MediaError as error:
                self._missing = f"{error}; trying again every {RETRY:g} s"
                continue
            self._source, self._missing = source, ""
            self.model_name = source.description
            self.get_logger().info(f"{source.description} is there now")
            players = self._players(play)
            for player in players:
                player.start()
            for player in players:
                player.join()
            return

    def deactivate(self) -> None:
        """Stop playing."""
        self._stop_playing.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2.5)
        self._threads = []

    def cleanup(self) -> None:
        """Close the file or the devices."""
        if self._source is not NOT_CONFIGURED:
            self._source.close()
        self._source = self._images = self._audio = self._clock_out = NOT_CONFIGURED

    def input_failure(self) -> str:
        """Why the device cannot be opened."""
        return self._missing

    def extra_diagnostics(self) -> dict[str, str]:
        """Media time, and how long playing waited for the computer."""
        return {"media time (s)": f"{self._media_time:.2f}", "held up (s)": f"{self._held_up:.1f}"}

    def _open(self) -> Source:
        return open_source(
            self.parameters["source"],
            self.parameters["width"],
            self.parameters["height"],
            self.parameters["fps"],
            self.parameters["webcam_sound"],
            self.parameters["recorded_image_topic"],
            self.parameters["recorded_audio_topic"],
        )

    @property
    def _replays(self) -> bool:
        """Whether a recording is played with its own stamps."""
        return self.parameters["replay"] == "recorded" and is_recording(self.parameters["source"])

    def _play_file(self, file: StoredMedia) -> None:
        self._wait_for_subscribers()
        length = self.parameters["duration"]
        repeat = self.parameters["loop"] or length > 0 or file.is_image
        pace, began_ns = Pace(time.monotonic() + LEAD_IN), self.now_ns + round(LEAD_IN * conversions.SECOND)
        self._pace = pace

        def wait_until(media_time: float) -> float | None:
            if self._stop_playing.wait(max(0.0, pace.due(media_time) - time.monotonic())):
                return None
            return time.monotonic() - pace.due(media_time)

        items: Iterator[MediaItem] = self._still(file) if file.is_image else file.loop() if repeat else file.read()
        if length > 0:
            items = itertools.takewhile(lambda item: due_time(item) <= length, items)
        for item in paced(items, wait_until, self.meter.drop, self._hold_up):
            self._media_time = item.time
            self._publish(item, began_ns + round((item.time + pace.held_up) * conversions.SECOND))
            self.meter.done(max(0.0, time.monotonic() - pace.due(due_time(item))))
        if length > 0 and not self._stop_playing.is_set():
            wait_until(length)
        if not self._stop_playing.is_set():
            self._end(f"{file.path.name}: played to the end ({self._media_time:.1f} s)")

    def _replay(self, recording: Recording) -> None:
        """Play a recording with its own stamps, once or in a loop."""
        self._wait_for_subscribers()
        length, rate = self.parameters["duration"], self.parameters["rate"]
        end_of_play = time.monotonic() + LEAD_IN + (length / rate if length > 0 else math.inf)
        while True:
            pace = self._pace = Pace(time.monotonic() + LEAD_IN, rate)
            if not self._play_once(recording, pace, end_of_play):
                return
            if time.monotonic() >= end_of_play or not (self.parameters["loop"] or length > 0):
                break
        self._end(f"{recording.path.name}: played to the end ({self._media_time:.1f} s)")
        while not self._stop_playing.wait(CLOCK_PERIOD):  # the clock continues, so that old evidence expires
            self._publish_clock(recording, pace.media_time(time.monotonic()))

    def _play_once(self, recording: Recording, pace: Pace, end_of_play: float) -> bool:
        """One pass; False if playing was stopped."""
        self._clock_time = 0.0

        def wait_until(media_time: float) -> float | None:
            due = pace.due(media_time)
            while (now := time.monotonic()) < due:
                self._publish_clock(recording, pace.media_time(now))
                if self._stop_playing.wait(min(CLOCK_PERIOD, due - now)):
                    return None
            # The clock must not pass the next item by more than it may be late: it advances only as fast as the data.
            ahead = min(pace.media_time(now), media_time + TOO_LATE * pace.rate)
            self._publish_clock(recording, max(media_time, ahead))
            return None if self._stop_playing.is_set() or now >= end_of_play else now - due

        for item in paced(recording.read(), wait_until, self.meter.drop, self._hold_up):
            self._media_time = item.time
            self._publish(item, recording.start_ns + round(item.time * conversions.SECOND))
            self.meter.done(max(0.0, time.monotonic() - pace.due(due_time(item))))
        return not self._stop_playing.is_set()

    def _hold_up(self, late: float) -> None:
        self._pace.hold_up(late)
        self._held_up += late
        self.reporter.report(f"the computer cannot keep up with the source; playing waited {late:.1f} s", "held up")

    def _publish_clock(self, recording: Recording, media_time: float) -> None:
        self._clock_time = max(self._clock_time, media_time)  # the clock never runs back within a pass
        now_ns = recording.start_ns + round(self._clock_time * conversions.SECOND)
        self._clock_out.publish(Clock(clock=conversions.ns_to_stamp(now_ns)))

    def _still(self, file: StoredMedia) -> Iterator[MediaItem]:
        still = next(item for item in file.read() if isinstance(item, MediaFrame))
        for number in itertools.count():
            yield MediaFrame(number / self.parameters["fps"], still.image)

    def _play_live(self, device: MediaSource) -> None:
        self._wait_for_subscribers()
        length, began = self.parameters["duration"], time.monotonic()
        for item in device.read():
            if self._stop_playing.is_set():
                return
            age = max(0.0, time.time() - item.time)  # by its age, so that this is right under simulated time, too
            self._publish(item, self.now_ns - round(age * conversions.SECOND))
            self._media_time = time.monotonic() - began
            self.meter.done(age)
            if 0 < length <= self._media_time:
                self._end(f"{self._source.description}: recorded for {length:g} s")
                return

    def _publish(self, item: MediaItem, stamp_ns: int) -> None:
        if isinstance(item, MediaFrame):
            header = conversions.make_header(stamp_ns, self.parameters["camera_frame_id"])
            self._images.publish(conversions.image_to_message(item.image, header))
        else:
            header = conversions.make_header(stamp_ns, self.parameters["microphone_frame_id"])
            self._audio.publish(conversions.audio_to_message(item.samples, item.sample_rate, header))

    def _wait_for_subscribers(self) -> None:
        """Wait for the nodes in ``wait_for_nodes``, because their models take seconds to load."""
        awaited = {name.strip() for name in self.parameters["wait_for_nodes"].split(",") if name.strip()}
        topics = (self._images.topic_name, self._audio.topic_name)
        deadline = time.monotonic() + self.parameters["wait_at_most"]
        while absent := awaited - {
            end.node_name for topic in topics for end in self.get_subscriptions_info_by_topic(topic)
        }:
            if time.monotonic() >= deadline:
                self.get_logger().warning(f"{', '.join(sorted(absent))} not subscribed; playing anyway")
                return
            if self._stop_playing.wait(0.05):
                return

    def _play(self, play: Callable[[Any], None], number: int) -> None:
        """Play one device of the source in this thread; a live one is reopened after a failure."""
        while not self._stop_playing.is_set():
            try:
                play(self._source.devices[number])
                return
            except MediaError as error:
                self.reject(str(error), "media")
                if not self._source.live:
                    self._end("the source can no longer be read", EXIT_NO_INPUT)
                    return
            except Exception:
                if self._stop_playing.is_set() or not self.context.ok():
                    return  # publishers and devices are gone: the node is shutting down
                raise
            if not self._stop_playing.wait(RETRY):
                self._reopen()

    def _reopen(self) -> None:
        """Open a live device again after it failed."""
        try:
            source = self._open()
        except MediaError as error:
            self.reject(str(error), "media")
            return
        self._source.close()
        self._source = source

    def _end(self, message: str, exit_code: int = 0) -> None:
        self.get_logger().info(message)
        if self.parameters["at_end"] == "exit":
            self.end_process(exit_code)


def main() -> int:
    """Console script ``media_source_node``."""
    return run(MediaSourceNode)


if __name__ == "__main__":
    sys.exit(main())
