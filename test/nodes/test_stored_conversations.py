"""Storing, finding and deleting conversations with the real nodes."""

from __future__ import annotations

import http.client
import json
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from node_world import World
from stored_conversations import Shop, shop, template  # noqa: F401  (fixtures)

from emotion_msgs.srv import StartInteraction, StopInteraction
from emotion_perception.interaction import conversation_store
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.store_records import ConversationQuery
from emotion_perception.nodes.dashboard_node import DashboardNode
from emotion_perception.nodes.interaction_node import InteractionNode

NOW = datetime.now().astimezone()


def entries(path: Path, event: str) -> list[dict[str, str]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def test_a_conversation_is_indexed_with_its_place_when_it_ends(ros: World, shop: Shop) -> None:  # noqa: F811
    node = ros.add(InteractionNode, directory=str(shop.folder), place="entrance", auto_start=False, autostart=True)
    start = ros.node.create_client(StartInteraction, "interaction/start")
    stop = ros.node.create_client(StopInteraction, "interaction/stop")
    assert ros.until(lambda: start.service_is_ready() and stop.service_is_ready() and node.state_label == "active")
    for client, request in ((start, StartInteraction.Request(name="desk 3")), (stop, StopInteraction.Request())):
        future = client.call_async(request)
        assert ros.until(future.done) and future.result().success
    shop.store._scan_s = 99.0  # do not look for files: the node has added the row
    (line,) = shop.store.page(ConversationQuery(place="entrance")).conversations
    assert line["name"] == "desk 3" and shop.store.read(line["id"])["place"] == "entrance"


def test_the_retention_is_applied_at_the_start_and_leaves_a_proof(
    ros: World,
    shop: Shop,  # noqa: F811
    tmp_path: Path,
) -> None:
    now = datetime.now().astimezone()  # minutes after this file was read, in a run of all tests
    shop.had("old", now - timedelta(days=31))
    shop.had("young", now - timedelta(days=29))
    log = tmp_path / "audit.jsonl"
    node = ros.add(InteractionNode, directory=str(shop.folder), retention_days=30.0, audit_log=str(log))
    node.trigger_configure()
    assert ros.until(lambda: bool(entries(log, "deletion")), 20.0)
    assert shop.ids() == ["young"]
    (proof,) = entries(log, "deletion")
    assert (proof["asked_by"], proof["conversations"], proof["what"]) == ("retention", "1", "period")
    assert datetime.fromisoformat(proof["period_end"]) == pytest.approx(
        now - timedelta(days=30), abs=timedelta(minutes=5)
    )


def test_the_page_deletes_with_a_proof_and_pictures_follow_other_deletions(
    ros: World,
    shop: Shop,  # noqa: F811
    tmp_path: Path,
) -> None:
    shop.had("a", NOW)
    shop.had("b", NOW)
    pictures, log = tmp_path / "pictures", tmp_path / "audit.jsonl"
    for name in ("a", "b"):
        (pictures / name).mkdir(parents=True)
        (pictures / name / f"{NOW:%Y%m%d}T000000Z-1795000000000000000-happy.jpg").write_bytes(b"jpeg")
    shop.store.delete(ConversationQuery(interaction_id="b"), "retention")  # as interaction_node does
    parameters = {"conversations_directory": str(shop.folder), "pictures_directory": str(pictures)}
    node = ros.add(DashboardNode, port=0, audit_log=str(log), **parameters)
    node.trigger_configure()
    node.trigger_activate()
    assert node.state_label == "active", node.problem
    assert ros.until(lambda: not (pictures / "b").exists(), 20.0) and (pictures / "a").exists()
    connection = http.client.HTTPConnection("127.0.0.1", node._server.port, timeout=30)
    connection.request("DELETE", "/api/conversations?everything=1", headers={"X-Dashboard": "1"})
    answer = connection.getresponse()
    assert answer.status == 200 and json.loads(answer.read()) == {"conversations": 1, "pictures": 1, "running": 0}
    assert shop.ids() == [] and not (pictures / "a").exists()
    (proof,) = entries(log, "deletion")
    assert (proof["asked_by"], proof["what"], proof["pictures"]) == ("page", "everything", "1")


def test_a_large_import_does_not_stop_the_dashboard(
    ros: World,
    shop: Shop,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for i in range(5):
        shop.had(f"c{i}", NOW)
    may_continue = threading.Event()
    index = ConversationStore._index
    monkeypatch.setattr(conversation_store, "BATCH", 2)
    monkeypatch.setattr(ConversationStore, "_index", lambda *args: may_continue.wait(30.0) and index(*args))
    node = ros.add(DashboardNode, port=0, conversations_directory=str(shop.folder))
    node.trigger_configure()
    node.trigger_activate()
    assert node.state_label == "active", node.problem
    connection = http.client.HTTPConnection("127.0.0.1", node._server.port, timeout=30)

    def listed() -> tuple[int, list[int] | None]:
        connection.request("GET", "/api/conversations")
        found = json.loads(connection.getresponse().read())
        return found["total"], found["importing"]

    assert ros.until(lambda: listed() == (0, [0, 5])), "the page answers, and says that numbers are incomplete"
    may_continue.set()
    assert ros.until(lambda: listed() == (5, None), 20.0)
