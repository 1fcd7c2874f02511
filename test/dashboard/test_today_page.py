"""The Today view in a real browser, with days of a made-up shop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from page_world import Page, a_state, open_page, store_conversation
from shop_days import FRIDAY, make_day

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import Store
from emotion_perception.feedback.pictures import PictureConfig, Pictures
from emotion_perception.feedback.retention import time_name
from emotion_perception.files import write_atomically
from emotion_perception.interaction.alerts import append_alert, read_rules, write_rules
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.rules import Rule, evaluate
from emotion_perception.interaction.storage_choice import ChoiceFile, StorageChoice
from emotion_perception.interaction.turns import find_turns
from emotion_perception.types import SECOND

RULE = Rule("satisfaction", "below", 50, "hour", 5)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """A Friday with a bad hour, and the Friday before."""
    folder = tmp_path_factory.mktemp("shop")
    make_day(folder, FRIDAY - timedelta(days=7), 50, 0.1)
    make_day(folder, FRIDAY, 60, 0.4, bad_hour=14)
    return folder


@pytest.fixture(scope="module")
def server(shop) -> Iterator[DashboardServer]:
    made = DashboardServer(ServerConfig(port=0), Parts(Store(), archive=ConversationStore(shop)))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def page(browser, server) -> Iterator[Page]:
    with open_page(browser, server.url, 1280) as made:
        yield made


def choose_day(page: Page, day: Any = FRIDAY, view: str = "today") -> None:
    """Open the view at a day."""
    page.open(view)
    page.until(lambda: page.find("#today-kinds button[aria-pressed=true]"), "the view is not shown")
    page.run(
        "const d = document.querySelector('#today-date');d.value = arguments[0]; d.dispatchEvent(new Event('change'))",
        str(day),
    )
    dates = (f"{day:%B} {day.day}", f"{day.day} {day:%B}")
    page.until(lambda: any(text in page.text("#today-span") for text in dates), "not that day")


@pytest.mark.timeout(300)
def test_the_first_view_is_today_with_headline_chart_and_comparison(page, screenshots):
    page.browser.get("about:blank")
    page.browser.get(page.url)
    page.says("#today-title", "conversation")
    choose_day(page)
    page.says("#today-title", "conversations")
    assert int(page.text("#today-title").split()[0]) in range(50, 70)
    line = page.text("#today-line")
    assert line.startswith("Satisfaction ") and " ± " in line and "on the Friday before" in line
    assert line.endswith("worst hour 14–15")
    assert page.run("return document.querySelectorAll('#today-chart .bar').length") == 10
    assert page.run("return document.querySelectorAll('#today-chart .worst .bar').length") == 1
    assert "worst hour 14–15" in page.run(
        "return document.querySelector('#today-chart svg').getAttribute('aria-label')"
    )
    assert "up " in page.text("#today-compare") and "no conversations then" in page.text("#today-compare")
    page.browser.save_screenshot(str(screenshots / "today.png"))


def test_a_suggestion_shows_its_figures_and_opens_its_conversations(page):
    choose_day(page)
    page.says("#today-ideas", "before anybody spoke, 14–15")
    assert "Satisfaction was lowest 14–15" in page.text("#today-ideas")
    page.run("document.querySelector('#today-ideas button').click()")
    page.says("#conversation", "Time by emotion")
    page.run("document.querySelector('#conversation').close()")


def test_an_hour_of_the_chart_opens_its_conversations_in_the_list(page):
    choose_day(page)
    page.until(lambda: page.run("return document.querySelector('#today-chart .worst')"), "no worst hour")
    page.run("document.querySelector('#today-chart .worst').dispatchEvent(new Event('click'))")
    page.says("#conversation-list", "onversation")
    page.until(lambda: page.run("return document.querySelectorAll('#conversation-list tbody tr').length") == 7, "all")
    assert page.run("return document.querySelector('#filter-from').value") == str(FRIDAY)
    assert page.run("return document.querySelector('#filter-hour').value") == "14"


def test_weeks_and_months_have_a_bar_for_each_day(page):
    choose_day(page)
    page.run("document.querySelector('[data-kind=week]').click()")
    page.says("#today-span", "29 November")
    page.until(lambda: page.run("return document.querySelectorAll('#today-chart .hour').length") == 7, "no week")
    assert page.run("return document.querySelectorAll('#today-chart .bar').length") == 1
    page.run("document.querySelector('[data-kind=month]').click()")
    page.until(lambda: page.run("return document.querySelectorAll('#today-chart .bar').length") == 2, "no month")
    page.run("document.querySelector('#today-previous').click()")
    page.until(lambda: "No conversation" in page.text("#today-title"), "October was empty")


def test_the_view_fits_a_phone_and_dark_mode(page, screenshots):
    for name, (width, height, dark) in {"phone": (360, 780, False), "dark": (1280, 900, True)}.items():
        page.look(width, height, dark)
        choose_day(page)
        page.says("#today-title", "conversations")
        wide = page.run(
            "return [...document.querySelectorAll('body *')]"
            ".filter((e) => e.getBoundingClientRect().right > arguments[0] && !e.closest('.scroll, .skip, svg'))"
            ".map((e) => `${e.tagName} ${e.id} ${e.className}`)",
            width,
        )
        assert wide == [], "wider than the window"
        page.browser.save_screenshot(str(screenshots / f"today_{name}.png"))


def test_rules_are_added_refused_with_the_fix_and_deleted(page, shop):
    write_rules(shop, [RULE])
    page.open("today")
    page.says("#rules-list", "satisfaction of an hour falls below 50, with at least 5 conversations".capitalize())
    page.run("document.querySelector('#rule-measure').value = 'wait'; document.querySelector('#rule-limit').value = 30")
    page.run("document.querySelector('#rule-comparison').value = 'above'")
    page.run("document.querySelector('#rules-form button').click()")
    page.says("#rules-list", "The waiting time of an hour rises above 30 s")
    assert [rule.measure for rule in read_rules(shop)] == ["satisfaction", "wait"]
    page.run("document.querySelector('#rules-form button').click()")
    page.says("#rules-error", "is used twice; delete one rule")
    page.run("document.querySelectorAll('#rules-list button')[1].click()")
    page.until(lambda: len(read_rules(shop)) == 1, "the rule is still there")
    # The browser logs the refused request.
    assert [line for line in page.problems() if "400" not in line] == []


def test_alerts_of_the_shown_day_are_listed(page, shop, server):
    store = server.parts.archive

    def statistics(start: float, end: float) -> Any:
        return store.period(datetime.fromtimestamp(start).astimezone(), datetime.fromtimestamp(end).astimezone())

    moment = datetime(FRIDAY.year, FRIDAY.month, FRIDAY.day, 14, 30).timestamp()
    (alert,) = evaluate([RULE], statistics, moment, moment + 60)
    append_alert(shop, alert)
    choose_day(page)
    page.says("#alerts", "below 50")
    assert "14–15" in page.text("#alerts")


def test_the_live_strip_shows_who_is_here_and_links_to_the_live_view(page, server):
    page.open("today")

    def seen() -> bool:
        now = time.time_ns()
        server.parts.store.add_state(a_state(now), now)
        return "appy 80" in page.text("#strip-emotion")

    page.until(seen, "nobody is shown")
    assert page.run("return document.querySelector('.strip').hash") == "#/live"


@pytest.mark.timeout(200)
def test_at_first_start_a_choice_in_words_keeps_numbers_only(browser, shop, tmp_path):
    parts = Parts(Store(), choice=ChoiceFile(str(tmp_path)))

    def choose(choice: StorageChoice) -> None:
        parts.choice.write(choice)
        parts.archive = ConversationStore(shop) if choice.keep_numbers else None

    parts.choose_storage = choose
    server = DashboardServer(ServerConfig(port=0), parts)
    server.start()
    try:
        page = Page(browser, server.url)
        page.look(1280, 900)
        page.open("today")
        page.says("#today-title", "How are your customers today?")
        page.says("#storage", "No pictures, no sound, no names")
        page.run(
            "document.querySelector('#storage-days').value = '30'; document.querySelector('#storage-keep').click()"
        )
        page.says("#storage", "The robot keeps numbers about each conversation")
        page.says("#today-title", "onversation")
        assert ChoiceFile(str(tmp_path)).read() == StorageChoice(True, 30)
    finally:
        server.stop()
        browser.get("about:blank")


@pytest.mark.timeout(200)
def test_a_conversation_shows_where_it_turned_why_and_what_resembles_it(browser, tmp_path, screenshots):
    start = 1_795_800_000 * SECOND
    for i in range(3):
        store_conversation(tmp_path / "talks", f"c{i}", start + i * 900 * SECOND, 0.3 * i, seconds=90)
    pictures = Pictures(PictureConfig(tmp_path / "faces", consented=True, retention_days=3650.0))
    store = ConversationStore(tmp_path / "talks")
    (turn, *_) = find_turns(store.read("c0")["arc"])
    stamp = start + round(turn.time * SECOND)
    face = cv2.imencode(".jpg", np.full((60, 60, 3), 127, np.uint8))[1].tobytes()
    write_atomically(tmp_path / "faces/c0" / f"{time_name(time.time())}-{stamp}-sad.jpg", [face])
    server = DashboardServer(ServerConfig(port=0), Parts(Store(), archive=store, pictures=pictures))
    server.start()
    try:
        page = Page(browser, server.url)
        page.look(1280, 1200)
        page.open("conversations")
        page.until(lambda: page.text("#conversation-list"), "no list")
        page.run(
            "return import(document.querySelector('script').src.replace('app.js', 'conversation.js'))"
            ".then(({ open }) => open('c0'))"
        )
        page.says("#conversation", "50 would be neutral. Raised by happy moments")
        turns = page.text("#conversation .turns")
        assert "better from here" in turns or "worse from here" in turns
        assert page.run("return document.querySelectorAll('#conversation circle.mark').length") == len(
            find_turns(store.read("c0")["arc"])
        )
        page.until(
            lambda: page.run("return document.querySelector('#conversation figure img').naturalWidth") == 60, "no face"
        )
        page.browser.save_screenshot(str(screenshots / "conversation_why.png"))
        assert len(page.run("return [...document.querySelectorAll('.similar li')]")) == 2
        page.run("document.querySelector('.similar button').click()")
        page.until(
            lambda: page.run("return document.querySelector('#conversation figure') === null"), "still the first"
        )
        assert page.problems() == []
    finally:
        server.stop()
        browser.get("about:blank")
