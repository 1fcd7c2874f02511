"""interaction_node on real topics and services."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machine import elapsed
from node_world import World, happy_estimate

from emotion_msgs.msg import EmotionArc, EmotionState, InteractionSummary
from emotion_msgs.srv import StartInteraction, StopInteraction
from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.interaction.arc_shape import ArcShape
from emotion_perception.interaction.sessions import Conversations
from emotion_perception.interaction.store_database import DATABASE
from emotion_perception.nodes.interaction_node import InteractionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.types import SECOND, EmotionEstimate, EmotionModality, EmotionStatus, Evidence
from emotion_perception.types import EmotionState as State


def a_state(present: bool = True, person: str = "person_1", age_s: float = 0.0) -> EmotionState:
    """A message of a happy person seen just now, or of nobody, made ``age_s`` ago."""
    now = time.time_ns() - round(age_s * SECOND)
    if not present:
        return conversions.state_to_message(
            State(now, EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ()), now
        )
    emotion = happy_estimate(0.8)
    evidence = (Evidence(EmotionModality.VISUAL, 1.0, 0.0, emotion),)
    return conversions.state_to_message(State(now, EmotionStatus.VISUAL_ONLY, person, "f1", "", emotion, evidence), now)


class Talk:
    """The node under test, someone who publishes states at 20 Hz, and clients of both services."""

    def __init__(self, ros: World, **parameters: Any) -> None:
        self.ros = ros
        parameters = {"autostart": True, "start_after_s": 0.5, "stop_after_s": 1.0, "arc_period": 0.2} | parameters
        self.node = ros.add(InteractionNode, **parameters)
        self.states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
        self.arcs = ros.hear(EmotionArc, "interaction/arc", qos.profile("state"))
        self.start_client = ros.node.create_client(StartInteraction, "interaction/start")
        self.stop_client = ros.node.create_client(StopInteraction, "interaction/stop")
        if parameters["autostart"]:
            assert ros.until(lambda: self.states.get_subscription_count() == 1)
            assert ros.until(lambda: self.start_client.service_is_ready() and self.stop_client.service_is_ready())

    def until(self, condition: Callable[[], bool], seconds: float = 10.0, **state: Any) -> bool:
        """Publish states until ``condition`` holds."""
        began = time.monotonic()
        while elapsed(began) < seconds and not condition():
            self.states.publish(a_state(**state))
            self.ros.until(condition, 0.05)
        return condition()

    def for_seconds(self, seconds: float, **state: Any) -> None:
        """Publish states for a while."""
        self.until(lambda: False, seconds, **state)

    def call(self, client: Any, request: Any) -> Any:
        """The answer of a service."""
        future = client.call_async(request)
        assert self.ros.until(future.done)
        return future.result()

    def start(self, **fields: str) -> StartInteraction.Response:
        return self.call(self.start_client, StartInteraction.Request(**fields))

    def stop(self, interaction_id: str = "") -> StopInteraction.Response:
        return self.call(self.stop_client, StopInteraction.Request(interaction_id=interaction_id))


def test_an_interaction_can_be_started_and_stopped_and_is_summed_up(ros: World) -> None:
    talk = Talk(ros, auto_start=False, min_evidence_s=1.0)
    started = talk.start(name="desk 3")
    assert started.success and started.interaction_id
    talk.for_seconds(3.0)
    answer = talk.stop(started.interaction_id)
    assert answer.success and answer.message == ""
    summary = answer.summary
    assert summary.interaction_id == started.interaction_id
    assert (summary.name, summary.person_id) == ("desk 3", "person_1")
    assert summary.start == started.start
    duration = conversions.duration_to_seconds(summary.duration)
    assert 2.5 < duration < 8
    assert summary.coverage > 0.5 and summary.acoustic_coverage == 0
    assert summary.emotion.label == EmotionState().emotion.HAPPY
    assert summary.seconds_by_label[summary.emotion.HAPPY] == pytest.approx(duration * summary.coverage, abs=0.3)
    assert summary.files == [] and "happy" in summary.text
    assert len(summary.arc.valence) == math.ceil(duration)
    assert not talk.stop().success


def test_whoever_engages_starts_one_and_whoever_leaves_ends_it(ros: World) -> None:
    talk = Talk(ros)
    assert talk.until(lambda: any(arc.interaction_id for arc in talk.arcs))
    interaction_id = next(arc.interaction_id for arc in talk.arcs if arc.interaction_id)
    assert talk.until(lambda: not talk.arcs[-1].interaction_id, present=False)
    answer = talk.stop(interaction_id)  # ended by itself; its summary is still there
    assert answer.success
    assert answer.summary.ended_by == "nobody was there any more"


def test_the_arc_is_published_also_when_nobody_ever_came(ros: World) -> None:
    talk = Talk(ros)
    assert ros.until(lambda: len(talk.arcs) >= 3)
    arc = talk.arcs[-1]
    assert arc.interaction_id == ""
    assert set(arc.status) == {EmotionState.NO_EVIDENCE}
    assert all(map(math.isnan, arc.valence))
    assert arc.shape == EmotionArc.SHAPE_TOO_LITTLE and math.isnan(arc.shape_correlation)


def test_arc_arrays_have_one_length(ros: World) -> None:
    talk = Talk(ros)
    talk.for_seconds(2.0)
    arc = talk.arcs[-1]
    names = ("labels", "confidence", "valence", "arousal", "valence_deviation", "arousal_deviation", "smooth_valence")
    assert {len(getattr(arc, name)) for name in names} == {len(arc.status)}


def test_an_old_latched_state_is_no_evidence_of_anyone_now(ros: World) -> None:
    talk = Talk(ros)
    for _ in range(5):
        talk.states.publish(a_state(age_s=60.0))
        ros.spin(0.1)
    assert talk.node.meter.rejected == 5
    assert talk.node.extra_diagnostics()["interaction"] == "none"


def test_stop_without_a_start_says_so(ros: World) -> None:
    answer = Talk(ros).stop()
    assert not answer.success and "no interaction is running" in answer.message


def test_a_second_start_says_which_one_is_running(ros: World) -> None:
    talk = Talk(ros, auto_start=False)
    first = talk.start()
    second = talk.start()
    assert not second.success and first.interaction_id in second.message and second.interaction_id == ""


def test_an_inactive_node_says_that_it_is_inactive(ros: World) -> None:
    talk = Talk(ros, autostart=False)
    talk.node.trigger_configure()
    assert ros.until(lambda: talk.start_client.service_is_ready())
    answer = talk.start()
    assert not answer.success and "inactive" in answer.message


def test_deactivation_ends_the_interaction_and_stores_it(ros: World, tmp_path: Path) -> None:
    talk = Talk(ros, directory=str(tmp_path))
    started = talk.start()
    talk.for_seconds(1.0)
    talk.node.trigger_deactivate()
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(DATABASE)}
    assert names == {f"{started.interaction_id}.{ending}" for ending in ("json", "csv", "html")}
    assert json.loads((tmp_path / f"{started.interaction_id}.json").read_text())["ended_by"] == "the node was stopped"
    assert talk.states.get_subscription_count() == 0 or ros.until(lambda: talk.states.get_subscription_count() == 0)
    talk.node.trigger_activate()
    assert talk.start().success


def test_a_folder_that_cannot_be_written_is_told_by_every_answer(ros: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    talk = Talk(ros, auto_start=False, directory=str(tmp_path / "file" / "conversations"))
    started = talk.start()
    assert started.success and "Not a directory" in started.message
    talk.for_seconds(1.0)
    assert "Not a directory" in talk.node.extra_diagnostics()["storage"]
    answer = talk.stop()
    assert answer.success and "not stored yet" in answer.message and "Not a directory" in answer.message
    assert answer.summary.coverage > 0.5 and answer.summary.files == []


@pytest.fixture
def process(tmp_path: Path) -> Any:
    """Starts interaction_node as a process of its own that stores under tmp_path."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        arguments = ["--ros-args", "-p", f"directory:={tmp_path}", "-p", "auto_start:=false"]
        running.append(
            subprocess.Popen([sys.executable, "-m", "emotion_perception.nodes.interaction_node", *arguments])
        )
        return running[-1]

    yield start
    for child in running:
        child.kill()
        child.wait()


