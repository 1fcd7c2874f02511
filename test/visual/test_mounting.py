"""Cameras mounted on their side, upside down or behind a mirror: faces are read alike, in the camera's own pixels."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.types import SECOND, Box, EmotionEstimate, FaceLandmarks, FaceObservation
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.head_pose import direction_angles, direction_vector, head_angles, head_rotation
from emotion_perception.visual.mounting import Mounting, scale_face
from emotion_perception.visual.perception import VisualPerception
from emotion_perception.visual.rotation_finder import VANISHED_S, RotationFinder

PORTRAITS = Path(__file__).resolve().parents[3] / "shared" / "data" / "external_faces" / "portraits"
ALL = [Mounting(rotation, mirror) for rotation, mirror in product((0, 90, 180, 270), (False, True))]
FRAME_NS = SECOND // 10


def as_mounted(image: np.ndarray, mounting: Mounting) -> np.ndarray:
    """The upright image as the camera sends it: the inverse of :meth:`Mounting.upright`."""
    image = image[:, ::-1] if mounting.mirror else image
    return np.ascontiguousarray(np.rot90(image, mounting.rotation // 90))


def name_of(mounting: Mounting) -> str:
    return f"{mounting.rotation}{' mirrored' if mounting.mirror else ''}"


@pytest.fixture(params=ALL, ids=name_of)
def mounting(request: pytest.FixtureRequest) -> Mounting:
    return request.param


@pytest.fixture(scope="module")
def people() -> list[np.ndarray]:
    """Portraits of four people, two of them smiling, uint8 BGR."""
    paths = sorted((PORTRAITS / "happy").glob("*.jpg"))[:2] + sorted((PORTRAITS / "neutral").glob("*.jpg"))[2:4]
    if not paths:
        pytest.skip("the portraits are not in ../shared/data")
    return [cv2.imread(str(path)) for path in paths]


def shown(perception: VisualPerception, image: np.ndarray, start_s: float = 0.0, seconds: float = 1.0) -> list:
    """The faces of each frame of a still camera's stream at 10 Hz."""
    start = round(start_s * SECOND)
    return [perception.process(image, start + n * FRAME_NS) for n in range(round(seconds * 10))]


# --- geometry


def test_upright_is_the_inverse_of_the_mounting(mounting: Mounting):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(mounting.upright(as_mounted(image, mounting)), image)


