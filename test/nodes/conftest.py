"""Every node test has a ROS domain of its own, on this machine alone."""

from __future__ import annotations

import importlib.util

from ros_fixtures import domain, ros  # noqa: F401  (fixtures)

MISSING = [name for name in ("rclpy", "emotion_msgs") if importlib.util.find_spec(name) is None]
# Without ROS nothing here can even be imported.
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str:
    """Says why the node tests are left out."""
    return f"node tests left out: no {', '.join(MISSING)} (. scripts/env.sh)" if MISSING else ""
