"""Pictures in reports: only with consent, only where asked for, small, and gone when their time is over."""

from __future__ import annotations

import json
import re
import stat
from base64 import b64decode
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_world import a_face, store_conversation

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.store import Store
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.pictures import PER_CONVERSATION, NoConsent, PictureConfig, Pictures, evenly
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.reports.exports import EXPORTS, MOST_PICTURES

S = 1_000_000_000
NOON = int(datetime(2026, 11, 23, 12).timestamp()) * S
DAY = 86400.0
CAMERA = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path, clock) -> Pictures:
    return Pictures(PictureConfig(tmp_path / "pictures", consented=True), clock=clock)


def talk(pictures: Pictures, labels: str = "happy", seconds: float = 10.0, conversation: str = "c0") -> int:
    """Offer five pictures a second of somebody who shows each of the labels for so long; how many were kept."""
    kept = 0
    names = labels.split()
    for i in range(round(5 * seconds * len(names))):
        label = names[int(i / 5 / seconds)]
        kept += pictures.offer(CAMERA, NOON + i * S // 5, a_face(), conversation, label)
    return kept


@pytest.fixture
def archive(tmp_path) -> ConversationStore:
    """Two conversations of a day."""
    for i in range(2):
        store_conversation(tmp_path / "talks", f"c{i}", NOON + i * 3600 * S)
    return ConversationStore(tmp_path / "talks")


def test_a_small_crop_is_kept_where_each_stretch_of_an_emotion_begins(pictures, tmp_path):
    assert talk(pictures, "happy sad happy") == 3
    found = pictures.of("c0")
    assert [(picture.label, (picture.stamp_ns - NOON) / S) for picture in found] == [
        ("happy", 1.0),
        ("sad", 11.0),
        ("happy", 21.0),
    ], "a second after it began, when it has proved to be one"
    crop = cv2.imread(str(found[0].path))
    assert max(crop.shape) == 160 and found[0].path.stat().st_size < 30_000
    assert stat.S_IMODE(found[0].path.stat().st_mode) == 0o600
    assert stat.S_IMODE(found[0].path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "pictures").stat().st_mode) == 0o700
    assert not list((tmp_path / "pictures").rglob(".part*"))


def test_what_is_shown_for_a_moment_or_by_nobody_or_outside_a_conversation_is_not_kept(pictures, tmp_path):
    assert talk(pictures, "happy sad happy sad", 0.6) == 0
    assert talk(pictures, conversation="") == talk(pictures, conversation="../c0") == 0
    assert not pictures.offer(CAMERA, NOON, None, "c0", "happy")
    assert not any(pictures.offer(CAMERA, NOON + i * S, a_face(), "c0", "") for i in range(9))
    assert not list(tmp_path.iterdir())


def test_without_consent_nothing_is_written_and_no_report_has_a_picture(tmp_path, archive, serve):
    without = Pictures(PictureConfig(tmp_path / "pictures", consented=False))
    assert talk(without, "happy sad") == 0 and not (tmp_path / "pictures").exists()
    with pytest.raises(NoConsent, match="set store_pictures and pictures_directory"):
        without.of("c0")
    for parts in (Parts(Store(), archive=archive), Parts(Store(), archive=archive, pictures=without)):
        client = serve(parts)
        assert client.get("/api/config").json["pictures"] is None
        for path in ("conversation/c0.html", "day/2026-11-23.html", "week/2026-W48.pdf"):
            refused = client.get(f"/api/reports/{path}?pictures=1")
            assert refused.status == 409 and "was not consented to; set store_pictures" in refused.error
            plain = client.get(f"/api/reports/{path}")
            assert plain.status == 200 and b"<img" not in plain.body and b"/Subtype /Image" not in plain.body


def test_a_consent_that_was_withdrawn_hides_pictures_at_once_and_their_time_still_ends(pictures, tmp_path, clock):
    talk(pictures)
    withdrawn = Pictures(PictureConfig(tmp_path / "pictures", consented=False), clock=clock)
    with pytest.raises(NoConsent):
        withdrawn.of("c0")
    clock.now += 31 * DAY
    assert withdrawn.sweep() == 1 and not list((tmp_path / "pictures").iterdir())


