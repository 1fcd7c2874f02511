"""Hours of a shop in minutes: the whole graph on a looping recording, faster than it was, and its memory.

``EMOTION_SOAK_MINUTES`` of stream time (2 here, 30 by ``scripts/test.sh --soak``), at ``EMOTION_SOAK_RATE`` times the
recorded speed (4). Every round sets the clock back, so resets are part of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from bags import Speaker, typestore, write
from diagnostic_msgs.msg import DiagnosticArray
from node_world import World
from stage import face_picture

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.media.items import MediaAudio, MediaFrame
from emotion_perception.ros import qos

ROOT = Path(__file__).parents[2]
MINUTES = float(os.environ.get("EMOTION_SOAK_MINUTES", "2"))
RATE = float(os.environ.get("EMOTION_SOAK_RATE", "4"))
GROWTH = 0.02  # of the memory after the warm-up, at most
ROUND = 20.0  # s of recording
FPS, SAMPLE_RATE = 10, 16_000
PROFILE = """/**/media_source_node:
  ros__parameters: {{rate: {rate}}}
/**/acoustic_node:
  ros__parameters: {{speech_threshold: 0.05}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A recording in which somebody comes, moves, speaks and goes."""
    rng = np.random.default_rng(0)
    face, background = face_picture(), np.full((256, 320, 3), 110, np.uint8)
    speaker, messages = Speaker(typestore()), []
    for i in range(round(ROUND * FPS)):
        there = 2.0 < i / FPS < 16.0
        picture = np.roll(face, round(20 * np.sin(i / 15)), axis=1) if there else background
        noisy = np.clip(picture + rng.integers(-6, 7, picture.shape), 0, 255).astype(np.uint8)
        messages.append(speaker.compressed(MediaFrame(i / FPS, noisy)))
    t = np.arange(round(ROUND * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * 4 * t))
    sound = np.where((t % 5) > 2, 2500 * buzz, 0) + 30 * rng.standard_normal(len(t))
    blocks = sound.astype(np.int16).reshape(-1, SAMPLE_RATE // 20, 1)
    messages += [speaker.chunk(MediaAudio(i / 20, block, SAMPLE_RATE)) for i, block in enumerate(blocks)]
    return write(tmp_path / "shop", speaker.store, messages)


def resident(processes: list[psutil.Process]) -> float:
    """MB that processes hold together, pages that they share counted once."""
    return sum(process.memory_full_info().pss for process in processes) / 2**20


@pytest.mark.timeout(200 + 240 * MINUTES)
def test_memory_does_not_grow_with_time(
    ros: World, shop: Path, tmp_path: Path, measured: Callable[[str, str, float | str], None]
):
    profile = tmp_path / "soak.yaml"
    profile.write_text(PROFILE.format(rate=RATE))
    states: list[int] = []
    ros.node.create_subscription(EmotionState, "emotion_state", lambda m: states.append(m.status), qos.profile("state"))
    faces: list[int] = []
    ros.node.create_subscription(
        FaceEmotionArray, "faces/emotions", lambda m: faces.append(len(m.faces)), qos.profile("estimates")
    )
    held_up: list[float] = []  # s that the source waited for the machine, all together

    def on_diagnostics(message: DiagnosticArray) -> None:
        told = [value.value for status in message.status for value in status.values if value.key == "held up (s)"]
        held_up.extend(map(float, told))

    ros.node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, qos.profile("diagnostics"))
    command = [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(shop), "--loop"]
    options = ["--use-sim-time", "true", "--config", str(profile), "--interaction", "true", "--log-level", "error"]
    graph = subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        assert ros.until(lambda: any(states), 120.0), "the graph starts"
        processes = psutil.Process(graph.pid).children(recursive=True)
        assert len(processes) == 6
        samples: list[float] = []
        began, held_before = time.monotonic(), max(held_up, default=0.0)
        # Where the machine cannot follow, the recording waits for it: that time was not streamed.
        while (streamed := (time.monotonic() - began - max(held_up, default=0.0) + held_before) * RATE / 60) < MINUTES:
            ros.spin(min(2.0, 10 * MINUTES / RATE))
            samples.append(resident(processes))
        assert all(process.is_running() for process in processes), "nobody died"
        assert {EmotionState.NO_EVIDENCE, EmotionState.VISUAL_ONLY} <= set(states), "people come and go"
        assert sum(faces) > 10, "somebody was seen and judged"
        # The first half warms up: networks get their buffers when they first meet a size, caches and windows fill.
        half, tenth = len(samples) // 2, max(1, len(samples) // 10)
        before, after = np.median(samples[half : half + tenth]), np.median(samples[-tenth:])
        growth = after / before - 1
        measured(
            f"{streamed:.0f} min of stream at {RATE:g} times the speed",
            f"{len(states)} states; memory {before:.0f} to {after:.0f} MB ({growth:+.2%})",
            "none needed",
        )
        assert growth < GROWTH, [round(sample) for sample in samples]
    finally:
        graph.send_signal(signal.SIGINT)
        try:
            graph.wait(5)
        except subprocess.TimeoutExpired:
            graph.kill()
