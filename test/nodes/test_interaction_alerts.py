"""interaction_node evaluates rules when a conversation ends, and stores what the page's user chose."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_world import World, happy_estimate
from page_world import Client
from webhook_receiver import receiver

from emotion_msgs.msg import Alert, EmotionState
from emotion_perception.interaction.alerts import read_alerts, write_rules
from emotion_perception.interaction.rules import RULES_FILE, Rule
from emotion_perception.interaction.storage_choice import ChoiceFile, StorageChoice
from emotion_perception.nodes.dashboard_node import DashboardNode
from emotion_perception.nodes.interaction_node import InteractionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import EmotionModality, EmotionStatus, Evidence
from emotion_perception.types import EmotionState as State

RULE = Rule("duration", "above", 0, "day", 1)


class Visits:
    """The node, which starts conversations only by request, and somebody in front of it."""

    def __init__(self, ros: World, **parameters: Any) -> None:
        self.ros = ros
        self.node = ros.add(InteractionNode, autostart=True, auto_start=False, arc_period=0.2, **parameters)
        self.states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
        self.alerts = ros.hear(Alert, "interaction/alerts", qos.profile("alerts"))
        assert ros.until(lambda: self.states.get_subscription_count() == 1)

    def visit(self) -> None:
        """A conversation with a happy person."""
        self.node._conversations.start(self.node.now_ns)
        for _ in range(3):
            now, emotion = time.time_ns(), happy_estimate(0.8)
            evidence = (Evidence(EmotionModality.VISUAL, 1.0, 0.0, emotion),)
            state = State(now, EmotionStatus.VISUAL_ONLY, "person_1", "f1", "", emotion, evidence)
            self.states.publish(conversions.state_to_message(state, now))
            self.ros.until(lambda: False, 0.1)
        self.node._conversations.stop(self.node.now_ns)

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        return self.ros.until(condition, seconds)


def test_a_rule_is_published_once_a_period_and_sent_to_the_webhook(ros: World, tmp_path: Path) -> None:
    write_rules(tmp_path, [RULE])
    with receiver() as hook:
        visits = Visits(ros, directory=str(tmp_path), webhook_url=f"http://127.0.0.1:{hook.server_port}/hook")
        visits.visit()
        assert visits.until(lambda: bool(visits.alerts) and bool(hook.posted))
        (alert,) = visits.alerts
        assert alert.rule_id == "duration-above-0-day" and alert.conversations == 1 and alert.value > 0.1
        assert "mean duration" in alert.text and alert.end.sec - alert.start.sec in (82800, 86400, 90000)
        assert alert.start.sec <= alert.header.stamp.sec < alert.end.sec
        assert hook.posted[0][1]["rule"] == alert.rule_id
        visits.visit()
        assert visits.until(lambda: visits.node._conversations.completed == 2)
        assert not visits.until(lambda: len(visits.alerts) > 1, 1.0), "the same day again"
        assert len(read_alerts(tmp_path)) == 1 and len(hook.posted) == 1


def test_a_webhook_that_does_not_answer_is_in_diagnostics_and_delays_nothing(ros: World, tmp_path: Path) -> None:
    write_rules(tmp_path, [RULE])
    visits = Visits(ros, directory=str(tmp_path), webhook_url="http://127.0.0.1:1/")
    visits.visit()
    assert visits.until(lambda: bool(visits.alerts))
    assert visits.until(lambda: "127.0.0.1:1" in visits.node.extra_diagnostics()["webhook"])
    assert visits.node.extra_diagnostics()["rules"] == "ok" and visits.node.state_label == "active"


def test_a_broken_rules_file_is_in_diagnostics_until_it_is_mended(ros: World, tmp_path: Path) -> None:
    (tmp_path / RULES_FILE).write_text("rules: [{measure: luck}]")
    visits = Visits(ros, directory=str(tmp_path))
    assert visits.node.extra_diagnostics()["webhook"] == "off"
    visits.visit()
    assert visits.until(lambda: "rule 1: comparison is missing" in visits.node.extra_diagnostics()["rules"])
    write_rules(tmp_path, [RULE])
    visits.visit()
    assert visits.until(lambda: bool(visits.alerts))
    assert visits.node.extra_diagnostics()["rules"] == "ok"


def test_a_webhook_elsewhere_is_refused_with_the_fix(ros: World) -> None:
    node = ros.add(InteractionNode, autostart=True, webhook_url="http://example.org/")
    assert ros.until(lambda: bool(node.problem))
    assert "add it to webhook_hosts" in node.problem and node.state_label == "unconfigured"


def test_numbers_are_kept_from_the_moment_they_are_chosen_on_the_page(ros: World, tmp_path: Path) -> None:
    choice = ChoiceFile(str(tmp_path / "data"))
    visits = Visits(ros, data_directory=str(tmp_path / "data"))
    visits.visit()
    assert not choice.conversations.exists() and visits.node.extra_diagnostics()["storage"] == "off"
    choice.write(StorageChoice(True, 30))
    assert visits.until(lambda: visits.node.extra_diagnostics()["storage"] == str(choice.conversations))
    visits.visit()
    assert visits.until(lambda: len(list(choice.conversations.glob("*.json"))) == 1)
    choice.write(StorageChoice(False, 30))
    assert visits.until(lambda: visits.node.extra_diagnostics()["storage"] == "off")
    visits.visit()
    assert len(list(choice.conversations.glob("*.json"))) == 1


def test_a_choice_on_the_page_is_remembered_and_followed_by_dashboard_node(ros: World, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    node = ros.add(DashboardNode, autostart=True, port=0, video=False, uploads=False, data_directory=data)
    assert ros.until(lambda: node.state_label == "active")
    page = Client(node._server)
    assert page.get("/api/storage").json == {
        "stored": False,
        "can_choose": True,
        "keep_numbers": False,
        "retention_days": 90,
    }
    assert page.get("/api/today").status == 409 and not (tmp_path / "data").exists()
    chosen = page.ask("PUT", "/api/storage", json.dumps({"keep_numbers": True, "retention_days": 30}))
    assert chosen.json["stored"] and ChoiceFile(data).read() == StorageChoice(True, 30)
    assert page.get("/api/today").json["headline"] == [{"key": "none.day.current"}]
    refused = page.ask("PUT", "/api/storage", json.dumps({"keep_numbers": True, "retention_days": 0}))
    assert refused.status == 400 and "1 to 3650" in refused.error
    rule = {"measure": "wait", "comparison": "above", "limit": 30, "period": "hour"}
    assert page.ask("PUT", "/api/rules", json.dumps({"rules": [rule]})).json["rules"][0]["id"] == "wait-above-30-hour"
    wrong = page.ask("PUT", "/api/rules", json.dumps({"rules": [rule | {"measure": "luck"}]}))
    assert wrong.status == 400 and "rule 1: measure 'luck' is unknown; use one of" in wrong.error
    assert page.get("/api/today?date=2026-13-01").status == 400 and page.get("/api/today?kind=year").status == 400


def test_a_folder_set_by_parameter_leaves_no_choice(ros: World, tmp_path: Path) -> None:
    node = ros.add(DashboardNode, autostart=True, port=0, conversations_directory=str(tmp_path))
    assert ros.until(lambda: node.state_label == "active")
    page = Client(node._server)
    assert not page.get("/api/storage").json["can_choose"]
    assert page.ask("PUT", "/api/storage", json.dumps({"keep_numbers": False})).status == 409
