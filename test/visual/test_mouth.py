"""How a mouth moves, from pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from emotion_perception.visual.alignment import FRAME, TEMPLATE, crop_mouth
from emotion_perception.visual.mouth import measure_mouth
from emotion_perception.visual.perception import VisualConfig

SIDE = 160.0  # px of the drawn face
STEP = 33_000_000  # ns


def landmarks(x: float = 200, y: float = 100, side: float = SIDE) -> np.ndarray:
    return (TEMPLATE * (side / FRAME) + [x, y]).astype(np.float32)


def drawn(opening: float, x: float = 200, y: float = 100) -> np.ndarray:
    """A grey face with eyes, nose and a mouth that is open by so many pixels."""
    fine = 4  # binary digits after the point of what OpenCV draws
    points = np.rint(landmarks(x, y) * 2**fine).astype(int)
    image = np.full((480, 640), 150, np.uint8)
    for eye in points[:2].tolist():
        cv2.circle(image, eye, 10 << fine, 60, -1, cv2.LINE_AA, fine)
    cv2.circle(image, points[2].tolist(), 5 << fine, 110, -1, cv2.LINE_AA, fine)
    mouth = points[3:].mean(0).astype(int).tolist()
    cv2.ellipse(image, mouth, (24 << fine, round((3 + opening) * 2**fine)), 0, 0, 360, 40, -1, cv2.LINE_AA, fine)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def test_an_open_mouth_is_darker_inside_than_a_closed_one():
    closed, open_ = (measure_mouth(drawn(opening), landmarks(), 0, None).opening for opening in (0, 14))
    assert open_ > closed + 0.3


def test_an_opening_mouth_moves_more_than_a_moving_head():
    before = measure_mouth(drawn(0), landmarks(), 0, None)
    opened = measure_mouth(drawn(10), landmarks(), STEP, before)
    # The head goes by 4.3 px, and the detector is off by another pixel.
    moved = measure_mouth(drawn(0, x=204.3, y=101), landmarks(203.3, 100.5), STEP, before)
    assert opened.motion > 4 * moved.motion
    assert moved.motion < 0.1


def test_motion_is_told_alike_at_half_the_frame_rate():
    first = measure_mouth(drawn(0), landmarks(), 0, None)
    quick = measure_mouth(drawn(6), landmarks(), STEP, first).motion
    slow = measure_mouth(drawn(6), landmarks(), 2 * STEP, first).motion
    assert slow == pytest.approx(quick / math.sqrt(2))


def test_motion_is_not_known_of_a_first_picture_or_after_a_gap():
    first = measure_mouth(drawn(0), landmarks(), 0, None)
    assert math.isnan(first.motion)
    assert math.isnan(measure_mouth(drawn(9), landmarks(), 300_000_000, first).motion)


def test_a_tiny_mouth_is_not_read():
    assert measure_mouth(drawn(0), landmarks(side=16), 0, None) is None
    assert crop_mouth(drawn(0), np.full((5, 2), np.nan, np.float32)) is None


def test_a_mouth_beyond_the_picture_is_survived():
    seen = measure_mouth(drawn(0), landmarks(-400, -400), 0, None)
    assert seen.opening == 0
    assert np.all(seen.patch == 0)


def test_grey_and_colour_agree():
    grey = drawn(8)
    one, other = (
        measure_mouth(image, landmarks(), 0, None) for image in (grey, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    )
    assert one.opening == pytest.approx(other.opening, abs=0.02)


def test_faces_tell_of_their_mouths_unless_that_is_switched_off(perception, scene):
    for step in range(4):
        faces = perception.process(scene(200 + 2 * step, 120), step * STEP)
    (face,) = faces
    assert 0 <= face.mouth_opening <= 1
    assert face.mouth_motion < 0.15  # a photograph that is moved
    perception.reset()
    perception.config, kept = VisualConfig(mouth_motion=False), perception.config
    try:
        (face,) = perception.process(scene(200, 120), 10 * STEP)
    finally:
        perception.config = kept
    assert math.isnan(face.mouth_opening)
    assert math.isnan(face.mouth_motion)
