"""Managed nodes: what each transition leads to, and that inactive means idle."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from machine import in_time, slowness
from node_world import World, a_face, now_header
from sensor_msgs.msg import Image

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.ros import conversions, qos
from emotion_perception.ros.diagnostics import BurstReporter, WorkMeter
from emotion_perception.ros.lifecycle import PerceptionNode
from emotion_perception.ros.worker import Worker


class Eye(PerceptionNode):
    """The smallest node with a worker: answers every image with an empty list of faces."""

    def __init__(self, **options):
        super().__init__("eye", (), **options)
        self.looked: list[str] = []
        self.fail_with: Exception | None = None
        self.busy = threading.Event()  # set while an image is being looked at
        self.go_on = threading.Event()
        self.go_on.set()
        self.model = None

    def configure(self):
        if self.fail_with is not None:
            raise self.fail_with
        self.model = np.zeros(1000)
        self.faces = self.publish_to(FaceEmotionArray, "faces/emotions", "estimates")

    def activate(self):
        worker = self.process(self.look)
        self.subscribe_to(Image, "image_raw", worker.submit, "image_in")

    def cleanup(self):
        self.model = None

    def look(self, message):
        self.busy.set()
        self.go_on.wait(30.0)
        self.looked.append(message.header.frame_id)
        self.faces.publish(conversions.faces_to_message([], message.header, 1, 1))


def image(frame_id: str = "camera") -> Image:
    return conversions.image_to_message(np.zeros((4, 4, 3), np.uint8), now_header(frame_id))


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        ("unconfigured", Transition(id=Transition.TRANSITION_ACTIVATE)),
        ("active", Transition(id=Transition.TRANSITION_ACTIVATE)),
        ("active", Transition(label="configure")),
        ("active", Transition(id=123)),
    ],
)
def test_a_transition_that_the_state_does_not_have_is_refused_and_survived(ros: World, state: str, wrong: Transition):
    node = ros.begin(FusionNode) if state == "active" else ros.add(FusionNode)
    client = ros.node.create_client(ChangeState, "fusion_node/change_state")
    assert ros.until(client.service_is_ready)

    def ask(transition: Transition) -> bool:
        future = client.call_async(ChangeState.Request(transition=transition))
        assert ros.until(future.done)
        return future.result().success

    assert not ask(wrong) and node.state_label == state
    right = Transition.TRANSITION_DEACTIVATE if state == "active" else Transition.TRANSITION_CONFIGURE
    assert ask(Transition(id=right)) and node.state_label == "inactive"


def test_a_node_starts_itself(ros: World):
    node = ros.add(FusionNode, autostart=True)
    assert ros.until(lambda: node.state_label == "active")


def test_without_autostart_a_node_waits_for_its_manager(ros: World):
    node = ros.add(FusionNode)
    client = ros.node.create_client(ChangeState, "fusion_node/change_state")
    ros.spin(0.3)
    assert node.state_label == "unconfigured"
    for transition, state in (
        (Transition.TRANSITION_CONFIGURE, "inactive"),
        (Transition.TRANSITION_ACTIVATE, "active"),
        (Transition.TRANSITION_DEACTIVATE, "inactive"),
        (Transition.TRANSITION_CLEANUP, "unconfigured"),
        (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, "finalized"),
    ):
        request = ChangeState.Request()
        request.transition.id = transition
        future = client.call_async(request)
        assert ros.until(future.done) and future.result().success
        assert node.state_label == state


def test_nothing_is_held_before_configure(ros: World):
    node = ros.add(FusionNode)
    assert node._fusion is None and node._state is None
    assert [s.topic_name for s in node.subscriptions if "emotion" in s.topic_name] == []


def test_an_inactive_node_hears_nothing_and_says_nothing(ros: World):
    node = ros.add(Eye)
    node.trigger_configure()
    node.trigger_activate()
    faces = ros.hear(FaceEmotionArray, "faces/emotions")
    camera = ros.node.create_publisher(Image, "image_raw", 1)
    assert ros.matched(camera)
    camera.publish(image())
    assert ros.until(lambda: len(faces) == 1)
    threads = threading.active_count()

    node.trigger_deactivate()
    assert threading.active_count() == threads - 1, "the worker has ended"
    assert ros.until(lambda: camera.get_subscription_count() == 0), "the subscription is gone"
    camera.publish(image())
    ros.spin(0.3)
    assert len(faces) == len(node.looked) == 1

    node.trigger_activate()
    assert ros.matched(camera)
    camera.publish(image())
    assert ros.until(lambda: len(faces) == 2)


def test_cleanup_lets_go_of_the_model(ros: World):
    node = ros.add(Eye)
    node.trigger_configure()
    model = weakref.ref(node.model)
    assert node.count_publishers("/faces/emotions") == 1
    node.trigger_cleanup()
    gc.collect()
    assert model() is None
    assert ros.until(lambda: node.count_publishers("/faces/emotions") == 0)


def test_a_foreseen_problem_leaves_the_node_unconfigured_and_is_told(ros: World):
    node = ros.add(Eye)
    node.fail_with = FileNotFoundError("/no/such/model")
    heard = ros.hear(DiagnosticArray, "/diagnostics")
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert ros.until(lambda: any(s.name.startswith("eye") for message in heard for s in message.status))
    status = [s for message in heard for s in message.status if s.name.startswith("eye")][-1]
    assert status.level == DiagnosticStatus.ERROR and "/no/such/model" in status.message

    node.fail_with = None
    node.trigger_configure()
    assert node.state_label == "inactive" and node.problem == "", "a second try can succeed"


def test_an_unforeseen_exception_ends_unconfigured_not_half_configured(ros: World):
    node = ros.add(Eye)
    node.fail_with = ZeroDivisionError("oops")
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert "ZeroDivisionError" in node.problem


def test_the_newest_image_wins_and_the_lost_ones_are_counted(ros: World):
    node = ros.add(Eye)
    node.trigger_configure()
    node.trigger_activate()
    # A long queue, so that nothing is lost on the way.
    camera = ros.node.create_publisher(Image, "image_raw", qos.profile("audio_out"))
    assert ros.matched(camera)
    node.go_on.clear()
    camera.publish(image("0"))
    assert ros.until(node.busy.is_set)
    for number in range(1, 6):
        camera.publish(image(str(number)))
        ros.spin(0.02)
    assert ros.until(lambda: node.meter.dropped == 4)
    node.go_on.set()
    assert ros.until(lambda: node.looked == ["0", "5"]), node.looked
    assert node.meter.dropped == 4


def test_diagnostics_tell_rate_latency_losses_state_and_model(ros: World):
    node = ros.add(FusionNode, diagnostics_period=0.2)
    node.trigger_configure()
    node.trigger_activate()
    heard = ros.hear(DiagnosticArray, "/diagnostics")
    began = time.monotonic()
    ros.spin(1.0)
    status = heard[-1].status[0]
    values = {pair.key: pair.value for pair in status.values}
    assert status.name == "fusion_node: emotion_perception"
    assert (status.level, values["lifecycle state"]) == (DiagnosticStatus.OK, "active")
    assert 5 / slowness(began) < float(values["rate (Hz)"]) < 15
    assert {"model", "latency p50 (ms)", "latency p95 (ms)", "dropped", "rejected", "staleness (s)"} <= set(values)


def test_an_active_node_without_work_warns_that_it_is_stale(ros: World):
    node = ros.add(Eye, diagnostics_period=0.5)
    node.trigger_configure()
    node.trigger_activate()
    heard = ros.hear(DiagnosticArray, "/diagnostics")
    assert ros.until(lambda: bool(heard) and "no work for" in heard[-1].status[0].message, 5.0)
    assert heard[-1].status[0].level == DiagnosticStatus.WARN


def test_a_user_overrides_the_quality_of_service(ros: World):
    node = ros.add(Eye, **{"qos_overrides./image_raw.subscription.reliability": "reliable"})
    node.trigger_configure()
    node.trigger_activate()
    (end,) = ros.node.get_subscriptions_info_by_topic("/image_raw")
    assert end.qos_profile.reliability.name == "RELIABLE"
    node.trigger_deactivate()
    node.trigger_activate()
    assert node.state_label == "active", "the override's parameters may be declared once only"


def test_the_state_reaches_a_listener_that_comes_late(ros: World):
    node = ros.add(FusionNode)
    node.trigger_configure()
    node.trigger_activate()
    ros.spin(0.3)
    node.trigger_deactivate()
    late = ros.hear(EmotionState, "emotion_state", qos.profile("state"))
    assert ros.until(lambda: len(late) == 1)
    assert late[0].status == EmotionState.NO_EVIDENCE


# --- the parts


def test_stamps_that_repeat_are_dropped_and_a_jump_back_starts_afresh(ros: World):
    node = ros.add(Eye)
    second = 10**9
    given = (100 * second, 101 * second, 101 * second, 101 * second - 1, 20 * second, 21 * second)
    assert [node.check_stamp(stamp, "image") for stamp in given] == ["new", "new", "old", "old", "jump", "new"]
    assert node.meter.rejected == 3


def test_a_burst_is_said_once_and_summed_up():
    now = [0.0]
    told: list[str] = []
    reporter = BurstReporter(told.append, quiet=5.0, repeat=30.0, clock=lambda: now[0])
    for _ in range(310):  # 31 s
        reporter.report("bad image")
        now[0] += 0.1
    assert told == ["bad image", "bad image (300 more in 30 s)"]
    reporter.report("bad sound")
    assert told[-1] == "bad sound"
    now[0] += 10.0
    reporter.report("bad image")
    assert told[-1].startswith("bad image (and 9 more")


def test_the_meter_tells_rate_and_latency_of_the_last_seconds():
    now = [0.0]
    meter = WorkMeter(window=5.0, clock=lambda: now[0])
    for i in range(100):
        now[0] += 0.1
        meter.done(0.010 if i % 10 else 0.050)
    values = meter.values()
    assert float(values["rate (Hz)"]) == pytest.approx(10.0, abs=0.3)
    assert (values["latency p50 (ms)"], values["latency p95 (ms)"]) == ("10.0", "50.0")
    now[0] += 7.0
    assert meter.values()["rate (Hz)"] == "0.0" and meter.staleness == pytest.approx(7.0)


def test_a_worker_survives_an_exception_and_reports_it():
    done, errors = [], []

    def work(item: int) -> None:
        if item == 1:
            raise RuntimeError("one")
        done.append(item)

    worker = Worker(work, 10, lambda: None, errors.append)
    for item in range(3):
        worker.submit(item)
    assert in_time(lambda: len(done) == 2, 2.0, 0.01)
    assert worker.stop() and done == [0, 2] and [str(error) for error in errors] == ["one"]


def test_fusion_tells_both_faces_and_nothing_of_a_broken_message(ros: World):
    node = ros.add(FusionNode)
    node.trigger_configure()
    node.trigger_activate()
    states = ros.hear(EmotionState, "emotion_state", qos.profile("state"))
    publisher = ros.node.create_publisher(FaceEmotionArray, "faces/emotions", 10)
    assert ros.matched(publisher)
    broken = conversions.faces_to_message([a_face()], now_header(), 640, 480)
    broken.faces[0].emotion.probabilities = np.full(8, np.nan, np.float32)
    publisher.publish(broken)
    ros.spin(0.3)
    assert node.meter.rejected == 1
    assert {state.status for state in states} == {EmotionState.NO_EVIDENCE}
    header = now_header()
    publisher.publish(conversions.faces_to_message([a_face()], header, 640, 480))
    assert ros.until(lambda: states[-1].status == EmotionState.VISUAL_ONLY)
    assert states[-1].header.stamp == header.stamp and states[-1].header.frame_id == "camera"
    assert states[-1].face_id == "f1"
