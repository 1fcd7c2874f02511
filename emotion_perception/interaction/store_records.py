"""What the store returns and is asked: statistics, pages of conversations, rows of the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.intervals import mean_interval

SORTS = {
    "newest": "start DESC, number DESC",
    "oldest": "start, number",
    "worst": "score IS NULL, score, start DESC, number",  # conversations without a score last
    "longest": "duration DESC, start DESC, number",
}
MAX_PAGE = 500  # conversations
VERDICTS = ("satisfied", "undecided", "dissatisfied")
IMPROVED = 0.1  # valence: a larger rise from beginning to end counts as an improvement
# Two searches in indexes; with OR, SQLite would read all rows.
_OF_PERSON = (
    "number IN (SELECT conversation FROM person WHERE person_id = :person"
    " UNION ALL SELECT number FROM conversation WHERE name = :person)"
)
_POINTS = 40  # of the small chart in a list
_SCALE = 10_000  # steps of 1 in valence; the JSON files have four digits
_UNKNOWN = -(2**15)


@dataclass(frozen=True, kw_only=True)
class ConversationStatistics:
    """Statistics of the conversations that began in a time. Means are None if nothing contributes."""

    start: datetime  # begin of the time, local, with its offset from UTC
    conversations: int
    scored: int  # conversations with a satisfaction score
    satisfaction_mean: float | None  # 0..100
    satisfaction_half_width: float | None  # of the 95 % interval of the mean
    duration_s: float  # sum, s
    duration_s_mean: float | None  # s
    emotions: Mapping[str, int]  # conversations by dominant emotion; those without evidence are in none
    wait_s_mean: float | None  # s from the start to the first voice, of the conversations with a voice
    waits: int  # conversations with a voice
    verdicts: Mapping[str, int]  # scored conversations by verdict: satisfied, undecided, dissatisfied
    valence_changes: int  # conversations whose change of valence is known
    improved: int  # of these, those whose valence rose by more than 0.1
    valence_mean: float | None  # -1..1, weighted by the time with evidence
    seconds_by_emotion: Mapping[str, float]  # time with each emotion, s


@dataclass(frozen=True, kw_only=True)
class HourStatistics(ConversationStatistics):
    """An hour; ``start`` is its full hour."""


@dataclass(frozen=True, kw_only=True)
class PeriodStatistics(ConversationStatistics):
    """A whole period."""

    end: datetime  # the first moment after it


@dataclass(frozen=True, kw_only=True)
class DayTotal:
    """The matching conversations of one day."""

    day: str  # 2026-11-23, local
    conversations: int
    scored: int
    satisfaction_mean: float | None


@dataclass(frozen=True, kw_only=True)
class ConversationQuery:
    """Which conversations a page lists. Conditions that are not set match all.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    start: datetime | None = None  # began at this time or later
    end: datetime | None = None  # began before
    min_length_s: float | None = None
    max_length_s: float | None = None
    emotion: str = ""  # dominant emotion, or "none": without evidence
    hours: tuple[int, int] | None = None  # began at a local time of day from the first hour until before the second
    place: str = ""
    text: str = ""  # part of the name, upper or lower case
    person: str = ""  # the id of a person who took part, or the whole name of the conversation
    interaction_id: str = ""
    sort: str = "newest"  # newest, oldest, worst or longest
    limit: int = 50
    offset: int = 0

    def __post_init__(self) -> None:
        if self.emotion not in ("", "none", *EMOTIONS):
            raise ValueError(f"emotion {self.emotion[:50]!r} is none of: none, {', '.join(EMOTIONS)}")
        if self.sort not in SORTS:
            raise ValueError(f"sort {self.sort[:50]!r} is none of: {', '.join(SORTS)}")
        if not 1 <= self.limit <= MAX_PAGE:
            raise ValueError(f"limit must be 1 to {MAX_PAGE}, got {self.limit}")
        if not 0 <= self.offset < 2**62:
            raise ValueError(f"offset must not be negative, got {self.offset}")
        if self.hours is not None and not all(0 <= hour <= 24 for hour in self.hours):
            raise ValueError(f"hours must be 0 to 24, got {self.hours[0]} to {self.hours[1]}")

    @property
    def describes_content(self) -> bool:
        """Whether a condition needs the conversation's numbers or name, not only its time and persons."""
        lengths = (self.min_length_s, self.max_length_s, self.hours)
        return any(value is not None for value in lengths) or bool(self.emotion or self.place or self.text)

    @property
    def subject(self) -> str:
        """What the conditions select: everything, period, person, conversation or selection."""
        if self.interaction_id:
            return "conversation"
        if self.describes_content:
            return "selection"
        if self.person:
            return "person"
        return "everything" if self.start is None and self.end is None else "period"

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition in SQL, and its values."""
        terms, values = ["1"], dict[str, Any]()
        for term, value in (
            ("start >= :start", None if self.start is None else self.start.timestamp()),
            ("start < :end", None if self.end is None else self.end.timestamp()),
            ("duration >= :min_length_s", self.min_length_s),
            ("duration <= :max_length_s", self.max_length_s),
            ("place = :place", self.place),
            ("instr(folded_name, :text) > 0", self.text.casefold()),
            (_OF_PERSON, self.person),
            ("id = :interaction_id", self.interaction_id),
        ):
            if value not in (None, ""):
                terms.append(term)
                values[re.findall(r":(\w+)", term)[-1]] = value
        if self.emotion == "none":
            terms.append("label IS NULL")
        elif self.emotion:
            terms.append("label = :label")
            values["label"] = self.emotion
        if self.hours is not None:
            values["from_hour"], values["to_hour"] = self.hours
            both = "AND" if self.hours[0] <= self.hours[1] else "OR"  # 22 to 6 is the night
            hour = "CAST(strftime('%H', start, 'unixepoch', 'localtime') AS INTEGER)"
            terms.append(f"({hour} >= :from_hour {both} {hour} < :to_hour)")
        return " AND ".join(terms), values


@dataclass(frozen=True, kw_only=True)
class ConversationPage:
    """A part of the conversations that match a query."""

    conversations: tuple[dict[str, Any], ...]  # one line each: see `entry`
    total: int  # that match
    places: tuple[str, ...]  # all places that occur, for the choice of a filter
    days: tuple[DayTotal, ...]  # of the days that the page touches; empty unless sorted by time


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The proof of a deletion: counts, no names."""

    conversations: int
    files: int
    pictures: int
    running: int  # conversations that match but are still being recorded; they stay
    start: datetime | None  # begin of the period asked for; None: unlimited
    end: datetime | None  # its end
    what: str  # "conversation", "person", "period", "selection" or "everything"
    asked_by: str  # "page" or "retention"


