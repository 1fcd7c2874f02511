"""A full disk: nothing half-written is left, the answer says so, and the report is written when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from node_world import World, happy_estimate

from emotion_msgs.msg import EmotionState
from emotion_msgs.srv import StartInteraction, StopInteraction
from emotion_perception.nodes.interaction_node import InteractionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import EmotionModality, EmotionStatus, Evidence
from emotion_perception.types import EmotionState as State

Measured = Callable[[str, str, float | str], None]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path) -> Path:
    """Write until nothing more fits."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def test_a_report_that_does_not_fit_is_kept_told_and_written_when_there_is_room(
    ros: World, small_disk: Path, measured: Measured
):
    node = ros.begin(InteractionNode, directory=str(small_disk), auto_start=False)
    states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
    start = ros.node.create_client(StartInteraction, "interaction/start")
    stop = ros.node.create_client(StopInteraction, "interaction/stop")
    assert ros.matched(states)
    assert ros.until(start.service_is_ready) and ros.until(stop.service_is_ready)

    def call(client: object, request: object) -> object:
        future = client.call_async(request)
        assert ros.until(future.done, 20.0)
        return future.result()

    def talk(seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            now = time.time_ns()
            emotion = happy_estimate(0.8)
            seen = (Evidence(EmotionModality.VISUAL, 1.0, 0.0, emotion),)
            state = State(now, EmotionStatus.VISUAL_ONLY, "person_1", "f1", "", emotion, seen)
            states.publish(conversions.state_to_message(state, now))
            ros.spin(0.05)

    assert call(start, StartInteraction.Request()).success
    talk(1.0)
    ballast = fill(small_disk)
    talk(2.0)
    answer = call(stop, StopInteraction.Request())
    assert answer.success, "the summary is there all the same"
    assert "No space" in answer.message or "not stored" in answer.message, answer.message
    assert answer.summary.coverage > 0
    assert not [path for path in small_disk.iterdir() if path.suffix in (".html", ".json") and path.stat().st_size == 0]
    assert node.state_label == "active"
    freed = time.monotonic()
    ballast.unlink()
    reports = lambda: [path for path in small_disk.rglob("*.html") if path.stat().st_size > 0]  # noqa: E731
    assert ros.until(lambda: bool(reports()), 60.0), node.extra_diagnostics()
    meanwhile = "answers and summary as before, with the reason; the report waits in memory"
    measured("disk full while a report is written", meanwhile, time.monotonic() - freed)


def test_a_report_of_the_command_line_that_does_not_fit_says_so_and_leaves_nothing(small_disk: Path, tmp_path: Path):
    import soundfile

    soundfile.write(tmp_path / "talk.wav", np.zeros(16_000, np.float32), 16_000)
    fill(small_disk)
    report = small_disk / "talk.html"
    command = [sys.executable, "-m", "emotion_perception.cli.recognize", str(tmp_path / "talk.wav")]
    done = subprocess.run(
        [*command, "--report", str(report)], cwd=ROOT, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 1
    assert "No space left" in done.stderr and "Traceback" not in done.stderr
    assert not report.exists() and not list(small_disk.glob("talk*")), "no half page"
    assert done.stdout.strip(), "the lines were printed all the same"
