"""A hundred thousand conversations: exact numbers, and a day's report at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from machine import work
from many_conversations import make_many

from emotion_perception.interaction import conversation_store
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import local_midnight
from emotion_perception.interaction.intervals import half_width
from emotion_perception.interaction.store_records import ConversationQuery
from emotion_perception.reports.exports import EXPORTS

COUNT = 100_000
END = datetime(2026, 11, 28).astimezone()
WORK_S = 0.010  # s of CPU time that `machine.work` takes on the machine for which the limits were set


class Many:
    """The store and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.starts, self.scores, self.durations = make_many(folder, COUNT, END, files=False)
        self.store = ConversationStore(folder)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    with pytest.MonkeyPatch.context() as patch:
        # The fixture saves itself 100,000 files, so the store must not notice that they are missing.
        known = {f"c{i:07}": (0, 0) for i in range(COUNT)}
        patch.setattr(conversation_store, "json_versions", lambda folder, _=None: known)
        made = Many(tmp_path_factory.mktemp("many") / "shop")
        made.store._damaged = dict(known)  # nothing to read either
        made.store.page()
        made.store._scan_s = 99.0  # as after the first look at a large folder
        yield made


def seconds(task: Callable[[], object], repeats: int = 5) -> float:
    """CPU time of a task, s of the reference machine: the machine is measured between the repeats."""
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        work()
        reference = time.process_time() - began
        began = time.process_time()
        task()
        best = min(best, (time.process_time() - began) * WORK_S / reference)
    return best


def test_a_period_of_any_length_is_exact(many: Many) -> None:
    for first, days in ((END - timedelta(days=400), 500), (END - timedelta(days=90), 30), (END - timedelta(days=3), 1)):
        start, end = local_midnight(first.date()), local_midnight(first.date() + timedelta(days=days))
        inside = (many.starts >= start.timestamp()) & (many.starts < end.timestamp())
        scores = many.scores[inside & ~np.isnan(many.scores)]
        found = many.store.period(start, end)
        assert (found.conversations, found.scored) == (inside.sum(), len(scores))
        assert found.satisfaction_mean == pytest.approx(scores.mean(), rel=1e-12)
        own = 9.0 / np.sqrt(len(scores))
        assert found.satisfaction_half_width == pytest.approx(max(own, half_width(scores.tolist())), rel=1e-9)
        assert found.duration_s == pytest.approx(many.durations[inside].sum(), rel=1e-12)
        assert sum(hour.conversations for hour in many.store.hours(start, end)) == inside.sum()


def test_every_conversation_is_on_exactly_one_page(many: Many) -> None:
    query = ConversationQuery(start=END - timedelta(days=20), end=END - timedelta(days=10), limit=500)
    total = many.store.page(query).total
    seen: list[str] = []
    while len(seen) < total:
        part = many.store.page(ConversationQuery(start=query.start, end=query.end, limit=500, offset=len(seen)))
        seen += [line["id"] for line in part.conversations]
    assert len(set(seen)) == len(seen) == total > 2500


def test_the_report_of_a_day_takes_less_than_200_ms(many: Many, record_property) -> None:
    day = END - timedelta(days=3)
    page, _ = EXPORTS["html"].make(many.store, "day", f"{day:%Y-%m-%d}")
    inside = (many.starts >= day.timestamp()) & (many.starts < (day + timedelta(days=1)).timestamp())
    assert page.count(b"<tr>") > inside.sum() > 200, "every conversation of the day is in its table"
    taken = seconds(lambda: EXPORTS["html"].make(many.store, "day", f"{day:%Y-%m-%d}"))
    record_property("day report, ms", round(1000 * taken, 1))
    print(f"report of a day in a store of {COUNT}: {1000 * taken:.1f} ms")
    assert taken < 0.2


@pytest.mark.parametrize(
    ("query", "limit_s"),
    [
        (ConversationQuery(), 0.05),
        (ConversationQuery(sort="worst"), 0.15),
        (ConversationQuery(offset=90_000), 0.05),
        (ConversationQuery(text="visitor 7777"), 0.2),
        (ConversationQuery(person="visitor 7770"), 0.02),
        (ConversationQuery(hours=(12, 13), emotion="sad", place="checkout", sort="longest"), 0.3),
    ],
)
def test_a_page_of_any_search_comes_at_once(many: Many, query: ConversationQuery, limit_s: float) -> None:
    assert many.store.page(query).total > 0
    taken = seconds(lambda: many.store.page(query), 3)
    print(f"{query.sort} {query.text}{query.person}: {1000 * taken:.1f} ms")
    assert taken < limit_s


def test_the_hours_of_a_day_take_little(many: Many) -> None:
    start = END - timedelta(days=5)
    assert seconds(lambda: many.store.hours(start, start + timedelta(days=1))) < 0.02
