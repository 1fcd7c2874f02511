"""The SROS2 policy: well formed by the schema's rules, and it allows what the nodes of the graph use."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_world import World

from emotion_perception.bringup.graph import graph_nodes
from emotion_perception.resources import config_path

ROOT = Path(__file__).parents[2]
POLICY = config_path("sros2/emotion_perception.policy.xml")
NAME = re.compile(r"(~/|/)?([A-Za-z_][A-Za-z0-9_]*|\*)(/([A-Za-z_][A-Za-z0-9_]*|\*))*")
RULES = {("topics", "publish"), ("topics", "subscribe"), ("services", "reply"), ("services", "request")}


def allowed() -> dict[str, dict[tuple[str, str], list[str]]]:
    """Names by node and by kind of rule, absolute in the namespace ``/``."""
    found = {}
    for profile in ElementTree.parse(POLICY).iter("profile"):
        node = profile.attrib["node"]
        rules: dict[tuple[str, str], list[str]] = {}
        for group in profile:
            (how,) = group.attrib
            names = [str(name.text).replace("~", f"/{node}") for name in group]
            rules[(group.tag, how)] = [name if name.startswith("/") else f"/{name}" for name in names]
        found[node] = rules
    return found


def test_it_is_built_as_the_schema_wants_it():
    root = ElementTree.parse(POLICY).getroot()
    assert (root.tag, root.attrib) == ("policy", {"version": "0.2.0"})
    (enclaves,) = root
    assert enclaves.tag == "enclaves"
    paths = [enclave.attrib["path"] for enclave in enclaves]
    assert len(set(paths)) == len(paths)
    for enclave in enclaves:
        assert enclave.tag == "enclave" and set(enclave.attrib) == {"path"}
        assert re.fullmatch(r"(/[a-z0-9_]+)+", enclave.attrib["path"])
        (profiles,) = enclave
        assert profiles.tag == "profiles" and len(profiles) == 1
        for profile in profiles:
            assert profile.tag == "profile" and set(profile.attrib) == {"ns", "node"}
            assert profile.attrib["ns"] == "/"
            assert enclave.attrib["path"].endswith(f"/{profile.attrib['node']}")
            for group in profile:
                (how,) = group.attrib
                assert (group.tag, how) in RULES
                assert group.attrib[how] == "ALLOW"
                assert len(group) > 0
                for name in group:
                    assert name.tag == group.tag.removesuffix("s") and not name.attrib
                    assert NAME.fullmatch(name.text or ""), name.text


def test_every_process_of_the_graph_has_an_enclave_and_is_told_its_name():
    everything = {"source": "webcam", "interaction": "true", "ros4hri": "true", "dashboard": "true"}
    nodes = graph_nodes({**everything, "enclave": "/emotion_perception"})
    assert {node.name for node in nodes} <= set(allowed())
    paths = {enclave.attrib["path"] for enclave in ElementTree.parse(POLICY).iter("enclave")}
    for node in nodes:
        command = node.command()
        assert command[command.index("--enclave") + 1] in paths
    assert "--enclave" not in graph_nodes(everything)[0].command()


def test_a_picture_goes_only_to_those_who_need_it():
    readers = {
        node
        for node, rules in allowed().items()
        for name in rules.get(("topics", "subscribe"), [])
        if name.startswith(("/image_raw", "/audio")) or name.endswith("/cropped")
    }
    assert readers == {"visual_node", "acoustic_node", "overlay_node", "dashboard_node", "ros4hri_node"}


@pytest.mark.slow
def test_it_allows_all_that_the_running_graph_uses(ros: World, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((48, 64, 3), 127, np.uint8))
    command = [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(tmp_path / "grey.png")]
    graph = subprocess.Popen([*command, "--interaction", "true", "--composed", "true"], cwd=ROOT)
    try:
        node = ros.node
        made = {"/emotion_state", "/faces/emotions", "/voices/emotions", "/interaction/arc", "/emotion/markers"}
        assert ros.until(lambda: made <= {name for name, _ in node.get_topic_names_and_types()}, 60.0)
        ros.spin(2.0)
        names = [name for name in node.get_node_names() if name != node.get_name()]
        assert len(names) >= 6
        for name in names:
            used = {
                ("topics", "publish"): node.get_publisher_names_and_types_by_node(name, "/"),
                ("topics", "subscribe"): node.get_subscriber_names_and_types_by_node(name, "/"),
                ("services", "reply"): node.get_service_names_and_types_by_node(name, "/"),
                ("services", "request"): node.get_client_names_and_types_by_node(name, "/"),
            }
            for rule, topics in used.items():
                missing = {topic for topic, _ in topics} - set(allowed()[name].get(rule, []))
                assert not missing, f"{name} may not {rule[1]} {missing}: add it to {POLICY.name}"
    finally:
        graph.send_signal(signal.SIGINT)
        graph.wait(10)
