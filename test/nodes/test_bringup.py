"""Several processes: the graph's table, messages between processes, restarts, and ends."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from machine import elapsed, in_time, slowness
from node_world import World, a_face, children, now_header

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.bringup.command import _is_failure
from emotion_perception.bringup.graph import ARGUMENTS, graph_nodes
from emotion_perception.bringup.supervisor import Supervisor, describe_exit
from emotion_perception.ros import conversions, qos

if TYPE_CHECKING:
    from launch import LaunchContext

ROOT = Path(__file__).parents[2]
ROBOTS = ("robot1", "robot2")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image file without a face in it."""
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 127, np.uint8))
    return path


@pytest.fixture
def bringup(picture: Path) -> Iterator[subprocess.Popen]:
    """``emotion-bringup`` on an image."""
    process = subprocess.Popen(
        [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(picture), "--overlay", "false"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait(5)


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ends(process: subprocess.Popen, seconds: float) -> bool:
    """Whether a process ends within ``seconds`` of an idle machine."""
    return in_time(lambda: process.poll() is not None, seconds)


# --- the table


def test_the_source_node_runs_only_where_there_is_a_source():
    assert [node.name for node in graph_nodes()] == ["visual_node", "acoustic_node", "fusion_node", "overlay_node"]
    assert graph_nodes({"source": "webcam"})[0].name == "media_source_node"
    assert "overlay_node" not in [node.name for node in graph_nodes({"overlay": "false"})]


def test_topics_namespace_and_clock_reach_the_command_line():
    arguments = {
        "source": "/films/a b.mp4",
        "image_topic": "/camera/image",
        "audio_topic": "/mic",
        "namespace": "robot1",
        "use_sim_time": "true",
        "config": "/my.yaml",
    }
    source, visual, acoustic, fusion, _ = graph_nodes(arguments, {"loop": True})
    assert source.remappings == (("image_raw", "/camera/image"), ("audio", "/mic"))
    assert visual.remappings == (("image_raw", "/camera/image"),)
    assert acoustic.remappings == (("audio", "/mic"),)
    assert fusion.remappings == ()
    command = source.command()
    for words in ('source:="/films/a b.mp4"', "loop:=true", "use_sim_time:=true", "__ns:=/robot1", "/my.yaml"):
        assert words in command
    assert command[-1] == "robot1.media_source_node:=info"


def test_depth_and_the_robots_head_reach_fusion_node():
    assert {name: graph_nodes()[2].parameters.get(name) for name in ("depth_topic", "robot_head_frame")} == {
        "depth_topic": None,
        "robot_head_frame": None,
    }
    fusion = graph_nodes({"depth_topic": "/depth/image", "robot_head_frame": "head"})[2]
    assert fusion.name == "fusion_node"
    assert (fusion.parameters["depth_topic"], fusion.parameters["robot_head_frame"]) == ("/depth/image", "head")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"overlay": "maybe"}, "one of true, false"),
        ({"sauce": "x"}, "unknown argument 'sauce'"),
        ({"composed": "true", "lifecycle": "launch"}, "one process per node"),
    ],
)
def test_a_bad_argument_is_refused_with_a_reason(arguments: dict, words: str):
    with pytest.raises(ValueError, match=words):
        graph_nodes(arguments)


