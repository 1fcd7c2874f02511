"""Direction of head and gaze from landmarks."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from emotion_perception.visual import head_pose as module
from emotion_perception.visual.alignment import FaceFrame
from emotion_perception.visual.head_pose import EYE_CENTRE, EYE_RADIUS, EYES, gaze_direction, head_pose, head_rotation
from emotion_perception.visual.landmark_reader import LandmarkReader, read_mesh
from emotion_perception.visual.landmarks import FaceLandmarker, FaceMesh

SCALE = 11.0  # px per cm of the canonical face


def face_points(yaw: float, pitch: float, roll: float, gaze: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Landmarks ``(478, 3)`` of the canonical face, rotated and projected, that looks into a direction; degrees."""
    rotation = head_rotation(*np.radians([yaw, pitch, roll]))
    points = np.zeros((478, 3))
    points[module._INDICES] = module._CANONICAL @ rotation.T
    gaze_yaw, gaze_pitch = np.radians(gaze)
    look = np.array(
        [math.sin(gaze_yaw) * math.cos(gaze_pitch), math.sin(gaze_pitch), math.cos(gaze_yaw) * math.cos(gaze_pitch)]
    )
    for side, (outer, inner, iris) in zip((-1, 1), EYES, strict=True):
        centre = (points[outer] + points[inner]) / 2 + rotation @ (EYE_CENTRE * [side, 1, 1])
        points[iris] = centre + EYE_RADIUS * look
    return points * SCALE * [1, -1, -1] + [320, 240, 7]


@pytest.mark.parametrize(
    "angles",
    [(0, 0, 0), (30, 0, 0), (-45, 0, 0), (0, 20, 0), (0, -35, 0), (0, 0, 40), (25, -15, 10), (-60, 30, -90)],
)
def test_a_projected_face_has_the_angles_by_which_it_was_turned(angles):
    pose = head_pose(face_points(*angles))
    np.testing.assert_allclose(np.degrees([pose.yaw, pose.pitch, pose.roll]), angles, atol=1e-3)
    assert pose.scale == pytest.approx(SCALE)


def test_the_signs_are_those_of_the_message():
    """Yaw towards the image's right, pitch upwards, roll clockwise."""
    nose, right_eye, left_eye = 4, 33, 263
    straight = face_points(0, 0, 0)
    assert face_points(20, 0, 0)[nose, 0] > straight[nose, 0]
    assert face_points(0, 20, 0)[nose, 1] < straight[nose, 1]
    tilted = face_points(0, 0, 20)
    assert tilted[left_eye, 1] > tilted[right_eye, 1], "the eye on the image's right is lower"


def test_pose_survives_noisy_landmarks():
    rng = np.random.default_rng(0)
    noisy = face_points(20, -10, 5) + rng.normal(0, 0.2 * SCALE, (478, 3))  # 2 mm
    pose = head_pose(noisy)
    np.testing.assert_allclose(np.degrees([pose.yaw, pose.pitch, pose.roll]), (20, -10, 5), atol=3)


@pytest.mark.parametrize("head", [(0, 0, 0), (25, 0, 0), (-20, 15, 10)])
@pytest.mark.parametrize("gaze", [(0, 0), (20, 0), (-15, -10), (5, 20)])
def test_gaze_is_relative_to_the_camera_however_the_head_is_turned(head, gaze):
    points = face_points(*head, gaze)
    found = gaze_direction(points, head_pose(points))
    np.testing.assert_allclose(np.degrees([found.yaw, found.pitch]), gaze, atol=0.01)


def test_an_iris_outside_the_eye_gives_a_finite_gaze():
    points = face_points(0, 0, 0)
    points[[468, 473], 0] += 50
    found = gaze_direction(points, head_pose(points))
    assert math.isfinite(found.pitch) and math.degrees(found.yaw) == pytest.approx(90, abs=1)


def test_a_tilted_portrait_has_its_roll(detector, astronaut):
    landmarker = FaceLandmarker()

    def pose(image: np.ndarray):
        return head_pose(landmarker.measure(image, detector.detect(image)[0]).points)

    upright = pose(astronaut)
    assert abs(math.degrees(upright.yaw)) < 25 and abs(math.degrees(upright.pitch)) < 15
    for degrees in (-25, 15):  # OpenCV turns anticlockwise
        tilted = cv2.warpAffine(astronaut, cv2.getRotationMatrix2D((226, 120), degrees, 1.0), (512, 512))
        assert math.degrees(pose(tilted).roll - upright.roll) == pytest.approx(-degrees, abs=4)


def test_a_mirrored_portrait_looks_the_other_way(detector, astronaut):
    reader = LandmarkReader(0)
    seen = []
    for image in (astronaut, np.ascontiguousarray(astronaut[:, ::-1])):
        frame = FaceFrame.of_detection(detector.detect(image)[0])
        seen.append(reader.measure(image, frame))
    for name in ("head_yaw", "head_roll", "gaze_yaw"):
        assert math.degrees(getattr(seen[0], name) + getattr(seen[1], name)) == pytest.approx(0, abs=6), name
    for name in ("head_pitch", "gaze_pitch"):
        assert math.degrees(getattr(seen[0], name) - getattr(seen[1], name)) == pytest.approx(0, abs=6), name


def test_a_mesh_on_no_face_has_only_its_score():
    seen = read_mesh(FaceMesh(0.2, np.zeros((478, 3), np.float32), np.zeros(52, np.float32)))
    assert seen.score == 0.2
    assert math.isnan(seen.head_yaw) and math.isnan(seen.eye_closure)
    assert seen.points.shape == (0, 2) and seen.blendshapes.size == 0 and seen.facial_actions == ""
