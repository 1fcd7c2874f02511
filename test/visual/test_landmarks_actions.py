"""Facial actions from blendshapes: words, eye closure, action units."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.types import FaceLandmarks
from emotion_perception.visual.facial_actions import (
    action_units,
    describe_actions,
    eye_closure,
    facial_actions,
    jaw_opening,
)
from emotion_perception.visual.landmarks import BLENDSHAPES, FaceLandmarker


def shapes(**values: float) -> np.ndarray:
    """Blendshapes ``(52,)`` with some coefficients; ``browDown=0.5`` sets both sides."""
    found = np.zeros(52, np.float32)
    for name, value in values.items():
        sides = [i for i, shape in enumerate(BLENDSHAPES) if shape in (name, name + "Left", name + "Right")]
        assert sides, name
        found[sides] = value
    return found


def test_actions_are_said_in_words_strongest_first():
    seen = facial_actions(shapes(mouthFrown=0.2, browDown=0.7))
    assert describe_actions(seen) == "brows lowered 0.9, lip corners down 0.5"


def test_a_resting_face_shows_no_action():
    resting = shapes(browDown=0.07, eyeSquint=0.21, eyeBlink=0.08, mouthShrugLower=0.2, mouthPress=0.05)
    assert facial_actions(resting) == ()
    assert describe_actions(()) == ""


def test_what_many_resting_faces_have_is_not_reported():
    """5 % of resting faces have brows lowered by more than 0.487."""
    assert facial_actions(shapes(browDown=0.48)) == ()
    assert [action.name for action in facial_actions(shapes(browDown=0.50))] == ["brows lowered"]


def test_weak_actions_are_not_reported_and_strong_ones_end_at_one():
    assert facial_actions(shapes(mouthUpperUp=0.1)) == ()
    [action] = facial_actions(shapes(eyeWide=0.6))
    assert (action.name, action.strength) == ("eyes wide open", 1.0)


def test_eye_closure_and_jaw_opening_range_from_0_to_1():
    assert eye_closure(shapes(eyeBlink=0.05)) == 0.0
    assert eye_closure(shapes(eyeBlink=0.8)) == 1.0
    assert 0.4 < eye_closure(shapes(eyeBlink=0.4)) < 0.6
    assert jaw_opening(shapes(jawOpen=0.6)) == pytest.approx(0.6)


def test_a_smiling_portrait_has_its_lip_corners_up(detector, astronaut):
    mesh = FaceLandmarker().measure(astronaut, detector.detect(astronaut)[0])
    names = [action.name for action in facial_actions(mesh.blendshapes)]
    assert "lip corners up" in names
    assert not {"lip corners down", "brows lowered", "eyes closed"} & set(names)


def test_action_units_are_indexed_by_their_facs_code():
    face = FaceLandmarks(
        0.9,
        head_yaw=np.pi / 8,  # towards the image's right, the person's left
        head_pitch=-np.pi / 8,
        head_roll=0.0,
        gaze_yaw=0.0,
        gaze_pitch=-np.pi / 8,
        blendshapes=shapes(browDown=0.6, mouthSmile=0.8, jawOpen=0.3),
    )
    intensity, confidence = action_units(face)
    assert intensity.shape == confidence.shape == (99,)
    assert (intensity[4], intensity[12], intensity[26]) == pytest.approx((0.6, 0.8, 0.3))
    assert (intensity[51], intensity[52], intensity[53], intensity[54]) == pytest.approx((0.5, 0, 0, 0.5))
    # The eyes turn back to the camera: to the person's right, and not up or down in the head.
    assert (intensity[61], intensity[62], intensity[63], intensity[64]) == pytest.approx((0, 0.5, 0, 0))
    assert confidence[12] == confidence[51] == pytest.approx(0.9)
    unmeasured = [6, 9, 17, 24, 34, 98]
    assert not confidence[unmeasured].any() and not intensity[unmeasured].any()


def test_angles_beyond_45_degrees_are_at_full_intensity():
    face = FaceLandmarks(1.0, 1.2, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, blendshapes=np.zeros(52, np.float32))
    intensity, _ = action_units(face)
    assert intensity[51] == 1 and intensity[56] == 1 and intensity.max() == 1
