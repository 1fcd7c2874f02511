"""Sums by hour give the same numbers as the store from which they come."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from page_world import store_conversation

from emotion_perception.files import read_json
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.hour_sums import COLUMNS, HourTable, from_conversations, from_store
from emotion_perception.interaction.store_records import ConversationQuery
from emotion_perception.types import SECOND

NOON = datetime(2026, 11, 27, 12).astimezone()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ConversationStore:
    """Twelve conversations of different length and mood in five hours of two days."""
    folder = tmp_path_factory.mktemp("conversations")
    for i in range(12):
        start = NOON + timedelta(days=i // 8, minutes=23 * (i % 8))
        store_conversation(folder, f"c{i}", round(start.timestamp()) * SECOND, i / 2, f"desk {i}", 20 + 4 * i)
    return ConversationStore(folder)


def tables(store: ConversationStore) -> dict[str, HourTable]:
    """The same conversations, added up by the database, and one by one."""
    entries = store.page(ConversationQuery(limit=500)).conversations
    full = [
        {**one, "seconds_by_label": read_json(store.path(one["id"], "json"))["seconds_by_label"]} for one in entries
    ]
    return {
        "store": from_store(store.hour_sums(NOON - timedelta(days=9), NOON + timedelta(days=9))),
        "conversations": from_conversations(full),
    }


@pytest.mark.parametrize("way", ["store", "conversations"])
def test_hours_and_periods_have_the_numbers_of_the_store(store: ConversationStore, way: str) -> None:
    table = tables(store)[way]
    midnight = NOON - timedelta(hours=12)
    for start, end in (
        (midnight, midnight + timedelta(days=1)),
        (midnight, midnight + timedelta(days=9)),
        (NOON, NOON),
    ):
        wanted, found = store.period(start, end), table.period(start, end)
        assert found.conversations == wanted.conversations
        for name, value in vars(wanted).items():
            assert getattr(found, name) == (pytest.approx(value) if not isinstance(value, datetime) else value), name
    wanted_hours, hours = (
        store.hours(midnight, NOON + timedelta(days=9)),
        table.hours(midnight, NOON + timedelta(days=9)),
    )
    assert len(hours) == 5 and [hour.start for hour in hours] == [hour.start for hour in wanted_hours]
    for one, other in zip(hours, wanted_hours, strict=True):
        assert vars(one) == {name: pytest.approx(v) if name != "start" else v for name, v in vars(other).items()}


def test_nothing_is_nothing() -> None:
    found = HourTable().period(NOON, NOON + timedelta(days=1))
    assert found.conversations == 0 and found.satisfaction_mean is None and found.emotions == {}
    assert len(COLUMNS) == len(set(COLUMNS)) == 31
