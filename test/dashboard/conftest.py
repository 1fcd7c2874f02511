"""Servers to ask, and a real browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emotion_perception.dashboard.server import DashboardServer, Parts, ServerConfig
from emotion_perception.dashboard.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # for page_world, which the tests share
from page_world import Client


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
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if chromium is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver (scripts/test.sh does, as root)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "headless=new",
        "no-sandbox",  # as root Chromium refuses to start otherwise
        "disable-dev-shm-usage",
        "disable-gpu",
        "hide-scrollbars",
        "force-device-scale-factor=1",
        "no-first-run",
        "disable-background-networking",
        "lang=en-GB",
        "use-fake-device-for-media-stream",
        "use-fake-ui-for-media-stream",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    made.set_page_load_timeout(60)
    yield made
    made.quit()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of the page are kept; continuous integration may collect them."""
    folder = Path(os.environ.get("EMOTION_SCREENSHOTS", Path(__file__).parents[2] / "runs/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
