"""The view of several robots and places in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from page_world import Page, open_page
from shop_days import make_day

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.sources import Places
from emotion_perception.dashboard.store import Store
from emotion_perception.interaction.conversation_store import ConversationStore

FRIDAY = date(2026, 11, 27)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardServer]:
    """A robot with a good day, a second one with a bad hour, and a third that is to be imported."""
    root = tmp_path_factory.mktemp("chain")
    shops = {"own": (60, 0.45, None), "till": (90, 0.2, 14), "Lindenallee": (30, 0.1, None)}
    for name, (count, mood, bad_hour) in shops.items():
        (root / name).mkdir()
        make_day(root / name, FRIDAY, count, mood, bad_hour)
        make_day(root / name, FRIDAY - timedelta(days=7), count - 10, 0.1, None, seed=1)
    stores = {name: ConversationStore(root / name) for name in shops}
    (root / "export.json").write_bytes(Places(stores["Lindenallee"], "Lindenallee").export(True))
    (root / "wrong.json").write_text("{}")
    others = (("Till", root / "till"), ("Gone", root / "nowhere"))
    places = Places(stores["own"], "Entrance", others, root / "imports")
    made = DashboardServer(ServerConfig(port=0), Parts(Store(), archive=stores["own"], places=places))
    made.root = root  # type: ignore[attr-defined]
    made.start()
    yield made
    made.stop()


@pytest.fixture
def page(browser: Any, server: DashboardServer) -> Iterator[Page]:
    with open_page(browser, server.url, expected="422") as made:  # the file that is refused
        yield made


def rows(page: Page) -> list[str]:
    return page.run("return [...document.querySelectorAll('.places tbody tr')].map((row) => row.innerText)")


@pytest.mark.timeout(600)
def test_places_are_compared_imported_and_opened(page: Page, server: DashboardServer, screenshots: Path) -> None:
    page.open("places")
    page.says(".places", "Till")
    page.run(
        "const date = document.querySelector('#places-controls input'); date.value = arguments[0];"
        "date.dispatchEvent(new Event('change'))",
        str(FRIDAY),
    )
    page.says(".places", "14–15")
    own, till, gone = rows(page)
    assert "This robot" in own and "up " in own and "14–15" in till and "Its figures cannot be read" in gone

    page.find("#place-file").send_keys(str(server.root / "wrong.json"))
    page.says("#places-body [role=alert]", "no export of a robot's page")
    page.find("#place-file").send_keys(str(server.root / "export.json"))
    page.says(".places", "Lindenallee")
    assert "as of" in rows(page)[3]
    for look, (width, height, dark) in {
        "light": (1360, 1000, False), "dark": (1360, 1000, True), "phone": (360, 1900, False)
    }.items():  # fmt: skip
        page.look(width, height, dark)
        page.take(screenshots / f"places_{look}.png")
        assert page.run("return document.documentElement.scrollWidth <= innerWidth"), f"{look}: wider than the window"
    page.look(1360, 900)

    page.find(".places tbody tr:nth-child(2) a").click()
    page.says("#today-place", "Figures of Till")
    page.says("#today-title", "90 conversations")
    assert "worst hour 14–15" in page.text("#today-line") and page.text("#today-side") == ""
    page.take(screenshots / "places_opened_light.png")
    page.find("#today-place a").click()
    page.until(lambda: page.text("#today-place") == "", "the figures of this robot are not shown again")

    page.open("places")
    page.says(".places", "Lindenallee")
    page.find(".places tbody tr:nth-child(4) button").click()
    page.until(lambda: len(rows(page)) == 3, "the imported file is not removed")


@pytest.mark.timeout(600)
def test_a_single_robot_has_no_tab_for_places_but_a_link_to_its_export(page: Page, server: DashboardServer) -> None:
    places = server.parts.places
    server.parts.places = Places(server.parts.archive, "Entrance")
    try:
        page.open("live")
        page.until(lambda: page.run("return document.documentElement.classList.contains('ready')"), "no page")
        page.until(lambda: page.text("#link") != "Connecting", "it does not connect")
        assert page.text("#nav-places") == ""
        page.open("robot")
        page.says("#robot-places", "Share the figures of this robot")
        page.find("#robot-places a").click()
        page.says(".exchange", "Download")
    finally:
        server.parts.places = places
