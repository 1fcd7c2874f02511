"""Deleting conversations: of one visit, one person, a period, everything; nothing of them stays on the disk."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from stored_conversations import MONDAY, NOON, Shop

from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.journal import Journal
from emotion_perception.interaction.records import JOURNAL_SUFFIX
from emotion_perception.interaction.store_database import DATABASE, StoreError
from emotion_perception.interaction.store_records import ConversationQuery

NAME = "Aurelia Quandt-Zöllner"
OTHER = "Zacharias"


def traces(folder: Path, name: str) -> list[str]:
    """The files that contain a name, however it is encoded."""
    forms = [name.encode(), name.encode("utf-16-le"), json.dumps(name)[1:-1].encode(), name.casefold().encode()]
    return [path.name for path in folder.rglob("*") if path.is_file() and any(f in path.read_bytes() for f in forms)]


def with_all_files(shop: Shop, key: str, name: str = "", **fields: Any) -> None:
    """A conversation with everything that may lie around of it."""
    shop.had(key, name=name, **fields)
    for suffix in ("csv", "html", "journal.jsonl", "journal.jsonl.damaged"):
        (shop.folder / f"{key}.{suffix}").write_text(f"visit of {name}")
    (shop.folder / f".part.{key}.json").write_text(f"half of {name}")


def test_nothing_of_a_deleted_conversation_stays_in_the_folder(shop: Shop) -> None:
    for i in range(40):  # some pages of the database, with the deleted row in the middle
        shop.had(f"c{i}", NOON + timedelta(minutes=i), name=f"{OTHER} {i}")
    with_all_files(shop, "x", NAME, persons={NAME: 20.0}, person_id=NAME, place=NAME)
    reader = ConversationStore(shop.folder)  # as dashboard_node beside interaction_node: keeps the database open
    assert shop.store.page().total == reader.page().total == 41
    assert len(traces(shop.folder, NAME)) >= 6
    done = shop.store.delete(ConversationQuery(interaction_id="x"), "page")
    assert traces(shop.folder, NAME) == []
    assert (done.conversations, done.files, done.what, done.asked_by) == (1, 6, "conversation", "page")
    assert reader.page().total == 40 and shop.store.page(ConversationQuery(person=NAME)).total == 0
    assert len(traces(shop.folder, OTHER)) >= 40, "the others are all there"


@pytest.mark.parametrize("victims", [1, 7, 100])
def test_rows_deleted_anywhere_leave_no_bytes_in_the_database(shop: Shop, victims: int) -> None:
    for i in range(200):
        shop.had(
            f"c{i}", NOON + timedelta(seconds=i), name=NAME if i % (200 // victims) == 1 % (200 // victims) else OTHER
        )
    assert shop.store.delete(ConversationQuery(person=NAME), "page").conversations >= victims
    assert traces(shop.folder, NAME) == []
    assert (shop.folder / f"{DATABASE}-wal").stat().st_size == 0


def test_a_person_is_deleted_by_id_in_any_role_and_by_name(shop: Shop) -> None:
    shop.had("partner", person_id="anna", persons={"anna": 10.0})
    shop.had("third", person_id="ben", persons={"ben": 20.0, "anna": 3.0})
    shop.had("named", name="anna")
    shop.had("other", person_id="annabel", name="anna's sister", persons={"annabel": 9.0})
    (shop.folder / "damaged.json").write_text('{"name": "anna", "arc"')
    done = shop.store.delete(ConversationQuery(person="anna"), "page")
    assert (done.conversations, done.what) == (4, "person")
    assert shop.ids() == ["other"] and not (shop.folder / "damaged.json").exists()


def test_a_day_takes_the_unfinished_and_damaged_files_of_that_day_with_it(shop: Shop) -> None:
    stamp = NOON.astimezone(timezone.utc)
    shop.had("inside")
    shop.had("outside", MONDAY + timedelta(days=1))
    unfinished = shop.folder / f"{stamp:%Y%m%dT%H%M%SZ}-abcdef{JOURNAL_SUFFIX}"
    later = shop.folder / f"{stamp + timedelta(days=2):%Y%m%dT%H%M%SZ}-abcdef{JOURNAL_SUFFIX}"
    for path in (unfinished, later):
        path.write_text("{}")
    done = shop.store.delete(ConversationQuery(start=MONDAY, end=MONDAY + timedelta(days=1)), "page")
    assert (done.conversations, done.what, done.start) == (2, "period", MONDAY)
    assert not unfinished.exists() and later.exists() and shop.ids() == ["outside"]


def test_everything_leaves_foreign_files_and_the_running_conversation(shop: Shop) -> None:
    with_all_files(shop, "x", NAME)
    shop.had("y")
    running = Journal(shop.folder / f"now{JOURNAL_SUFFIX}")
    running.append({"kind": "start"}, sync=True)
    for name in ("rules.yaml", "alerts.jsonl", "notes.txt", "not an id.json"):
        (shop.folder / name).write_text("{}")
    done = shop.store.delete(ConversationQuery(), "page")
    assert (done.conversations, done.running, done.what) == (2, 1, "everything")
    left = {path.name for path in shop.folder.iterdir() if not path.name.startswith(DATABASE)}
    assert left == {"rules.yaml", "alerts.jsonl", "notes.txt", "not an id.json", f"now{JOURNAL_SUFFIX}"}
    running.close()


def test_pictures_go_with_their_conversation(shop: Shop) -> None:
    shop.had("a")
    shop.had("b", NOON + timedelta(days=3))
    asked: list[str] = []
    query = ConversationQuery(start=MONDAY, end=MONDAY + timedelta(days=1))
    done = shop.store.delete(query, "page", lambda ids: asked.extend(ids) or 7)
    assert asked == ["a"] and done.pictures == 7 and shop.store.deleted_ids() == []
    shop.store.delete(ConversationQuery(), "retention")
    assert shop.store.deleted_ids() == ["b"], "kept for the process that stores pictures"
    shop.store.forget_deleted(["b"])
    assert shop.store.deleted_ids() == []


def test_a_deletion_that_fails_names_the_reason_and_can_be_repeated(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        shop.had(f"c{i}")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "c2.json":
            raise OSError(30, "Read-only file system")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=r"of 4 conversations were deleted; .*c2\.json: Read-only file system"):
        shop.store.delete(ConversationQuery(), "page")
    monkeypatch.undo()
    assert "c2" in shop.ids()
    shop.store.delete(ConversationQuery(), "page")
    assert shop.ids() == [] and list(shop.folder.glob("*.json")) == []


def test_a_reader_in_another_process_only_delays_the_erasure(shop: Shop) -> None:
    for i in range(20):
        shop.had(f"c{i}", name=NAME)
    shop.store.page()
    code = (
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN')\n"
        "c.execute('SELECT * FROM conversation').fetchone(); print('reading', flush=True); time.sleep(1.5)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", code, str(shop.folder / DATABASE)], stdout=subprocess.PIPE)
    assert reader.stdout is not None and reader.stdout.readline() == b"reading\n"
    shop.store.delete(ConversationQuery(), "page")
    reader.wait(20)
    assert traces(shop.folder, NAME) == []


def test_a_deletion_killed_half_way_is_finished_by_the_next_one(shop: Shop) -> None:
    with_all_files(shop, "x", NAME)
    shop.had("y")
    shop.store.page()
    (shop.folder / "x.json").unlink()  # killed before the rows were deleted
    assert shop.ids() == ["y"]
    with_all_files(shop, "z", NAME)
    (shop.folder / "z.csv").unlink()  # killed after the first file
    done = shop.store.delete(ConversationQuery(person=NAME), "page")
    assert done.conversations == 2 and traces(shop.folder, NAME) == []


def test_a_damaged_database_that_was_set_aside_goes_too(shop: Shop) -> None:
    shop.had("x", name=NAME)
    shop.store.page()
    shop.store.close()
    path = shop.folder / DATABASE
    path.write_bytes(b"x" * 100 + path.read_bytes()[100:])
    assert shop.store.page().total == 1 and path.with_name(f"{DATABASE}.damaged").exists()
    shop.store.delete(ConversationQuery(person=NAME), "page")
    assert traces(shop.folder, NAME) == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
