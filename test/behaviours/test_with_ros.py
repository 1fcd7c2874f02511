"""The behaviours on real topics: a publisher here, ``emotion-tree`` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import py_trees
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: . scripts/env.sh")
pytest.importorskip("emotion_msgs.msg", reason="needs emotion_msgs: scripts/setup.sh")

from builtin_interfaces.msg import Time  # noqa: E402
from machine import elapsed  # noqa: E402
from py_trees.common import Status  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from states import ns, state  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from emotion_msgs.msg import EmotionState as EmotionStateMessage  # noqa: E402
from emotion_msgs.msg import PersonStateArray  # noqa: E402
from emotion_perception.behaviours import (  # noqa: E402
    HasEvidence,
    IsEmotion,
    IsEngaged,
    PersonsToBlackboard,
    ToBlackboard,
)
from emotion_perception.ros import qos  # noqa: E402
from emotion_perception.ros.conversions import persons_to_message, state_to_message  # noqa: E402
from emotion_perception.types import Engagement, PersonState  # noqa: E402

_used = 0


class Bench:
    """A node that publishes states and hears actions, spun by hand."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        self.node = self.make_node("bench")
        self.states = self.node.create_publisher(EmotionStateMessage, "emotion_state", qos.profile("state"))
        self.actions: list[str] = []
        self.node.create_subscription(String, "emotion/action", self._on_action, qos.profile("state"))

    def _on_action(self, message: String) -> None:
        self.actions.append(message.data)

    def make_node(self, name: str, **options: Any) -> Any:
        node = rclpy.create_node(name, context=self.context, **options)
        self.executor.add_node(node)
        return node

    def show(self, emotion: str, age: float = 0.0, **more: Any) -> None:
        """Publish a state captured ``age`` s ago."""
        now = time.time()
        self.states.publish(state_to_message(state(emotion, now - age, **more), ns(now)))

    def spin(self, until: Callable[[], bool], seconds: float, every: Callable[[], None] = lambda: None) -> bool:
        """Spin until it is so; ``every`` is called at 10 Hz meanwhile. False where it was not so in time."""
        began, next_call = time.monotonic(), 0.0
        while elapsed(began) < seconds:
            if time.monotonic() >= next_call:
                every()
                next_call = time.monotonic() + 0.1
            self.executor.spin_once(timeout_sec=0.02)
            if until():
                return True
        return until()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    global _used
    _used += 1
    domain = 1 + (os.getpid() * 17 + _used) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    py_trees.blackboard.Blackboard.clear()
    context = rclpy.Context()
    rclpy.init(context=context)
    made = Bench(context)
    yield made
    for node in made.executor.get_nodes():
        node.destroy_node()
    made.executor.shutdown()
    context.try_shutdown()
    py_trees.blackboard.Blackboard.clear()


