"""Processes that are killed, frozen or vanish: the rest goes on, says what it still knows, and all comes back."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from machine import elapsed, slowness
from node_world import World, a_face, children, now_header
from rclpy.qos import QoSProfile
from stage import STATUS

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.resources import demo_clip_path
from emotion_perception.ros import conversions, qos
from emotion_perception.types import SECOND

Measured = Callable[[str, str, float | str], None]
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # s; on a busy machine loading the models takes long


def patient_profile() -> QoSProfile:
    """The profile of emotion_state with a long queue: a test that is busy itself loses nothing."""
    profile = qos.profile("state")
    profile.depth = 1000
    return profile


def received_at(info: dict[str, int]) -> float:
    """When DDS received a message, monotonic s; its callback may run much later, where the test itself is busy."""
    return info["received_timestamp"] / SECOND - time.time() + time.monotonic()


def longest_pause(times: Iterable[float]) -> float:
    """The longest pause between two of these times (monotonic s), in seconds of an idle machine."""
    return max((elapsed(before, after) for before, after in itertools.pairwise(times)), default=0.0)


class Robot:
    """The whole graph as processes, on a film with a face in it, and what is heard of it."""

    def __init__(self, ros: World, *arguments: str) -> None:
        self.ros = ros
        self.states: list[tuple[float, EmotionState]] = []  # with the time of reception, monotonic s
        ros.node.create_subscription(EmotionState, "emotion_state", self._on_state, patient_profile())
        self.active: dict[str, float] = {}  # when a node last said that it is active, monotonic s
        ros.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        command = [
            sys.executable,
            "-m",
            "emotion_perception.bringup.command",
            "--source",
            str(demo_clip_path()),
            "--loop",
        ]
        self.process = subprocess.Popen([*command, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Until a face is seen."""
        assert self.ros.until(lambda: self.status == "VISUAL_ONLY", PATIENCE), "the graph starts"

    @property
    def status(self) -> str:
        return STATUS[self.states[-1][1].status] if self.states else ""

    def _on_state(self, message: EmotionState, info: dict[str, int]) -> None:
        self.states.append((received_at(info), message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if any(value.key == "lifecycle state" and value.value == "active" for value in status.values):
                self.active[status.name.split(":")[0]] = time.monotonic()

    def kill(self, name: str) -> tuple[str, float]:
        """Kill -9 a process; what was published until all was well again, and how long that took, s."""
        pid, since, began, began_ns = children(self.process)[name], len(self.states), time.monotonic(), time.time_ns()
        os.kill(pid, signal.SIGKILL)

        def well() -> bool:
            """A new process, the node active by its own word, and a state that rests on a picture of after the kill."""
            # Half a second: a last word of the dead one may still be on its way.
            alive = name == "node_container" or self.active.get(name, 0.0) > began + 0.5
            # The processes come last: to look for them takes longer than all the rest.
            evident = self._newest_evidence_ns() > began_ns + SECOND // 2
            return alive and evident and children(self.process).get(name, pid) != pid

        assert self.ros.until(well, PATIENCE), f"{name} did not come back: {self.status}"
        took = time.monotonic() - began
        heard = self.states[since:]
        names = list(dict.fromkeys(STATUS[message.status] for _, message in heard))
        times = [began, *(when for when, _ in heard)]
        silence = max((after - before for before, after in itertools.pairwise(times)), default=took)
        silent = f"; silent for {silence:.1f} s" if longest_pause(times) > 0.5 else ""
        return ", ".join(names) + silent, took

    def halt(self, name: str, seconds: float) -> tuple[str, float]:
        """Stop a process for a while; what was published meanwhile, and how long it took afterwards, s."""
        pid, since = children(self.process)[name], len(self.states)
        os.kill(pid, signal.SIGSTOP)
        self.ros.spin(seconds)
        meanwhile = ", then ".join(dict.fromkeys(STATUS[message.status] for _, message in self.states[since:]))
        began, began_ns = time.monotonic(), time.time_ns()
        os.kill(pid, signal.SIGCONT)
        assert self.ros.until(lambda: self._newest_evidence_ns() > began_ns, PATIENCE), f"{name} does not go on"
        return meanwhile, time.monotonic() - began

    def _newest_evidence_ns(self) -> int:
        _, newest = self.states[-1]
        return conversions.stamp_to_ns(newest.header.stamp) if newest.status else 0


@pytest.fixture
def robot(ros: World) -> Iterator[Callable[..., Robot]]:
    """Starts the graph; it ends with the test."""
    started: list[Robot] = []

    def start(*arguments: str) -> Robot:
        started.append(Robot(ros, *arguments))
        started[0].wait()
        return started[0]

    yield start
    for one in started:
        one.process.send_signal(signal.SIGINT)
        try:
            one.process.wait(5)
        except subprocess.TimeoutExpired:
            one.process.kill()


@pytest.mark.timeout(900)
def test_each_node_that_is_killed_comes_back_and_the_others_go_on(
    ros: World, robot: Callable[..., Robot], measured: Measured
):
    graph = robot("--interaction", "true")
    names = ["overlay_node", "interaction_node", "acoustic_node", "visual_node", "fusion_node", "media_source_node"]
    assert set(names) == set(children(graph.process))
    for name in names:
        others = {other: pid for other, pid in children(graph.process).items() if other != name}
        began = time.monotonic()
        meanwhile, took = graph.kill(name)
        measured(f"kill -9 {name}", meanwhile, took)
        assert elapsed(began) < 15.0
        left = children(graph.process)
        assert {other: left[other] for other in others} == others, f"{name} took nobody with it"
        if name in ("overlay_node", "interaction_node", "acoustic_node"):
            assert meanwhile == "VISUAL_ONLY", "who is not needed for a face is not missed"


@pytest.mark.timeout(400)
def test_a_source_that_was_halted_goes_on_with_pictures_at_once(robot: Callable[..., Robot], measured: Measured):
    graph = robot("--overlay", "false")
    for _ in range(2):  # the second halt is no worse than the first: nothing of it is left over
        meanwhile, took = graph.halt("media_source_node", 4.0)
        assert meanwhile.endswith("NO_EVIDENCE"), "an old picture is not believed"
        assert elapsed(time.monotonic() - took) < 5.0
    measured("media_source_node halts for 4 s (SIGSTOP)", meanwhile, took)


@pytest.mark.timeout(400)
def test_a_graph_in_one_process_that_is_killed_comes_back_as_a_whole(robot: Callable[..., Robot], measured: Measured):
    graph = robot("--composed", "true", "--overlay", "false")
    assert set(children(graph.process)) == {"node_container"}
    began = time.monotonic()
    meanwhile, took = graph.kill("node_container")
    measured("kill -9 node_container (composed)", meanwhile, took)
    assert elapsed(began) < 15.0
    assert graph.status == "VISUAL_ONLY", "the film's face is seen again"
    assert set(children(graph.process)) == {"node_container"}, "one process again, not two"


PEER = """
import rclpy, sys
from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.ros import qos
rclpy.init()
node = rclpy.create_node("peer")
node.create_subscription(EmotionState, "/emotion_state", lambda m: print("heard", flush=True), qos.profile("state"))
node.create_subscription(FaceEmotionArray, "/faces/emotions", lambda m: None, qos.profile("estimates"))
rclpy.spin(node)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_peer_that_vanishes_or_freezes_holds_nobody_up(ros: World, measured: Measured, number: signal.Signals):
    ros.begin(FusionNode)
    faces = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", qos.profile("estimates"))
    arrived: list[float] = []
    ros.node.create_subscription(
        EmotionState, "emotion_state", lambda _, info: arrived.append(received_at(info)), patient_profile()
    )
    peer = subprocess.Popen([sys.executable, "-c", PEER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert ros.until(lambda: faces.get_subscription_count() == 2, 30.0)
        assert "heard" in peer.stdout.readline(), "the peer listens reliably"
        peer.send_signal(number)
        end, count, slowest = time.monotonic() + 3.0, len(arrived), 0.0
        while time.monotonic() < end:
            began = time.monotonic()
            faces.publish(conversions.faces_to_message([a_face()], now_header(), 640, 480))
            slowest = max(slowest, elapsed(began))
            ros.spin(0.04)
        pause = longest_pause(arrived[count:])
        assert len(arrived) - count >= 20 / slowness(end - 3.0)
        assert pause < 0.5, "the others hear on"
        assert slowest < 0.5, "publishing waits for nobody"
        name = "vanishes" if number == signal.SIGKILL else "freezes"
        measured(f"a reliable DDS peer {name}", f"as before; longest pause {pause:.2f} s", "none needed")
    finally:
        peer.kill()
        peer.wait(5)
