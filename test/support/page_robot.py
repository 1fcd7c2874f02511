"""A robot that feeds the page of the browser tests: one server and one browser for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_world import Page, a_state, happy, open_page, store_conversation

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.learning_job import LearningConfig, LearningJob
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.sources import Places
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import UploadAnalyzer
from emotion_perception.dashboard.video import VideoConfig, VideoFeed
from emotion_perception.emotions import HAPPY, SAD
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.group import GroupEmotion
from emotion_perception.types import Box, EmotionEstimate, FaceObservation, NodeHealth, RunningConversation
from emotion_perception.visual.blank_image import BLACK

S = 1_000_000_000


def take(page: Page, path: Path) -> Path:
    """A screenshot, once what moves has come to rest."""
    time.sleep(0.4)
    page.browser.save_screenshot(str(path))
    return path


def views(page: Page) -> list[str]:
    """All views, in the order of the navigation."""
    return page.run("return [...document.querySelectorAll('.tabs a')].map((a) => a.hash.slice(2))")


class Robot:
    """Feeds a store as a running graph would, five times a second, until it falls silent."""

    def __init__(self, parts: Parts, recent: RecentEvidence) -> None:
        from skimage.data import astronaut

        self.parts, self.recent = parts, recent
        self.picture = np.ascontiguousarray(astronaut()[..., ::-1])
        self.mood = "happy"  # or "nobody", "black" (the camera's image), "silent"
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        start = time.time_ns() - 100 * S
        for i in range(200):  # what was before the page was opened
            self._state(start + i * S // 2, nobody=120 < i < 150, label=SAD if 60 < i < 90 else HAPPY)
        while not self.ends.wait(0.2):
            if self.mood != "silent":
                self._tell(time.time_ns())

    def _state(self, now: int, nobody: bool = False, label: int = HAPPY) -> None:
        self.parts.store.add_state(a_state(now, label, not nobody), now)

    def _tell(self, now: int) -> None:
        nobody = self.mood in ("nobody", "black")
        face = FaceObservation("f1", Box(170.0, 60.0, 100.0, 130.0), 0.9, 0.8, happy())
        faces = () if nobody else (face,)
        store = self.parts.store
        self._state(now, nobody)
        store.add_faces(faces)
        emotion = EmotionEstimate.unknown() if nobody else happy()
        store.add_group(GroupEmotion(now, len(faces), emotion, float("nan"), float("nan"), ()))
        store.add_conversation(RunningConversation("id", "p", now - 90 * S, now, "flat", 0.1, 1, 0.3))
        values = {"rate (Hz)": "25.0", "latency p50 (ms)": "12.0", "model": "expression"}
        names = ("visual_node", "acoustic_node", "fusion_node")
        reports = [NodeHealth(name, "ok", "active", values) for name in names]
        if self.mood == "black":
            reports[0] = NodeHealth("visual_node", "warn", BLACK, values)
        store.add_health(reports)
        self.parts.video.offer(self.picture, now, faces, "f1")
        self.recent.add_faces(self.picture, now, faces)


@pytest.fixture(scope="package")
def folder(tmp_path_factory) -> Path:
    """Some conversations."""
    made = tmp_path_factory.mktemp("conversations")
    for i in range(4):
        name = "<img src=x onerror=alert(1)>" if i == 0 else f"desk {i}"
        store_conversation(made, f"c{i}", time.time_ns() - i * 7 * 3600 * S, i, name, seconds=40 + 30 * i)
    return made


@pytest.fixture(scope="package")
def robot(folder, tmp_path_factory) -> Iterator[Robot]:
    recent = RecentEvidence()
    kept = Corrections(CorrectionConfig(tmp_path_factory.mktemp("corrections")), recent)
    store, archive = Store(), ConversationStore(folder)
    store.set_conversations(archive.version())
    video, analyzer = VideoFeed(VideoConfig(fps=3)), UploadAnalyzer(seconds=110)
    parts = Parts(store, video, archive, kept, analyzer, lambda name: "", lambda: "")
    parts.learning = LearningJob(LearningConfig(kept.config.folder))
    parts.places = Places(archive, "Entrance", imports=tmp_path_factory.mktemp("imports"))
    made = Robot(parts, recent)
    yield made
    made.ends.set()


@pytest.fixture(scope="package")
def server(robot) -> Iterator[DashboardServer]:
    made = DashboardServer(ServerConfig(port=0), robot.parts)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def page(browser, server, robot) -> Iterator[Page]:
    robot.mood = "happy"
    with open_page(browser, server.url) as made:
        yield made
