"""Retention: old conversations are deleted at the start and every day, with a proof."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from page_world import Clock
from stored_conversations import NOON, Shop

from emotion_perception.interaction.store_database import StoreError
from emotion_perception.interaction.store_records import ConversationQuery, Deletion
from emotion_perception.interaction.upkeep import DAY, StoreUpkeep


@pytest.fixture
def now() -> Clock:
    return Clock(NOON.timestamp() + 10 * DAY)


def test_conversations_older_than_the_retention_are_deleted_once_a_day(shop: Shop, now: Clock) -> None:
    shop.had("old", NOON - timedelta(days=20, seconds=1))
    shop.had("young", NOON - timedelta(days=20) + timedelta(minutes=1))
    proofs: list[Deletion] = []
    upkeep = StoreUpkeep(shop.store, 30.0, now, proofs.append)
    upkeep.sweep()
    assert shop.ids() == ["young"]
    ((proof),) = proofs
    assert (proof.conversations, proof.asked_by, proof.what) == (1, "retention", "period")
    assert proof.end == NOON - timedelta(days=20)
    now.now += 3600
    assert upkeep.sweep() is None and shop.ids() == ["young"], "a day has not passed"
    now.now += DAY
    upkeep.sweep()
    assert shop.ids() == [] and len(proofs) == 2


@pytest.mark.parametrize(("days", "clock"), [(0.0, 1e9), (30.0, 0.0), (30.0, 20 * DAY)])
def test_without_a_retention_or_before_the_clock_is_set_nothing_is_deleted(
    shop: Shop, days: float, clock: float
) -> None:
    shop.had("a", NOON - timedelta(days=5000))
    assert StoreUpkeep(shop.store, days, Clock(clock)).sweep() is None
    assert shop.ids() == ["a"]


def test_a_deletion_that_failed_is_tried_again(shop: Shop, now: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.had("old", NOON - timedelta(days=40))
    upkeep = StoreUpkeep(shop.store, 30.0, now)

    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(shop.store, "delete", refuse)
    with pytest.raises(StoreError):
        upkeep.sweep()
    monkeypatch.undo()
    assert upkeep.sweep() is not None and shop.ids() == []


def test_the_thread_indexes_and_deletes_at_the_start_and_leaves_no_log_behind(shop: Shop, now: Clock) -> None:
    shop.had("old", NOON - timedelta(days=40))
    shop.had("young")
    swept = threading.Event()
    upkeep = StoreUpkeep(shop.store, 30.0, now, lambda proof: swept.set())
    upkeep.start()
    assert swept.wait(10.0)
    upkeep.stop()
    assert sorted(path.name for path in shop.folder.iterdir()) == ["conversations.sqlite", "young.json"]
    assert shop.store.page(ConversationQuery()).total == 1