def test_points_and_boxes_lie_on_the_same_pixels_of_the_camera_image(mounting: Mounting):
    upright = np.zeros((40, 60), np.uint8)
    upright[5:9, 20:30] = 255
    camera = as_mounted(upright, mounting)
    height, width = camera.shape
    box = mounting.box_to_camera(Box(20.0, 5.0, 10.0, 4.0), width, height)
    rows, columns = np.nonzero(camera)
    assert (box.x, box.y) == (columns.min(), rows.min())
    assert (box.width, box.height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
    (centre,) = mounting.points_to_camera(np.array([[25.0, 7.0]]), width, height)
    assert centre == pytest.approx([columns.mean() + 0.5, rows.mean() + 0.5])


def test_head_and_gaze_point_where_they_point_in_the_camera_image(mounting: Mounting):
    looks = direction_vector(0.4, 0.2)
    landmarks = FaceLandmarks(1.0, *head_angles(head_rotation(0.4, 0.2, 0.1)), 0.4, 0.2, points=np.zeros((70, 2)))
    moved = mounting.landmarks_to_camera(landmarks, 640, 480)
    # A step along the gaze in the upright image, as a step in the camera image; image y points down.
    ends = mounting.points_to_camera(np.array([[0.0, 0.0], [looks[0], -looks[1]]]), 640, 480)
    step = (ends[1] - ends[0]) * [1, -1]
    expected = direction_angles(np.array([*step, looks[2]]))
    assert (moved.gaze_yaw, moved.gaze_pitch) == pytest.approx(expected)
    assert (moved.head_yaw, moved.head_pitch) == pytest.approx(expected)
    upright_head = FaceLandmarks(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, points=np.zeros((70, 2)))
    roll = mounting.landmarks_to_camera(upright_head, 640, 480).head_roll
    assert np.cos(roll) == pytest.approx(np.cos(np.radians(mounting.rotation)))
    assert np.sin(roll) == pytest.approx(-np.sin(np.radians(mounting.rotation)))


def test_what_is_still_to_turn_is_added_before_a_flip(mounting: Mounting):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for rest in (0, 90, 180, 270):
        expected = Mounting(rest).upright(mounting.upright(image))
        assert np.array_equal(mounting.after(rest).upright(image), expected)


def test_a_face_of_a_reduced_image_is_scaled_with_its_landmarks():
    landmarks = FaceLandmarks(1.0, points=np.array([[10.0, 20.0]], np.float32))
    face = FaceObservation("a", Box(1.0, 2.0, 3.0, 4.0), 1.0, 1.0, EmotionEstimate.unknown(), landmarks=landmarks)
    scaled = scale_face(face, 4.0)
    assert scaled.box == Box(4.0, 8.0, 12.0, 16.0)
    assert scaled.landmarks is not None and scaled.landmarks.points.tolist() == [[40.0, 80.0]]


# --- real faces


@pytest.fixture(scope="module")
def fixed() -> VisualPerception:
    return VisualPerception(VisualConfig(landmark_rate=10.0))


@pytest.fixture(scope="module")
def automatic() -> VisualPerception:
    return VisualPerception(VisualConfig(image_rotation="auto", landmark_rate=0.0))


def mount(perception: VisualPerception, mounting: Mounting) -> VisualPerception:
    """The same networks for a camera that is mounted another way."""
    perception._camera.configured = mounting
    perception.reset()
    return perception


@pytest.fixture(scope="module")
def of_upright_people(fixed: VisualPerception, people: list[np.ndarray]) -> list[FaceObservation]:
    return [mount(fixed, Mounting()).still(person, landmarks=True)[0] for person in people]


def test_the_settings_say_how_the_camera_is_mounted():
    assert VisualPerception(VisualConfig(image_rotation="270", image_mirror=True)).mounting == Mounting(270, True)
    with pytest.raises(ValueError, match="image_rotation must be one of"):
        VisualConfig(image_rotation="45")


def test_people_are_read_alike_by_every_camera(
    mounting: Mounting, fixed: VisualPerception, people: list[np.ndarray], of_upright_people: list[FaceObservation]
):
    mount(fixed, mounting)
    for person, expected in zip(people, of_upright_people, strict=True):
        camera = as_mounted(person, mounting)
        (face,) = fixed.still(camera, landmarks=True)
        assert np.allclose(face.emotion.probabilities, expected.emotion.probabilities, atol=0.02)
        assert face.quality == pytest.approx(expected.quality, abs=0.02)
        assert face.landmarks is not None and expected.landmarks is not None
        height, width = camera.shape[:2]
        points = mounting.points_to_camera(expected.landmarks.points, width, height)
        assert np.abs(face.landmarks.points - points).max() < 1.0
        box = mounting.box_to_camera(expected.box, width, height)
        assert (face.box.x, face.box.y) == pytest.approx((box.x, box.y), abs=1.0)
    streamed = shown(fixed, camera, seconds=0.5)[-1][0]
    assert streamed.emotion.label == expected.emotion.label
    assert (streamed.box.x, streamed.box.y) == pytest.approx((box.x, box.y), abs=5.0)
    assert streamed.landmarks is not None
    assert np.abs(streamed.landmarks.points - points).max() < 5.0


# --- auto


def test_auto_finds_the_rotation_from_faces(
    mounting: Mounting, automatic: VisualPerception, people: list[np.ndarray], of_upright_people: list[FaceObservation]
):
    perception, expected = mount(automatic, Mounting(0, mounting.mirror)), of_upright_people[0]
    camera = as_mounted(people[0], mounting)
    start_s = 0.0
    while perception.found_rotation is None and start_s < 8.0:
        shown(perception, camera, start_s, seconds=0.5)
        start_s += 0.5
    assert perception.found_rotation == mounting.rotation
    (face,) = shown(perception, camera, start_s, seconds=0.3)[-1]
    assert perception.mounting == mounting
    assert face.emotion.label == expected.emotion.label
    assert face.quality == pytest.approx(expected.quality, abs=0.05)
    box = mounting.box_to_camera(expected.box, camera.shape[1], camera.shape[0])
    assert (face.box.x, face.box.y) == pytest.approx((box.x, box.y), abs=5.0)
    perception.reset(keep_mounting=True)
    assert perception.mounting == mounting, "kept after a jump in time"
    perception.reset()
    assert perception.mounting == Mounting(0, mounting.mirror) and perception.found_rotation is None, "another camera"


def test_a_fixed_rotation_stays_although_faces_show_another_one(fixed: VisualPerception, people: list[np.ndarray]):
    shown(mount(fixed, Mounting()), as_mounted(people[0], Mounting(180)), seconds=3.5)
    assert fixed.found_rotation == 180 and fixed.mounting == Mounting(0)


def test_without_faces_auto_changes_nothing(automatic: VisualPerception):
    mount(automatic, Mounting())
    assert not any(shown(automatic, np.full((240, 320, 3), 90, np.uint8), seconds=3.0))
    assert automatic.found_rotation is None and automatic.mounting == Mounting()


def seen(finder: RotationFinder, rotations: list[int | None], start_s: float = 0.0) -> None:
    """Sightings one second apart; None: no face in view."""
    for number, rotation in enumerate(rotations):
        if finder.due(rotation is not None, round((start_s + number) * SECOND)):
            finder.add(rotation)


def test_a_wrong_first_sighting_does_not_decide():
    finder = RotationFinder()
    seen(finder, [270, 90, 90, 90])
    assert finder.rotation is None
    seen(finder, [90], 4.0)
    assert finder.rotation == 90


def test_contradicting_sightings_do_not_decide():
    finder = RotationFinder()
    seen(finder, [0, 90, 0, 90, 180, 0, 90, 0, 90, 180])
    assert finder.rotation is None


def test_a_decision_is_kept_while_faces_are_in_view():
    finder = RotationFinder()
    seen(finder, [180] * 5)
    seen(finder, [90] * 100, 5.0)
    assert finder.rotation == 180, "a person who lies down does not turn the camera"


def test_the_rotation_is_checked_again_after_the_faces_have_vanished():
    finder = RotationFinder()
    seen(finder, [180] * 5)
    seen(finder, [None] * round(VANISHED_S + 1), 5.0)
    assert finder.rotation == 180, "kept until other sightings agree"
    seen(finder, [0] * 5, 6.0 + VANISHED_S)
    assert finder.rotation == 0


def test_sightings_in_quick_succession_count_once():
    finder = RotationFinder()
    due = [finder.due(True, n * SECOND // 25) for n in range(26)]
    assert sum(due) == 3
    finder.add(None)
    assert not finder.due(True, round(1.5 * SECOND)), "uncertain faces are examined less and less often"
