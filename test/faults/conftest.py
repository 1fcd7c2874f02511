"""Fault tests: a ROS domain of its own each, and a table of what was published meanwhile and how long recovery took."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node_world import World

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent, HERE.parent / "nodes"):  # for stage, bags and node_world, which tests share
    sys.path.insert(0, str(folder))
MISSING = [name for name in ("rclpy", "emotion_msgs") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []

_used = 0
_table: list[tuple[str, str, str]] = []


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A fresh domain id for each test, on this machine alone; child processes inherit it."""
    global _used
    _used += 1
    number = 1 + (os.getpid() * 31 + 50 + _used) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return number


@pytest.fixture
def ros(domain: int) -> Iterator[World]:
    """A running ROS 2 in this process."""
    from node_world import world

    with world() as made:
        yield made


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
