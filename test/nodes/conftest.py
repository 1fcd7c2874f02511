"""Every node test has a ROS domain of its own, on this machine alone."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node_world import World

sys.path.insert(0, str(Path(__file__).parent))  # for node_world, which the tests share
MISSING = [name for name in ("rclpy", "emotion_msgs") if importlib.util.find_spec(name) is None]
# Without ROS nothing here can even be imported.
collect_ignore_glob = ["test_*.py"] if MISSING else []

_used = 0


def pytest_report_header() -> str:
    """Says why the node tests are left out."""
    return f"node tests left out: no {', '.join(MISSING)} (. scripts/env.sh)" if MISSING else ""


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
    from node_world import world

    with world() as made:
        yield made
