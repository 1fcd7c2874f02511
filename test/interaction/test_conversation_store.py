"""The store of conversations: exact statistics, pages, an index that is always that of the files."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from stored_conversations import MONDAY, NOON, Shop

from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.store_database import DATABASE, SCHEMA_VERSION, StoreError
from emotion_perception.interaction.store_records import ConversationQuery

# --- statistics ---------------------------------------------------------------------------------------------------


def test_hours_are_those_with_conversations_and_have_exact_numbers(shop: Shop) -> None:
    shop.had("a", NOON, 60, duration=100.0)
    shop.had("b", NOON + timedelta(minutes=59, seconds=59), 80, duration=200.0, label="sad")
    shop.had("c", NOON + timedelta(minutes=30), None, label=None)
    shop.had("d", NOON + timedelta(hours=3), 20)
    shop.had("before", MONDAY - timedelta(seconds=1))
    shop.had("after", MONDAY + timedelta(days=1))
    noon, later = shop.store.hours(MONDAY, MONDAY + timedelta(days=1))
    assert noon.start == NOON and noon.start.utcoffset() == NOON.utcoffset()
    assert (noon.conversations, noon.scored, noon.satisfaction_mean) == (3, 2, 70.0)
    assert noon.satisfaction_half_width == pytest.approx(12.7062 * math.sqrt(200) / math.sqrt(2), rel=1e-4)  # t, n - 1
    assert noon.emotions == {"happy": 1, "sad": 1}
    assert noon.duration_s_mean == pytest.approx(120.0)
    assert later.start == NOON + timedelta(hours=3) and later.conversations == 1
    assert later.satisfaction_half_width == 8, "of one conversation only its own margin is known"


def test_a_period_agrees_with_a_count_by_hand(shop: Shop) -> None:
    random = np.random.default_rng(3)
    scores = random.integers(20, 90, 40)
    for i, score in enumerate(scores):
        shop.had(f"c{i}", MONDAY + timedelta(minutes=17 * i), int(score), duration=10.0 * (i + 1))
    found = shop.store.period(MONDAY, MONDAY + timedelta(days=1))
    assert found.conversations == found.scored == 40
    assert found.satisfaction_mean == pytest.approx(scores.mean(), rel=1e-12)
    half = 2.02269 * scores.std(ddof=1) / math.sqrt(40)
    assert found.satisfaction_half_width == pytest.approx(half, rel=1e-5)
    assert found.duration_s == pytest.approx(sum(10.0 * (i + 1) for i in range(40)))
    assert sum(hour.conversations for hour in shop.store.hours(found.start, found.end)) == 40
    assert found.seconds_by_emotion["happy"] > 40 * 30


def test_an_empty_period_has_no_means(shop: Shop) -> None:
    found = shop.store.period(MONDAY, MONDAY + timedelta(days=7))
    assert found.conversations == found.scored == 0 and found.emotions == {}
    assert (
        found.satisfaction_mean is found.satisfaction_half_width is found.duration_s_mean is found.wait_s_mean is None
    )
    assert shop.store.hours(MONDAY, MONDAY + timedelta(days=7)) == []
    assert not shop.folder.exists(), "asking makes no folder"


def test_the_wait_is_the_time_until_the_first_voice(shop: Shop, template: dict[str, Any]) -> None:
    def with_voice_from(second: int) -> dict[str, Any]:
        arc = json.loads(json.dumps(template["arc"]))
        arc["status"][second:] = ["AUDIO_VISUAL"] * len(arc["status"][second:])
        return arc

    shop.had("a", arc=with_voice_from(10))
    shop.had("b", arc=with_voice_from(40))
    shop.had("silent")
    found = shop.store.period(MONDAY, MONDAY + timedelta(days=1))
    assert found.wait_s_mean == 25.0 and found.waits == 2


def test_the_hour_that_a_change_from_summer_time_repeats_is_listed_twice(shop: Shop, berlin) -> None:
    first = datetime.fromtimestamp(1792888200).astimezone()  # 25 October 2026, 02:30 CEST
    shop.had("summer", first)
    shop.had("winter", first + timedelta(hours=1))
    hours = shop.store.hours(first - timedelta(hours=3), first + timedelta(hours=3))
    assert [(hour.start.hour, hour.start.utcoffset(), hour.conversations) for hour in hours] == [
        (2, timedelta(hours=2), 1),
        (2, timedelta(hours=1), 1),
    ]


# --- pages --------------------------------------------------------------------------------------------------------


def test_a_page_is_filtered_sorted_and_counted(shop: Shop) -> None:
    shop.had("a", NOON, 70, duration=30.0, name="Zoë at desk 3", place="Bonn")
    shop.had("b", NOON + timedelta(hours=2), 20, duration=300.0, label="angry", place="Bonn")
    shop.had("c", NOON + timedelta(days=1), None, duration=5.0, label=None)
    shop.had("d", NOON + timedelta(days=1, hours=11), 45, duration=60.0, name="100%_'; DROP TABLE conversation; --")
    assert shop.ids() == ["d", "c", "b", "a"]
    assert shop.ids(sort="oldest") == ["a", "b", "c", "d"]
    assert shop.ids(sort="worst") == ["b", "d", "a", "c"]
    assert shop.ids(sort="longest") == ["b", "d", "a", "c"]
    assert shop.ids(text="ZOË") == ["a"] and shop.ids(text="%_'; drop") == ["d"] and shop.ids(text="%") == ["d"]
    assert shop.ids(place="Bonn") == ["b", "a"]
    assert shop.ids(emotion="angry") == ["b"] and shop.ids(emotion="none") == ["c"]
    assert shop.ids(min_length_s=30, max_length_s=60) == ["d", "a"]
    assert shop.ids(hours=(12, 14)) == ["c", "a"] and shop.ids(hours=(22, 6)) == ["d"]
    assert shop.ids(start=NOON + timedelta(hours=2), end=NOON + timedelta(days=1)) == ["b"]
    page = shop.store.page(ConversationQuery(limit=1, offset=1))
    assert [line["id"] for line in page.conversations] == ["c"] and page.total == 4
    assert shop.store.page(ConversationQuery(offset=10)).total == 4


def test_a_day_has_its_exact_total_although_the_page_shows_a_part(shop: Shop) -> None:
    for i in range(9):
        shop.had(f"c{i}", NOON + timedelta(minutes=i), 10 * i if i % 2 else None)
    page = shop.store.page(ConversationQuery(limit=2))
    (day,) = page.days
    assert len(page.conversations) == 2
    assert (day.day, day.conversations, day.scored, day.satisfaction_mean) == ("2026-11-23", 9, 4, 40.0)


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 501}, {"offset": -1}, {"sort": "name; --"}, {"hours": (1, 25)}]
)
def test_a_query_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConversationQuery(**wrong)


# --- the index and the files --------------------------------------------------------------------------------------


def test_the_index_follows_files_that_appear_change_and_disappear(shop: Shop) -> None:
    path = shop.had("a", score=10)
    shop.had("b")
    assert shop.store.page().total == 2
    before = shop.store.version()
    shop.had("a", score=90)
    assert shop.ids(sort="worst") == ["b", "a"] and shop.store.version() != before
    path.unlink()
    assert shop.ids() == ["b"]


def test_what_one_process_adds_another_sees(shop: Shop) -> None:
    shop.had("a")
    other = ConversationStore(shop.folder)
    assert other.page().total == 1
    shop.had("b")
    shop.store.add("b")
    other._scan_s = 99.0  # a large folder is not scanned before each query
    assert other.page().total == 2


def test_only_this_user_can_read_the_database(shop: Shop) -> None:
    shop.had("a")
    shop.store.page()
    modes = {path.name: path.stat().st_mode & 0o777 for path in shop.folder.glob(f"{DATABASE}*")}
    assert len(modes) == 3 and set(modes.values()) == {0o600}


@pytest.mark.parametrize("damage", ["no database", "header", "pages", "cut", "empty"])
def test_a_damaged_database_is_set_aside_and_rebuilt_without_loss(shop: Shop, damage: str) -> None:
    for i in range(30):
        shop.had(f"c{i}", score=40 + i)
    expected = shop.store.period(MONDAY, MONDAY + timedelta(days=1))
    shop.store.close()
    path = shop.folder / DATABASE
    data = bytearray(path.read_bytes())
    if damage == "no database":
        data = bytearray(b"this is no database" * 1000)
    elif damage == "header":
        data[:100] = bytes(100)
    elif damage == "pages":
        data[4096:] = b"\x5a" * (len(data) - 4096)
    else:
        del data[5000 if damage == "cut" else 0 :]
    path.write_bytes(data)
    again = ConversationStore(shop.folder, shop.warnings.append)
    assert again.period(MONDAY, MONDAY + timedelta(days=1)) == expected
    if damage != "empty":
        (warning,) = shop.warnings
        assert DATABASE in warning and "damaged" in warning
        assert (shop.folder / f"{DATABASE}.damaged").read_bytes() == data


def test_a_database_removed_or_replaced_while_it_is_open_is_noticed(shop: Shop) -> None:
    shop.had("a")
    assert shop.store.page().total == 1
    for path in shop.folder.glob(f"{DATABASE}*"):
        path.unlink()
    shop.had("b")
    assert shop.store.page().total == 2 and (shop.folder / DATABASE).exists()


def test_a_database_of_a_newer_version_is_not_touched(shop: Shop) -> None:
    shop.had("a")
    shop.store.page()
    shop.store.close()
    with sqlite3.connect(shop.folder / DATABASE) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = (shop.folder / DATABASE).read_bytes()
    with pytest.raises(StoreError, match="newer version.*update the package"):
        ConversationStore(shop.folder).page()
    assert (shop.folder / DATABASE).read_bytes() == before


def test_a_database_in_use_for_long_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from emotion_perception.interaction import store_database

    monkeypatch.setattr(store_database, "BUSY_S", 0.1)
    shop.had("a")
    shop.store.page()
    other = sqlite3.connect(shop.folder / DATABASE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    shop.had("b")
    with pytest.raises(StoreError, match="in use by another process"):
        shop.store.add("b")
    other.execute("ROLLBACK")
    other.close()
    shop.store.add("b")
    assert shop.store.page().total == 2


def test_a_long_import_reports_its_progress(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from emotion_perception.interaction import conversation_store

    monkeypatch.setattr(conversation_store, "BATCH", 2)
    monkeypatch.setattr(conversation_store, "PROGRESS_S", -1.0)
    for i in range(5):
        shop.had(f"c{i}")
    lines: list[str] = []
    seen: list[object] = []
    store = ConversationStore(shop.folder, inform=lambda text: (lines.append(text), seen.append(store.importing)))
    store.sync()
    assert [line.rpartition(": ")[2] for line in lines] == ["0 of 5", "2 of 5", "4 of 5"]
    assert seen == [(0, 5), (2, 5), (4, 5)] and store.importing is None
    os.utime(shop.folder / "c0.json", (1, 1))
    store.sync(stop=lambda: True)
    assert store.page().total == 5


def test_opening_the_same_database_again_does_not_look_at_every_file_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emotion_perception.interaction import conversation_store

    shop.had("a")
    shop.store.page()
    shop.store._scan_s = 99.0  # a large folder
    shop.store.close()
    monkeypatch.setattr(conversation_store, "json_versions", None)
    assert shop.store.page().total == 1
