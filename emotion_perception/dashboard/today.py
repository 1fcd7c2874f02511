"""What the Today view says about a day, a week or a month: from the statistics of the store to figures and phrases.

A *phrase* is a dict with the key of a text of the page's message catalogue and the values in it; the page writes it in
the reader's language. What is said, and whether it is said at all, is decided here:

- Two periods differ only if their 95 % intervals do not overlap. That is stricter than a test of the difference (about
  0.6 % of equal periods would differ instead of 5 %), because each view makes several comparisons.
- Where they overlap, the periods are *about the same* if their intervals together are at most :data:`RESOLUTION` points
  wide; otherwise there are too few conversations to tell.
- A period that is not over is compared with the same part of the earlier one.
- Shares are of conversations by their dominant emotion, with Wilson's interval.

Nothing here reads files or a clock.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from emotion_perception.interaction.store_records import ConversationStatistics
from emotion_perception.reports.statistics import share_interval

KINDS = ("day", "week", "month")
MIN_SCORED = 5  # scored conversations without which an hour or period is neither compared nor called the worst
RESOLUTION = 5.0  # points of satisfaction that a manager would want to see
LONG_WAIT_S = 20.0  # mean time before anybody spoke that is worth a suggestion
MAX_CHANGES = 3
HOUR_S = 3600.0

Phrase = dict[str, Any]
Parts = Sequence[ConversationStatistics | None]  # one per hour or day; None: without conversations
PeriodStatistics = Callable[[float, float], ConversationStatistics]


@dataclass(frozen=True)
class Span:
    """A day, an ISO week or a calendar month in the robot's own time zone."""

    kind: str
    first: date

    @property
    def after(self) -> date:
        """The first day after it."""
        if self.kind == "month":
            return self.first + timedelta(days=calendar.monthrange(self.first.year, self.first.month)[1])
        return self.first + timedelta(days=7 if self.kind == "week" else 1)

    @property
    def start(self) -> float:
        """Its first moment, s since the epoch."""
        return midnight(self.first)

    @property
    def end(self) -> float:
        """The first moment after it. A day has 23 or 25 hours where the clock is changed."""
        return midnight(self.after)

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Start and end of its hours (of a day) or days (of a week or month)."""
        if self.kind == "day":
            hours = round((self.end - self.start) / HOUR_S)
            return [(self.start + i * HOUR_S, self.start + (i + 1) * HOUR_S) for i in range(hours)]
        days = [self.first + timedelta(days=i) for i in range((self.after - self.first).days)]
        return [(midnight(day), midnight(day + timedelta(days=1))) for day in days]

    @property
    def earlier(self) -> Span:
        """What it is compared with first: the same weekday of the week before, the week or the month before."""
        if self.kind == "month":
            return span_of("month", self.first - timedelta(days=1))
        return Span(self.kind, self.first - timedelta(days=7))


@dataclass(frozen=True)
class Reference:
    """An earlier period to compare with."""

    name: str  # key of a text: weekday, yesterday, seven_days, last_week, last_month
    first: date
    start: float  # s since the epoch
    end: float


def midnight(day: date) -> float:
    """First moment of a local day, s since the epoch."""
    return datetime(day.year, day.month, day.day).timestamp()


def span_of(kind: str, day: date) -> Span:
    """The day, week or month that contains a day.

    Raises:
        ValueError: no such kind, or the day is outside the years 1971 to 2999.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind[:20]!r} is no period; use one of {', '.join(KINDS)}")
    if not 1971 <= day.year < 3000:
        raise ValueError(f"{day} is outside the years 1971 to 2999")
    if kind == "week":
        return Span(kind, day - timedelta(days=day.weekday()))
    return Span(kind, day.replace(day=1) if kind == "month" else day)


def references(span: Span, now: float) -> list[Reference]:
    """The periods that a span is compared with, the most telling one first.

    If the span is not over at ``now`` (s since the epoch), each ends at the same time of its own.
    """

    def same_part(name: str, earlier: Span) -> Reference:
        end = earlier.end
        if span.start <= now < span.end:
            moment = datetime.fromtimestamp(now)
            day = earlier.first + timedelta(days=(moment.date() - span.first).days)
            end = min(end, datetime.combine(day, moment.time()).timestamp())
        return Reference(name, earlier.first, earlier.start, end)

    if span.kind != "day":
        return [same_part(f"last_{span.kind}", span.earlier)]
    week_ago = span.first - timedelta(days=7)
    return [
        same_part("weekday", span.earlier),
        same_part("yesterday", Span("day", span.first - timedelta(days=1))),
        Reference("seven_days", week_ago, midnight(week_ago), span.start),
    ]