@pytest.fixture
def emotion_tree(bench: Bench, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (tmp_path / "tree.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "emotion_perception.behaviours.emotion_tree", "--lines", "--max-age", "1"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        yield process
        process.kill()
        process.wait()


def test_the_tree_reacts_to_what_is_and_not_to_what_was(
    bench: Bench, emotion_tree: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    # A latched state from before the tree was there: an angry person, ten seconds ago.
    bench.show("angry", age=10.0)
    assert bench.spin(lambda: bench.actions == ["idle"], 20), bench.actions
    assert bench.spin(lambda: bench.states.get_subscription_count() > 0, 10)
    bench.spin(lambda: False, 1.0)
    assert bench.actions == ["idle"]
    # The same, now.
    assert bench.spin(lambda: "soften_and_step_back" in bench.actions, 10, lambda: bench.show("angry"))
    # Fusion dies: nobody takes the last state back, it grows old.
    assert bench.spin(lambda: bench.actions[-1] == "idle", 5), bench.actions
    # Fusion lives and sees nobody.
    assert bench.spin(lambda: bench.actions[-1] != "idle", 10, lambda: bench.show("neutral"))
    assert bench.spin(lambda: bench.actions[-1] == "idle", 5, lambda: bench.show(""))
    # Ended in the middle of a reaction, it takes the reaction back.
    assert bench.spin(lambda: bench.actions[-1] == "soften_and_step_back", 10, lambda: bench.show("fearful"))
    emotion_tree.send_signal(signal.SIGTERM)
    assert bench.spin(lambda: bench.actions[-1] == "idle", 5, lambda: bench.show("fearful"))
    assert emotion_tree.wait(10) == 0
    log = (tmp_path / "tree.log").read_text()
    assert "soften_and_step_back (Angry or fearful?" in log
    assert "Traceback" not in log


def plain_tree(
    node: Any, *conditions: py_trees.behaviour.Behaviour
) -> tuple[py_trees.trees.BehaviourTree, ToBlackboard]:
    """A tree of the subscriber and conditions; one that fails does not stop the others."""
    source = ToBlackboard()
    asked = [py_trees.decorators.FailureIsSuccess(condition.name, condition) for condition in conditions]
    root = py_trees.composites.Parallel(
        "root", py_trees.common.ParallelPolicy.SuccessOnAll(synchronise=False), [source, *asked]
    )
    tree = py_trees.trees.BehaviourTree(root)
    tree.setup(node=node)
    return tree, source


def test_a_latched_sample_serves_the_first_tick_when_it_is_fresh(bench: Bench) -> None:
    bench.show("happy")
    node = bench.make_node("robot")
    there = HasEvidence()
    tree, source = plain_tree(node, there)
    tree.tick()
    assert source.status is py_trees.common.Status.RUNNING
    assert bench.spin(lambda: (tree.tick(), source.status is py_trees.common.Status.SUCCESS)[1], 10)
    assert there.status is py_trees.common.Status.SUCCESS
    assert py_trees.blackboard.Blackboard.get("/emotion/label") == "happy"
    assert py_trees.blackboard.Blackboard.get("/emotion/message").person_id == "person_1"
    assert py_trees.blackboard.Blackboard.get("/emotion/age") < 2.0
    tree.shutdown()
    assert bench.states.get_subscription_count() == 0 or bench.spin(
        lambda: bench.states.get_subscription_count() == 0, 5
    )


def test_a_broken_message_is_dropped_and_told(bench: Bench) -> None:
    tree, source = plain_tree(bench.make_node("robot"))
    broken = EmotionStateMessage(status=EmotionStateMessage.VISUAL_ONLY)  # probabilities that sum to 0

    def tick() -> bool:
        tree.tick()
        return source.rejected > 0

    assert bench.spin(tick, 10, lambda: bench.states.publish(broken))
    assert "no distribution" in source.feedback_message
    assert py_trees.blackboard.Blackboard.get("/emotion/snapshot") is None
    tree.shutdown()


def test_simulated_time_is_respected_and_a_jump_back_voids_the_state(bench: Bench) -> None:
    node = bench.make_node("robot", parameter_overrides=[Parameter("use_sim_time", value=True)])
    clock = bench.node.create_publisher(Clock, "/clock", 10)
    angry = IsEmotion("Angry?", "angry", hold=0.0)
    tree, source = plain_tree(node, angry)
    blackboard = py_trees.blackboard.Blackboard

    def at(seconds: int, until: Callable[[], bool]) -> bool:
        """Set the clock and tick until it is so."""

        def done() -> bool:
            if node.get_clock().now().nanoseconds != ns(seconds):
                return False
            tree.tick()
            return until()

        return bench.spin(done, 10, lambda: clock.publish(Clock(clock=Time(sec=seconds))))

    assert at(1000, lambda: True)
    bench.states.publish(state_to_message(state("angry", 999.9), ns(1000)))
    assert at(1000, lambda: angry.status is py_trees.common.Status.SUCCESS)
    assert blackboard.get("/emotion/age") == pytest.approx(0.1)
    assert at(1005, lambda: angry.status is py_trees.common.Status.FAILURE)
    assert blackboard.get("/emotion/freshness") == "stale"
    # A recording begins again; when it comes by the old stamp, the old state must not be taken for new.
    assert at(500, lambda: blackboard.get("/emotion/freshness") == "nothing received yet")
    assert at(1000, lambda: True)
    assert angry.status is py_trees.common.Status.FAILURE
    assert blackboard.get("/emotion/snapshot") is None
    assert source.status is py_trees.common.Status.SUCCESS
    tree.shutdown()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "examples:"),
        (["--once", "--ascii"], 0, "[-] Soften and step back"),
        (["--once", "--dot"], 0, "digraph"),
        (["--rate", "0"], 2, "--rate must be"),
        (["--max-age", "nan"], 2, "--max-age must be"),
        (["--dot"], 2, "--once"),
    ],
)
def test_the_tool_explains_itself(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from emotion_perception.behaviours.emotion_tree import main

    try:
        returned = main(arguments)
    except SystemExit as end:
        returned = int(end.code or 0)
    out, err = capsys.readouterr()
    assert returned == code
    assert words in out + err


def test_a_terminal_sees_every_behaviours_answer_and_reason() -> None:
    from emotion_perception.behaviours import create_root
    from emotion_perception.behaviours.emotion_tree import screen

    root = create_root()
    source = root.children[0]
    source.feedback_message = "happy, 0.1 s old"
    text = screen(root, ascii_only=True, title="/emotion_state -> /emotion/action: celebrate")
    assert text.startswith("\x1b[H/emotion_state -> /emotion/action: celebrate\x1b[K\n")
    assert "--> EmotionToBlackboard [-] -- happy, 0.1 s old\x1b[K\n" in text
    assert text.isascii()


def test_attention_reaches_the_blackboard_and_broken_arrays_do_not(bench: Bench) -> None:
    persons = bench.node.create_publisher(PersonStateArray, "person_states", qos.profile("state"))
    source, condition = PersonsToBlackboard(), IsEngaged()
    node = bench.make_node("tree")
    for behaviour in (source, condition):
        behaviour.setup(node=node)

    def tick(*states: PersonState, **broken: float) -> None:
        message = persons_to_message(states, time.time_ns())
        for name, value in broken.items():
            setattr(message.states[0], name, value)
        persons.publish(message)
        source.tick_once()
        condition.tick_once()

    source.tick_once()
    condition.tick_once()
    assert source.status is Status.SUCCESS
    assert condition.status is Status.FAILURE
    engaged = lambda: PersonState(time.time_ns(), "ada", "f", True, Engagement.ENGAGED, 0.9)  # noqa: E731
    assert bench.spin(lambda: condition.status is Status.SUCCESS, 10, lambda: tick(engaged()))
    assert "ada engaged" in source.feedback_message
    assert bench.spin(lambda: source.rejected > 0, 10, lambda: tick(engaged(), looking=7.0))
    assert "looking is 7" in source.feedback_message
    assert bench.spin(lambda: condition.status is Status.FAILURE, 10, tick), "an empty array: nobody"