def row(interaction_id: str, fields: Mapping[str, Any], modified_ns: int, size: int) -> dict[str, Any]:
    """The row of a conversation, of the checked fields of its JSON file."""
    satisfaction, emotion = fields["satisfaction"], fields["emotion"]
    seconds = fields["seconds_by_label"]
    return {
        "id": interaction_id,
        "modified_ns": modified_ns,
        "size": size,
        "start": float(fields["start"]),
        "duration": float(fields["duration"]),
        "wait": _wait(fields["arc"]),
        "name": _storable(fields["name"]),
        "folded_name": _storable(fields["name"]).casefold(),
        "person_id": _storable(fields["person_id"]),
        "place": _storable(fields.get("place", "")),
        "score": satisfaction["score"],
        "margin": satisfaction["margin"],
        "verdict": _storable(satisfaction["verdict"]),
        "coverage": float(fields["coverage"]["any"]),
        "label": emotion["label"],
        "valence": float(emotion["valence"]),
        "valence_change": fields["valence_change"],
        "shape": _storable(fields["arc"]["shape"]["text"]),
        "recovered": int(bool(fields["recovered"])),
        **{f"seconds_{label}": float(seconds.get(label) or 0.0) for label in EMOTIONS},
        "line": _packed_line(fields["arc"]["valence_smoothed"]),
    }


