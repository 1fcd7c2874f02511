"""Fixtures of all tests that ask a dashboard server: a clock that a test moves, and servers on free ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_world import Client, Clock

from emotion_perception.dashboard.server import DashboardServer, Parts, ServerConfig
from emotion_perception.dashboard.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Starts servers; they are stopped afterwards."""
    running: list[DashboardServer] = []

    def start(parts: Parts | None = None, **config: Any) -> Client:
        server = DashboardServer(ServerConfig(port=0, **config), parts or Parts(Store()))
        server.start()
        running.append(server)
        return Client(server)

    yield start
    for server in running:
        server.stop()