@pytest.fixture
def robot_launch() -> ModuleType:
    """The launch file as a module."""
    pytest.importorskip("launch_ros", reason="needs launch and launch_ros, which no package index has")
    spec = importlib.util.spec_from_file_location("robot_launch", ROOT / "launch" / "robot.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(robot_launch: ModuleType, **given: str) -> tuple[list, LaunchContext]:
    """What the launch file starts for these arguments."""
    from launch import LaunchContext

    context = LaunchContext()
    for name, argument in ARGUMENTS.items():
        context.launch_configurations[name] = given.get(name, argument.default)
    return robot_launch.start_nodes(context), context


def test_the_launch_file_starts_what_the_table_says(robot_launch: ModuleType):
    from launch.utilities import perform_substitutions
    from launch_ros.actions import LifecycleNode

    given = {"source": "webcam", "image_topic": "/camera/image", "namespace": "robot1"}
    declared = robot_launch.generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in declared} == set(ARGUMENTS)
    assert all(argument.description for argument in declared)
    started, context = launched(robot_launch, **given)
    actions = [entity for entity in started if isinstance(entity, LifecycleNode)]
    for action, node in zip(actions, graph_nodes(given), strict=True):
        assert (action.node_package, action.node_executable) == ("emotion_perception", node.executable)
        # Evaluates name, namespace, remappings and parameters, as launch does when it starts the node.
        action._perform_substitutions(context)
        context.extend_locals({"ros_specific_arguments": defaultdict(str)})
        assert action.node_name == f"/robot1/{node.name}"
        command = [perform_substitutions(context, part) for part in action.cmd]
        for old, new in node.remappings:
            assert f"{old}:={new}" in command
        assert "--params-file" in command and f"{node.logger}:=info" in command


def test_the_launch_file_gives_each_node_events_only_where_it_is_to_drive_them(robot_launch: ModuleType):
    from launch.actions import RegisterEventHandler
    from launch.event_handlers import OnProcessExit, OnProcessStart
    from launch_ros.event_handlers import OnStateTransition

    def handlers(**given: str) -> list[type]:
        started, _ = launched(robot_launch, **given)
        return [type(entity.event_handler) for entity in started if isinstance(entity, RegisterEventHandler)]

    nodes = len(graph_nodes())
    assert handlers() == handlers(lifecycle="manager") == [OnProcessExit] * nodes
    assert handlers(lifecycle="launch") == [OnProcessExit, OnProcessStart, OnStateTransition] * nodes
    assert all(node.parameters["autostart"] is False for node in graph_nodes({"lifecycle": "launch"}))


def test_the_launch_file_can_run_all_nodes_in_one_process(robot_launch: ModuleType):
    from launch_ros.actions import Node

    started, context = launched(robot_launch, composed="true")
    (action,) = (entity for entity in started if isinstance(entity, Node))
    assert action.node_executable == "node_container"
    ((name, value),) = action.additional_env
    assert context.perform_substitution(name[0]) == "OMP_NUM_THREADS"
    assert context.perform_substitution(value[0]) == os.environ.get("OMP_NUM_THREADS", "1")
    words = [context.perform_substitution(part[0]) for part in action.cmd[1 : 1 + len(graph_nodes())]]
    assert [json.loads(word)["node"] for word in words] == [node.executable for node in graph_nodes()]


def test_a_process_that_dies_under_launch_is_started_again_later_and_later(robot_launch: ModuleType):
    from launch import LaunchContext
    from launch.actions import TimerAction
    from launch.events.process import ProcessExited

    kept = robot_launch.RestartedProcess("fusion_node", [graph_nodes()[2]], by_events=False)
    context = LaunchContext()
    waits = []
    for _ in range(3):
        action = kept.start()[-1]
        died = ProcessExited(action=action, name="x", cmd=[], cwd=None, env=None, pid=1, returncode=-9)
        waits += [entity.period for entity in kept._on_exit(died, context) if isinstance(entity, TimerAction)]
    assert waits == [0.5, 1.0, 2.0]
    context._set_is_shutdown(True)
    assert kept._on_exit(died, context) is None, "Ctrl-C is no death"


def test_an_interrupted_node_and_one_with_refused_parameters_are_not_restarted_by_launch(robot_launch: ModuleType):
    from launch import LaunchContext
    from launch.actions import EmitEvent, TimerAction
    from launch.events import Shutdown
    from launch.events.process import ProcessExited

    kept = robot_launch.RestartedProcess("fusion_node", [graph_nodes()[2]], by_events=False)
    for code, shuts_down in ((0, False), (2, True)):
        ended = ProcessExited(action=kept.start()[-1], name="x", cmd=[], cwd=None, env=None, pid=1, returncode=code)
        reactions = kept._on_exit(ended, LaunchContext())
        assert not [entity for entity in reactions if isinstance(entity, TimerAction)]
        emitted = [entity.event for entity in reactions if isinstance(entity, EmitEvent)]
        assert [isinstance(event, Shutdown) for event in emitted] == [True] * shuts_down


