"""Every node test has a ROS domain of its own, on this machine alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for node_world, which the tests share

pytest.importorskip("rclpy", reason="needs ROS 2: . scripts/env.sh")
pytest.importorskip("emotion_msgs", reason="needs emotion_msgs: scripts/setup.sh")

from node_world import World, world

_used = 0


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A fresh domain id for each test; child processes inherit it."""
    global _used
    _used += 1
    # Spread over processes, so that two test runs on one machine do not hear each other.
    number = 1 + (os.getpid() * 31 + _used) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return number


@pytest.fixture
def ros(domain: int) -> Iterator[World]:
    """A running ROS 2 in this process."""
    with world() as made:
        yield made
