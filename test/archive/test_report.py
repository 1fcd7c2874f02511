"""Questions to a data set, families of arcs, and the page: what they say of rows that are known."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from emotion_perception.archive import schema
from emotion_perception.archive.analysis import Settings
from emotion_perception.archive.arcs import arc_table
from emotion_perception.archive.campaign import made_by
from emotion_perception.archive.families import POINTS, find_families
from emotion_perception.archive.page import QUESTION, report, write_report
from emotion_perception.archive.query import ArchiveQueries, by_hour, by_place
from emotion_perception.archive.store import ArchiveError, Store
from emotion_perception.cli import archive as cli
from emotion_perception.emotions import ANGRY, EMOTIONS, HAPPY, NEUTRAL
from emotion_perception.interaction.arc import ArcSample, EmotionalArc
from emotion_perception.interaction.summary import summarize
from emotion_perception.reports.conversation import summary_fields
from emotion_perception.types import EmotionEstimate, EmotionStatus

BEGIN = 1_764_077_400  # 2025-11-25 13:30 UTC, s since 1970
S = 1_000_000_000  # ns


def likely(label: int, confidence: float = 0.9) -> list[float]:
    rest = (1 - confidence) / (len(EMOTIONS) - 1)
    return [confidence if i == label else rest for i in range(len(EMOTIONS))]


def face(start: float, labels: list[tuple[int, float]], subject: str = "face_1", segment: int = 0) -> dict:
    """A face in a shot; each label with its seconds, five looks a second."""
    looks = [label for label, seconds in labels for _ in range(round(5 * seconds))]
    course = [{"time_s": start + i / 5, "probabilities": likely(label)} for i, label in enumerate(looks)]
    return {"kind": "face", "subject": subject, "segment": segment, "start_s": start, "course": course}


def voice(end: float, label: int, duration: float = 2.0, confidence: float = 0.9) -> dict:
    decisions = [
        {"time_s": end - 1, "probabilities": likely(NEUTRAL), "duration_s": duration - 1, "final": False},
        {"time_s": end, "probabilities": likely(label, confidence), "duration_s": duration, "final": True},
    ]
    return {"kind": "voice", "subject": "voice", "segment": 0, "start_s": end - duration, "course": decisions}


def put(store: Store, name: str, place: str, rows: list[dict], moods: list[int], began: float | None) -> None:
    """A recording with these rows, whose arc has these labels, ten seconds each."""
    path = f"/shops/{place}/{name}"
    for row in rows:
        row.update(path=path, place=place, part=0)
        if began is not None:
            row["began_at"] = datetime.fromtimestamp(began + row["start_s"], timezone.utc)
    arc = EmotionalArc(0, hold=10.0)
    for i, mood in enumerate(moods):
        emotion = EmotionEstimate.from_probabilities(np.array(likely(mood), np.float32))
        sample = (emotion.probabilities, emotion.confidence, emotion.valence, emotion.arousal, (1.0, 0.0, 0.0))
        arc.add(ArcSample(10 * i * S, EmotionStatus.VISUAL_ONLY, *sample))
    made = arc.arc(10 * len(moods) * S)
    fields = summary_fields(summarize(made, name))
    told = fields.pop("arc")
    identity = name.encode().hex().zfill(16)[-16:]
    store.write_part(identity, 0, made.duration, 0, schema.table(schema.SEGMENTS, rows))
    store.write_arc(identity, arc_table(made), "a page")
    store.write_marker(
        identity,
        {
            "recording": identity,
            "path": path,
            "place": place,
            "size": 1,
            "status": "done",
            "reason": "",
            "duration_s": made.duration,
            "began_at": began and datetime.fromtimestamp(began, timezone.utc).isoformat(),
            "shots": 1,
            "faces": len(rows),
            "voices": 0,
            "summary": fields | {"shape": told["shape"]},
        },
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two shops: somebody turns angry in one, is happy in the other; and a file that could not be read."""
    store = Store(tmp_path_factory.mktemp("report") / "week")
    store.folder.mkdir()
    store.claim(made_by(Settings()))
    turning = [(NEUTRAL, 4.0), (ANGRY, 0.2), (NEUTRAL, 2.0), (ANGRY, 3.0)]
    rows = [face(10.0, turning), face(10.0, [(HAPPY, 4.0)], "face_2"), voice(30.0, NEUTRAL), voice(40.0, ANGRY)]
    put(store, "till.mp4", "shop_a", rows, [NEUTRAL, HAPPY, NEUTRAL, ANGRY], BEGIN)
    put(store, "door.mp4", "shop_b", [face(0.0, [(HAPPY, 10.0)])], [HAPPY] * 4, BEGIN + 3600)
    put(store, "old<b>.mp4", "shop_b", [face(0.0, [(HAPPY, 2.0)]), voice(9.0, ANGRY, confidence=0.4)], [HAPPY], None)
    broken = {"recording": "0" * 15 + "1", "path": "/shops/x.avi", "place": "shops", "size": 0}
    store.write_marker("0" * 15 + "1", broken | {"status": "failed", "reason": "the file is empty"})
    return store.folder


