"""Rules about the stored conversations: "tell me when the satisfaction of an hour is below 50 (5 conversations)".

A rule compares one measure of an hour or a day with a limit. Rules are stored as YAML (:data:`RULES_FILE` in the folder
of the conversations) and are evaluated when a conversation ends, over the hour and the day in which it began:

.. code-block:: yaml

    rules:
      - measure: satisfaction       # one of MEASURES
        comparison: below           # below, above
        limit: 50
        period: hour                # hour, day
        min_conversations: 5

Nothing here reads files or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import yaml

from emotion_perception.emotions import EMOTIONS

RULES_FILE = "rules.yaml"  # in the folder of the conversations
MAX_RULES = 50
MAX_TEXT = 64 * 1024  # characters of a rules file
HOUR_S = 3600

# Measure: unit, and the largest limit that makes sense. An emotion is the share of conversations with evidence in which
# it dominated.
MEASURES: dict[str, tuple[str, float]] = {
    "satisfaction": ("points", 100.0),
    "conversations": ("conversations", 1e6),
    "wait": ("s", 3600.0),
    "duration": ("s", 86400.0),
    **{emotion: ("%", 100.0) for emotion in EMOTIONS},
}
COMPARISONS = ("below", "above")
PERIODS = ("hour", "day")


class RuleError(ValueError):
    """A rule cannot be used; the text names the value and the fix."""


class Statistics(Protocol):
    """What rules need to know about a period; means are None where nothing was measured."""

    @property
    def conversations(self) -> int: ...
    @property
    def scored(self) -> int: ...
    @property
    def satisfaction_mean(self) -> float | None: ...
    @property
    def duration_s_mean(self) -> float | None: ...
    @property
    def wait_s_mean(self) -> float | None: ...
    @property
    def waits(self) -> int: ...
    @property
    def emotions(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Rule:
    """One rule.

    Raises:
        RuleError: a value is not allowed.
    """

    measure: str
    comparison: str
    limit: float  # in the unit of the measure
    period: str
    min_conversations: int = 5  # conversations (scored ones for satisfaction) without which nothing is reported
    enabled: bool = True
    id: str = field(default="")  # made from the other values if empty

    def __post_init__(self) -> None:
        _choice("measure", self.measure, tuple(MEASURES))
        _choice("comparison", self.comparison, COMPARISONS)
        _choice("period", self.period, PERIODS)
        unit, largest = MEASURES[self.measure]
        limit = _number("limit", self.limit)
        if not 0 <= limit <= largest:
            raise RuleError(f"limit {limit:g} of {self.measure} is outside 0 to {largest:g} {unit}; use a value within")
        count = self.min_conversations
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 10_000:
            raise RuleError(f"min_conversations {count!r} is no whole number from 1 to 10000; 5 is a good start")
        if not isinstance(self.enabled, bool):
            raise RuleError(f"enabled {self.enabled!r} is neither true nor false; leave it out for true")
        if self.measure == "conversations" and self.comparison == "below":
            raise RuleError(
                "comparison 'below' does not work for conversations: every period begins with none; use 'above'"
            )
        if not isinstance(self.id, str) or len(self.id) > 60:
            raise RuleError(f"id {str(self.id)[:60]!r} is no text of at most 60 characters; leave it out")
        object.__setattr__(self, "limit", limit)
        object.__setattr__(self, "id", self.id or f"{self.measure}-{self.comparison}-{limit:g}-{self.period}")

    @property
    def text(self) -> str:
        """The rule as a sentence."""
        return (
            f"{_name(self.measure)} of {'an hour' if self.period == 'hour' else 'a day'} is {self.comparison} "
            f"{_amount(self.measure, self.limit)}, with at least {self.min_conversations} conversations"
        )

    def value(self, statistics: Statistics) -> float | None:
        """The measure, in its unit; None if nothing was measured."""
        if self.measure == "conversations":
            return float(statistics.conversations)
        if self.measure in EMOTIONS:
            known = sum(statistics.emotions.values())
            return 100 * statistics.emotions.get(self.measure, 0) / known if known else None
        means = {
            "satisfaction": statistics.satisfaction_mean,
            "wait": statistics.wait_s_mean,
            "duration": statistics.duration_s_mean,
        }
        value = means[self.measure]
        return value if value is not None and math.isfinite(value) else None

    def count(self, statistics: Statistics) -> int:
        """Conversations that the measure was computed from."""
        if self.measure in EMOTIONS:
            return sum(statistics.emotions.values())
        counts = {"satisfaction": statistics.scored, "wait": statistics.waits}
        return counts.get(self.measure, statistics.conversations)


@dataclass(frozen=True)
class Alert:
    """A rule applied to a period."""

    rule_id: str
    text: str  # in plain English, with the values compared
    measure: str
    comparison: str
    value: float
    limit: float
    conversations: int
    period: str
    start: float  # of the period, s since the epoch
    end: float
    time: float  # when the rule was found to apply, s since the epoch

    @property
    def key(self) -> tuple[str, float]:
        """Identifies rule and period: each pair is reported once."""
        return self.rule_id, self.start


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a YAML text; an empty text has none.

    Raises:
        RuleError: the text is no list of rules, or a rule is wrong.
    """
    if len(text) > MAX_TEXT:
        raise RuleError(f"the rules have more than {MAX_TEXT} characters; delete some")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RuleError(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    if content is None:
        return ()
    if not isinstance(content, dict) or set(content) != {"rules"}:
        raise RuleError("the file must have one key, 'rules', with a list below it")
    return rules_from_items(content["rules"] or [])


def rules_from_items(items: Any) -> tuple[Rule, ...]:
    """Rules from a list of mappings, as YAML and JSON give it.

    Raises:
        RuleError: see :func:`parse_rules`.
    """
    if not isinstance(items, list):
        raise RuleError("'rules' must be a list; begin each rule with '- measure:'")
    if len(items) > MAX_RULES:
        raise RuleError(f"{len(items)} rules; at most {MAX_RULES} are evaluated, delete some")
    rules: list[Rule] = []
    allowed = tuple(Rule.__dataclass_fields__)
    for number, item in enumerate(items, 1):
        try:
            if not isinstance(item, dict):
                raise RuleError(f"{str(item)[:60]!r} is no mapping; write 'measure: satisfaction' and so on")
            for key in item:
                _choice("key", key, allowed)
            for key in ("measure", "comparison", "limit", "period"):
                if key not in item:
                    raise RuleError(f"{key} is missing; add it")
            rule = Rule(**item)
            if rule.id in (other.id for other in rules):
                raise RuleError(f"id {rule.id!r} is used twice; delete one rule or give it another id")
        except RuleError as error:
            raise RuleError(f"rule {number}: {error}") from None
        rules.append(rule)
    return tuple(rules)


def rules_text(rules: Iterable[Rule]) -> str:
    """Rules as YAML, which :func:`parse_rules` reads."""
    header = "# Rules about the stored conversations; the page edits them. docs/dashboard.md has the grammar.\n"
    return header + yaml.safe_dump({"rules": [asdict(rule) for rule in rules]}, sort_keys=False, allow_unicode=True)


def period_at(period: str, moment: float) -> tuple[float, float]:
    """Start and end (s since the epoch) of the local hour or day that contains ``moment``.

    A day has 23 or 25 hours where the clock is changed.
    """
    local = datetime.fromtimestamp(moment)
    if period == "hour":
        start = moment - local.minute * 60 - local.second - local.microsecond / 1e6
        return round(start), round(start) + HOUR_S
    midnight = datetime(local.year, local.month, local.day)
    return midnight.timestamp(), (midnight + timedelta(days=1)).timestamp()


def evaluate(
    rules: Iterable[Rule],
    statistics: Callable[[float, float], Statistics],
    moment: float,
    now: float,
    reported: Collection[tuple[str, float]] = (),
) -> list[Alert]:
    """The rules that apply to the hour or day of a conversation.

    Args:
        rules: those that are not enabled are skipped.
        statistics: of the conversations that began in a period (start, end; s since the epoch). Called once a period.
        moment: start of the conversation that has ended, s since the epoch.
        now: s since the epoch, becomes the alerts' time.
        reported: keys of alerts reported before; they are not reported again.
    """
    known: dict[tuple[float, float], Statistics] = {}
    alerts = []
    for rule in rules:
        start, end = period_at(rule.period, moment)
        if not rule.enabled or (rule.id, start) in reported:
            continue
        if (start, end) not in known:
            known[start, end] = statistics(start, end)
        found = known[start, end]
        value, count = rule.value(found), rule.count(found)
        if value is None or count < rule.min_conversations:
            continue
        if value < rule.limit if rule.comparison == "below" else value > rule.limit:
            alerts.append(
                Alert(
                    rule_id=rule.id,
                    text=_alert_text(rule, value, count, start, end),
                    measure=rule.measure,
                    comparison=rule.comparison,
                    value=value,
                    limit=rule.limit,
                    conversations=count,
                    period=rule.period,
                    start=start,
                    end=end,
                    time=now,
                )
            )
    return alerts


def _alert_text(rule: Rule, value: float, count: int, start: float, end: float) -> str:
    first, last = datetime.fromtimestamp(start), datetime.fromtimestamp(end)
    when = f"{first:%Y-%m-%d}" if rule.period == "day" else f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}"
    return (
        f"{when}: {_name(rule.measure)} {_amount(rule.measure, value)}, {rule.comparison} "
        f"{_amount(rule.measure, rule.limit)} ({count} conversations)"
    )


def _name(measure: str) -> str:
    names = {"conversations": "number of conversations", "wait": "mean waiting time", "duration": "mean duration"}
    return names.get(measure, f"share of mostly {measure} conversations" if measure in EMOTIONS else measure)


def _amount(measure: str, value: float) -> str:
    unit = MEASURES[measure][0]
    number = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {unit}" if unit in ("s", "%") else number


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise RuleError(f"{name} {str(value)[:40]!r} is unknown; use one of {', '.join(allowed)}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RuleError(f"{name} {str(value)[:40]!r} is no number; write for example 50")
    return float(value)
