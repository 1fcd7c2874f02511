"""Fixtures of every test that runs ROS in its own process: a domain each, on this machine alone."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from machine import elapsed

if TYPE_CHECKING:
    from node_world import World

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A fresh domain id for each test; child processes inherit it."""
    # Spread over processes, so that two test runs on one machine do not hear each other.
    elapsed(time.monotonic())  # the machine is measured from here on
    number = 1 + (os.getpid() * 31 + next(_numbers)) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return number


@pytest.fixture
def ros(domain: int) -> Iterator[World]:
    """A running ROS 2 in this process."""
    from node_world import world

    with world() as made:
        yield made
