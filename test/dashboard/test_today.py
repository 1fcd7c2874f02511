"""What the Today view says: headline, comparisons, changes, suggestions; decided from statistics alone."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from emotion_perception.dashboard.today import (
    Reference,
    Span,
    changes,
    compare,
    fill,
    headline,
    references,
    span_of,
    suggestions,
    today_fields,
    worst_part,
)
from emotion_perception.interaction.store_records import ConversationStatistics

FRIDAY = Span("day", date(2026, 11, 27))
NOW = datetime(2026, 11, 27, 18).timestamp()
BEFORE = Reference("weekday", date(2026, 11, 20), 0.0, 0.0)


def statistics(
    n: int = 100,
    mean: float | None = 68.0,
    half: float | None = 2.0,
    start: float = 0.0,
    wait: float | None = None,
    **emotions: int,
) -> ConversationStatistics:
    """Statistics of ``n`` conversations, all of them scored if there is a mean."""
    return ConversationStatistics(
        start=datetime.fromtimestamp(start).astimezone(),
        conversations=n,
        scored=n if mean is not None else 0,
        satisfaction_mean=mean,
        satisfaction_half_width=half if mean is not None else None,
        duration_s=60.0 * n,
        duration_s_mean=60.0 if n else None,
        emotions=emotions,
        wait_s_mean=wait,
        waits=n if wait is not None else 0,
        verdicts={},
        valence_changes=0,
        improved=0,
        valence_mean=None,
        seconds_by_emotion={},
    )


NONE = statistics(0, None)


def said(total: ConversationStatistics, then: ConversationStatistics, *parts: ConversationStatistics) -> list[Any]:
    return headline(FRIDAY, NOW, total, parts, [(BEFORE, then)])


def test_the_headline_counts_scores_compares_and_names_the_worst_hour():
    phrases = said(statistics(112), statistics(98, 63), statistics(60, 70), statistics(9, 52, 6))
    assert phrases == [
        {"key": "count.day.current", "n": 112},
        {"key": "satisfaction", "value": 68, "margin": 2},
        {"key": "up", "points": 5, "with": "weekday", "date": "2026-11-20"},
        {"key": "worst.hour", "part": 1},
    ]


def test_a_day_without_conversations_says_only_that():
    assert said(NONE, statistics()) == [{"key": "none.day.current"}]
    past = headline(FRIDAY, NOW + 1e6, NONE, [], [])
    assert past == [{"key": "none.day.past"}]


def test_conversations_without_a_score_are_counted_and_not_judged():
    assert [phrase["key"] for phrase in said(statistics(3, None), statistics())] == ["count.day.current", "no_score"]


def test_one_conversation_is_too_few_to_compare():
    assert said(statistics(1, 90, 20), statistics())[2]["key"] == "too_few"


def test_a_holiday_is_nothing_to_compare_with():
    assert [phrase["key"] for phrase in said(statistics(), NONE)] == ["count.day.current", "satisfaction"]
    assert compare(statistics(), NONE) == "none"


def test_the_first_clear_comparison_is_said_and_too_few_only_if_none_is_clear():
    compared = [(BEFORE, statistics(4, 60)), (Reference("yesterday", date(2026, 11, 26), 0, 0), statistics(80, 72, 1))]
    third = headline(FRIDAY, NOW, statistics(), [], compared)[2]
    assert (third["key"], third["points"], third["with"]) == ("down", 4, "yesterday")
    assert headline(FRIDAY, NOW, statistics(), [], compared[:1])[2]["key"] == "too_few"


@pytest.mark.parametrize(
    ("now", "then", "verdict"),
    [
        (statistics(50, 70, 2), statistics(50, 65, 2), "up"),
        (statistics(50, 60, 2), statistics(50, 65, 2), "down"),
        (statistics(50, 68, 2), statistics(50, 65, 2), "same"),  # overlapping, but narrow
        (statistics(20, 70, 6), statistics(20, 65, 6), "too_few"),  # overlapping and wide
        (statistics(4, 90, 1), statistics(50, 40, 1), "too_few"),  # few scores, whatever their interval
        (statistics(100_000, 68.04, 0.05), statistics(100_000, 67.9, 0.05), "same"),  # beyond chance, but 0 points
        (statistics(100_000, 68.9, 0.1), statistics(100_000, 68.1, 0.1), "up"),
    ],
)
def test_periods_differ_only_if_their_intervals_do_not_overlap(now, then, verdict):
    assert compare(now, then) == verdict


def test_the_worst_hour_is_named_only_if_it_is_below_the_day_beyond_chance():
    total = statistics()
    assert worst_part([statistics(9, 62, 6), statistics(30, 70, 3), None], total) is None
    assert worst_part([statistics(4, 20, 1), statistics(30, 70, 3)], total) is None, "four conversations are no hour"
    assert worst_part([statistics(100, 40, 1)], statistics(100, 40, 1)) is None, "a single hour is the day"
    assert worst_part([None, statistics(30, 70, 3), statistics(9, 50, 6)], total) == 2


def test_a_running_day_is_compared_with_the_same_part_of_earlier_days():
    weekday, yesterday, week = references(FRIDAY, NOW)
    assert (weekday.name, datetime.fromtimestamp(weekday.end)) == ("weekday", datetime(2026, 11, 20, 18))
    assert datetime.fromtimestamp(yesterday.end) == datetime(2026, 11, 26, 18)
    assert (datetime.fromtimestamp(week.start), week.end) == (datetime(2026, 11, 20), FRIDAY.start)
    assert references(FRIDAY, NOW + 1e6)[0].end == datetime(2026, 11, 21).timestamp()


def test_weeks_and_months_follow_the_calendar():
    assert span_of("week", date(2026, 11, 29)).first == date(2026, 11, 23)
    assert len(span_of("week", date(2026, 11, 29)).parts) == 7
    february = span_of("month", date(2028, 2, 29))
    assert (february.first, february.after, len(february.parts)) == (date(2028, 2, 1), date(2028, 3, 1), 29)
    march = span_of("month", date(2026, 3, 31))
    (last,) = references(march, datetime(2026, 3, 31, 12).timestamp())
    assert (last.first, last.end) == (date(2026, 2, 1), datetime(2026, 3, 1).timestamp()), "February is shorter"
    assert span_of("month", date(2027, 1, 5)).earlier.first == date(2026, 12, 1)


@pytest.mark.parametrize(("kind", "day"), [("year", date(2026, 1, 1)), ("day", date(1, 1, 1))])
def test_other_periods_are_refused(kind, day):
    with pytest.raises(ValueError, match="use one of day, week, month|outside the years"):
        span_of(kind, day)


def test_the_days_of_the_clock_change_have_23_and_25_hours(berlin):
    spring, autumn = Span("day", date(2026, 3, 29)), Span("day", date(2026, 10, 25))
    assert (len(spring.parts), len(autumn.parts)) == (23, 25)
    for span in (spring, autumn):
        names = [part["name"] for part in fields(span, NOW)["parts"]]
        assert names[1:5] == (["1", "3", "4", "5"] if span is spring else ["1", "2", "2", "3"])


def fields(span: Span, now: float) -> dict[str, Any]:
    none: list[None] = [None] * len(span.parts)
    return today_fields(span, now, none, [None] * len(span.earlier.parts), lambda start, end: NONE)


def test_statistics_of_hours_are_put_where_they_belong():
    start = FRIDAY.start
    parts = fill(FRIDAY.parts, [statistics(3, start=start + 9 * 3600), statistics(4, start=start + 17 * 3600)])
    assert [i for i, part in enumerate(parts) if part is not None] == [9, 17] and len(parts) == 24


def test_a_change_of_emotions_is_said_only_beyond_chance():
    then = statistics(200, happy=150, neutral=40, angry=10)
    more = changes(statistics(100, happy=60, neutral=20, angry=20), BEFORE, then)
    assert [(item["key"], item["emotion"], item["share"], item["before"]) for item in more] == [
        ("share.more", "angry", 0.2, 0.05)
    ]
    assert changes(statistics(10, happy=6, neutral=2, angry=2), BEFORE, then) == []
    assert changes(NONE, BEFORE, then) == [] and changes(then, BEFORE, NONE) == []


def test_suggestions_carry_their_figures_and_the_hour_of_their_conversations():
    parts = [statistics(30, 71, 3, wait=6.0), statistics(9, 52, 6, wait=41.6), statistics(3, 50, 9, wait=300.0)]
    assert suggestions(parts, statistics()) == [
        {"key": "suggest.worst", "part": 1, "value": 52, "margin": 6, "n": 9},
        {"key": "suggest.wait", "part": 1, "seconds": 42, "n": 9},
    ]
    assert suggestions([statistics(30, 68, 3, wait=5.0), None], statistics()) == []


def test_a_hundred_thousand_conversations_make_the_same_small_answer():
    big = statistics(100_000, 68.2, 0.1, happy=60_000, neutral=40_000)
    many = [statistics(5_000, 68.0, 0.5)] * 24
    answer = today_fields(FRIDAY, NOW, many, many, lambda start, end: big)
    assert answer["headline"][:2] == [
        {"key": "count.day.current", "n": 100_000},
        {"key": "satisfaction", "value": 68, "margin": 1},
    ]
    assert [item["verdict"] for item in answer["comparisons"]] == ["same"] * 3
    assert answer["total"]["emotions"] == {"happy": 0.6, "neutral": 0.4}


def test_every_number_of_the_answer_is_json():
    answer = today_fields(FRIDAY, NOW, [None] * 24, [statistics(mean=math.nan)] * 24, lambda start, end: NONE)
    assert answer["parts"][3]["satisfaction"] is None and answer["parts"][3]["before"] is None
    assert answer["parts"][20]["future"] and not answer["parts"][10]["future"]
    assert answer["last"] == "2026-11-27" and answer["current"]
    assert answer["comparisons"][0] | {"points": None} == answer["comparisons"][0]


def test_the_week_has_a_part_for_each_day():
    week = span_of("week", date(2026, 11, 27))
    answer = fields(week, week.end + timedelta(days=3).total_seconds())
    assert [part["name"] for part in answer["parts"]] == [str(i) for i in range(7)]
    assert [item["with"] for item in answer["comparisons"]] == ["last_week"]
