"""The list of stored conversations: pages, filters and deletion, asked of the server and used in a browser."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from page_world import Page
from stored_conversations import MONDAY, NOON, Shop

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.store import Store
from emotion_perception.feedback.pictures import PictureConfig, Pictures
from emotion_perception.interaction.store_records import Deletion


def fill(shop: Shop) -> None:
    """70 conversations on Monday, 5 on Tuesday, one of them with a name and a place."""
    for i in range(70):
        shop.had(f"mon{i:02}", MONDAY + timedelta(minutes=10 * i), 10 + i, label="sad" if i % 2 else "happy")
    for i in range(4):
        shop.had(f"tue{i}", NOON + timedelta(days=1, minutes=i), 80)
    shop.had("anna", NOON + timedelta(days=1, hours=3), None, name="Anna <b>", place="Bonn", duration=400.0)


def asked(client: Any, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/conversations?{query}")
    assert answer.status == 200, answer.body
    return answer.json


def test_the_list_pages_through_all_with_exact_days(serve, shop: Shop) -> None:
    fill(shop)
    client = serve(Parts(Store(), archive=shop.store))
    first = asked(client)
    assert first["total"] == 75 and len(first["conversations"]) == 50 and first["importing"] is None
    assert [day["conversations"] for day in first["days"]] == [70, 5], "of the whole day, not of the part shown"
    assert first["days"][0]["satisfaction_mean"] == pytest.approx(10 + 69 / 2)
    second = asked(client, "offset=50")
    ids = [line["id"] for line in first["conversations"] + second["conversations"]]
    assert (
        len(set(ids)) == 75 and ids == sorted(ids, key=lambda name: (name[0] != "a", name[:3] != "tue"))[:5] + ids[5:]
    )
    assert first["places"] == ["Bonn"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("sort=worst&limit=2", ["mon00", "mon01"]),
        ("text=anna%20%3Cb", ["anna"]),
        ("place=Bonn", ["anna"]),
        ("min_s=300&max_s=500", ["anna"]),
        ("hour=2&from=2026-11-23&to=2026-11-23&emotion=sad&sort=oldest", ["mon13", "mon15", "mon17"]),
        ("from=2026-11-24&sort=oldest&limit=1&offset=3", ["tue3"]),
    ],
)
def test_a_search_is_that_of_its_address(serve, shop: Shop, query: str, ids: list[str]) -> None:
    fill(shop)
    assert [line["id"] for line in asked(serve(Parts(Store(), archive=shop.store)), query)["conversations"]] == ids


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=9999", "from=yesterday", "to=9999-12-31", "sort=;", "hour=30", "min_s=a"]
)
def test_a_search_that_makes_no_sense_is_refused(serve, shop: Shop, query: str) -> None:
    answer = serve(Parts(Store(), archive=shop.store)).get(f"/api/conversations?{query}")
    assert answer.status == 400 and query.partition("=")[0].split("_")[0] in answer.error


def test_what_is_deleted_goes_with_its_pictures_and_is_proven(serve, shop: Shop, tmp_path: Path) -> None:
    fill(shop)
    folder = tmp_path / "pictures"
    for name in ("anna", "tue0", "mon05"):
        (folder / name).mkdir(parents=True)
        (folder / name / "20261123T120000Z-1795000000000000000-happy.jpg").write_bytes(b"jpeg")
    proofs: list[Deletion] = []
    pictures = Pictures(PictureConfig(folder, consented=True))
    client = serve(Parts(Store(), archive=shop.store, pictures=pictures, deletion_done=proofs.append))
    assert client.ask("DELETE", "/api/conversations?person=Anna%20%3Cb%3E").json["conversations"] == 1
    assert client.ask("DELETE", "/api/conversations/tue0").json == {"conversations": 1, "pictures": 1, "running": 0}
    assert client.ask("DELETE", "/api/conversations/tue0").status == 404
    assert client.ask("DELETE", "/api/conversations?from=2026-11-23&to=2026-11-23").json["conversations"] == 70
    assert [line["id"] for line in asked(client)["conversations"]] == ["tue3", "tue2", "tue1"]
    assert client.ask("DELETE", "/api/conversations?everything=1").json["conversations"] == 3
    assert list(folder.rglob("*.jpg")) == [] and list(shop.folder.glob("*.json")) == []
    assert [(proof.what, proof.conversations, proof.pictures, proof.asked_by) for proof in proofs] == [
        ("person", 1, 1, "page"),
        ("conversation", 1, 1, "page"),
        ("period", 70, 1, "page"),
        ("everything", 3, 0, "page"),
    ]


@pytest.mark.parametrize(
    "query", ["", "from=", "person=", "persn=anna", "everything=0", "everything=1&person=a", "text=a"]
)
def test_a_deletion_that_does_not_say_what_deletes_nothing(serve, shop: Shop, query: str) -> None:
    shop.had("a")
    answer = serve(Parts(Store(), archive=shop.store)).ask("DELETE", f"/api/conversations?{query}")
    assert answer.status == 400 and shop.ids() == ["a"]


def test_only_the_page_itself_can_delete(serve, shop: Shop) -> None:
    shop.had("a")
    client = serve(Parts(Store(), archive=shop.store))
    assert client.ask("DELETE", "/api/conversations?everything=1", own=False).status == 403
    assert shop.ids() == ["a"]


def test_a_database_that_cannot_be_used_says_why(serve, shop: Shop) -> None:
    import sqlite3

    shop.had("a")
    shop.store.page()
    shop.store.close()
    with sqlite3.connect(shop.folder / "conversations.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    answer = serve(Parts(Store(), archive=shop.store)).get("/api/conversations")
    assert answer.status == 503 and "newer version" in answer.error


@pytest.mark.timeout(600)
def test_the_page_lists_all_searches_and_deletes_after_asking(browser, serve, shop: Shop) -> None:
    fill(shop)
    store = Store()
    store.set_conversations(shop.store.version())
    page = Page(browser, serve(Parts(store, archive=shop.store)).server.url)
    count = "return document.querySelectorAll('#conversation-list tbody tr').length"
    page.look(1360, 900)
    browser.get_log("browser")
    page.open("conversations")
    page.until(lambda: page.run(count) == 50, "the first part")
    shown = page.text("#conversation-list")
    assert "70 conversations" in shown and "Show more (25 left)" in shown
    page.find("#more-conversations").click()
    page.until(lambda: page.run(count) == 75, "the rest")
    assert not page.text("#more-conversations")
    page.run(
        "const sort = document.querySelector('#filter-sort'); sort.value = 'worst';"
        "sort.dispatchEvent(new Event('change'))"
    )
    first = "return document.querySelector('#conversation-list tbody td:last-child').innerText.trim()"
    page.until(lambda: page.run(first).startswith("10 "), "the worst first")
    page.find("#filter-text").send_keys("anna")
    page.until(lambda: page.run(count) == 1, "the search")
    assert page.run("return document.activeElement.id") == "filter-text", "the list does not take the focus away"
    page.look(390, 800)
    wide = (
        "return [...document.querySelectorAll('#conversations *')].filter((e) => e.getBoundingClientRect().right > 391)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    page.until(lambda: page.run(wide) == [], "too wide for a phone")
    page.look(1360, 900)
    page.find("#conversation-list .name").click()
    page.says("#conversation", "Delete all with Anna <b>…")
    page.find("#conversation .row.end button").click()
    page.says("#sure-delete-conversations", "Delete this conversation?")
    assert shop.ids(text="anna") == ["anna"], "nothing before the answer"
    page.find("#delete-conversations-yes").click()
    page.says("#conversation-list", "No conversation matches")
    assert shop.ids(text="anna") == []
    page.find("#filter-text").clear()
    page.find("#filter-text").send_keys(" ")
    page.says("#conversation-exports", "Delete all conversations…")
    assert page.problems() == []
    assert datetime.fromtimestamp(shop.store.page().conversations[0]["start"]).date() > MONDAY.date()
