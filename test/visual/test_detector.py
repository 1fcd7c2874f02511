"""The face detector."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion_perception.errors import ModelError
from emotion_perception.types import Box
from emotion_perception.visual.detector import (
    FaceDetector,
    bundled_model,
    iou_matrix,
    non_max_suppression,
)

FACE = np.array([[184, 64, 85, 111]], np.float32)


def as_row(box: Box) -> np.ndarray:
    return np.array([[box.x, box.y, box.width, box.height]])


@pytest.mark.parametrize("scale", [0.3, 0.6, 1.0, 2.0])
def test_finds_the_portraits_one_face_at_any_scale(detector, astronaut, scale):
    image = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    faces = detector.detect(image)
    assert len(faces) == 1
    assert iou_matrix(as_row(faces[0].box), FACE * scale)[0, 0] > 0.7
    assert faces[0].score > 0.8


def test_landmarks_are_in_the_persons_own_order(detector, astronaut):
    right_eye, left_eye, nose, right_mouth, left_mouth = detector.detect(astronaut)[0].landmarks
    # The person's right is the image's left.
    np.testing.assert_allclose(right_eye, (207, 103), atol=8)
    np.testing.assert_allclose(left_eye, (248, 105), atol=8)
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("shape", [(512, 200), (200, 512), (300, 480)])
def test_the_images_proportions_do_not_move_the_face(detector, astronaut, shape):
    image = np.full((*shape, 3), 90, np.uint8)
    image[20:180, 20:170] = astronaut[40:200, 150:300]
    faces = detector.detect(image)
    assert len(faces) == 1
    assert iou_matrix(as_row(faces[0].box), FACE + np.array([20 - 150, 20 - 40, 0, 0]))[0, 0] > 0.7


def test_a_window_around_the_face_finds_it_more_cheaply_in_the_same_place(detector, astronaut):
    x, y, width, height = FACE[0]
    face = detector.refine(astronaut, Box(x + 15, y - 10, width, height))
    assert face is not None
    assert iou_matrix(as_row(face.box), FACE)[0, 0] > 0.7


def test_a_window_without_the_face_finds_nothing(detector, astronaut):
    assert detector.refine(astronaut, Box(20, 350, 85, 111)) is None
    assert detector.refine(astronaut, Box(5000, 5000, 85, 111)) is None


@pytest.mark.parametrize("seed", range(3))
def test_finds_nothing_in_noise(detector, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert detector.detect(noise) == []


@pytest.mark.parametrize("level", [0, 128, 255])
def test_finds_nothing_in_a_blank_image(detector, level):
    assert detector.detect(np.full((480, 640, 3), level, np.uint8)) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 640, 3), np.uint8),
        np.zeros((480, 0, 3), np.uint8),
        np.zeros((480, 640), np.uint8),
        np.zeros((480, 640, 4), np.uint8),
        np.zeros((480, 640, 3), np.float32),
    ],
    ids=["no rows", "no columns", "grey", "four channels", "floating point"],
)
def test_an_image_it_cannot_take_is_refused_by_shape(detector, image):
    with pytest.raises(ValueError, match=str(image.shape).replace("(", r"\(").replace(")", r"\)")):
        detector.detect(image)


def test_changing_image_sizes_do_not_pile_up_compiled_networks(detector, astronaut):
    for height in range(64, 640, 40):
        detector.detect(cv2.resize(astronaut, (640, height)))
    assert len(detector._network._requests) <= 6


def test_a_yunet_file_is_run_as_yunet():
    # A network with YuNet's twelve outputs and no training: it takes every white cell of 32 px for a face. It was
    # exported from averages and constants, since YuNet's own weights are in no package.
    yunet = FaceDetector(Path(__file__).parent / "data" / "bright_square_yunet.onnx", input_width=320)
    image = np.zeros((480, 640, 3), np.uint8)
    image[128:192, 256:320] = 255
    [face] = yunet.detect(image)
    assert yunet.name == "YuNet"
    assert (face.box.x, face.box.y, face.box.width, face.box.height) == pytest.approx((256, 128, 64, 64))
    np.testing.assert_allclose(face.landmarks[:3], [(272, 147.2), (304, 147.2), (288, 160)], atol=0.1)
    assert face.score == pytest.approx(1)


def test_a_missing_model_is_named(tmp_path):
    path = tmp_path / "nowhere.onnx"
    with pytest.raises(ModelError, match=str(path)):
        FaceDetector(path)


@pytest.mark.parametrize("content", [b"", b"not a network", "truncated"], ids=["empty", "text", "truncated"])
def test_a_corrupt_model_is_named(tmp_path, content):
    path = tmp_path / "corrupt.onnx"
    path.write_bytes(bundled_model().read_bytes()[:100_000] if content == "truncated" else content)
    with pytest.raises(ModelError, match=str(path)):
        FaceDetector(path)


@pytest.mark.parametrize("width", [0, 100, -32])
def test_an_input_width_that_the_network_cannot_take_is_refused(width):
    with pytest.raises(ValueError, match="multiple of 32"):
        FaceDetector(input_width=width)


def test_of_overlapping_boxes_the_best_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 10, 10], [50, 50, 10, 10]], float)
    assert non_max_suppression(boxes, np.array([0.6, 0.9, 0.5])) == [1, 2]