def test_launch_refuses_a_missing_parameter_file(robot_launch: ModuleType):
    with pytest.raises(FileNotFoundError, match="config:=/no/such.yaml: no such file"):
        launched(robot_launch, config="/no/such.yaml")


def test_life_cycle_events_of_a_dead_process_do_not_drive_the_next_one(robot_launch: ModuleType):
    from launch import LaunchContext
    from launch.actions import RegisterEventHandler, UnregisterEventHandler
    from launch.events.process import ProcessExited

    kept = robot_launch.RestartedProcess("fusion_node", [graph_nodes({"lifecycle": "launch"})[2]], by_events=True)
    _, *registered, action = kept.start()
    assert len(registered) == 2 and all(isinstance(entity, RegisterEventHandler) for entity in registered)
    died = ProcessExited(action=action, name="x", cmd=[], cwd=None, env=None, pid=1, returncode=-9)
    context = LaunchContext()
    gone = [entity for entity in kept._on_exit(died, context) if isinstance(entity, UnregisterEventHandler)]
    assert [entity.event_handler for entity in gone] == [entity.event_handler for entity in registered]
    assert len(kept._start_again(context)) == 2, "the next one starts itself"
    assert not [entity for entity in kept._on_exit(died, context) if isinstance(entity, UnregisterEventHandler)]


# --- processes


def test_two_processes_exchange_faces_and_states(ros: World):
    fusion = graph_nodes()[2].command()
    process = subprocess.Popen(fusion, cwd=ROOT)
    try:
        states = ros.hear(EmotionState, "/emotion_state", qos.profile("state"))
        faces = ros.node.create_publisher(FaceEmotionArray, "/faces/emotions", qos.profile("estimates"))
        assert ros.until(lambda: states and faces.get_subscription_count() == 1, 20.0)
        header, began = now_header(), time.monotonic()
        faces.publish(conversions.faces_to_message([a_face()], header, 640, 480))
        assert ros.until(lambda: states[-1].status == EmotionState.VISUAL_ONLY, 5.0)
        assert states[-1].header.stamp == header.stamp and states[-1].face_id == "f1"
        assert 0 < conversions.duration_to_seconds(states[-1].latency) < 1.0 * slowness(began)
    finally:
        process.send_signal(signal.SIGINT)
        assert ends(process, 3.0) and process.returncode == 0


