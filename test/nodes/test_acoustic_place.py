"""acoustic_node learns, shows, saves and forgets its place."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from node_world import World
from std_srvs.srv import Trigger

from emotion_perception.acoustic.place import load_place
from emotion_perception.dashboard.store import Store
from emotion_perception.nodes.acoustic_node import AcousticNode
from emotion_perception.ros.diagnostics import node_health


def call(ros: World, name: str) -> Trigger.Response:
    client = ros.node.create_client(Trigger, f"/acoustic_node/{name}")
    assert ros.until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    assert ros.until(answer.done)
    return answer.result()


def test_place_is_shown_saved_loaded_and_forgotten(ros: World, tmp_path: Path) -> None:
    path = tmp_path / "place.json"
    node = ros.add(AcousticNode, place_file=str(path))
    assert not call(ros, "calibrate_place").success, "the node is not active"
    node.trigger_configure()
    node.trigger_activate()
    assert call(ros, "calibrate_place").success
    assert node.extra_diagnostics()["place"] == "learning"
    place = node._perception.place
    place.fit(np.tile(place._statistics.means[0] + [-3, 0, 0, 3, 0, 0, 0, 0], (100, 1)))
    shift = place.shift.copy()
    assert np.abs(shift).max() > 0.5
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert load_place(path).utterances == 100
    node.trigger_configure()
    np.testing.assert_allclose(node._perception.place.shift, shift, atol=1e-3)
    assert float(node.extra_diagnostics()["place_foreignness"]) > 1.5
    assert call(ros, "reset_place").success
    assert load_place(path).utterances == 0


def test_the_page_shows_what_was_learnt_about_the_place(ros: World) -> None:
    node = ros.add(AcousticNode)
    node.trigger_configure()
    node.trigger_activate()
    place = node._perception.place
    place.fit(np.tile(place._statistics.means[0] + [-3, 0, 0, 3, 0, 0, 0, 0], (100, 1)))
    store = Store(time.monotonic)
    ros.node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda message: store.add_health(node_health(message)), 10
    )

    def shown() -> dict[str, str]:
        nodes = json.loads(store.text("health"))["nodes"]
        return next((entry["values"] for entry in nodes if entry["name"] == "acoustic_node"), {})

    assert ros.until(lambda: shown().get("place_utterances") == "100")
    assert shown()["place"] == "adapting"
    assert shown()["place_shift"].endswith(" neutral") or shown()["place_shift"].endswith(" sad")
    assert call(ros, "calibrate_place").success
    assert ros.until(lambda: shown().get("place") == "learning")
    assert shown()["place_speech_needed_s"] == "45"


def test_an_unusable_place_file_is_reported_and_the_node_runs(ros: World, tmp_path: Path) -> None:
    path = tmp_path / "place.json"
    path.write_text("{}")
    node = ros.add(AcousticNode, place_file=str(path))
    reported: list[str] = []
    node.reporter.log = reported.append
    node.trigger_configure()
    assert node.state_label == "inactive"
    assert any("place not used" in text and "place.json" in text for text in reported)
