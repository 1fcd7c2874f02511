"""The ROS4HRI twin: without hri_msgs it says so; with message definitions built here it is run for real."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import message_workspace
import numpy as np
import pytest
from foreign_messages import EXPRESSIONS, FOXGLOVE_MSGS, HRI_MSGS, RVIZ_2D_OVERLAY_MSGS
from node_world import World, happy_estimate, now_header

from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.emotions import EMOTIONS, ROS4HRI_NAMES
from emotion_perception.nodes.ros4hri_node import Ros4HriNode
from emotion_perception.ros import conversions
from emotion_perception.types import FaceLandmarks

HERE = Path(__file__).parent


def test_only_strings_that_ros4hri_allows_are_used():
    assert len(ROS4HRI_NAMES) == len(EMOTIONS)
    assert set(ROS4HRI_NAMES) <= set(EXPRESSIONS)


def test_an_estimate_fills_every_field_of_an_expression():
    @dataclass
    class Expression:
        header: object
        expression: str
        valence: float
        arousal: float
        confidence: float

    header, estimate = now_header("camera"), happy_estimate()
    message = conversions.estimate_to_expression(estimate, header, Expression)
    assert message == Expression(header, "happy", estimate.valence, estimate.arousal, estimate.confidence)


def test_landmarks_are_normalised_by_the_size_of_the_image():
    pixels = np.full((70, 2), [160.0, 120.0], np.float32)
    pixels[1] = [-32.0, 120.0]
    message = conversions.landmarks_to_message(FaceLandmarks(0.9, points=pixels), "header", 640, 480, dict, dict)
    assert (message["header"], message["width"], message["height"]) == ("header", 640, 480)
    assert len(message["landmarks"]) == 70
    assert message["landmarks"][0] == {"x": 0.25, "y": 0.25, "c": 0.9}
    assert message["landmarks"][1] == {"x": 0.0, "y": 0.25, "c": 0.0}, "outside the image"


def test_the_graph_starts_it_only_when_asked():
    assert "ros4hri_node" not in [node.name for node in graph_nodes()]
    assert "ros4hri_node" in [node.name for node in graph_nodes({"ros4hri": "true"})]


@pytest.mark.skipif(importlib.util.find_spec("hri_msgs") is not None, reason="hri_msgs is installed here")
def test_without_its_messages_it_says_what_is_missing(ros: World):
    node = ros.add(Ros4HriNode)
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert "hri_msgs" in node.problem


@pytest.mark.slow
@pytest.mark.timeout(540)
@pytest.mark.skipif(bool(message_workspace.why_not()), reason=message_workspace.why_not() or "can be built here")
def test_it_plays_its_part_with_the_real_messages(tmp_path: Path):
    packages = {"hri_msgs": HRI_MSGS, "rviz_2d_overlay_msgs": RVIZ_2D_OVERLAY_MSGS, "foxglove_msgs": FOXGLOVE_MSGS}
    try:
        environment = message_workspace.build(tmp_path, packages)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"the messages could not be built:\n{error.stdout[-3000:]}")
    # In a process of its own: libraries of messages are found only if they were there when Python started.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "ros4hri_checks.py")],
        env=environment,
        cwd=HERE.parents[1],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "passed" in done.stdout and "skipped" not in done.stdout