def test_all_nodes_run_in_one_process(ros: World, picture: Path):
    command = [
        sys.executable,
        "-m",
        "emotion_perception.bringup.command",
        "--source",
        str(picture),
        "--composed",
        "true",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        states = ros.hear(EmotionState, "/emotion_state", qos.profile("state"))
        faces = ros.hear(FaceEmotionArray, "/faces/emotions", qos.profile("estimates"))
        assert ros.until(lambda: bool(states and faces), 30.0), "picture to faces to state, within one process"
        assert set(children(process)) == {"node_container"}
        names = {"media_source_node", "visual_node", "acoustic_node", "fusion_node", "overlay_node"}
        assert ros.until(lambda: names <= set(ros.node.get_node_names()), 10.0)
        process.send_signal(signal.SIGINT)
        assert ends(process, 5.0) and process.returncode == 0
    finally:
        process.kill()


def test_a_container_that_is_told_nonsense_says_so():
    for words, said in ([], "no node given"), (['{"node": "toaster_node", "arguments": []}'], "toaster_node"):
        command = [sys.executable, "-m", "emotion_perception.bringup.node_container", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
        assert said in done.stderr and "Traceback" not in done.stderr


def test_two_graphs_on_one_machine_keep_to_themselves(ros: World):
    commands = [graph_nodes({"namespace": name})[2].command() for name in ROBOTS]
    processes = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    try:
        states = {name: ros.hear(EmotionState, f"/{name}/emotion_state", qos.profile("state")) for name in ROBOTS}
        told = ros.node.create_publisher(FaceEmotionArray, "/robot1/faces/emotions", qos.profile("estimates"))
        assert ros.until(lambda: all(states.values()) and told.get_subscription_count() == 1, 30.0)
        told.publish(conversions.faces_to_message([a_face()], now_header(), 640, 480))
        assert ros.until(lambda: states["robot1"][-1].status == EmotionState.VISUAL_ONLY, 5.0)
        ros.spin(0.3)
        assert {state.status for state in states["robot2"]} == {EmotionState.NO_EVIDENCE}
        topics = [name for name, _ in ros.node.get_topic_names_and_types()]
        assert {name for name in topics if name.startswith("/emotion")} == set(), "nothing outside the two namespaces"
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        assert all(ends(process, 5.0) and process.returncode == 0 for process in processes)


def test_fusion_needs_no_torch_and_no_opencv():
    code = (
        "import sys, emotion_perception.nodes.fusion_node; "
        "sys.exit(str(sorted({'torch', 'cv2', 'av'} & set(sys.modules))) if {'torch', 'cv2'} & set(sys.modules) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("code", "later"),
    [
        ("from emotion_perception.visual.perception import VisualPerception as P", "scipy.optimize"),
        ("from emotion_perception.acoustic.perception import AcousticPerception as P", "noisereduce"),
    ],
)
def test_models_are_ready_without_scipy_which_is_loaded_beside_the_work(code, later):
    """SciPy takes one to two seconds of each start; without it the first state comes by so much sooner."""
    code += f"; import sys; p = P(); assert 'scipy' not in sys.modules; p.warm_up(); assert {later!r} in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_a_killed_node_comes_back_and_ctrl_c_ends_all_within_three_seconds(ros: World, bringup: subprocess.Popen):
    states = ros.hear(EmotionState, "/emotion_state", qos.profile("state"))
    assert ros.until(lambda: bool(states), 30.0)
    first = children(bringup)
    assert set(first) == {"media_source_node", "visual_node", "acoustic_node", "fusion_node"}
    os.kill(first["fusion_node"], signal.SIGKILL)
    assert in_time(lambda: children(bringup).get("fusion_node") not in (None, first["fusion_node"]), 5.0)
    ros.spin(0.5)
    before = len(states)
    assert ros.until(lambda: len(states) > before, 15.0), "the new one publishes"

    pids = children(bringup).values()
    began = time.monotonic()
    bringup.send_signal(signal.SIGINT)
    assert ends(bringup, 3.0) and bringup.returncode == 0
    assert in_time(lambda: not any(map(alive, pids)), 3.0 - elapsed(began))
    log = bringup.stderr.read()
    assert "[fusion_node] died (signal SIGKILL); starting again in 0.5 s" in log


def test_the_nodes_end_with_a_bringup_that_is_killed(bringup: subprocess.Popen):
    assert in_time(lambda: len(children(bringup)) == 4, 10.0)
    pids = list(children(bringup).values())
    time.sleep(1.0)
    bringup.kill()
    assert in_time(lambda: not any(map(alive, pids)), 5.0)


def test_bringup_says_in_one_line_that_the_source_cannot_be_read(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(tmp_path / "no.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 66
    assert result.stderr.strip() == f"emotion-bringup: {tmp_path / 'no.mp4'}: no such file"


def run_bringup(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "emotion_perception.bringup.command", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file; start from a copy of config/robot.yaml"),
        ("fusion_node: [", "not readable as YAML"),
        ("rate: 5\n", "not a ROS 2 parameter file"),
    ],
)
def test_a_wrong_parameter_file_is_one_error_and_nothing_is_started(tmp_path: Path, content: str | None, words: str):
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_text(content)
    result = run_bringup("--config", str(path))
    assert result.returncode == 2
    assert result.stderr.startswith(f"emotion-bringup: config:={path}: {words}")
    assert len(result.stderr.splitlines()) == 1


def test_a_parameter_that_a_node_refuses_ends_the_bringup_instead_of_restarting_it(tmp_path: Path):
    path = tmp_path / "my.yaml"
    path.write_text("/**/fusion_node:\n  ros__parameters:\n    rate: -5.0\n")
    result = run_bringup("--config", str(path), "--overlay", "false")
    assert result.returncode == 2
    assert "Min: 0.5, Max: 100.0, value: -5.0: rate" in result.stderr and "starting again" not in result.stderr
    assert "emotion-bringup: fusion_node cannot start with these parameters" in result.stderr


def test_an_interrupted_node_is_not_restarted():
    log = io.StringIO()
    supervisor = Supervisor(log)
    code = "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(0)); print('up', flush=True); "
    supervisor.add("node", [sys.executable, "-S", "-c", code + "time.sleep(60)"], lambda code: _is_failure((0,), code))
    assert in_time(lambda: "[node] up" in log.getvalue(), 5.0)
    os.kill(supervisor.processes["node"].pid, signal.SIGINT)
    assert in_time(lambda: supervisor.watch() or "[node] ended (exit code 0)" in log.getvalue(), 5.0)
    assert "died" not in log.getvalue()


def test_a_dying_process_is_restarted_later_and_later():
    log = io.StringIO()
    supervisor = Supervisor(log)
    supervisor.add("brief", [sys.executable, "-S", "-c", "raise SystemExit(3)"])
    assert in_time(lambda: supervisor.watch() or "in 2 s" in log.getvalue(), 4.0, 0.02)
    supervisor.stop()
    died = [line for line in log.getvalue().splitlines() if "died" in line]
    assert died == [f"[brief] died (exit code 3); starting again in {wait} s" for wait in ("0.5", "1", "2")]


def test_an_expected_exit_is_final_and_a_deaf_process_is_killed():
    log = io.StringIO()
    supervisor = Supervisor(log)
    supervisor.add("done", [sys.executable, "-S", "-c", "print('bye')"], restart=lambda code: code != 0)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    supervisor.add("deaf", [sys.executable, "-S", "-c", deaf])
    assert in_time(lambda: supervisor.watch() or supervisor.processes["done"].exit_code == 0, 5.0)
    assert in_time(lambda: "[deaf] deaf" in log.getvalue(), 5.0)
    began = time.monotonic()
    supervisor.stop()
    assert elapsed(began) < 3.0
    assert supervisor.processes["deaf"].pid is None
    assert "[done] bye" in log.getvalue() and "[deaf] did not stop in time; killed" in log.getvalue()


def test_exits_are_told_in_words():
    assert (describe_exit(3), describe_exit(-9)) == ("exit code 3", "signal SIGKILL")


# --- the demo


def run_demo(*arguments: str, timeout: float = 90) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, "-m", "emotion_perception.bringup.demo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )


def test_the_demo_prints_one_json_line_a_state_and_nothing_else(picture: Path):
    result = run_demo(str(picture), "--headless", "--duration", "1")
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) > 10
    for record in records:
        assert set(record) == {
            *("stamp", "status", "label", "confidence", "probabilities"),
            *("valence", "valence_deviation", "arousal", "arousal_deviation", "latency_ms", "face_id"),
        }
    assert {record["status"] for record in records} == {"NO_EVIDENCE"}, "there is no face in the picture"


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "."])
def test_the_demo_says_in_one_line_that_the_source_cannot_be_read(tmp_path: Path, name: str):
    (tmp_path / "text.mp4").write_text("no film")
    result = run_demo(str(tmp_path / name), "--headless")
    assert result.returncode == 66
    assert result.stdout == "" and len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith(f"demo: {tmp_path / name}")


def test_the_demo_says_that_there_is_no_display(picture: Path):
    result = run_demo(str(picture))
    assert result.returncode == 3
    assert "no display" in result.stderr and "--headless" in result.stderr