def test_a_report_shows_pictures_only_where_they_are_asked_for(serve, pictures, archive):
    talk(pictures, "happy sad")
    talk(pictures, "sad", conversation="c1")
    client = serve(Parts(Store(), archive=archive, pictures=pictures))
    assert client.get("/api/config").json["pictures"] == {"retention_days": 30.0}
    for path, count in (("conversation/c0", 2), ("day/2026-11-23", 2), ("week/2026-W48", 2)):
        for plain in (f"{path}.html", f"{path}.html?pictures=0"):
            assert b"<img" not in client.get(f"/api/reports/{plain}").body
        asked = client.get(f"/api/reports/{path}.html?pictures=1")
        text = asked.body.decode()
        shown = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="Face at ([^"]+)"', text)
        assert len(shown) == count
        face = cv2.imdecode(np.frombuffer(b64decode(shown[0][0]), np.uint8), 1)
        assert max(face.shape) == 160
        assert "img-src data:" in asked.headers["Content-Security-Policy"] and "img-src data:" in text
        assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)", text), "a page that needs nothing else"
        pdf = client.get(f"/api/reports/{path}.pdf?pictures=1").body
        assert (
            pdf.count(b"/Subtype /Image") >= 1 and b"/Subtype /Image" not in client.get(f"/api/reports/{path}.pdf").body
        )
    captions = re.findall(
        r"<img[^>]+><figcaption>([^<]+)", client.get("/api/reports/conversation/c0.html?pictures=1").body.decode()
    )
    assert captions == ["0:01 happy", "0:11 sad"]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_table_of_numbers_never_has_pictures(serve, pictures, archive, ending):
    talk(pictures)
    client = serve(Parts(Store(), archive=archive, pictures=pictures))
    refused = client.get(f"/api/reports/conversation/c0.{ending}?pictures=1")
    assert refused.status == 400 and "never have pictures" in refused.error
    assert b"base64" not in client.get(f"/api/reports/conversation/c0.{ending}").body


def test_a_report_of_many_pictures_stays_small(pictures, archive, clock):
    assert talk(pictures, "happy sad " * 40, 4.0) == PER_CONVERSATION, "a conversation has so many at most"
    page, _ = EXPORTS["html"].make(archive, "conversation", "c0", True, pictures)
    assert page.count(b"<img") == MOST_PICTURES and len(page) < 1_500_000
    assert evenly(pictures.of("c0"), 3)[0] == pictures.of("c0")[0]


def test_a_full_folder_takes_no_more_and_says_so_once(tmp_path, clock):
    said: list[str] = []
    full = Pictures(PictureConfig(tmp_path / "pictures", True, max_mb=0.02), said.append, clock)
    assert talk(full, "happy sad happy sad happy sad") in (1, 2)
    assert len(said) == 1 and "holds 0.02 MB of pictures" in said[0]
    assert sum(path.stat().st_size for path in (tmp_path / "pictures").rglob("*.jpg")) <= 20_000
    again = Pictures(full.config, said.append, clock)
    assert talk(again, "sad happy", conversation="c1") in (0, 1), "what lies there already counts"


def test_a_disk_that_refuses_stops_nothing_else(tmp_path, clock):
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    assert talk(Pictures(PictureConfig(tmp_path / "file", True), said.append, clock), "happy sad") == 0
    assert len(said) == 1 and "no picture can be kept" in said[0]


def test_after_the_retention_pictures_are_deleted_by_when_they_were_written(pictures, tmp_path, clock):
    talk(pictures)
    clock.now += 20 * DAY
    talk(pictures, conversation="c1")
    clock.now += 11 * DAY
    assert pictures.of("c0") == [] and len(pictures.of("c1")) == 1
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["c1"]


def test_delete_everything_takes_the_pictures_and_nothing_that_is_not_theirs(serve, pictures, tmp_path):
    corrections = Corrections(CorrectionConfig(tmp_path / "corrections"), RecentEvidence())
    client = serve(Parts(Store(), corrections=corrections, pictures=pictures))
    talk(pictures, "happy sad")
    mine = tmp_path / "pictures" / "c0" / "holiday.jpg"
    mine.write_bytes(b"somebody else's")
    assert client.ask("DELETE", "/api/pictures").json == {"deleted": 2}
    assert [path.name for path in mine.parent.iterdir()] == ["holiday.jpg"]
    assert talk(pictures, "happy", conversation="c1") == 1
    assert client.ask("DELETE", "/api/corrections").json == {"deleted": 0, "pictures": 1}
    assert pictures.of("c1") == []
    assert serve(Parts(Store())).ask("DELETE", "/api/pictures").status == 409


def test_pictures_cannot_be_deleted_by_another_site(serve, pictures):
    talk(pictures)
    client = serve(Parts(Store(), pictures=pictures))
    assert client.ask("DELETE", "/api/pictures", own=False, Origin="http://evil.example").status == 403
    assert len(pictures.of("c0")) == 1


def test_a_picture_whose_time_ends_while_a_report_is_made_is_left_out(pictures, archive, monkeypatch):
    talk(pictures, "happy sad")
    found = pictures.of("c0")
    monkeypatch.setattr(pictures, "of", lambda conversation: found)
    Path(found[0].path).unlink()
    page, _ = EXPORTS["html"].make(archive, "conversation", "c0", True, pictures)
    assert page.count(b"<img") == 1
    assert json.loads(EXPORTS["json"].make(archive, "conversation", "c0")[0])["facts"]