def compare(now: ConversationStatistics, then: ConversationStatistics) -> str:
    """``up``, ``down``, ``same``, ``too_few`` (to tell) or ``none`` (nothing to compare with)."""
    if not then.conversations:
        return "none"
    if not (is_scored(now) and is_scored(then)):
        return "too_few"
    both = _margin(now) + _margin(then)
    difference = _mean(now) - _mean(then)
    if abs(difference) > both and round(difference):
        return "up" if difference > 0 else "down"
    return "same" if both <= RESOLUTION else "too_few"


def is_scored(statistics: ConversationStatistics | None) -> bool:
    """Whether there are enough scores to judge a period by."""
    if statistics is None:
        return False
    mean, margin = statistics.satisfaction_mean, statistics.satisfaction_half_width
    return statistics.scored >= MIN_SCORED and mean is not None and margin is not None


def worst_part(parts: Parts, total: ConversationStatistics) -> int | None:
    """Index of the hour or day whose satisfaction is lowest, if it is below that of the whole beyond chance."""
    scored = [(_mean(part), i, part) for i, part in enumerate(parts) if part is not None and is_scored(part)]
    if len(scored) < 2 or not is_scored(total):
        return None
    mean, index, part = min(scored, key=lambda item: item[0])
    return index if _mean(total) - mean > _margin(total) + _margin(part) else None


def headline(
    span: Span,
    now: float,
    total: ConversationStatistics,
    parts: Parts,
    compared: Sequence[tuple[Reference, ConversationStatistics]],
) -> list[Phrase]:
    """The phrases of the headline: how many, how satisfied, compared with what, and the worst hour or day."""
    current = "current" if span.start <= now < span.end else "past"
    if not total.conversations:
        return [{"key": f"none.{span.kind}.{current}"}]
    said: list[Phrase] = [{"key": f"count.{span.kind}.{current}", "n": total.conversations}]
    if total.satisfaction_mean is None or total.satisfaction_half_width is None:
        return [*said, {"key": "no_score"}]
    said.append({"key": "satisfaction", "value": round(_mean(total)), "margin": math.ceil(_margin(total))})
    verdicts = [(reference, then, compare(total, then)) for reference, then in compared]
    clear = [item for item in verdicts if item[2] in ("up", "down", "same")]
    open_ = [item for item in verdicts if item[2] == "too_few"]
    for reference, then, verdict in (clear or open_)[:1]:
        points = abs(round(_mean(total) - _mean(then))) if clear else 0
        said.append({"key": verdict, "points": points, "with": reference.name, "date": str(reference.first)})
    worst = worst_part(parts, total)
    if worst is not None:
        said.append({"key": f"worst.{'hour' if span.kind == 'day' else 'day'}", "part": worst})
    return said


def changes(total: ConversationStatistics, reference: Reference, then: ConversationStatistics) -> list[Phrase]:
    """Dominant emotions whose share differs from an earlier period beyond chance, largest difference first."""
    if min(sum(total.emotions.values()), sum(then.emotions.values())) < MIN_SCORED:
        return []
    found = []
    for label in {**total.emotions, **then.emotions}:
        low, high = _share_interval(total, label)
        low_then, high_then = _share_interval(then, label)
        if low > high_then or high < low_then:
            share, before = _share(total, label), _share(then, label)
            found.append((abs(share - before), label, share, before))
    found.sort(reverse=True)
    return [
        {
            "key": "share.more" if share > before else "share.less",
            "emotion": label,
            "share": round(share, 3),
            "before": round(before, 3),
            "with": reference.name,
            "date": str(reference.first),
        }
        for _, label, share, before in found[:MAX_CHANGES]
    ]


