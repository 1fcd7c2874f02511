"""Servers to ask, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_fixtures import clock, serve  # noqa: F401  (fixtures)
from page_robot import folder, page, robot, server  # noqa: F401  (fixtures)
from page_world import chromium, screenshot_folder
from stored_conversations import shop, template  # noqa: F401  (fixtures)
from time_zones import berlin  # noqa: F401  (fixtures)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window. Skips, with the reason, where it is not installed."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of the page are kept."""
    return screenshot_folder()
