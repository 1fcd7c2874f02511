"""Publishes a film, a recording, a webcam or a microphone as ``image_raw`` and ``audio``."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from emotion_msgs.msg import AudioChunk
from emotion_perception.media.items import MediaError, MediaFrame, MediaItem
from emotion_perception.media.opening import is_recording
from emotion_perception.media.playback import TOO_LATE, Pace, Source, due_time, open_source, paced
from emotion_perception.media.source import MediaSource, StoredMedia
from emotion_perception.ros import conversions
from emotion_perception.ros.lifecycle import PerceptionNode, run
from emotion_perception.ros.node_settings import node_settings

if TYPE_CHECKING:
    from emotion_perception.media.rosbag import Recording

EXIT_NO_INPUT = 66  # EX_NOINPUT of sysexits.h: the source cannot be read
LEAD_IN = 0.05  # s between the decision to play and the first frame
CLOCK_PERIOD = 0.01  # s of wall time between two messages on /clock
RETRY = 2.0  # s before a live device that stopped is opened again


class MediaSourceNode(PerceptionNode):
    """Plays one source.

    Stamps are capture times: a live device's own, or media time counted from the ROS time at which the file began;
    sound and picture share that one beginning, so they are as far apart as in the file. A recording can be replayed
    under its own stamps; ``/clock`` then comes from here, and a loop sets it back, as ``ros2 bag play --loop`` does.
    """

    expected_problems = (*PerceptionNode.expected_problems, MediaError)

    def __init__(self, **options: Any) -> None:
        super().__init__("media_source_node", node_settings("media_source_node"), **options)
        self._source: Source | None = None
        self._images = None
        self._audio = None
        self._time_out = None
        self._threads: list[threading.Thread] = []
        self._stop_playing = threading.Event()
        self._media_time = 0.0
        self._pace: Pace | None = None  # of the file that plays
        self._held_up = 0.0  # s that it waited for the computer, all rounds together
        self._told = 0.0  # newest media time on /clock in this pass

    def configure(self) -> None:
        """Open the source and make the publishers of what is in it."""
        try:
            self._source = self._open()
        except MediaError:
            if self.parameters["at_end"] == "exit":
                self.end_process(EXIT_NO_INPUT)
            raise
        if self._source.note:
            tell = self.get_logger().warning if self._source.live else self.get_logger().info
            tell(self._source.note)
        # Both, whatever the source holds: a topic that stays silent is easier to understand than one that is missing.
        self._images = self.publish_to(Image, "image_raw", "image_out")
        self._audio = self.publish_to(AudioChunk, "audio", "audio_out")
        if self._replays:
            self._time_out = self.publish_to(Clock, "/clock", "clock")
        self.model_name = self._source.description

    def activate(self) -> None:
        """Begin to play, from the start."""
        self._held_up = 0.0
        self._stop_playing = threading.Event()
        if self._source.live:
            jobs = [lambda device=device: self._play_live(device) for device in self._source.devices]
        elif self._replays:
            jobs = [lambda: self._replay(self._source.devices[0])]
        else:
            jobs = [lambda: self._play_file(self._source.devices[0])]
        self._threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def deactivate(self) -> None:
        """Stop playing."""
        self._stop_playing.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2.5)
        self._threads = []

    def cleanup(self) -> None:
        """Give the file or the devices back."""
        if self._source is not None:
            self._source.close()
        self._source = self._images = self._audio = self._time_out = None

    def extra_diagnostics(self) -> dict[str, str]:
        """Where in the media we are."""
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
        """Whether a recording is played in its own time."""
        return self.parameters["replay"] == "recorded" and is_recording(self.parameters["source"])

    def _play_file(self, file: StoredMedia) -> None:
        self._wait_for_listeners()
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
        """A recording in its own time, from the start to the end, and again if it is to loop."""
        self._wait_for_listeners()
        length, rate = self.parameters["duration"], self.parameters["rate"]
        end_of_play = time.monotonic() + LEAD_IN + (length / rate if length > 0 else math.inf)
        while True:
            pace = self._pace = Pace(time.monotonic() + LEAD_IN, rate)
            if not self._play_round(recording, pace, end_of_play):
                return
            if time.monotonic() >= end_of_play or not (self.parameters["loop"] or length > 0):
                break
        self._end(f"{recording.path.name}: played to the end ({self._media_time:.1f} s)")
        while not self._stop_playing.wait(CLOCK_PERIOD):  # time goes on, so that what was seen grows old
            self._tell_time(recording, pace.media_time(time.monotonic()))

    def _play_round(self, recording: Recording, pace: Pace, end_of_play: float) -> bool:
        """One pass; whether to go on after it."""
        self._told = 0.0

        def wait_until(media_time: float) -> float | None:
            due = pace.due(media_time)
            while (now := time.monotonic()) < due:
                self._tell_time(recording, pace.media_time(now))
                if self._stop_playing.wait(min(CLOCK_PERIOD, due - now)):
                    return None
            # Never behind what comes next, and hardly before it: time runs only as fast as the data come.
            ahead = min(pace.media_time(now), media_time + TOO_LATE * pace.rate)
            self._tell_time(recording, max(media_time, ahead))
            return None if self._stop_playing.is_set() or now >= end_of_play else now - due

        for item in paced(recording.read(), wait_until, self.meter.drop, self._hold_up):
            self._media_time = item.time
            self._publish(item, recording.start_ns + round(item.time * conversions.SECOND))
            self.meter.done(max(0.0, time.monotonic() - pace.due(due_time(item))))
        return not self._stop_playing.is_set()

    def _hold_up(self, late: float) -> None:
        self._pace.hold_up(late)
        self._held_up += late
        self.reporter.report(f"the computer cannot follow the source; it waited {late:.1f} s", "held up")

    def _tell_time(self, recording: Recording, media_time: float) -> None:
        self._told = max(self._told, media_time)  # never back within a pass
        now_ns = recording.start_ns + round(self._told * conversions.SECOND)
        self._time_out.publish(Clock(clock=conversions.ns_to_stamp(now_ns)))

    def _still(self, file: StoredMedia) -> Iterator[MediaItem]:
        image = next(file.read()).image
        for number in itertools.count():
            yield MediaFrame(number / self.parameters["fps"], image)

    def _play_live(self, device: MediaSource) -> None:
        self._wait_for_listeners()
        length, began = self.parameters["duration"], time.monotonic()
        for item in device.read():
            if self._stop_playing.is_set():
                return
            age = max(0.0, time.time() - item.time)  # through the age, so that it also holds under simulated time
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

    def _wait_for_listeners(self) -> None:
        """Hold the start until those who shall see and hear it listen: models take seconds to load."""
        awaited = {name.strip() for name in self.parameters["wait_for_nodes"].split(",") if name.strip()}
        topics = (self._images.topic_name, self._audio.topic_name)
        give_up = time.monotonic() + self.parameters["wait_at_most"]
        while absent := awaited - {
            end.node_name for topic in topics for end in self.get_subscriptions_info_by_topic(topic)
        }:
            if time.monotonic() >= give_up:
                self.get_logger().warning(f"{', '.join(sorted(absent))} not listening; playing all the same")
                return
            if self._stop_playing.wait(0.05):
                return

    def _guarded(self, play: object) -> None:
        while not self._stop_playing.is_set():
            try:
                play()
                return
            except MediaError as error:
                self.reject(str(error), "media")
                if not self._source.live:
                    self._end("the source can no longer be read", EXIT_NO_INPUT)
                    return
            except Exception:
                if self._stop_playing.is_set() or not self.context.ok():
                    return  # publishers and devices are gone: the process is ending
                raise
            if not self._stop_playing.wait(RETRY):
                self._reopen()

    def _reopen(self) -> None:
        """A live device that stopped may come back."""
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
