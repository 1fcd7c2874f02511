"""Several robots side by side: the same numbers from folders, archives and exported files; what imports refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from page_world import TOKEN, Client, store_conversation
from shop_days import FRIDAY, make_day

from emotion_perception.dashboard import place_file
from emotion_perception.dashboard.archive_source import ArchiveSource
from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.place_file import MAX_BYTES, PlaceFileError, read_place
from emotion_perception.dashboard.sources import Places, parse_places
from emotion_perception.dashboard.store import Store
from emotion_perception.files import read_json
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.types import SECOND

MONDAY = datetime(2026, 11, 23, 9).astimezone()
DAY = "2026-11-23"


def fill_folder(folder: Path, hours: int = 3, per_hour: int = 6, phase: float = 0.0, start: datetime = MONDAY) -> Path:
    for i in range(hours * per_hour):
        when = start + timedelta(hours=i // per_hour, minutes=9 * (i % per_hour))
        name = f"Mrs Example {i}"
        store_conversation(folder, f"{when:%m%d%H%M}-{i}", round(when.timestamp()) * SECOND, phase + i, name, 20 + i)
    return folder


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_folder(tmp_path_factory.mktemp("own"))


@pytest.fixture
def places(conversations: Path, tmp_path: Path) -> Callable[..., Places]:
    def make(*others: tuple[str, Path], **options: Any) -> Places:
        options = {"imports": tmp_path / "imports", "clock": lambda: 1_795_500_000.0} | options
        return Places(ConversationStore(conversations), "Entrance", others, **options)

    return make


def side_by_side(client: Client, query: str = f"date={DAY}") -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in client.get(f"/api/sources?{query}").json["sources"]}


def numbers(one: dict[str, Any]) -> dict[str, Any]:
    return {key: one[key] for key in ("total", "change", "worst")}


def data_set(folder: Path, conversations: Path, place: Callable[[int], str]) -> Path:
    """Markers as ``emotion-archive`` writes them, of the same conversations."""
    (folder / "recordings").mkdir(parents=True)
    (folder / "archive.json").write_text("{}")
    for i, path in enumerate(sorted(conversations.glob("*.json"))):
        summary = read_json(path)
        began = datetime.fromtimestamp(summary["start"]).astimezone().isoformat()
        marker = {"recording": str(i), "place": place(i), "status": "done", "began_at": began}
        summary = {**summary, "start": 0.0, "arc": None}
        (folder / "recordings" / f"{i}.json").write_text(json.dumps({**marker, "summary": summary}))
    return folder


def test_a_folder_an_archive_and_an_imported_file_have_the_same_numbers(
    conversations: Path, places: Callable[..., Places], serve: Callable[..., Client], tmp_path: Path
) -> None:
    archive = data_set(tmp_path / "archive", conversations, lambda i: "till")
    made = places(("copy", conversations), ("recordings", archive))
    client = serve(Parts(Store(), places=made))
    answer = client.get("/api/export")
    assert answer.status == 200 and "attachment" in answer.headers["Content-Disposition"]
    assert client.post("/api/sources", answer.body).json["name"] == "Entrance"
    found = side_by_side(client)
    assert [(one["name"], one["kind"]) for one in found.values()] == [
        ("", "own"),
        ("copy", "folder"),
        ("recordings", "archive"),
        ("Entrance", "file"),
    ]
    own = numbers(found[""])
    assert own["total"]["conversations"] == 18 and own["total"]["margin"] is not None
    assert own == numbers(found["copy"]) == numbers(found["Entrance"])
    recorded = numbers(found["recordings"])
    recorded["total"]["wait"] = own["total"]["wait"]  # an archive does not know how long somebody waited
    assert recorded == own
    for kind in ("week", "month"):
        found = side_by_side(client, f"kind={kind}&date={DAY}")
        assert numbers(found[""]) == numbers(found["Entrance"]) and found[""]["total"]["conversations"] == 18


def test_the_today_view_shows_the_figures_of_the_chosen_place(
    conversations: Path, places: Callable[..., Places], serve: Callable[..., Client], tmp_path: Path
) -> None:
    archive = data_set(tmp_path / "archive", conversations, lambda i: "till")
    client = serve(Parts(Store(), archive=ConversationStore(conversations), places=places(("till", archive))))
    own = client.get(f"/api/today?date={DAY}").json
    till = client.get(f"/api/today?date={DAY}&source={side_by_side(client)['till']['id']}").json
    assert till.pop("place") == "till" and till["alerts"] == []
    for phrase in (*own["suggestions"], *till["suggestions"]):
        phrase.pop("conversations")
    for one in (own["total"], till["total"], *own["parts"], *till["parts"], *own["comparisons"], *till["comparisons"]):
        one.pop("wait", None)  # an archive does not know how long somebody waited
    assert own == till
    assert client.get("/api/today?source=nobody").status == 404


def test_an_imported_place_shows_the_conversations_behind_a_suggestion(
    places: Callable[..., Places], serve: Callable[..., Client], tmp_path: Path
) -> None:
    make_day(tmp_path, FRIDAY, 70, 0.3, bad_hour=14)
    store = ConversationStore(tmp_path)
    made = places()
    with_lines, without = Places(store, "till").export(True), Places(store, "door").export(False)
    client = serve(Parts(Store(), archive=store, places=made))
    own = client.get(f"/api/today?date={FRIDAY}").json["suggestions"]
    till, door = (
        client.get(f"/api/today?date={FRIDAY}&source={made.add(data).id}").json["suggestions"]
        for data in (with_lines, without)
    )
    assert [phrase["key"] for phrase in own] == ["suggest.worst", "suggest.wait"]
    assert [phrase["conversations"] for phrase in door] == [[], []]
    for phrase in own:
        assert len(phrase["conversations"]) == 5
        for one in phrase["conversations"]:
            one["id"] = None
    assert own == till


def test_the_worst_hour_and_the_change_of_each_place_are_named(
    places: Callable[..., Places], serve: Callable[..., Client], tmp_path: Path
) -> None:
    other = fill_folder(tmp_path / "other", hours=2, start=MONDAY - timedelta(days=7))
    fill_folder(other, hours=2, per_hour=12)
    found = side_by_side(serve(Parts(Store(), places=places(("till", other)))))
    assert found["till"]["change"]["conversations"] == 12 and found[""]["change"]["verdict"] == "none"
    assert found["till"]["change"]["verdict"] in ("same", "up", "down", "too_few")


def test_an_archive_shows_each_of_its_places_and_follows_new_recordings(conversations: Path, tmp_path: Path) -> None:
    folder = data_set(tmp_path / "archive", conversations, lambda i: "till" if i % 2 else "door")
    warnings: list[str] = []
    (folder / "recordings" / "bad.json").write_text('{"status": "done", "began_at": "yesterday", "place": "x"}')
    (folder / "recordings" / "failed.json").write_text('{"status": "failed"}')
    source = ArchiveSource(folder, warnings.append)
    assert list(source.places()) == ["door", "till"] and len(warnings) == 1 and "bad.json" in warnings[0]
    week = MONDAY, MONDAY + timedelta(days=7)
    assert [table.period(*week).conversations for table in source.places().values()] == [9, 9]
    (folder / "recordings" / "0.json").unlink()
    assert source.places()["door"].period(*week).conversations == 8


def test_an_export_names_nobody(places: Callable[..., Places]) -> None:
    plain, with_lines = places().export(False), places().export(True)
    for data in (plain, with_lines):
        text = data.decode()
        assert "Example" not in text and "person_1" not in text and "nobody was there" not in text
    assert read_place(plain).conversations == () and len(read_place(with_lines).conversations) == 18
    first = read_place(with_lines).conversations[0]
    assert first["start"] == MONDAY.timestamp() and first["score"] is not None


def test_a_newer_file_of_a_place_replaces_the_older_one(places: Callable[..., Places]) -> None:
    made, older = places(), places(clock=lambda: 1_795_400_000.0).export(False)
    made.add(older)
    source = made.add(made.export(False))
    with pytest.raises(PlaceFileError, match="a newer file of 'Entrance' is here"):
        made.add(older)
    assert [one.made for one in made.sources() if one.kind == "file"] == [1_795_500_000.0]
    made.remove(source.id)
    assert [one.kind for one in made.sources()] == ["own"]
    with pytest.raises(ValueError, match="no imported place"):
        made.remove("../own")


def changed(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    fields = json.loads(data)
    change(fields)
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.update(version=2), "version 2 of exports is unknown"),
        (lambda f: f.update(format="x"), "no export"),
        (lambda f: f.update(name="a\nb"), "printable"),
        (lambda f: f.update(name="x" * 61), "60 printable"),
        (lambda f: f.update(made=True), "made must be a number"),
        (lambda f: f.update(hours={}), "hours must be a list"),
        (lambda f: f["hours"].append(f["hours"][0]), "twice"),
        (lambda f: f["hours"][0].append(1), "numbers"),
        (lambda f: f["hours"].append([1795500001, *f["hours"][0][1:]]), "no start of an hour"),
        (lambda f: f["hours"][0].__setitem__(2, 99), "contradict"),
        (lambda f: f["hours"][0].__setitem__(3, 1e9), "contradict"),
        (lambda f: f["hours"][0].__setitem__(1, 1.5), "whole number"),
        (lambda f: f["hours"][0].__setitem__(4, -1), "score_squares must be"),
        (lambda f: f["hours"][0].__setitem__(6, "<b>"), "duration must be"),
        (lambda f: f["conversations"][0].__setitem__(6, "<b>"), "emotion"),
        (lambda f: f["conversations"][0].__setitem__(3, 101), "score must be"),
        (lambda f: f["conversations"][0].pop(), "values"),
        (lambda f: f.pop("hour_columns"), "columns"),
    ],
)
def test_a_damaged_or_false_file_is_refused(
    places: Callable[..., Places], change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    data = places().export(True)
    assert read_place(data).name == "Entrance"
    with pytest.raises(PlaceFileError, match=reason):
        read_place(changed(data, change))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"made": NaN}', b"9" * 5000])
def test_what_is_no_export_is_refused(data: bytes) -> None:
    with pytest.raises(PlaceFileError, match="no export"):
        read_place(data)


def test_imports_are_bounded(
    places: Callable[..., Places], serve: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = places()
    client = serve(Parts(Store(), places=made))
    assert client.post("/api/sources", b" " * (MAX_BYTES + 1)).status == 413
    assert client.post("/api/sources", b"no").status == 422
    data = json.loads(made.export(False))
    monkeypatch.setattr("emotion_perception.dashboard.sources.MAX_FILES", 2)
    for name, status in (("a", 200), ("b", 200), ("c", 422), ("b", 200)):
        assert client.post("/api/sources", json.dumps({**data, "name": name})).status == status
    monkeypatch.setattr(place_file, "MAX_HOURS", 1)
    assert "at most 1" in client.post("/api/sources", json.dumps(data)).error
    files = list((tmp_path / "imports").iterdir())
    assert len(files) == 2 and all(path.stat().st_mode & 0o77 == 0 for path in files), "only this user can read them"


def test_a_place_that_cannot_be_read_does_not_hide_the_others(
    places: Callable[..., Places], serve: Callable[..., Client], tmp_path: Path
) -> None:
    warnings: list[str] = []
    made = places(("gone", tmp_path / "nowhere"), warn=warnings.append)
    (tmp_path / "imports").mkdir()
    (tmp_path / "imports" / "broken.json").write_text("{")
    client = serve(Parts(Store(), places=made))
    for _ in range(2):
        found = side_by_side(client)
    assert list(found) == ["", "gone"] and "there is no folder" in found["gone"]["problem"]
    assert len(warnings) == 1 and "broken.json is skipped" in warnings[0], "once, not at every look"


def test_another_site_or_a_visitor_without_the_token_gets_and_changes_nothing(
    places: Callable[..., Places], serve: Callable[..., Client]
) -> None:
    made = places()
    data = made.export(False)
    client = serve(Parts(Store(), places=made))
    assert client.ask("POST", "/api/sources", data, own=False).status == 403
    assert client.get("/api/export", Sec_Fetch_Site="cross-site").status == 403
    guarded = serve(Parts(Store(), places=made), token=TOKEN)
    assert {guarded.get(path).status for path in ("/api/export", "/api/sources")} == {401}
    assert guarded.post("/api/sources", data).status == 401 and guarded.ask("DELETE", "/api/sources/x").status == 401
    assert made.sources()[1:] == []


def test_without_a_folder_for_them_nothing_is_imported(
    places: Callable[..., Places], serve: Callable[..., Client]
) -> None:
    made = places(imports=None)
    answer = serve(Parts(Store(), places=made)).post("/api/sources", made.export(False))
    assert answer.status == 422 and "imported_places_directory" in answer.error
    assert not made.several and places().several
    assert serve().get("/api/sources").status == 409


def test_other_places_are_named_with_their_folders() -> None:
    assert parse_places(" till = /a/b , door=/c,") == [("till", Path("/a/b")), ("door", Path("/c"))]
    for text in ("till", "=x", "a=", "a=/x,a=/y"):
        with pytest.raises(ValueError, match="other_places"):
            parse_places(text)
