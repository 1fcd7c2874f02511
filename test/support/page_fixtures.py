"""Fixtures of every test that asks a running dashboard server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_world import Client, Clock

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Starts servers; they are stopped afterwards."""
    running: list[DashboardServer] = []

    def start(parts: Parts | None = None, **config: Any) -> Client:
        log: list[str] = []
        server = DashboardServer(ServerConfig(port=0, **config), parts or Parts(Store()), log.append)
        server.start()
        running.append(server)
        return Client(server, log)

    yield start
    for server in running:
        server.stop()