@pytest.mark.slow
def test_a_killed_node_is_followed_by_one_that_finishes_its_interaction(
    ros: World, tmp_path: Path, process: Any
) -> None:
    child = process()
    talk = object.__new__(Talk)
    talk.ros = ros
    talk.states = ros.node.create_publisher(EmotionState, "emotion_state", qos.profile("state"))
    talk.start_client = ros.node.create_client(StartInteraction, "interaction/start")
    assert ros.until(lambda: talk.states.get_subscription_count() == 1, 40)
    assert ros.until(lambda: talk.start_client.service_is_ready())
    started = talk.start(name="desk 3")
    assert started.success
    talk.for_seconds(3.0)
    status = Path(f"/proc/{child.pid}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
    assert resident < 120, "MB"
    assert "libtorch" not in Path(f"/proc/{child.pid}/maps").read_text()
    child.send_signal(signal.SIGKILL)
    child.wait()
    (journal,) = tmp_path.glob("*.jsonl")
    recorded = sum(b'"kind":"sample"' in line for line in journal.read_bytes().splitlines())
    assert recorded > 5

    process()
    json_path = tmp_path / f"{started.interaction_id}.json"
    assert ros.until(json_path.exists, 40)
    fields = json.loads(json_path.read_text())
    assert fields["recovered"] and fields["name"] == "desk 3"
    assert fields["duration"] > 1
    assert len(json_path.with_suffix(".csv").read_text().splitlines()) == 1 + recorded


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_is_told_to_end_stores_what_is_going_on(
    ros: World, tmp_path: Path, process: Any, how: signal.Signals
) -> None:
    child = process()
    client = ros.node.create_client(StartInteraction, "interaction/start")
    assert ros.until(client.service_is_ready, 40)
    future = client.call_async(StartInteraction.Request())
    # Found, the node may still be on its way to active.
    assert ros.until(future.done)
    if not future.result().success:
        ros.spin(1.0)
        future = client.call_async(StartInteraction.Request())
        assert ros.until(future.done)
    os.kill(child.pid, how)
    assert child.wait(10) == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".html", ".json", ".sqlite"]


