"""Nodes in a place where emotions may not be inferred, the notice, and the audit log of running nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from node_world import World
from std_msgs.msg import String

from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.compliance.deployment import ARTICLE, DeploymentError
from emotion_perception.compliance.notice import NOTICES
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.nodes.interaction_node import InteractionNode
from emotion_perception.ros import qos

REASON = "detects fatigue of crane operators for their safety"


class Log:
    """A logger that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str, **options: Any) -> None:
        self.warnings.append(text)

    def info(self, text: str, **options: Any) -> None:
        """Not of interest here."""

    debug = error = fatal = info


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    kept = Log()
    monkeypatch.setattr(FusionNode, "get_logger", lambda node: kept)
    return kept


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("node_class", [FusionNode, InteractionNode])
@pytest.mark.parametrize("context", ["workplace", "education"])
def test_node_does_not_start_where_it_is_prohibited(ros: World, node_class: Any, context: str) -> None:
    node = ros.add(node_class, deployment_context=context)
    node.trigger_configure()
    assert node.state_label == "unconfigured" and ARTICLE in node.problem


def test_stated_reason_starts_it_and_is_logged(ros: World, log: Log, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    node = ros.begin(FusionNode, deployment_context="workplace", deployment_reason=REASON, audit_log=str(path))
    assert any(REASON in text and ARTICLE in text for text in log.warnings)
    node.trigger_deactivate()
    started, stopped = entries(path)
    assert started["deployment_context"] == "workplace" and started["deployment_reason"] == REASON
    assert started["node"] == "/fusion_node" and started["prior"] == "service" and started["model"]
    assert stopped["event"] == "stop"


def test_place_that_is_not_stated_is_warned_of_once(ros: World, log: Log) -> None:
    node = ros.begin(FusionNode)
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.trigger_configure()
    assert sum("deployment_context is not set" in text for text in log.warnings) == 1


def test_stated_place_is_not_warned_of(ros: World, log: Log) -> None:
    ros.begin(FusionNode, deployment_context="public_service")
    assert not any("deployment_context" in text for text in log.warnings)


def test_notice_reaches_a_screen_that_is_switched_on_later(ros: World) -> None:
    ros.begin(FusionNode, notice_languages="de,fr", notice_contact="Front desk")
    ros.spin(0.3)
    heard = ros.hear(String, "emotion_notice", qos.profile("state"))
    assert ros.until(lambda: bool(heard))
    assert heard[0].data.split("\n") == [NOTICES["de"], NOTICES["fr"], "Front desk"]


def test_notice_can_be_switched_off(ros: World) -> None:
    heard = ros.hear(String, "emotion_notice", qos.profile("state"))
    node = ros.begin(FusionNode, notice_languages="")
    assert ros.until(lambda: ros.node.count_publishers("emotion_notice") == 1)
    ros.spin(0.5)
    assert node.state_label == "active" and not heard


def test_disk_that_refuses_the_audit_log_stops_nothing(ros: World, log: Log, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ros.begin(FusionNode, audit_log=str(tmp_path / "file" / "audit.jsonl"))
    assert sum("audit log" in text for text in log.warnings) == 1


def test_killed_by_destruction_is_a_stop_as_well(ros: World, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    node = ros.begin(FusionNode, audit_log=str(path))
    ros.executor.remove_node(node)
    node.destroy_node()
    assert [one["event"] for one in entries(path)] == ["start", "stop"]
    ros._nodes.remove(node)


def test_graph_is_refused_before_any_process_starts() -> None:
    with pytest.raises(DeploymentError, match="2024/1689"):
        graph_nodes({"deployment_context": "education"})
    nodes = graph_nodes({"deployment_context": "education", "deployment_reason": REASON, "audit_log": "/tmp/a.jsonl"})
    for node in nodes:
        assert node.parameters["deployment_context"] == "education"
        assert node.parameters["deployment_reason"] == REASON and node.parameters["audit_log"] == "/tmp/a.jsonl"
    assert "deployment_context" not in graph_nodes()[0].parameters, "the parameter file's value holds"
