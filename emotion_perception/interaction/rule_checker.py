"""Evaluates the rules of a folder after a conversation, stores the alerts, and passes them on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from emotion_perception.interaction.alerts import append_alert, read_alerts, read_rules
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.rules import Alert, RuleError, Statistics, evaluate
from emotion_perception.interaction.webhook import WebhookConfig, WebhookError, send


class RuleChecker:
    """Runs in a thread of its own: reading many conversations or waiting for the webhook may take seconds.

    Args:
        webhook: where alerts are sent.
        report: called with each new alert, before the webhook.
        warn: called with each problem when it appears.
    """

    def __init__(
        self, webhook: WebhookConfig, report: Callable[[Alert], object], warn: Callable[[str], object] = lambda _: None
    ) -> None:
        self._webhook, self._report, self._warn = webhook, report, warn
        self.rules_problem = ""  # why the rules were not evaluated after the last conversation
        self.webhook_problem = ""  # why the last alert was not delivered
        self.alerts = 0  # reported so far

    def check(self, store: ConversationStore, start: float, now: float) -> None:
        """Evaluate the rules for the hour and the day of a conversation that was stored.

        Args:
            store: where it is stored.
            start: when it began, s since the epoch.
            now: s since the epoch.
        """
        try:
            found = _evaluate(store, start, now)
            for alert in found:
                append_alert(store.folder, alert)
        except (RuleError, OSError) as error:  # StoreError is an OSError
            self._note("rules_problem", str(error))
            return
        self.rules_problem = ""
        for alert in found:
            self.alerts += 1
            self._report(alert)
        for alert in found if self._webhook.webhook_url else ():
            try:
                send(self._webhook, alert)
            except WebhookError as error:
                self._note("webhook_problem", str(error))
            else:
                self.webhook_problem = ""

    def _note(self, where: str, problem: str) -> None:
        if problem != getattr(self, where):
            self._warn(problem)
        setattr(self, where, problem)


def _evaluate(store: ConversationStore, start: float, now: float) -> list[Alert]:
    rules = read_rules(store.folder)
    if not rules:
        return []

    def statistics(first: float, after: float) -> Statistics:
        return store.period(_moment(first), _moment(after))

    try:
        return evaluate(rules, statistics, start, now, {alert.key for alert in read_alerts(store.folder)})
    finally:
        store.close()  # leaves the write-ahead log empty for other processes


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