def test_the_graph_has_it_where_it_is_asked_for() -> None:
    assert "interaction_node" not in [node.name for node in graph_nodes()]
    assert "interaction_node" in [node.name for node in graph_nodes({"interaction": "true"})]


# --- conversions --------------------------------------------------------------------------------------------------


def test_an_outcome_becomes_a_message_field_by_field() -> None:
    start = 1_790_000_000 * SECOND
    core = Conversations()
    core.start(start, name="desk 3")
    for k in range(600):
        stamp = start + k * SECOND // 10
        emotion = happy_estimate(0.99 if not 200 <= k < 400 else 0.15)
        core.add(State(stamp, EmotionStatus.AUDIO_VISUAL, "p", "f", "v", emotion, ()), stamp)
    outcome = core.stop(start + 60 * SECOND)
    message, summary = conversions.outcome_to_message(outcome), outcome.summary
    assert message.interaction_id == summary.interaction_id and message.ended_by == "stopped by hand"
    assert conversions.stamp_to_ns(message.header.stamp) == summary.end_ns
    assert conversions.stamp_to_ns(message.start) == start
    assert conversions.duration_to_seconds(message.duration) == 60
    assert message.satisfaction == summary.satisfaction.score
    assert message.satisfaction_margin == summary.satisfaction.margin
    assert len(message.satisfaction_factors) == len(summary.satisfaction.factors)
    assert message.best_valence == pytest.approx(summary.best[1]) and message.worst_valence < message.best_valence
    assert conversions.stamp_to_ns(message.worst_moment) == pytest.approx(start + 30 * SECOND, abs=10 * SECOND)
    assert np.allclose(message.arc.valence, summary.arc.valence, equal_nan=True)
    assert list(message.arc.turning_points) == [point.index for point in summary.arc.turning_points]
    assert message.arc.shape == summary.arc.shape.shape
    assert message.arc.shape_correlation == pytest.approx(summary.arc.shape.correlation)


def test_shape_numbers_of_core_and_message_agree() -> None:
    for shape in ArcShape:
        assert getattr(EmotionArc, f"SHAPE_{shape.name}") == shape


def test_the_end_of_a_conversation_is_published_and_kept_for_late_subscribers(ros: World):
    talk = Talk(ros)
    heard = ros.hear(InteractionSummary, "interaction/summary", qos.profile("state"))
    assert talk.until(lambda: talk.node._conversations.running is not None)
    assert not heard
    assert talk.until(lambda: bool(heard), present=False)
    assert heard[0].interaction_id and heard[0].ended_by and heard[0].text
    late = ros.hear(InteractionSummary, "interaction/summary", qos.profile("state"))
    assert ros.until(lambda: bool(late))
    assert late[0].interaction_id == heard[0].interaction_id and len(heard) == 1
