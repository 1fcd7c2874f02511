"""Rules about stored conversations: grammar, evaluation, alerts kept, the webhook."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from webhook_receiver import Receiver, receiver

from emotion_perception.interaction import alerts as alert_files
from emotion_perception.interaction.alerts import append_alert, read_alerts, read_rules, write_rules
from emotion_perception.interaction.rules import (
    RULES_FILE,
    Alert,
    Rule,
    RuleError,
    evaluate,
    parse_rules,
    period_at,
    rules_text,
)
from emotion_perception.interaction.webhook import WebhookConfig, WebhookError, send

NOON = datetime(2026, 11, 27, 12, 20).timestamp()
LOW = Rule("satisfaction", "below", 50, "hour", 5)


@dataclass(frozen=True)
class Hour:
    """Statistics of a period."""

    conversations: int = 10
    scored: int = 8
    satisfaction_mean: float | None = 42.3
    duration_s_mean: float | None = 90.0
    wait_s_mean: float | None = 40.0
    waits: int = 9
    emotions: dict[str, int] = field(default_factory=lambda: {"happy": 6, "angry": 2})


def found(rule: Rule, statistics: Hour, reported: Any = ()) -> list[Alert]:
    return evaluate([rule], lambda start, end: statistics, NOON, NOON + 100, reported)


def test_a_rule_in_yaml_is_read_and_written_back():
    text = "rules:\n  - {measure: satisfaction, comparison: below, limit: 50, period: hour, min_conversations: 5}\n"
    assert parse_rules(text) == (LOW,)
    assert parse_rules(rules_text([LOW, Rule("angry", "above", 12.5, "day", enabled=False)])) == (
        LOW,
        Rule("angry", "above", 12.5, "day", enabled=False),
    )
    assert parse_rules("") == () and parse_rules("rules:\n") == ()
    assert LOW.text == "satisfaction of an hour is below 50, with at least 5 conversations"


@pytest.mark.parametrize(
    ("text", "named", "fix"),
    [
        ("- a", "one key, 'rules'", "list below"),
        ("rules: 3", "must be a list", "- measure:"),
        ("rules: [x]", "rule 1: 'x' is no mapping", "measure: satisfaction"),
        ("rules: [{measure: satisfction}]", "comparison is missing", "add it"),
        ("rules: [{measur: x}]", "key 'measur' is unknown", "use one of measure"),
        (
            "rules: [{measure: luck, comparison: below, limit: 1, period: hour}]",
            "'luck'",
            "satisfaction, conversations",
        ),
        ("rules: [{measure: wait, comparison: under, limit: 1, period: hour}]", "'under'", "below, above"),
        ("rules: [{measure: wait, comparison: above, limit: 1, period: week}]", "'week'", "hour, day"),
        ("rules: [{measure: wait, comparison: above, limit: long, period: day}]", "limit 'long'", "50"),
        ("rules: [{measure: satisfaction, comparison: below, limit: 500, period: day}]", "limit 500", "0 to 100"),
        ("rules: [{measure: conversations, comparison: below, limit: 5, period: day}]", "'below'", "use 'above'"),
        (
            "rules: [{measure: wait, comparison: above, limit: 9, period: day, min_conversations: 0}]",
            "min_conversations 0",
            "1 to 10000",
        ),
        ("rules: [{measure: wait, comparison: above, limit: .nan, period: day}]", "limit 'nan'", "50"),
        ("rules: [{measure: wait, comparison: above, limit: 9, period: day, enabled: 2}]", "enabled 2", "leave it out"),
        ("rules: &a [*a]", "rule 1", "mapping"),
        ("rules: !!python/object:os.system x", "not YAML", "python"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_value_and_the_fix(text, named, fix):
    with pytest.raises(RuleError) as refused:
        parse_rules(text)
    assert named in str(refused.value) and fix in str(refused.value)


def test_two_equal_rules_and_too_many_are_refused():
    rule = "{measure: wait, comparison: above, limit: 9, period: day}"
    with pytest.raises(RuleError, match="used twice"):
        parse_rules(f"rules: [{rule}, {rule}]")
    with pytest.raises(RuleError, match="at most 50"):
        parse_rules("rules: [" + ", ".join([rule] * 51) + "]")


def test_a_low_hour_is_reported_with_its_figures():
    (alert,) = found(LOW, Hour())
    assert (alert.value, alert.limit, alert.conversations, alert.rule_id) == (42.3, 50, 8, LOW.id)
    assert alert.text == "2026-11-27 12:00 to 13:00: satisfaction 42.3, below 50 (8 conversations)"
    assert (alert.start, alert.end) == (NOON - 1200, NOON + 2400) and alert.time == NOON + 100


@pytest.mark.parametrize(
    "statistics",
    [
        Hour(satisfaction_mean=50.0),
        Hour(satisfaction_mean=None, scored=0),
        Hour(satisfaction_mean=float("nan")),
        Hour(scored=4),
        Hour(conversations=0, scored=0, satisfaction_mean=None, emotions={}),
    ],
)
def test_nothing_is_reported_at_the_limit_without_scores_or_with_too_few(statistics):
    assert found(LOW, statistics) == []


def test_each_measure_is_compared_in_its_unit():
    assert found(Rule("wait", "above", 30, "day"), Hour())[0].text.endswith(
        "mean waiting time 40 s, above 30 s (9 conversations)"
    )
    assert found(Rule("angry", "above", 20, "day"), Hour())[0].value == 25.0
    assert not found(Rule("sad", "above", 0, "day"), Hour())
    assert not found(Rule("angry", "above", 0, "day"), Hour(emotions={}))
    assert found(Rule("conversations", "above", 9, "day"), Hour())[0].value == 10
    assert found(Rule("duration", "below", 100, "day"), Hour())[0].value == 90


def test_a_rule_reports_a_period_once_and_the_next_period_again():
    (alert,) = found(LOW, Hour())
    assert found(LOW, Hour(), {alert.key}) == []
    later = evaluate([LOW], lambda start, end: Hour(), NOON + 3600, NOON + 3700, {alert.key})
    assert [item.start for item in later] == [alert.end]


def test_a_disabled_rule_is_silent_and_statistics_are_read_once_a_period():
    asked: list[tuple[float, float]] = []

    def statistics(start: float, end: float) -> Hour:
        asked.append((start, end))
        return Hour()

    rules = [LOW, Rule("wait", "above", 10, "hour"), dataclasses.replace(LOW, enabled=False, id="off")]
    assert len(evaluate(rules, statistics, NOON, NOON)) == 2
    assert asked == [(NOON - 1200, NOON + 2400)]


def test_days_on_which_the_clock_is_changed_have_23_and_25_hours(berlin):
    for day, hours in ((29, 23), (30, 24)):
        start, end = period_at("day", datetime(2026, 3, day, 12).timestamp())
        assert end - start == hours * 3600
    start, end = period_at("day", datetime(2026, 10, 25, 12).timestamp())
    assert end - start == 25 * 3600
    first = datetime(2026, 10, 25, 2, 30, fold=0).timestamp()
    second = datetime(2026, 10, 25, 2, 30, fold=1).timestamp()
    assert period_at("hour", second)[0] - period_at("hour", first)[0] == 3600, "the hour that comes twice"


def test_rules_and_alerts_are_kept_in_private_files(tmp_path):
    assert read_rules(tmp_path) == () and read_alerts(tmp_path) == []
    write_rules(tmp_path, [LOW])
    assert read_rules(tmp_path) == (LOW,)
    (alert,) = found(LOW, Hour())
    append_alert(tmp_path, alert)
    with (tmp_path / alert_files.ALERTS_FILE).open("a") as file:
        file.write("torn {\n[]\n")
    append_alert(tmp_path, dataclasses.replace(alert, start=alert.end))
    assert [item.start for item in read_alerts(tmp_path)] == [alert.start, alert.end]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_rules_file_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / RULES_FILE).write_text("rules: [{measure: luck}]")
    with pytest.raises(RuleError, match=r"rules\.yaml: rule 1: "):
        read_rules(tmp_path)
    (tmp_path / RULES_FILE).write_bytes(b"\xff")
    with pytest.raises(RuleError, match="UTF-8"):
        read_rules(tmp_path)


def test_the_file_of_alerts_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(alert_files, "MAX_FILE", 3000)
    monkeypatch.setattr(alert_files, "MAX_ALERTS", 5)
    (alert,) = found(LOW, Hour())
    for i in range(40):
        append_alert(tmp_path, dataclasses.replace(alert, start=float(i)))
    assert (tmp_path / alert_files.ALERTS_FILE).stat().st_size <= 3300
    assert read_alerts(tmp_path)[-1].start == 39


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def test_an_alert_is_posted_as_json(hook):
    (alert,) = found(LOW, Hour())
    send(WebhookConfig(f"http://localhost:{hook.server_port}/hook?shop=3"), alert)
    ((path, body),) = hook.posted
    assert path == "/hook?shop=3"
    assert (body["rule"], body["value"], body["conversations"]) == (alert.rule_id, 42.3, 8)


def test_redirects_are_not_followed_and_failures_are_named(hook):
    (alert,) = found(LOW, Hour())
    base = f"http://127.0.0.1:{hook.server_port}"
    with pytest.raises(WebhookError, match="302; redirects are not followed"):
        send(WebhookConfig(f"{base}/moved"), alert)
    with pytest.raises(WebhookError, match="answered 500"):
        send(WebhookConfig(f"{base}/broken"), alert)
    assert [path for path, _ in hook.posted] == ["/moved", "/broken"]
    with pytest.raises(WebhookError, match="127.0.0.1:1/x: "):
        send(WebhookConfig("http://127.0.0.1:1/x"), alert)


def test_an_answer_that_does_not_come_is_given_up(hook):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        (alert,) = found(LOW, Hour())
        began = time.monotonic()
        with pytest.raises(WebhookError, match="timed out"):
            send(WebhookConfig(f"http://127.0.0.1:{deaf.getsockname()[1]}/", webhook_timeout_s=0.2), alert)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/", "add it to webhook_hosts"),
        ("http://192.168.1.5/", "add it to webhook_hosts"),
        ("http://localhost.example.org/", "webhook_hosts"),
        ("http://2130706433/", "webhook_hosts"),
        ("ftp://127.0.0.1/", "is no address"),
        ("127.0.0.1:80", "is no address"),
        ("http://user:secret@127.0.0.1/", "user name or password"),
        ("http://127.0.0.1:99999/", "ort"),
        ("http://127.0.0.1/a b", "space"),
    ],
)
def test_a_webhook_to_another_place_is_refused(url, reason):
    with pytest.raises(ValueError, match=reason):
        WebhookConfig(url)


def test_a_named_host_is_allowed_and_no_address_sends_nothing():
    assert WebhookConfig("https://Hooks.example.org/x", "a.org, hooks.example.org").address.port is None
    assert WebhookConfig("http://[::1]:8000/").address.hostname == "::1"
    assert WebhookConfig().webhook_url == ""


def test_tomorrow_is_another_day():
    start, end = period_at("day", NOON)
    assert datetime.fromtimestamp(start).date() + timedelta(days=1) == datetime.fromtimestamp(end).date()
