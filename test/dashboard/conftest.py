"""Servers to ask, and a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_world import Client, Clock, chromium, screenshot_folder

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window. Skips, with the reason, where it is not installed."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of the page are kept."""
    return screenshot_folder()
