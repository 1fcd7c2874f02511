"""Content of the report of a day or a week: number of conversations, satisfaction, displayed emotions, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.history import Archive, Period
from emotion_perception.reports.conversation_report import READING, time_by_emotion, when_text
from emotion_perception.reports.document import Block, Chart, Document, Facts, Line, Portrait, Portraits, Table, plain
from emotion_perception.reports.statistics import half_width, mean_text, share_text, signed
from emotion_perception.types import clock_text

MEAN_ARC_PARTS = 20  # points of the mean arc, from beginning to end of a conversation
_ROW = ("id", "name", "person_id", "start", "duration", "coverage", "label", "valence", "score", "margin", "verdict")


def period_document(archive: Archive, wanted: Period, made: float, portraits: Sequence[Portrait] = ()) -> Document:
    """The report of a day or a week.

    Args:
        archive: the stored conversations.
        wanted: day or week.
        made: when the report is made, s since the epoch.
        portraits: face images to show.
    """
    found = archive.within(wanted)
    by_label = {label: sum(entry["seconds_by_label"].get(label, 0.0) for entry in found) for label in EMOTIONS}
    day = wanted.kind == "day"
    blocks: list[Block] = [
        Facts(_facts(found)),
        *_mean_arc(found),
        _by_part(found, day),
        time_by_emotion(by_label, None),
        Table("All conversations", ("when", "length", "mostly", "satisfaction"), tuple(map(_line, found)), 1),
    ]
    if portraits:
        blocks.append(Portraits(tuple(portraits)))
    blocks += READING
    first = datetime.fromtimestamp(wanted.start)
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


def _facts(found: Sequence[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    scored = [entry for entry in found if entry["score"] is not None]
    changes = [entry["valence_change"] for entry in found if entry["valence_change"] is not None]
    return (
        ("Conversations", str(len(found))),
        ("Time in conversation", clock_text(sum(entry["duration"] for entry in found))),
        ("Rated", f"{len(scored)} of {len(found)}"),
        ("Mean satisfaction", mean_text(scored)),
        *(
            (verdict.capitalize(), share_text(sum(entry["verdict"] == verdict for entry in scored), len(scored)))
            for verdict in ("satisfied", "undecided", "dissatisfied")
        ),
        ("Got better", share_text(sum(change > 0.1 for change in changes), len(changes))),
    )


def _by_part(found: Sequence[dict[str, Any]], day: bool) -> Table:
    """By hour of a day, or by day of a week."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for entry in found:
        start = datetime.fromtimestamp(entry["start"])
        parts.setdefault(f"{start:%H}:00" if day else f"{start:%A %d %B}", []).append(entry)
    rows = tuple(
        (part, str(len(those)), mean_text([e for e in those if e["score"] is not None]), _mean_valence(those))
        for part, those in parts.items()
    )
    return Table("By hour" if day else "By day", ("when", "conversations", "satisfaction", "valence"), rows, 3)


def _line(entry: dict[str, Any]) -> tuple[str, ...]:
    name = plain(entry["name"], 60)
    return (
        entry_time(entry) + (f" {name}" if name else ""),
        clock_text(entry["duration"]),
        entry["label"] or "nobody",
        "no score" if entry["score"] is None else f"{entry['score']} ± {entry['margin']}",
    )


def _mean_valence(entries: Sequence[dict[str, Any]]) -> str:
    seen = [(entry["valence"], entry["duration"] * entry["coverage"]) for entry in entries if entry["label"]]
    total = sum(weight for _, weight in seen)
    return signed(sum(valence * weight for valence, weight in seen) / total) if total else "unknown"


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
