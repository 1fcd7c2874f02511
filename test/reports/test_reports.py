"""Stored conversations: listed, read, and exported with their uncertainty."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from page_world import store_conversation

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.store import Store
from emotion_perception.interaction.arc import ArcSample
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import NotStored, period
from emotion_perception.interaction.intervals import mean_interval
from emotion_perception.reports.exports import EXPORTS, conversation_report, period_report
from emotion_perception.reports.spreadsheet import as_cell, csv_text, sample_lines
from emotion_perception.reports.statistics import share_interval
from emotion_perception.types import EmotionStatus

S = 1_000_000_000
NOON = int(datetime(2026, 11, 23, 12).timestamp()) * S
DAY = 86400 * S


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three conversations on Monday, one on Wednesday, one a week later."""
    made = tmp_path_factory.mktemp("conversations")
    for i, start in enumerate((NOON, NOON + 3600 * S, NOON + 7200 * S, NOON + 2 * DAY, NOON + 7 * DAY)):
        store_conversation(made, f"c{i}", start, valence_phase=i, name="=HYPERLINK(<b>)" if i == 0 else "")
    return made


@pytest.fixture
def archive(folder) -> ConversationStore:
    return ConversationStore(folder)


def ids(archive: ConversationStore) -> list[str]:
    return [line["id"] for line in archive.page().conversations]


def test_conversations_are_listed_newest_first(archive):
    lines = archive.page().conversations
    assert [line["id"] for line in lines] == ["c4", "c3", "c2", "c1", "c0"]
    assert lines[0]["label"] == "happy" and lines[0]["score"] > 50 and len(lines[0]["line"]) == 40


def test_a_damaged_file_is_left_out_and_told_once(folder, tmp_path):
    told: list[str] = []
    archive = ConversationStore(tmp_path, told.append)
    for name in ("c0.json", "c1.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    (tmp_path / "c1.json").write_text('{"arc": {}}')
    (tmp_path / "c2.json").write_text("\0")
    assert ids(archive) == ["c0"]
    archive.page()
    assert len(told) == 2
    os.utime(tmp_path / "c1.json", (1, 1))
    (tmp_path / "c1.json").write_text((folder / "c1.json").read_text())
    assert archive.page().total == 2, "a file that changed is read again"


@pytest.mark.parametrize("name", ["nothing", "../c0", "c0/../c0", "", ".", "c0.json\0", "x" * 200])
def test_an_id_that_is_none_leads_nowhere(archive, name):
    with pytest.raises(NotStored):
        archive.read(name)


def test_days_and_weeks_are_those_of_the_calendar():
    assert period("day", "2026-11-23").first == date(2026, 11, 23)
    week = period("week", "2026-W48")
    assert week.first == date(2026, 11, 23) and week.days == 7
    for kind, name in (("day", "2026-02-30"), ("week", "2026-W60"), ("day", "2026-W48"), ("week", ""), ("month", "1")):
        with pytest.raises(NotStored):
            period(kind, name)


def test_a_day_counts_its_own_conversations(archive):
    assert dict(period_report(archive, "day", "2026-11-23").facts)["Conversations"] == "3"
    assert dict(period_report(archive, "week", "2026-W48").facts)["Conversations"] == "4"
    empty = dict(period_report(archive, "day", "2020-01-01").facts)
    assert empty["Conversations"] == "0" and empty["Mean satisfaction"] == "none rated"


def test_a_week_has_the_mean_arc_of_its_conversations_with_its_uncertainty(archive):
    (chart,) = period_report(archive, "week", "2026-W48").charts
    (curve,) = chart.lines
    assert "4 conversations" in chart.title and len(curve.values) == len(curve.band) == 20
    first = [entry["line"][1] for entry in archive.within(period("week", "2026-W48"))]
    assert curve.values[0] == pytest.approx(sum(first) / 4)
    assert all(low <= mean <= high for mean, (low, high) in zip(curve.values, curve.band, strict=True))
    page = EXPORTS["html"].make(archive, "week", "2026-W48")[0].decode()
    assert page.count('class="band-valence"') == 1 and "3/4" in page
    (alone,) = period_report(archive, "week", "2026-W49").charts
    assert set(alone.lines[0].band) == {None}, "one conversation says nothing of the next"
    assert period_report(archive, "day", "2020-01-01").charts == ()


def test_counts_come_with_their_interval():
    assert share_interval(0, 0) == (0.0, 1.0)
    low, high = share_interval(0, 10)
    assert low == 0.0 and 0.25 < high < 0.31  # Wilson: 0.278
    low, high = share_interval(50, 100)
    assert (low, high) == pytest.approx((0.404, 0.596), abs=0.002)


def test_a_mean_is_no_surer_than_its_scores_or_than_they_agree():
    def interval(*scores: tuple[float, float]) -> tuple[float, float]:
        values, margins = zip(*scores, strict=True)
        return mean_interval(len(scores), sum(values), sum(v * v for v in values), sum(m * m for m in margins))

    assert interval((60.0, 12.0)) == (60.0, 12.0)
    mean, half = interval(*[(60.0, 10.0)] * 4)
    assert mean == 60 and half == pytest.approx(5.0)
    assert interval((20.0, 1.0), (80.0, 1.0))[1] > 100, "two that differ say nothing about a third"


def test_all_formats_of_a_conversation_are_made_of_the_same(archive):
    page, _ = EXPORTS["html"].make(archive, "conversation", "c0")
    text = page.decode()
    report = conversation_report(archive, "c0")
    assert dict(report.facts)["Satisfaction"] in text and "<svg" in text
    assert "<b>" not in text and "&lt;b&gt;" in text, "a name is text, never markup"
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)|<img|url\(", text)
    told = json.loads(EXPORTS["json"].make(archive, "conversation", "c0")[0])
    assert told["facts"] == dict(report.facts) and len(told["rows"]) == 60


def test_a_csv_line_is_no_formula_for_a_spreadsheet(archive):
    data, name = EXPORTS["csv"].make(archive, "day", "2026-11-23")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert name == "day-2026-11-23" and len(rows) == 3
    assert rows[0]["name"] == "'=HYPERLINK(<b>)" and float(rows[0]["score"]) > 0


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "  =1+1",
        "\t=1+1",
        "\u3000=1+1",
        "\ufeff=1+1",
        "＝1+1",
        "＠SUM(A1)",
        "－1",
        "\r\n+1",
    ],
)
def test_a_cell_that_could_be_a_formula_begins_with_an_apostrophe(name):
    safe = as_cell(name)
    assert safe.lstrip(" \t\r\n\u3000\ufeff").startswith("'") and safe.replace("'", "", 1) == name


