"""Content of the report of a day or a week: number of conversations, satisfaction, displayed emotions, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import Period, local_midnight
from emotion_perception.interaction.intervals import half_width
from emotion_perception.interaction.store_records import ConversationStatistics
from emotion_perception.reports.conversation_report import READING, time_by_emotion, when_text
from emotion_perception.reports.document import Block, Chart, Document, Facts, Line, Portrait, Portraits, Table, plain
from emotion_perception.reports.statistics import mean_text, share_text, signed
from emotion_perception.types import clock_text

MEAN_ARC_PARTS = 20  # points of the mean arc, from beginning to end of a conversation
_ROW = ("id", "name", "person_id", "start", "duration", "coverage", "label", "valence", "score", "margin", "verdict")


def period_document(
    store: ConversationStore, wanted: Period, made: float, portraits: Sequence[Portrait] = ()
) -> Document:
    """The report of a day or a week.

    Args:
        store: the stored conversations.
        wanted: day or week.
        made: when the report is made, s since the epoch.
        portraits: face images to show.
    """
    found = store.within(wanted)
    statistics = store.period(wanted.start, wanted.end)
    day = wanted.kind == "day"
    blocks: list[Block] = [
        Facts(_facts(statistics)),
        *_mean_arc(found),
        _by_hour(store, wanted) if day else _by_day(store, wanted),
        time_by_emotion(statistics.seconds_by_emotion, None),
        Table("All conversations", ("when", "length", "mostly", "satisfaction"), tuple(map(_line, found)), 1),
    ]
    if portraits:
        blocks.append(Portraits(tuple(portraits)))
    blocks += READING
    first = wanted.start
    return Document(
        f"{wanted.kind}-{wanted.name}",
        f"{first:%A, %d %B %Y}" if day else f"Week {wanted.name[-2:]} of {wanted.name[:4]}",
        f"{'Day' if day else 'Week'} report of conversations; made {when_text(made)}",
        tuple(block for block in blocks if not isinstance(block, Table) or block.rows),
        tuple({key: entry[key] for key in _ROW} | {"shape": entry["shape"]} for entry in found),
    )


def entry_time(entry: dict[str, Any]) -> str:
    """``Mon 12:00``."""
    return f"{datetime.fromtimestamp(entry['start']):%a %H:%M}"


def _facts(statistics: ConversationStatistics) -> tuple[tuple[str, str], ...]:
    return (
        ("Conversations", str(statistics.conversations)),
        ("Time in conversation", clock_text(statistics.duration_s)),
        ("Rated", f"{statistics.scored} of {statistics.conversations}"),
        ("Mean satisfaction", mean_text(statistics)),
        *(
            (verdict.capitalize(), share_text(count, statistics.scored))
            for verdict, count in statistics.verdicts.items()
        ),
        ("Got better", share_text(statistics.improved, statistics.valence_changes)),
    )


def _by_hour(store: ConversationStore, wanted: Period) -> Table:
    hours = store.hours(wanted.start, wanted.end)
    return _by_part("By hour", [(f"{hour.start:%H}:00", hour) for hour in hours])


def _by_day(store: ConversationStore, wanted: Period) -> Table:
    days = [wanted.first + timedelta(days=i) for i in range(wanted.days)]
    parts = [store.period(local_midnight(day), local_midnight(day + timedelta(days=1))) for day in days]
    return _by_part("By day", [(f"{part.start:%A %d %B}", part) for part in parts if part.conversations])


def _by_part(title: str, parts: Sequence[tuple[str, ConversationStatistics]]) -> Table:
    rows = tuple((name, str(part.conversations), mean_text(part), signed(part.valence_mean)) for name, part in parts)
    return Table(title, ("when", "conversations", "satisfaction", "valence"), rows, 3)


def _line(entry: dict[str, Any]) -> tuple[str, ...]:
    name = plain(entry["name"], 60)
    return (
        entry_time(entry) + (f" {name}" if name else ""),
        clock_text(entry["duration"]),
        entry["label"] or "nobody",
        "no score" if entry["score"] is None else f"{entry['score']} ± {entry['margin']}",
    )


def _mean_arc(entries: Sequence[dict[str, Any]]) -> tuple[Chart, ...]:
    """Mean of the smoothed valence of all conversations, each scaled to the same length."""
    lines = [entry["line"] for entry in entries if any(value is not None for value in entry["line"])]
    if not lines:
        return ()
    means: list[float | None] = []
    band: list[tuple[float, float] | None] = []
    for part in range(MEAN_ARC_PARTS):
        at_part = [line[int((part + 0.5) * len(line) / MEAN_ARC_PARTS)] for line in lines]
        known = [value for value in at_part if value is not None]
        mean = sum(known) / len(known) if known else None
        means.append(mean)
        if mean is None or len(known) < 2:
            band.append(None)
            continue
        half = half_width(known)
        band.append((max(-1.0, mean - half), min(1.0, mean + half)))
    count = f"{len(lines)} conversations" if len(lines) > 1 else "1 conversation"
    return (
        Chart(
            f"From beginning to end, mean of {count}",
            float(MEAN_ARC_PARTS),
            1.0,
            (Line("valence", "pleasant", "unpleasant", tuple(means), band=tuple(band)),),
            "Valence, each conversation stretched to the same length. Band: 95 % interval of the mean, if there are "
            "several.",
            marks=("begin", "1/4", "half", "3/4", "end"),
        ),
    )
