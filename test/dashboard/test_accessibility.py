"""The page measured by axe-core (WCAG 2.2 AA), and where the focus goes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from page_robot import take, views
from page_world import Page

WIDTHS = (360, 768, 1280)
LIGHT, DARK = False, True
RUN = """
const [rules, done] = arguments;
const options = {resultTypes: ["violations"], ...(rules ? {runOnly: {type: "rule", values: rules}} : {})};
axe.run(document, options).then(
  (found) => done(found.violations.flatMap(
    (v) => v.nodes.slice(0, 3).map((n) => [v.id, n.target, n.failureSummary].join(": ")))),
  (error) => done([String(error)]));
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, out of the wheel of axe-playwright-python, which is not imported: it would need Playwright."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, axe: str, rules: list[str] | None = None) -> list[str]:
    if not page.run("return Boolean(window.axe)"):
        page.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    return page.browser.execute_async_script(RUN, rules)


def go(page: Page, view: str) -> None:
    """Open a view without loading the page anew."""
    page.run("location.hash = arguments[0]", f"#/{view}")
    page.until(lambda: page.run(VISIBLE, view), f"{view} is not shown")
    page.run("document.activeElement.blur()")


VISIBLE = """
const view = document.getElementById(arguments[0]);
return !view.hidden && document.querySelector(".tabs [aria-current]").hash === "#/" + arguments[0]
  && document.getAnimations().length === 0;
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [LIGHT, DARK], ids=["light", "dark"])
def test_no_view_violates_a_rule_of_axe(page: Page, axe: str, width: int, dark: bool) -> None:
    page.look(width, 900, dark)
    page.open("live")
    page.until(lambda: page.text("#label") and page.text(".face"), "nothing to see")
    rules = ["color-contrast"] if dark else None  # the theme changes nothing but colours
    for view in views(page):
        go(page, view)
        assert violations(page, axe, rules) == [], f"{view} at {width} px"


@pytest.mark.timeout(600)
def test_menus_dialogs_and_the_expert_view_violate_no_rule_of_axe(page: Page, axe: str, screenshots: Path) -> None:
    page.look(1280, 900)
    page.open("live")
    page.until(lambda: page.text("#label") and page.text(".face"), "nothing to see")
    page.find("#preferences summary").click()
    page.find("#expert").click()
    page.says("#plane-numbers", "+0.")
    assert violations(page, axe) == []
    take(page, screenshots / "expert_light.png")
    page.find(".face").click()
    page.says("#correct", "for this face")
    assert violations(page, axe) == []
    page.find("#correct-cancel").click()
    go(page, "conversations")
    page.find("#conversation-list .name").click()
    page.says("#conversation", "Time by emotion")
    assert violations(page, axe) == []
    page.run("document.querySelector('#conversation').close()")
    page.find("#preferences summary").click()
    page.find("#expert").click()
    assert page.text("#plane-numbers") == ""


@pytest.mark.timeout(600)
def test_the_login_page_violates_no_rule_of_axe(browser: Any, serve: Any, axe: str) -> None:
    client = serve(token="correct-horse-battery-staple")
    page = Page(browser, client.server.url)
    for dark in (LIGHT, DARK):
        page.look(360, 800, dark)
        browser.get(f"{client.server.url}login?wrong")
        page.says("#wrong", "not the token")
        assert violations(page, axe) == []
    page.run("document.querySelector('h1').style.color = 'var(--line)'")
    page.run("document.querySelector('main').append(new Image())")
    assert {found.split(":")[0] for found in violations(page, axe)} == {"color-contrast", "image-alt"}, "it can tell"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mood", ["nobody", "silent"])
def test_a_page_without_news_violates_no_rule_of_axe(page: Page, robot: Any, axe: str, mood: str) -> None:
    page.look(768, 900)
    page.open("live")
    page.says("#label", "Happy")
    robot.mood = mood
    page.says("#unknown", "Nobody is seen" if mood == "nobody" else "No news from the robot")
    page.until(lambda: mood == "nobody" or page.text("#robot-badge"), "no badge")
    for dark in (LIGHT, DARK):
        page.look(768, 900, dark)
        assert violations(page, axe) == []
    robot.mood = "happy"
    page.says("#label", "Happy")


def test_the_focus_stays_on_an_item_when_its_list_is_drawn_again(page: Page, robot: Any) -> None:
    page.look(1280, 900)
    page.open("conversations")
    page.until(lambda: page.text("#conversation-list .name"), "no conversation")
    page.run("document.querySelectorAll('#conversation-list .name')[1].focus()")
    before = page.run("return document.activeElement.dataset.key")
    page.run("window.marked = document.activeElement")
    page.run(
        "return import(document.querySelector('script').src.replace('app.js', 'util.js')).then(({ replace, el }) => {"
        " const list = document.querySelector('#conversation-list');"
        " replace(list, ...[...list.children].map((c) => c.cloneNode(true))); })"
    )
    assert not page.run("return window.marked.isConnected"), "the list was drawn again"
    assert page.run("return document.activeElement.dataset.key") == before
    page.run(
        "return import(document.querySelector('script').src.replace('app.js', 'util.js')).then(({ replace, el }) =>"
        " replace(document.querySelector('#conversation-list'), el('p', {}, 'nothing')))"
    )
    assert page.run("return document.activeElement.id") == "conversation-list", "not the top of the page"