@pytest.mark.parametrize(
    "name", ["Ana;=1+1", ";=1+1", "Ana; ＝1+1", "Ana\t=1", "; \t=1", "Ana|@A1", "Ana\n+1", "Ana;;-1"]
)
def test_no_part_of_a_cell_is_a_formula_where_another_sign_separates_cells(name):
    for part in re.split(r"[;\t|\n]", csv_text([{"name": name}]).partition("\r\n")[2]):
        assert not part.strip(' "').startswith(("=", "＝", "+", "-", "@"))


@pytest.mark.parametrize("text", ["Anna-Maria", "a = b", "desk 3; noon", "x@y.org", "1+1", "", "Zoë"])
def test_other_text_stays_as_it_is(text):
    assert as_cell(text) == text
    assert as_cell(-0.5) == -0.5, "a number is no formula"


def test_a_persons_id_is_no_formula_in_the_samples_either():
    unknown = np.full(8, 0.125, np.float32)
    sample = ArcSample(0, EmotionStatus.VISUAL_ONLY, unknown, 0.2, 0.0, 0.0, (1.0, 0.0, 0.0), ";=cmd|'/C calc'!A0")
    assert list(sample_lines([sample]))[1].endswith(",;'=cmd|'/C calc'!A0\n")


def changed(folder: Path, target: Path, change: Callable[[dict], None], name: str = "c0") -> ConversationStore:
    """An archive of two conversations, one of them changed."""
    fields = json.loads((folder / f"{name}.json").read_text())
    change(fields)
    (target / f"{name}.json").write_text(json.dumps(fields))
    (target / "good.json").write_text((folder / "c1.json").read_text())
    return ConversationStore(target)


