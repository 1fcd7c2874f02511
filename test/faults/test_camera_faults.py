"""A camera that freezes, floods, changes, lies about pictures or time: what is told, and how soon all is well."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from machine import elapsed, slowness
from node_world import World
from sensor_msgs.msg import Image
from stage import STATUS, Stage

from emotion_msgs.msg import EmotionState
from emotion_perception.ros import conversions
from emotion_perception.types import SECOND

Measured = Callable[[str, str, float | str], None]
HOUR = 3600 * SECOND


def test_a_frozen_camera_means_no_evidence_within_a_second_and_a_half(ros: World, measured: Measured):
    stage = Stage(ros)
    frozen = time.monotonic()
    assert ros.until(lambda: stage.status == "NO_EVIDENCE", 5.0)
    told = time.monotonic() - frozen
    assert elapsed(frozen) < 1.5, "a face counts for 1 s after its picture"
    before = len(stage.states)
    ros.spin(1.5)
    assert {STATUS[message.status] for _, message in stage.states[before:]} == {"NO_EVIDENCE"}
    assert len(stage.states) - before >= 10 / slowness(frozen), "steadily, so that a tree knows it is alive"
    ros.spin(0.5)
    assert stage.visual.meter.staleness > 2.0, "from here on /diagnostics warns"
    measured("camera freezes", f"NO_EVIDENCE after {told:.2f} s, at 10 Hz", stage.recovery())


def test_a_flood_of_pictures_makes_no_queue(ros: World, measured: Measured):
    stage = Stage(ros)
    message = conversions.image_to_message(stage.picture, conversions.make_header(0, "camera"))
    seen, sent, began = len(stage.faces), 0, time.monotonic()
    while time.monotonic() < began + 2.0:
        message.header.stamp = conversions.ns_to_stamp(time.time_ns())
        stage.camera.publish(message)
        sent += 1
        ros.executor.spin_once(timeout_sec=0)
        time.sleep(max(0.0, began + sent / 200 - time.monotonic()))
    last_ns, ended = conversions.stamp_to_ns(message.header.stamp), time.monotonic()
    assert ros.until(lambda: conversions.stamp_to_ns(stage.faces[-1].header.stamp) > last_ns - SECOND // 4, 5.0)
    caught_up = time.monotonic() - ended
    assert elapsed(ended) < 0.5, "the newest picture is looked at next, not the oldest"
    looked = len(stage.faces) - seen
    assert 10 < looked <= sent
    ages = [conversions.duration_to_seconds(m.latency) for _, m in stage.states[-20:] if m.status]
    measured(f"camera floods, {sent / 2:.0f} Hz", f"VISUAL_ONLY, {looked / 2:.0f} pictures/s looked at", caught_up)
    assert np.median(ages) < 0.5 * slowness(began)


def test_the_camera_changes_size_and_encoding_in_mid_stream(ros: World, measured: Measured):
    stage = Stage(ros)
    before, longest = len(stage.states), 0.0
    big = cv2.resize(stage.picture, (640, 512))
    for picture, encoding in (
        (big, "bgr8"),
        (cv2.cvtColor(stage.picture, cv2.COLOR_BGR2GRAY), "mono8"),
        (np.ascontiguousarray(big[..., ::-1]), "rgb8"),
        (cv2.cvtColor(stage.picture, cv2.COLOR_BGR2BGRA), "bgra8"),
        (stage.picture, "bgr8"),
    ):
        message = conversions.image_to_message(stage.picture, conversions.make_header(0, "camera"))
        message.encoding, (message.height, message.width) = encoding, picture.shape[:2]
        message.data, message.step = picture.tobytes(), picture.nbytes // len(picture)
        changed, changed_ns = time.monotonic(), time.time_ns()

        def face_of_the_new_kind(since: int = changed_ns) -> bool:
            return any(m.faces and conversions.stamp_to_ns(m.header.stamp) >= since for m in stage.faces[-5:])

        while not face_of_the_new_kind() and elapsed(changed) < 10:
            message.header.stamp = conversions.ns_to_stamp(time.time_ns())
            stage.show(message)
        assert face_of_the_new_kind(), encoding
        longest = max(longest, time.monotonic() - changed)
    assert stage.visual.meter.rejected == 0
    measured("camera changes resolution and encoding", stage.seen_meanwhile(before), longest)


def broken(kind: str, picture: np.ndarray) -> Image:
    """A message that is no picture."""
    message = conversions.image_to_message(picture, conversions.make_header(time.time_ns(), "camera"))
    if kind == "truncated":
        message.data = message.data[: len(message.data) // 2]
    elif kind == "wrong step":
        message.step = message.step // 2
    elif kind == "empty":
        message.data, message.width, message.height, message.step = b"", 0, 0, 0
    elif kind == "NaN":
        nan = np.full(picture.shape[:2], np.nan, np.float32)
        message.encoding, message.step, message.data = "32FC1", 4 * nan.shape[1], nan.tobytes()
    elif kind == "huge":
        message.width = message.height = 2**31
    return message


def test_broken_pictures_are_told_counted_and_passed_over(ros: World, measured: Measured):
    stage = Stage(ros)
    for kind in ("truncated", "wrong step", "empty", "NaN", "huge"):
        before, rejected, told = len(stage.states), stage.visual.meter.rejected, len(stage.told)
        began = time.monotonic()
        while stage.visual.meter.rejected < rejected + 5 and elapsed(began) < 20:
            stage.show(broken(kind, stage.picture))
        assert stage.visual.meter.rejected >= rejected + 5, kind
        assert len(stage.told) == told + 1, "told once a burst"
        seen = stage.seen_meanwhile(before)
        measured(f"pictures are {kind}", seen, stage.recovery())


def test_stamps_that_jump_or_repeat(ros: World, measured: Measured):
    stage = Stage(ros)
    stamp = time.time_ns()
    assert stage.show_until(lambda: stage.visual.meter.rejected >= 5, stamp_ns=stamp), "the same stamp again and again"
    measured("duplicate stamps", "the repeated pictures are dropped", stage.recovery())
    for hours in (1, -1):
        before = len(stage.states)
        for _ in range(10):
            stage.show(stamp_ns=time.time_ns() + hours * HOUR)
        ros.spin(0.5)
        heard = [m for _, m in stage.states[before:]]
        ahead = [m for m in heard if conversions.stamp_to_ns(m.header.stamp) > time.time_ns() + SECOND]
        assert ahead == [], "no state is from the future"
        seen = stage.seen_meanwhile(before)
        measured(f"the camera's clock is {hours:+d} h off", seen, stage.recovery())
    assert any("jumped back" in line for line in stage.told)


def test_parameters_out_of_range_are_refused_while_the_node_goes_on(ros: World, measured: Measured):
    from node_world import set_parameter

    stage = Stage(ros)
    before = len(stage.states)
    for node, name, value, words in (
        (stage.visual, "max_faces", 0, "out of range"),
        (stage.visual, "min_detection_score", float("nan"), "out of range"),
        (stage.fusion, "rate", -1.0, "out of range"),
        (stage.fusion, "rate", "fast", "double"),
    ):
        good, reason = set_parameter(node, name, value)
        assert not good
        assert words in reason
        stage.show()
    recovery = stage.recovery()
    assert {m.status for _, m in stage.states[before:]} == {EmotionState.VISUAL_ONLY}
    measured("parameters out of range", "VISUAL_ONLY; the change is refused with a reason", recovery)