def suggestions(parts: Parts, total: ConversationStatistics) -> list[Phrase]:
    """What to look at, with the figures behind it. About hours, never about a person.

    ``part`` is the index of the hour or day whose conversations are the evidence.
    """
    phrases: list[Phrase] = []
    worst = worst_part(parts, total)
    if worst is not None and (part := parts[worst]) is not None:
        score = {"value": round(_mean(part)), "margin": math.ceil(_margin(part)), "n": part.scored}
        phrases.append({"key": "suggest.worst", "part": worst, **score})
    waits = [
        (part.wait_s_mean, i, part.waits)
        for i, part in enumerate(parts)
        if part is not None and part.waits >= MIN_SCORED and part.wait_s_mean is not None
    ]
    if waits and max(waits)[0] >= LONG_WAIT_S:
        seconds, index, count = max(waits)
        phrases.append({"key": "suggest.wait", "part": index, "seconds": round(seconds), "n": count})
    return phrases


def figures(statistics: ConversationStatistics | None) -> dict[str, Any]:
    """The figures of a period as JSON fields; null where nothing was measured."""
    if statistics is None:
        return {"conversations": 0, "scored": 0, "satisfaction": None, "margin": None, "duration": None, "wait": None}
    return {
        "conversations": statistics.conversations,
        "scored": statistics.scored,
        "satisfaction": _rounded(statistics.satisfaction_mean),
        "margin": _rounded(statistics.satisfaction_half_width),
        "duration": _rounded(statistics.duration_s_mean),
        "wait": _rounded(statistics.wait_s_mean),
    }


def today_fields(
    span: Span,
    now: float,
    parts: Parts,
    earlier_parts: Parts,
    statistics: PeriodStatistics,
) -> dict[str, Any]:
    """All that the view shows of a span, as JSON fields.

    Args:
        span: the day, week or month.
        now: s since the epoch.
        parts: one per element of ``span.parts``.
        earlier_parts: the same of ``span.earlier``.
        statistics: of the conversations that began in a period (start, end; s since the epoch).
    """
    total = statistics(span.start, span.end)
    compared = [(reference, statistics(reference.start, reference.end)) for reference in references(span, now)]
    before = {
        part_name(span.kind, start): part for (start, _), part in zip(span.earlier.parts, earlier_parts, strict=True)
    }
    largest = max(compared, key=lambda item: item[1].conversations)
    return {
        "kind": span.kind,
        "first": str(span.first),
        "last": str(span.after - timedelta(days=1)),
        "current": span.start <= now < span.end,
        "headline": headline(span, now, total, parts, compared),
        "total": {**figures(total), "emotions": {label: round(_share(total, label), 3) for label in total.emotions}},
        "parts": [
            {
                "name": part_name(span.kind, start),
                "start": start,
                "end": end,
                "future": start > now,
                **figures(part),
                "before": _before(before.get(part_name(span.kind, start))),
            }
            for (start, end), part in zip(span.parts, parts, strict=True)
        ],
        "comparisons": [
            {
                "with": reference.name,
                "date": str(reference.first),
                **figures(then),
                "verdict": compare(total, then),
                "points": _difference(total, then),
            }
            for reference, then in compared
        ],
        "changes": changes(total, *largest),
        "suggestions": suggestions(parts, total),
    }


def part_name(kind: str, start: float) -> str:
    """What an hour (``14``), or a day within a week (``0`` is Monday) or month (``1``), is called."""
    local = datetime.fromtimestamp(start)
    return str({"day": local.hour, "week": local.weekday()}.get(kind, local.day))


def fill(
    parts: Sequence[tuple[float, float]], found: Sequence[ConversationStatistics]
) -> list[ConversationStatistics | None]:
    """One element per part, None without conversations, from statistics of those that have some."""
    by_start = {round(item.start.timestamp()): item for item in found}
    return [by_start.get(round(start)) for start, _ in parts]


def _before(part: ConversationStatistics | None) -> float | None:
    return _rounded(part.satisfaction_mean) if part is not None and is_scored(part) else None


def _difference(total: ConversationStatistics, then: ConversationStatistics) -> int | None:
    if total.satisfaction_mean is None or then.satisfaction_mean is None:
        return None
    return round(_mean(total) - _mean(then))


def _mean(statistics: ConversationStatistics) -> float:
    return float(statistics.satisfaction_mean or 0.0)


def _margin(statistics: ConversationStatistics) -> float:
    return float(statistics.satisfaction_half_width or 0.0)


def _share_interval(statistics: ConversationStatistics, label: str) -> tuple[float, float]:
    return share_interval(statistics.emotions.get(label, 0), sum(statistics.emotions.values()))


def _share(statistics: ConversationStatistics, label: str) -> float:
    known = sum(statistics.emotions.values())
    return statistics.emotions.get(label, 0) / known if known else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 1)
