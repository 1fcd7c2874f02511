"""What the dashboard's tests share: things to show, and a client that asks as the page does."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.emotions import EMOTIONS, HAPPY
from emotion_perception.interaction.arc import ArcSample, EmotionalArc
from emotion_perception.interaction.summary import summarize
from emotion_perception.reports.conversation import write_files
from emotion_perception.types import SECOND, Box, EmotionEstimate, EmotionState, EmotionStatus, FaceObservation

TOKEN = "correct-horse-battery-staple"


class Clock:
    """Seconds since the epoch, which a test moves."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def happy(share: float = 0.8, label: int = HAPPY) -> EmotionEstimate:
    """A distribution with one emotion on top."""
    p = np.full(len(EMOTIONS), (1 - share) / (len(EMOTIONS) - 1), np.float32)
    p[label] = share
    return EmotionEstimate.from_probabilities(p)


def a_state(stamp_ns: int, label: int = HAPPY, known: bool = True) -> EmotionState:
    """The state of one person, or that nobody is there."""
    if not known:
        unknown = EmotionEstimate.unknown()
        return EmotionState(stamp_ns, EmotionStatus.NO_EVIDENCE, "", "", "", unknown, ())
    return EmotionState(stamp_ns, EmotionStatus.VISUAL_ONLY, "person_1", "f1", "", happy(label=label), ())


def a_face(face_id: str = "f1", label: int = HAPPY) -> FaceObservation:
    """A face in the middle of a 640x480 picture."""
    return FaceObservation(face_id, Box(270.0, 160.0, 100.0, 120.0), 0.9, 0.8, happy(label=label))


def store_conversation(
    folder: Path, interaction_id: str, start_ns: int, valence_phase: float = 0.0, name: str = "", seconds: int = 60
) -> None:
    """Write a conversation's files as interaction_node does: happy, and now and then sad."""
    arc = EmotionalArc(start_ns)
    samples = []
    for i in range(seconds * 2):
        sad = math.sin(i / 9 + valence_phase) < -0.5
        p = np.full(8, 0.02, np.float32)
        p[EMOTIONS.index("sad" if sad else "happy")] = 0.86
        e = EmotionEstimate.from_probabilities(p)
        when = start_ns + i * SECOND // 2
        sample = ArcSample(when, EmotionStatus.VISUAL_ONLY, p, 0.86, e.valence, e.arousal, (1.0, 0.0, 0.0), "person_1")
        arc.add(sample)
        samples.append(sample)
    summary = summarize(
        arc.arc(start_ns + seconds * SECOND), interaction_id=interaction_id, name=name, ended_by="nobody was there"
    )
    write_files(folder, summary, samples)


def correct(folder: Path, number: int, label: str = "sad", kind: str = "face", status: str = "accepted") -> None:
    """A correction as the page stores it, without its image."""
    name = f"20261123T0800{number:02}Z-abcdef"
    (folder / status).mkdir(parents=True, exist_ok=True)
    fields = {"format": 1, "id": name, "kind": kind, "label": label, "said": "happy", "confidence": 0.9}
    fields |= {"made": 1_795_000_000.0 + number, "annotator": "", "comment": ""}
    (folder / status / f"{name}.json").write_text(json.dumps(fields))


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


@dataclass
class Client:
    """Asks a server as a browser with the page open would, unless told otherwise."""

    server: DashboardServer
    log: list[str] = field(default_factory=list)  # what the server wrote to its log

    def ask(self, method: str, path: str, body: bytes | str | None = None, own: bool = True, **headers: str) -> Answer:
        sent = {"Host": f"127.0.0.1:{self.server.port}"}
        if own:
            sent |= {"X-Dashboard": "1", "Origin": f"http://127.0.0.1:{self.server.port}"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=100)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)


def screenshot_folder() -> Path:
    """Where pictures of the page are kept; continuous integration may collect them."""
    folder = Path(os.environ.get("EMOTION_SCREENSHOTS", Path(__file__).parents[2] / "runs/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def chromium() -> Iterator[Any]:
    """A Chromium without a window. Skips the test, with the reason, where it is not installed."""
    found, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if found is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver (scripts/test.sh does, as root)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found
    for argument in (
        "headless=new",
        "no-sandbox",  # as root Chromium refuses to start otherwise
        "disable-dev-shm-usage",
        "disable-gpu",
        "hide-scrollbars",
        "no-first-run",
        "disable-background-networking",
        "lang=en-GB",
        "accept-lang=en-GB",
        "use-fake-device-for-media-stream",
        "use-fake-ui-for-media-stream",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    made.set_page_load_timeout(100)
    made.set_script_timeout(60)
    try:
        yield made
    finally:
        made.quit()


class Page:
    """The dashboard in a browser."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, view: str = "live") -> None:
        """Load it anew."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}#/{view}")

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Size of the window, light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def text(self, selector: str) -> str:
        """What can be seen of an element; nothing where it is hidden or is not there."""
        return self.run(
            "const e = document.querySelector(arguments[0]); return e?.checkVisibility() ? e.innerText.trim() : ''",
            selector,
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.browser.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """An element."""
        return self.browser.find_element("css selector", selector)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 40.0) -> Any:
        """Wait for something to hold."""
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except WebDriverException:
                pass
            assert time.monotonic() < end, f"{what}; the page says: {self.text('main')[:300]!r}"
            time.sleep(0.1)

    def says(self, selector: str, words: str, seconds: float = 40.0) -> None:
        """Wait until an element shows some words."""
        self.until(lambda: words in self.text(selector), f"{selector} does not say {words!r}", seconds)

    def take(self, path: Path) -> None:
        """Keep a screenshot, once what moves has come to rest."""
        time.sleep(0.4)
        self.browser.save_screenshot(str(path))

    def problems(self) -> list[str]:
        """Errors that the browser wrote since it was last asked; broken connections are not the page's."""
        lines = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        return [line for line in lines if "ERR_CONNECTION" not in line and "WebSocket connection" not in line]


@contextmanager
def open_page(browser: Any, url: str, width: int = 1360, expected: str = "") -> Iterator[Page]:
    """A page of a server; afterwards it has met no error and nothing that the content security policy forbids.

    Args:
        expected: part of the browser's message about a problem that is wanted, such as a refused file.
    """
    page = Page(browser, url)
    page.look(width, 900)
    browser.get_log("browser")
    yield page
    assert [line for line in page.problems() if not expected or expected not in line] == []
    browser.get("about:blank")
