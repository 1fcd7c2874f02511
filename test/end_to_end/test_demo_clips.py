"""The whole graph on real clips, as a person would see it: ``emotion-demo`` in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from machine import elapsed, slowness

from emotion_perception.emotions import EMOTIONS

pytest.importorskip("rclpy", reason="needs ROS 2: . scripts/env.sh")
pytest.importorskip("emotion_msgs", reason="needs emotion_msgs: scripts/setup.sh")

ROOT = Path(__file__).parents[2]
CLIPS = ROOT.parent / "shared" / "data" / "cremad_clips"
DURATION = 12.0  # s; the clips are about 2 s long and are played again and again


@dataclass(frozen=True)
class Shown:
    """What one run of the demo printed."""

    states: list[dict]
    began: float  # Unix time, s
    ended: float
    slowness: float  # of the machine meanwhile; 1 is idle

    @property
    def with_face(self) -> list[dict]:
        return [state for state in self.states if state["face_id"]]

    @property
    def both(self) -> list[dict]:
        return [state for state in self.states if state["status"] == "AUDIO_VISUAL"]

    def share(self, label: str) -> float:
        """Share of AUDIO_VISUAL states with this label."""
        return Counter(state["label"] for state in self.both)[label] / len(self.both)


def show(name: str) -> Shown:
    clip = CLIPS / name
    if not clip.is_file():
        pytest.skip(f"no clip {clip}")
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    began, started = time.time(), time.monotonic()
    elapsed(started)  # the machine is measured from here on
    result = subprocess.run(
        [sys.executable, "-m", "emotion_perception.bringup.demo", str(clip), "--headless", "--duration", str(DURATION)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 0, result.stderr
    return Shown([json.loads(line) for line in result.stdout.splitlines()], began, time.time(), slowness(started))


@pytest.fixture(scope="module")
def happy() -> Shown:
    return show("1001_DFA_HAP_XX.flv")


@pytest.fixture(scope="module")
def angry() -> Shown:
    return show("1001_DFA_ANG_XX.flv")


@pytest.fixture(params=["happy", "angry"])
def shown(request: pytest.FixtureRequest) -> Shown:
    return request.getfixturevalue(request.param)


def test_face_and_voice_are_both_used(shown: Shown):
    assert len(shown.both) > 20 / shown.slowness, Counter(state["status"] for state in shown.states)


def test_one_person_keeps_one_face_id(shown: Shown):
    assert len({state["face_id"] for state in shown.with_face}) == 1


def test_stamps_are_the_sources(shown: Shown):
    stamps = np.array([state["stamp"] for state in shown.with_face])
    assert (np.diff(stamps) >= 0).all()
    assert shown.began < stamps[0] and stamps[-1] < shown.ended
    assert np.ptp(stamps) < DURATION + 0.1, "they lie within the time that was played"
    # Frames of the film are 1/30 s apart, and so are their stamps: a clock read on arrival would scatter.
    distinct = np.unique(stamps)
    assert len(distinct) > 5 * DURATION / shown.slowness
    steps = np.diff(distinct) * 30
    assert np.median(np.abs(steps - np.round(steps))) < 0.1


def test_states_are_published_steadily(shown: Shown):
    playing = shown.with_face
    assert len(playing) > 8 * DURATION / shown.slowness


def test_probabilities_are_a_distribution_over_the_vocabulary(shown: Shown):
    for state in shown.states:
        assert len(state["probabilities"]) == 8
        assert sum(state["probabilities"]) == pytest.approx(1.0, abs=1e-3)
        if state["label"]:
            assert max(state["probabilities"]) == pytest.approx(state["probabilities"][EMOTIONS.index(state["label"])])


def test_the_happy_clip_is_seen_as_happy(happy: Shown):
    assert happy.share("happy") > 0.5, Counter(state["label"] for state in happy.both)
    assert np.mean([state["valence"] for state in happy.both]) > 0.1


def test_the_angry_clip_is_not_seen_as_happy_or_calm(angry: Shown):
    assert angry.share("happy") + angry.share("calm") < 0.3, Counter(state["label"] for state in angry.both)


def test_latency_is_told_and_short(shown: Shown):
    assert np.median([state["latency_ms"] for state in shown.with_face]) < 150 * shown.slowness
