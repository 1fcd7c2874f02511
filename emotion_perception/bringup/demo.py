"""``emotion-demo``: runs the graph on one source; one JSON line per ``/emotion_state`` on stdout, logs on stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emotion_perception.bringup.command import (
    EXIT_BAD_ARGUMENT,
    EXIT_NO_INPUT,
    source_ended,
    start_graph,
    wait_for_signal,
)
from emotion_perception.media.items import MediaError
from emotion_perception.media.playback import check_source
from emotion_perception.ros.private_files import make_new_files_private

STILL_SECONDS = 10.0  # s for which an image is shown without --duration
LAST_STATES = 0.5  # s after the end of the source in which states still arrive
WINDOW = "emotion_perception"
EXIT_NO_WINDOW = 3
EXIT_BROKEN = 1

EPILOG = """each line of JSON:
  stamp (s, time of the source), status (NO_EVIDENCE, VISUAL_ONLY, ACOUSTIC_ONLY or AUDIO_VISUAL), label (empty with
  NO_EVIDENCE), confidence (0..1), probabilities (neutral, calm, happy, sad, angry, fearful, disgusted, surprised),
  valence, arousal (-1..1), valence_deviation, arousal_deviation (of their errors), latency_ms (from capture to
  publication), face_id

examples:
  scripts/demo.sh                                        the built-in clip, with a window
  scripts/demo.sh talk.mp4 --headless --duration 20      a file, repeated for up to 20 s
  scripts/demo.sh webcam                                 this computer's camera and microphone, until Ctrl-C
  scripts/demo.sh photo.jpg --headless | jq .label
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to options."""
    parser = argparse.ArgumentParser(
        "demo.sh",
        description="Run emotion perception on this computer, without a robot.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", default="", metavar="SOURCE", help="video file, image, webcam [the clip]")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="seconds to play [the file's length]")
    parser.add_argument("--headless", action="store_true", help="open no window")
    parser.add_argument("--config", default="", help="parameter file [config/robot.yaml]")
    options = parser.parse_args(argv)
    if not 0 <= options.duration < 1e6:
        parser.error(f"--duration must be a number of seconds, got {options.duration}")
    return options


def open_window() -> Any:
    """Open a window that shows images.

    Raises:
        RuntimeError: there is no display or no library to open a window.
    """
    from emotion_perception.visualization.window import Window

    return Window(WINDOW)


def play(options: argparse.Namespace, source: str, window: Any, stop: threading.Event) -> int:
    """Run the graph on ``source`` until it ends, the window is closed or ``stop`` is set; returns the exit code."""
    check_source(source)  # also a device, for which a graph would wait
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    arguments = {
        "source": source,
        "config": options.config,
        "overlay": "false" if options.headless else "true",
        "log_level": "warn",
    }
    supervisor = start_graph(arguments, {"duration": options.duration, "at_end": "exit"})
    try:
        with States(window is not None) as states:
            end = None
            while not stop.is_set() and (end is None or time.monotonic() < end):
                states.spin(0.05)
                supervisor.watch()
                if window is not None and not window.show(states.take_image()):
                    return 0
                code = source_ended(supervisor)
                if code is not None and end is None:
                    if code != 0:
                        return code
                    end = time.monotonic() + LAST_STATES
            # An early stop on request is a success; a source that ends without any state is a failure.
            return 0 if states.printed or stop.is_set() else EXIT_BROKEN
    finally:
        supervisor.stop()


class States:
    """Prints every published state and keeps the newest annotated image."""

    def __init__(self, with_images: bool) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions
        from sensor_msgs.msg import Image

        from emotion_msgs.msg import EmotionState
        from emotion_perception.ros import qos

        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("emotion_demo")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._node.create_subscription(EmotionState, "emotion_state", self._print, qos.profile("state"))
        self._image: Any = None
        if with_images:
            self._node.create_subscription(Image, "emotion/image_annotated", self._keep, qos.profile("annotated_image"))
        self.printed = 0

    def __enter__(self) -> States:
        return self

    def __exit__(self, *_: object) -> None:
        import rclpy

        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def spin(self, seconds: float) -> None:
        """Process messages for this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def take_image(self) -> Any:
        """The newest annotated image, uint8 ``(H, W, 3)`` BGR; None if there is none since the last call."""
        image, self._image = self._image, None
        return image

    def _print(self, message: Any) -> None:
        from emotion_perception.ros.conversions import ConversionError, state_to_record

        try:
            record = state_to_record(message)
        except ConversionError as error:
            print(f"demo: {error}", file=sys.stderr)
            return
        print(json.dumps(record), flush=True)
        self.printed += 1

    def _keep(self, message: Any) -> None:
        from emotion_perception.ros.conversions import image_from_message

        self._image = image_from_message(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Console script ``emotion-demo``: returns 0 on success, 66 for a source that cannot be read."""
    options = parse(argv)
    make_new_files_private()
    stop = threading.Event()
    wait_for_signal(stop)
    window = None
    try:
        if options.source in ("", "builtin"):
            from emotion_perception.resources import demo_clip_path

            source = str(demo_clip_path())
        else:
            # Absolute path for the processes of the graph.
            source = str(Path(options.source).absolute()) if Path(options.source).exists() else options.source
        if Path(source).is_file() and options.duration == 0 and is_still(source):
            options.duration = STILL_SECONDS
        if not options.headless:
            window = open_window()
        return play(options, source, window, stop)
    except MediaError as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_NO_INPUT
    except (ValueError, FileNotFoundError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENT
    except RuntimeError as error:
        print(f"demo: {error}; --headless needs none", file=sys.stderr)
        return EXIT_NO_WINDOW
    except BrokenPipeError:  # `demo.sh | head`: the reader closed the pipe
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        if window is not None:
            window.close()


def is_still(source: str) -> bool:
    """Whether the file is an image.

    Raises:
        MediaError: it cannot be read.
    """
    from emotion_perception.media.opening import open_media

    with open_media(source) as file:
        return file.is_image


if __name__ == "__main__":
    sys.exit(main())
