"""Conversations added up by hour: small enough for a file, and exact for every period made of whole hours.

The sums are those of :data:`~emotion_perception.interaction.store_records.STATISTICS_SQL`, with the sum of the waits
instead of their mean, so that statistics of hours from different files add up to the same numbers as in one store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.store_records import (
    IMPROVED,
    VERDICTS,
    HourStatistics,
    PeriodStatistics,
    statistics_fields,
)

HOUR_S = 3600
COUNTS = ("conversations", "scored", "waits", "valence_changes", "improved")
COLUMNS = (
    *("conversations", "scored", "score", "score_squares", "margin_squares", "duration", "wait", "waits"),
    *("valence_changes", "improved", "valence_seconds", "evidence_seconds"),
    *(f"verdict_{verdict}" for verdict in VERDICTS),
    *(f"emotion_{label}" for label in EMOTIONS),
    *(f"seconds_{label}" for label in EMOTIONS),
)
_WAIT, _WAITS = COLUMNS.index("wait"), COLUMNS.index("waits")


@dataclass(frozen=True)
class HourTable:
    """Sums by hour; key: start of the hour, s since the epoch; values in the order of :data:`COLUMNS`."""

    hourly: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def hours(self, start: datetime, end: datetime) -> list[HourStatistics]:
        """Statistics of each hour with conversations that began in ``start <= t < end``, oldest first."""
        found = ((hour, sums) for hour, sums in sorted(self.hourly.items()) if _within(hour, start, end))
        return [HourStatistics(**_statistics(hour, sums)) for hour, sums in found]

    def period(self, start: datetime, end: datetime) -> PeriodStatistics:
        """Statistics of all hours that began in ``start <= t < end``."""
        found = [sums for hour, sums in self.hourly.items() if _within(hour, start, end)]
        total = [sum(column) for column in zip(*found, strict=True)] if found else [0.0] * len(COLUMNS)
        return PeriodStatistics(**_statistics(start.timestamp(), total), end=end.astimezone())


def from_store(rows: Iterable[tuple[float, Sequence[Any]]]) -> HourTable:
    """The table of a store's hours, see ``ConversationStore.hour_sums``."""
    table = {}
    for start, values in rows:
        sums = list(values)
        sums[_WAIT] = (sums[_WAIT] or 0.0) * sums[_WAITS]
        table[round(start)] = sums
    return HourTable(table)


def from_conversations(conversations: Iterable[Mapping[str, Any]]) -> HourTable:
    """The table of single conversations.

    Args:
        conversations: each with ``start`` (s since the epoch), ``duration`` (s), ``score``, ``margin``, ``verdict``,
            ``label``, ``valence``, ``valence_change``, ``coverage`` (0..1), ``wait`` (s) and ``seconds_by_label``;
            unknown values are None.
    """
    table: dict[int, list[float]] = {}
    for one in conversations:
        local = datetime.fromtimestamp(one["start"]).replace(minute=0, second=0, microsecond=0)
        sums = table.setdefault(round(local.timestamp()), [0.0] * len(COLUMNS))
        for i, value in enumerate(_summands(one)):
            sums[i] += value
    return HourTable(table)


def _summands(one: Mapping[str, Any]) -> list[float]:
    score, margin, label, change = one["score"], one["margin"] or 0.0, one["label"], one["valence_change"]
    evidence = one["duration"] * one["coverage"] if label is not None else 0.0
    scored = score is not None
    value = score if scored else 0.0
    return [
        *(1, scored, value, value * value, margin * margin if scored else 0.0),
        *(one["duration"], one["wait"] or 0.0, one["wait"] is not None),
        *(change is not None, change is not None and change > IMPROVED, evidence * one["valence"], evidence),
        *(scored and one["verdict"] == verdict for verdict in VERDICTS),
        *(label == name for name in EMOTIONS),
        *(one["seconds_by_label"].get(name) or 0.0 for name in EMOTIONS),
    ]


def _within(hour: float, start: datetime, end: datetime) -> bool:
    return start.timestamp() <= hour < end.timestamp()


def _statistics(start: float, sums: Sequence[float]) -> dict[str, Any]:
    values: list[Any] = list(sums)
    for name in (*COUNTS, *(column for column in COLUMNS if column.startswith(("verdict_", "emotion_")))):
        i = COLUMNS.index(name)
        values[i] = round(values[i])
    values[_WAIT] = values[_WAIT] / values[_WAITS] if values[_WAITS] else None
    return statistics_fields(datetime.fromtimestamp(start).astimezone(), tuple(values))
