"""What the web page contributes: the printable notice, and accesses and corrections for the audit log."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_world import a_face

from emotion_perception.compliance.notice import NOTICES
from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import Store
from emotion_perception.emotions import SAD
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.reports.notice import render_notice

TOKEN = "a-long-enough-Secret-1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Page:
    """A running page that notes who was granted access."""

    def __init__(self) -> None:
        self.granted: list[str] = []
        parts = Parts(Store(), access_granted=self.granted.append)
        self.server = DashboardServer(ServerConfig(port=0, token=TOKEN), parts)
        self.server.start()

    def request(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.server.stop()


def test_notice_can_be_printed_in_every_language(page: Page) -> None:
    status, text = page.request("GET", "/notice", **BEARER)
    assert status == 200 and "Article 50(3)" in text
    assert all(f'lang="{language}"' in text for language in NOTICES)


def test_notice_is_in_the_languages_and_with_the_contact_of_the_request(page: Page) -> None:
    _, text = page.request("GET", "/notice?languages=de&contact=%3Cb%3EPforte%3C/b%3E", **BEARER)
    assert 'lang="de"' in text and 'lang="en">' not in text.split("<body>")[1]
    assert "&lt;b&gt;Pforte" in text, "what the address says is text, not markup"
    assert page.request("GET", "/notice?languages=tlh", **BEARER)[0] == 400


def test_notice_loads_nothing() -> None:
    text = render_notice("", "Front desk")
    assert "<script" not in text and "http" not in text.split("<body>")[1]


def test_every_log_in_is_reported_with_the_address(page: Page) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert page.request("POST", "/login", f"token={TOKEN}", **form)[0] == 303
    assert page.granted == ["127.0.0.1"]
    page.request("POST", "/login", "token=wrong-token-of-sixteen", **form)
    assert page.granted == ["127.0.0.1"]


def test_requests_with_the_token_are_reported_once(page: Page) -> None:
    for _ in range(3):
        page.request("GET", "/", **BEARER)
    page.request("GET", "/", Authorization="Bearer wrong-token-of-sixteen")
    assert page.granted == ["127.0.0.1"]


def test_corrections_are_reported_when_stored_and_when_accepted(tmp_path: Path) -> None:
    recent = RecentEvidence(reach_s=60)
    recent.add_faces(np.zeros((480, 640, 3), np.uint8), 0, [a_face("f1")])
    told: list[tuple[str, str]] = []
    kept = Corrections(CorrectionConfig(tmp_path), recent, audit=lambda *event: told.append(event))
    first, second = kept.correct(SAD, face_id="f1"), kept.correct(SAD, face_id="f1")
    kept.accept(first["id"])
    kept.reject(second["id"])
    assert told == [("stored", "face"), ("stored", "face"), ("accepted", "face")]
