"""Fault tests: a ROS domain of its own each, and a table of what was published meanwhile and how long recovery took."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
from ros_fixtures import domain, ros  # noqa: F401  (fixtures)

MISSING = [name for name in ("rclpy", "emotion_msgs") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []

_table: list[tuple[str, str, str]] = []


@pytest.fixture
def measured() -> Callable[[str, str, float | str], None]:
    """Notes a fault, what was published meanwhile, and the recovery in s, for the table at the end of the run."""

    def note(fault: str, meanwhile: str, recovery: float | str) -> None:
        _table.append((fault, meanwhile, recovery if isinstance(recovery, str) else f"{recovery:.2f} s"))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, as docs/reliability.md has it."""
    if _table:
        terminalreporter.section("faults, measured")
        for row in _table:
            terminalreporter.write_line(f"| {' | '.join(row)} |")