def test_turns_are_found_where_a_face_or_voice_begins_to_show_something_else(folder):
    turns = ArchiveQueries(folder).turns()
    told = [(t.kind, t.subject, t.start, t.stop, EMOTIONS[t.label], t.before) for t in turns if t.label == ANGRY]
    assert told == [
        (
            "face",
            "face_1",
            pytest.approx(16.2),
            pytest.approx(19.2),
            "angry",
            NEUTRAL,
        ),  # the look at 14 s was too short
        ("voice", "voice", pytest.approx(38.0), pytest.approx(40.0), "angry", NEUTRAL),
    ]  # the doubtful voice of the old recording is none
    first = [t for t in turns if t.kind == "face" and t.label == NEUTRAL]
    assert [(t.start, t.before) for t in first] == [(10.0, None)]  # and after the short look it goes on, not anew


def test_seconds_are_counted_by_place_and_by_the_hour_of_the_time_zone(folder):
    shares = ArchiveQueries(folder).shares()
    places = by_place(shares)
    assert list(places) == ["shop_a", "shop_b"]
    assert places["shop_a"].sum() == pytest.approx(9.2 + 4 + 2 + 2, abs=1e-3)
    assert places["shop_b"][HAPPY] == pytest.approx(0.9 * 12 + 2 * 0.6 / 7, abs=1e-3)
    hours = by_hour(shares, ZoneInfo("Europe/Berlin"))
    assert list(hours) == [14, 15]
    assert hours[15].sum() == pytest.approx(10.0, abs=1e-3)
    assert list(by_hour(shares, ZoneInfo("Asia/Kolkata"))) == [19, 20]


def test_arcs_that_go_the_same_way_are_a_family():
    x, rng = np.linspace(0, 1, 60), np.random.default_rng(0)
    curves = {}
    for i in range(6):
        curves[f"rise{i}"] = (x * 100, -0.5 + x + rng.normal(0, 0.05, 60))
        curves[f"fall{i}"] = (x * (50 + i), 0.5 - x + rng.normal(0, 0.05, 60))
    curves["short"] = (x[:5], x[:5])
    curves["gap"] = (x * 100, np.where((x > 0.2) & (x < 0.8), np.nan, x))
    rising, falling = sorted(find_families(curves), key=lambda family: family.mean[0])
    assert {name[:4] for name in rising.members} == {"rise"} and {name[:4] for name in falling.members} == {"fall"}
    assert len(rising.members) == len(falling.members) == 6
    assert rising.mean.shape == (POINTS,) and rising.mean[-1] == pytest.approx(0.5, abs=0.1)
    assert [f.members for f in find_families(curves)] == [f.members for f in find_families(curves)]


def test_arcs_that_are_all_alike_are_one_family_and_few_are_none():
    x, rng = np.linspace(0, 1, 60), np.random.default_rng(0)
    curves = {str(i): (x, rng.normal(0, 0.1, 60)) for i in range(8)}
    assert [len(family.members) for family in find_families(curves)] == [8]
    assert find_families({name: curves[name] for name in "012"}) == ()


def test_the_page_needs_nothing_else_and_says_everything(folder):
    page = report(folder, "Europe/Berlin", links=True)
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" in page
    for outside in ("http:", "https:", "src=", "<link", "@import", "url("):
        assert outside not in page.replace("http-equiv", "")
    assert "3 recordings" in page and "1 recordings failed" in page
    assert "/shops/x.avi" in page and "the file is empty" in page
    assert "old&lt;b&gt;.mp4" in page and "<b>" not in page
    assert "14:00" in page and "Of 0:04 nobody knows the hour" in page
    assert page.count("arc.html") == 3


def test_a_page_elsewhere_has_no_links_into_the_data_set(folder, tmp_path):
    write_report(folder, tmp_path / "page.html")
    assert "arc.html" not in (tmp_path / "page.html").read_text()


def test_the_command_line_writes_the_page_into_the_data_set(folder, capsys):
    assert cli.main(["report", str(folder), "--time-zone", "UTC"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert "13:00" in (folder / "report.html").read_text()


def test_a_folder_without_a_data_set_is_named(tmp_path):
    with pytest.raises(ArchiveError, match=f"{tmp_path}: no data set"):
        report(tmp_path)


def test_the_documentation_has_every_column():
    assert schema.markdown() in (Path(__file__).parents[2] / "docs/archives.md").read_text()


@pytest.mark.slow
def test_search_finds_where_customers_turned_angry(folder):
    from page_world import chromium

    write_report(folder, folder / "report.html", "Europe/Berlin")
    with chromium() as browser:
        browser.get((folder / "report.html").as_uri())

        def ask(words: str) -> list[list[str]]:
            box = browser.find_element("id", "words")
            box.clear()
            box.send_keys(words)
            box.submit()
            lines = browser.find_elements("css selector", "#moments tr")
            return [[cell.text for cell in line.find_elements("tag name", "td")] for line in lines]

        angry = ask(QUESTION)
        assert sorted((line[0], line[5], line[6]) for line in angry) == [
            ("00:00:16", "neutral → angry", "face"),
            ("00:00:38", "neutral → angry", "voice"),
        ]
        assert {line[3] for line in angry} == {"shop_a"} and {line[4] for line in angry} == {"till.mp4"}
        by_face = next(line for line in angry if line[6] == "face")
        assert by_face[2] == "2025-11-25 14:30:16" and by_face[1] == "3.0 s" and by_face[7] == "90 %"
        assert [line[6] for line in ask("anger in the voice")] == ["voice"]
        assert {line[4] for line in ask("happy in shop_b")} == {"door.mp4", "old<b>.mp4"}
        assert ask("afraid shop_a scared") == []
        assert "0 moments: fearful" in browser.find_element("id", "told").text
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
