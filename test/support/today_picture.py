"""The picture of the Today view in the README: ``python test/support/today_picture.py docs/images/today.png``.

Shows the Friday of :mod:`shop_days` in the evening, with somebody in front of the robot.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from page_world import Page, a_state, chromium
from shop_days import FRIDAY, make_weeks

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.routes import today
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import EXPECTED_NODES, Store
from emotion_perception.interaction.alerts import append_alert, write_rules
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.rules import Rule, evaluate
from emotion_perception.types import SECOND, NodeHealth, RunningConversation

EVENING = datetime(FRIDAY.year, FRIDAY.month, FRIDAY.day, 18, 30).timestamp()
SIZE = (1280, 900)


class Friday(date):
    """The calendar of that day."""

    @classmethod
    def today(cls) -> Friday:
        return cls(FRIDAY.year, FRIDAY.month, FRIDAY.day)


def add_rules(folder: Path, store: ConversationStore) -> None:
    """A rule, and what it found."""
    rules = [Rule("satisfaction", "below", 50, "hour")]
    write_rules(folder, rules)
    moment = datetime(FRIDAY.year, FRIDAY.month, FRIDAY.day, 14, 50).timestamp()
    for alert in evaluate(rules, lambda *span: store.period(*map(_local, span)), moment, moment):
        append_alert(folder, alert)


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()


def feed(store: Store, ends: threading.Event) -> None:
    """Somebody in front of the robot."""
    while not ends.wait(0.3):
        now = time.time_ns()
        store.add_state(a_state(now), now)
        store.add_conversation(RunningConversation("id", "p", now - 48 * SECOND, now, "flat", 0.1, 1, 0.3))
        store.add_health([NodeHealth(name, "ok", "active", {}) for name in EXPECTED_NODES])


def main(path: str) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder, live, ends = Path(name), Store(), threading.Event()
        make_weeks(folder)
        store = ConversationStore(folder)
        add_rules(folder, store)
        server = DashboardServer(ServerConfig(port=0), Parts(live, archive=store))
        threading.Thread(target=feed, args=(live, ends), daemon=True).start()
        clock = SimpleNamespace(time=lambda: EVENING)
        with mock.patch.object(today, "time", clock), mock.patch.object(today, "date", Friday), chromium() as browser:
            server.start()
            page = Page(browser, server.url)
            page.look(*SIZE)
            page.open("today")
            page.says("#today-line", "worst hour")
            page.says("#strip-emotion", "80")
            page.says("#rules-list", "falls below")
            time.sleep(1.0)
            browser.save_screenshot(path)
        ends.set()
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1])
