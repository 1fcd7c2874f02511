"""The dashboard as a node of the graph: what it shows of messages, what it keeps, what it refuses, how it recovers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_world import World, a_face, now_header
from page_world import Page, chromium, screenshot_folder
from sensor_msgs.msg import Image

from emotion_msgs.msg import EmotionArc, FaceEmotionArray
from emotion_msgs.srv import CorrectEmotion
from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.emotions import SAD
from emotion_perception.nodes.dashboard_node import DashboardNode
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.ros import conversions, diagnostics, qos
from emotion_perception.ros.diagnostics import OK, WARN, make_array, make_status


def dashboard(ros: World, **parameters: Any) -> DashboardNode:
    """An active dashboard on a free port."""
    node = ros.add(DashboardNode, port=0, **parameters)
    node.trigger_configure()
    node.trigger_activate()
    assert node.state_label == "active", node.problem
    return node


def section_of(node: DashboardNode, section: str) -> dict:
    return json.loads(node._store.text(section))


def get(node: DashboardNode, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", node._server.port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def show_face(ros: World, publishers: tuple[Any, Any]) -> None:
    """One picture and the face in it."""
    header = now_header()
    picture = np.full((240, 320, 3), 90, np.uint8)
    publishers[0].publish(conversions.image_to_message(picture, header))
    publishers[1].publish(conversions.faces_to_message([a_face()], header, 320, 240))


def sources(ros: World) -> tuple[Any, Any]:
    return (
        ros.node.create_publisher(Image, "image_raw", qos.profile("image_out")),
        ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates")),
    )


def test_another_address_without_a_token_fails_the_configure_with_its_reason(ros: World):
    node = ros.add(DashboardNode, address="0.0.0.0")
    node.trigger_configure()
    assert node.state_label == "unconfigured" and "token is empty: the page shows people's faces" in node.problem


def test_consent_without_a_place_fails_the_configure_with_its_reason(ros: World):
    node = ros.add(DashboardNode, store_corrections=True)
    node.trigger_configure()
    assert node.state_label == "unconfigured" and "corrections_directory is empty" in node.problem


def test_other_places_are_shown_and_a_misspelt_one_fails_the_configure(ros: World, tmp_path: Path):
    node = ros.add(DashboardNode, other_places="till")
    node.trigger_configure()
    assert node.state_label == "unconfigured" and "'till' is not of the form name=folder" in node.problem
    node = dashboard(ros, other_places=f"Till={tmp_path}", imported_places_directory=str(tmp_path / "imports"))
    assert [(one.name, one.kind) for one in node._server.parts.places.sources()] == [("Till", "folder")]
    assert node._server.parts.places.several and dashboard(ros)._server.parts.places is None


def test_a_port_in_use_fails_the_activate_with_its_reason(ros: World):
    first = dashboard(ros)
    second = ros.add(DashboardNode, port=first._server.port)
    second.trigger_configure()
    second.trigger_activate()
    assert second.state_label == "inactive" and "set address or port" in second.problem


def test_states_groups_and_arcs_of_the_graph_are_shown(ros: World):
    fusion, node = ros.add(FusionNode), dashboard(ros)
    fusion.trigger_configure()
    fusion.trigger_activate()
    publishers = sources(ros)
    arcs = ros.node.create_publisher(EmotionArc, "interaction/arc", qos.profile("state"))

    def seen() -> bool:
        show_face(ros, publishers)
        return section_of(node, "state")["status"] == "VISUAL_ONLY" and section_of(node, "group")["faces"] == 1

    assert ros.until(seen)
    assert section_of(node, "group")["people"][0]["id"] == "f1"
    nan = float("nan")
    arcs.publish(EmotionArc(interaction_id="talk", valence=[0.25, nan, 0.75], shape=EmotionArc.SHAPE_ICARUS))
    assert ros.until(lambda: section_of(node, "conversation").get("id") == "talk")
    talk = section_of(node, "conversation")
    assert talk["mean_valence"] == 0.5 and talk["shape"].startswith("Icarus")


def test_health_is_of_this_packages_nodes_in_this_namespace():
    def status(name: str, level: bytes = OK) -> Any:
        return make_status(name, level, "active", {"rate (Hz)": "25.0"}, "none")

    names = ("visual_node", "robot1/fusion_node")
    array = make_array(
        now_header(), *(status(f"{name}: emotion_perception", WARN) for name in names), status("lidar: x")
    )
    (health,) = diagnostics.node_health(array)
    assert (health.name, health.level, health.values) == ("visual_node", "warn", {"rate (Hz)": "25.0"})
    assert [health.name for health in diagnostics.node_health(array, "/robot1")] == ["fusion_node"]


def test_without_viewers_and_consent_it_does_not_even_receive_pictures(ros: World):
    node = dashboard(ros)
    publishers = sources(ros)
    ros.spin(0.8)
    assert publishers[0].get_subscription_count() == 0
    assert node._recent is None and get(node, "/api/corrections")[0] == 409
    node._server.parts.video.viewers = 1
    assert ros.until(lambda: publishers[0].get_subscription_count() == 1)

    def shown() -> bool:
        show_face(ros, publishers)
        return node._server.parts.video.encoded > 0

    assert ros.until(shown)


def ask(ros: World, **fields: Any) -> CorrectEmotion.Response:
    client = ros.node.create_client(CorrectEmotion, "correct_emotion")
    assert ros.until(client.service_is_ready)
    future = client.call_async(CorrectEmotion.Request(**fields))
    assert ros.until(future.done)
    return future.result()


def test_a_correction_is_refused_without_consent_and_kept_with_it(ros: World, tmp_path: Path):
    node = dashboard(ros)
    answer = ask(ros, label=SAD)
    assert not answer.success and "was not consented to" in answer.message
    node.trigger_deactivate()
    assert "is inactive, not active" in ask(ros, label=SAD).message
    node.destroy_node()

    keeping = dashboard(ros, store_corrections=True, corrections_directory=str(tmp_path))
    publishers = sources(ros)

    def held() -> bool:
        show_face(ros, publishers)
        ros.spin(0.1)  # until both have come: the next ones would take their place
        return keeping._recent.face("f1", None) is not None

    assert ros.until(held)
    answer = ask(ros, label=SAD, face_id="f1", annotator="Ana")
    assert answer.success and json.loads(Path(answer.path).read_text())["label"] == "sad"
    assert not ask(ros, label=SAD, face_id="nobody").success
    keeping.trigger_deactivate()
    assert keeping._recent.face("f1", None) is None, "inactive means that nothing is held"


def test_no_correction_is_lost_while_faces_arrive_after_the_next_image(ros: World, tmp_path: Path):
    node = dashboard(ros, store_corrections=True, corrections_directory=str(tmp_path))
    images, faces = sources(ros)
    assert ros.until(lambda: images.get_subscription_count() == 1 and faces.get_subscription_count() == 1)
    ros.spin(0.3)
    picture = np.full((240, 320, 3), 90, np.uint8)
    late: list[Any] = []
    kept = 0
    for number in range(85):  # 20 images a second; each one's faces arrive after two more images
        header = now_header()
        images.publish(conversions.image_to_message(picture, header))
        late.append(conversions.faces_to_message([a_face()], header, 320, 240))
        ros.spin(0.05)
        if len(late) > 2:
            faces.publish(late.pop(0))
        if number >= 55 and number % 2:  # on screen for more than two seconds
            kept += bool(node._corrections.correct(SAD, "f1", stamp_ns=conversions.stamp_to_ns(header.stamp)))
    assert kept == 15


def test_pictures_for_reports_need_consent_and_a_place(ros: World):
    node = ros.add(DashboardNode, store_pictures=True)
    node.trigger_configure()
    assert node.state_label == "unconfigured" and "pictures_directory is empty" in node.problem


@pytest.mark.parametrize("consented", [False, True])
def test_of_who_is_talked_with_a_picture_is_kept_only_with_consent(ros: World, tmp_path: Path, consented: bool):
    folder = tmp_path / "pictures"
    node = dashboard(ros, store_pictures=consented, pictures_directory=str(folder))
    fusion = ros.add(FusionNode)
    fusion.trigger_configure()
    fusion.trigger_activate()
    publishers = sources(ros)
    arcs = ros.node.create_publisher(EmotionArc, "interaction/arc", qos.profile("state"))
    assert node.extra_diagnostics()["pictures for reports"] == ("stored, with consent" if consented else "off")
    ros.spin(0.6)
    assert publishers[0].get_subscription_count() == 0, "no conversation goes on"
    arcs.publish(EmotionArc(interaction_id="talk"))
    assert ros.until(lambda: node._store.running == "talk")

    def received() -> bool:
        arcs.publish(EmotionArc(interaction_id="talk"))
        return publishers[0].get_subscription_count() == 1

    if consented:
        assert ros.until(received)

    def kept() -> bool:
        arcs.publish(EmotionArc(interaction_id="talk"))  # a conversation that is not reported any more is over
        show_face(ros, publishers)
        ros.spin(0.1)  # until both have come: the next ones would take their place
        return any(folder.rglob("*.jpg"))

    if consented:
        assert ros.until(kept)
        (path,) = (folder / "talk").iterdir()
        assert path.name.endswith("-happy.jpg")
    else:
        for _ in range(20):
            assert not kept()
        assert node._store.chosen_face == "f1" and publishers[0].get_subscription_count() == 0
        assert not folder.exists()


# --- real processes and a real browser


class Processes:
    """Nodes of the graph as processes."""

    def __init__(self, config: Path) -> None:
        commands = graph_nodes({"dashboard": "true", "config": str(config)})
        self.commands = {node.name: node.command() for node in commands}
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str) -> None:
        self.running[name] = subprocess.Popen(self.commands[name], stderr=subprocess.DEVNULL, env={**os.environ})

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "robot.yaml"
    config.write_text(f"/**/dashboard_node:\n  ros__parameters:\n    port: {port}\n")
    made = Processes(config)
    made.port = port  # type: ignore[attr-defined]
    yield made
    for name in list(made.running):
        made.stop(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_follows_a_running_graph_through_restarts_of_graph_and_server(ros: World, processes: Processes):
    publishers = sources(ros)
    with chromium() as browser:
        page = Page(browser, f"http://127.0.0.1:{processes.port}/")  # type: ignore[attr-defined]

        def page_says(words: str, selector: str, seconds: float = 60.0) -> None:
            """While faces are published, ten times a second."""
            end = time.monotonic() + seconds
            while words not in page.text(selector):
                assert time.monotonic() < end, f"{selector} says {page.text(selector)!r}, not {words!r}"
                show_face(ros, publishers)
                ros.spin(0.1)

        processes.start("fusion_node")
        processes.start("dashboard_node")
        opened: Callable[[], bool] = lambda: _opens(page)  # noqa: E731
        page.until(opened, "the server does not answer", 120)
        page_says("Happy", "#label")
        page_says("happy", ".face")
        page_says("face only", "#status")
        page.browser.save_screenshot(str(screenshot_folder() / "graph_light.png"))
        processes.stop("fusion_node")
        page_says("No news from the robot", "#unknown")
        processes.start("fusion_node")
        page_says("Happy", "#label")
        page.run("window.notReloaded = true")
        processes.stop("dashboard_node")
        page_says("Not connected", "#link")
        processes.start("dashboard_node")
        page_says("Live", "#link")
        page_says("Happy", "#label")
        assert page.run("return window.notReloaded"), "by itself"


def _opens(page: Page) -> bool:
    """Whether the server answers with the page; its title is a text that a script fills in."""
    page.open("live")
    end = time.monotonic() + 10
    while "Emotion perception" not in page.browser.title and time.monotonic() < end:
        time.sleep(0.1)
    return "Emotion perception" in page.browser.title