@pytest.mark.parametrize("name", ["x" * 5000, "word " * 1000, "\ud800\udfff", "\x00\x1b[31m", "😀" * 300, "\n" * 500])
def test_any_name_fits_into_every_report(folder, tmp_path, name):
    def rename(fields: dict) -> None:
        fields["name"] = fields["person_id"] = fields["ended_by"] = name
        fields["arc"]["shape"]["text"] = fields["satisfaction"]["reason"] = name

    archive = changed(folder, tmp_path, rename)
    for export in EXPORTS.values():
        assert export.make(archive, "conversation", "c0")[0]
        assert export.make(archive, "day", "2026-11-23")[0]


def nested(fields: dict) -> None:
    deep: list = []
    for _ in range(500):
        deep = [deep]
    fields["arc"]["valence"] = deep


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fields: fields.update(start=float("nan")), "NaN"),
        (lambda fields: fields.update(start=1e300), "start"),
        (lambda fields: fields.update(start="yesterday"), "start"),
        (lambda fields: fields.update(duration=-1), "duration"),
        (lambda fields: fields.update(name=7), "name"),
        (lambda fields: fields["arc"].update(step=0), "arc.step"),
        (lambda fields: fields["arc"]["valence"].append("x"), "arc.valence"),
        (lambda fields: fields["arc"]["label"].__setitem__(0, "furious"), "arc.label"),
        (lambda fields: fields["satisfaction"].update(score=True), "score"),
        (lambda fields: fields["seconds_by_label"].update(happy="long"), "seconds_by_label"),
        (nested, "arc.valence"),
    ],
)
def test_a_record_that_makes_no_sense_is_skipped_by_name_and_breaks_no_report(folder, tmp_path, change, reason):
    warnings: list[str] = []
    archive = changed(folder, tmp_path, change)
    archive._warn = warnings.append
    assert ids(archive) == ["good"]
    assert len(warnings) == 1 and "c0.json" in warnings[0] and reason in warnings[0]
    with pytest.raises(NotStored, match="damaged"):
        archive.read("c0")
    for export in EXPORTS.values():
        page, _ = export.make(archive, "week", "2026-W48")
        assert b"Week NaN" not in page
    assert dict(period_report(archive, "week", "2026-W48").facts)["Conversations"] == "1"


def test_a_deeply_nested_file_breaks_no_report(folder, tmp_path):
    (tmp_path / "c0.json").write_text('{"arc": ' + "[" * 200_000)
    (tmp_path / "good.json").write_text((folder / "c1.json").read_text())
    assert ids(ConversationStore(tmp_path)) == ["good"]


def test_a_pdf_has_text_and_no_picture(archive):
    for kind, name in (("conversation", "c0"), ("week", "2026-W48"), ("day", "2020-01-01")):
        data, _ = EXPORTS["pdf"].make(archive, kind, name)
        assert data.startswith(b"%PDF") and data.rstrip().endswith(b"%%EOF")
        assert b"/ToUnicode" in data, "text can be searched and read aloud"
        assert b"/Subtype /Image" not in data
        assert len(data) < 200_000


def test_reports_come_from_the_server_as_files(serve, archive):
    client = serve(Parts(Store(), archive=archive))
    answer = client.get("/api/reports/week/2026-W48.csv")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="week-2026-W48.csv"'
    page = client.get("/api/reports/conversation/c0.html")
    assert "sandbox" in page.headers["Content-Security-Policy"] and "script" not in page.headers[
        "Content-Security-Policy"
    ].replace("default-src", "")
    for path in ("conversation/nothing.pdf", "day/tomorrow.html", "conversation/..%2fc0.json"):
        missing = client.get(f"/api/reports/{path}")
        assert missing.status == 404 and missing.error
    assert client.get("/api/conversations/c0").json["arc"]["step"] == 1.0


def test_a_hundred_conversations_are_listed_in_no_time(archive, folder, tmp_path):
    text = (folder / "c0.json").read_text()
    for i in range(100):
        (tmp_path / f"x{i:03}.json").write_text(text)
    many = ConversationStore(tmp_path)
    many.page()
    started = time.process_time()
    assert many.page().total == 100
    assert time.process_time() - started < 0.1, "known files are not read again"
