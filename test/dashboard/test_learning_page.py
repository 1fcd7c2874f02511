"""The learning section of the feedback view in a real browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_in_training
from page_world import Page, correct, open_page

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.learning_job import LearningConfig, LearningJob
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import Store
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.model_versions import ModelVersions
from emotion_perception.feedback.recent import RecentEvidence


class Shop:
    """Corrections to learn from, and a page; a test chooses how the next training ends."""

    def __init__(self, folder: Path) -> None:
        self.corrections, base = folder / "corrections", folder / "base"
        for number in range(10, 24):
            correct(self.corrections, number, ("sad", "happy", "angry")[number % 3])
        for number in range(40, 43):
            correct(self.corrections, number, kind="voice")
        base.mkdir()
        (base / "ferplus.npz").touch()
        (base / "old.onnx").write_bytes(b"the old network")
        ModelVersions(self.corrections / "models").add(base / "old.onnx", {"scores": {}})
        self.installed = True
        self.job = LearningJob(LearningConfig(self.corrections, base, ("unset",), lambda: self.installed))
        kept = Corrections(CorrectionConfig(self.corrections), RecentEvidence())
        self.server = DashboardServer(ServerConfig(port=0), Parts(Store(), corrections=kept, learning=self.job))
        self.server.start()

    def next_training(self, what: str) -> None:
        object.__setattr__(self.job.config, "command", (sys.executable, stand_in_training.__file__, what))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("learning"))
    yield made
    made.server.stop()


@pytest.fixture
def page(browser: Any, shop: Shop) -> Iterator[Page]:
    with open_page(browser, shop.server.url, expected="/evidence") as made:  # these corrections have no image
        yield made


FACES, VOICES = ".learning article:nth-of-type(1)", ".learning article:nth-of-type(2)"


@pytest.mark.timeout(600)
def test_a_training_is_started_watched_cancelled_and_rolled_back(page: Page, shop: Shop, screenshots: Path) -> None:
    page.open("feedback")
    page.says(FACES, "New since the last learning")
    assert "sad" in page.text(f"{FACES} .bars") and not page.find("#learn-voice").is_enabled()
    assert "5 accepted corrections are needed" in page.text(VOICES)
    shop.next_training("wait")
    page.find("#learn-face").click()
    page.says(FACES, "Learning · 0:0")
    page.until(lambda: page.run("return document.querySelector('progress').value") == 50, "no progress is shown")
    assert page.run("return document.activeElement.id") == "cancel-face", "the keyboard stays where it was"
    page.take(screenshots / "learning_running_light.png")
    page.open("feedback")  # the training does not belong to the page
    page.says(FACES, "Learning · 0:")
    page.find("#cancel-face").click()
    page.says(FACES, "Cancelled: the old model stays in use")

    shop.next_training("better")
    page.find("#learn-face").click()
    page.says(FACES, "Better: version 2 is in use")
    assert "80.0%" in page.text(f"{FACES} .result") and "81.0%" in page.text(f"{FACES} .result")
    assert "The last learning used all of them" in page.text(FACES)
    for look, (width, height, dark) in {
        "light": (1360, 1000, False), "dark": (1360, 1000, True), "phone": (360, 1500, False)
    }.items():  # fmt: skip
        page.look(width, height, dark)
        page.run("document.querySelector('.learning').scrollIntoView()")
        page.take(screenshots / f"learning_{look}.png")
        assert page.run("return document.documentElement.scrollWidth <= innerWidth"), f"{look}: wider than the window"
    page.look(1360, 900)
    page.find("#back-face").click()
    page.says("dialog[open]", "Return to version 1?")
    page.find("#do-roll-back").click()
    page.says(FACES, "Version 1 is in use again")
    assert ModelVersions(shop.corrections / "models").current == 1


@pytest.mark.timeout(600)
def test_what_to_install_is_shown_where_the_robot_cannot_learn(page: Page, shop: Shop) -> None:
    shop.installed = False
    try:
        page.open("feedback")
        page.says(".learning", "scripts/setup.sh learn")
        assert not page.find("#learn-face").is_enabled()
    finally:
        shop.installed = True