def persons(fields: Mapping[str, Any]) -> set[str]:
    """The ids of all persons of a conversation."""
    return {_storable(person) for person in (fields["person_id"], *(fields.get("persons") or {})) if person}


def entry(found: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a conversation in lists and reports, of its row. JSON-able; unknown values are None."""
    return {
        "id": found["id"],
        "name": found["name"],
        "person_id": found["person_id"],
        "place": found["place"],
        "start": found["start"],
        "duration": found["duration"],
        "wait": found["wait"],
        "score": _whole(found["score"]),
        "margin": _whole(found["margin"]),
        "verdict": found["verdict"],
        "coverage": found["coverage"],
        "label": found["label"],
        "valence": found["valence"],
        "valence_change": found["valence_change"],
        "shape": found["shape"],
        "recovered": bool(found["recovered"]),
        "line": _line(found["line"]),
    }


# In the order in which `statistics_fields` reads them.
STATISTICS_SQL = ", ".join(
    (
        "count(*), count(score), total(score), total(score * score), total(margin * margin)",
        "total(duration), avg(wait), count(wait)",
        "count(valence_change)",
        f"coalesce(sum(valence_change > {IMPROVED}), 0)",
        "total(CASE WHEN label IS NOT NULL THEN valence * duration * coverage END)",
        "total(CASE WHEN label IS NOT NULL THEN duration * coverage END)",
        *(f"coalesce(sum(score IS NOT NULL AND verdict = '{verdict}'), 0)" for verdict in VERDICTS),
        *(f"coalesce(sum(label = '{label}'), 0)" for label in EMOTIONS),
        *(f"total(seconds_{label})" for label in EMOTIONS),
    )
)


def statistics_fields(start: datetime, values: tuple[Any, ...]) -> dict[str, Any]:
    """The fields of :class:`ConversationStatistics` from the values of :data:`STATISTICS_SQL`."""
    count, scored, total, squares, margins, duration, wait, waits, changes, improved, weighted, weight = values[:12]
    mean, half = mean_interval(scored, total, squares, margins) if scored else (None, None)
    rest = list(values[12:])
    verdicts, rest = rest[: len(VERDICTS)], rest[len(VERDICTS) :]
    emotions, seconds = rest[: len(EMOTIONS)], rest[len(EMOTIONS) :]
    return {
        "start": start,
        "conversations": count,
        "scored": scored,
        "satisfaction_mean": mean,
        "satisfaction_half_width": half,
        "duration_s": duration,
        "duration_s_mean": duration / count if count else None,
        "emotions": {label: number for label, number in zip(EMOTIONS, emotions, strict=True) if number},
        "wait_s_mean": wait,
        "waits": waits,
        "verdicts": dict(zip(VERDICTS, verdicts, strict=True)),
        "valence_changes": changes,
        "improved": improved,
        "valence_mean": weighted / weight if weight else None,
        "seconds_by_emotion": dict(zip(EMOTIONS, seconds, strict=True)),
    }


def _wait(arc: Mapping[str, Any]) -> float | None:
    """Seconds until the first bin with a voice, in steps of the arc; None without a voice."""
    for i, status in enumerate(arc["status"]):
        if status in ("ACOUSTIC_ONLY", "AUDIO_VISUAL"):
            return i * float(arc["step"])
    return None


def _storable(text: str) -> str:
    """Text that SQLite can store: surrogates are replaced."""
    return text.encode("utf-8", "replace").decode()


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def _packed_line(values: list[float | None]) -> bytes:
    """The smoothed valence at a few points."""
    count = len(values)
    chosen = values if count <= _POINTS else [values[i * count // _POINTS] for i in range(_POINTS)]
    scaled = [_UNKNOWN if value is None else round(_SCALE * max(-3.0, min(3.0, value))) for value in chosen]
    return np.array(scaled, dtype="<i2").tobytes()


def _line(packed: bytes) -> list[float | None]:
    return [None if value == _UNKNOWN else value / _SCALE for value in np.frombuffer(packed, "<i2").tolist()]
