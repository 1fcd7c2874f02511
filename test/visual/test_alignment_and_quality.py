"""Cutting faces out, and judging the cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from emotion_perception.types import Box, FaceDetection
from emotion_perception.visual import quality
from emotion_perception.visual.alignment import BOX_CENTRE, BOX_SIZE, TEMPLATE, crop_face, face_roll


def template_face(scale: float = 1.0, x: float = 0.0, y: float = 0.0) -> FaceDetection:
    """A face that fills the frame at x, y, enlarged by ``scale``, exactly as training faces do in the median."""
    side = BOX_SIZE * scale
    centre = BOX_CENTRE * scale + (x, y)
    return FaceDetection(
        Box(centre[0] - side / 2, centre[1] - side / 2, side, side), 0.9, TEMPLATE * scale + np.float32((x, y))
    )


def rotated(landmarks: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (landmarks - landmarks.mean(0)) @ turn.T + landmarks.mean(0)


def flat(landmarks: np.ndarray) -> np.ndarray:
    """The same landmarks without roll."""
    return rotated(landmarks, -float(np.degrees(face_roll(landmarks)))).astype(np.float32)


def smooth_picture(size: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), size / 16), None, 0, 255, cv2.NORM_MINMAX)


def test_a_face_framed_like_the_training_faces_is_cut_out_unchanged():
    image = smooth_picture(48)
    np.testing.assert_allclose(crop_face(image, template_face()).astype(int), image.astype(int), atol=2)


@pytest.mark.parametrize("scale", [2, 5])
def test_a_larger_face_is_averaged_down_in_place(scale):
    image = smooth_picture(48 * scale)
    expected = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(crop_face(image, template_face(scale)).astype(int) - expected.astype(int)).mean() < 2


def test_fine_patterns_average_out_and_do_not_alias():
    stripes = np.zeros((480, 480), np.uint8)
    stripes[:, ::2] = 255
    assert crop_face(stripes, template_face(10)).std() < 8


def test_of_a_colour_image_the_same_face_is_cut_as_of_its_grey_copy(detector, astronaut):
    [face] = detector.detect(astronaut)
    grey = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(crop_face(astronaut, face), crop_face(grey, face))
    np.testing.assert_array_equal(crop_face(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), face), crop_face(grey, face))


@pytest.mark.parametrize("degrees", [-25, 25])
def test_a_tilted_face_is_cut_out_upright(detector, astronaut, degrees):
    gray = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    upright = crop_face(gray, detector.detect(astronaut)[0])
    turn = cv2.getRotationMatrix2D((226, 120), degrees, 1)
    tilted = cv2.warpAffine(astronaut, turn, (512, 512))
    face = detector.detect(tilted)[0]
    crop = crop_face(cv2.cvtColor(tilted, cv2.COLOR_BGR2GRAY), face)
    as_it_lies = crop_face(cv2.cvtColor(tilted, cv2.COLOR_BGR2GRAY), replace(face, landmarks=flat(face.landmarks)))
    likeness = [np.corrcoef(upright.ravel(), other.ravel())[0, 1] for other in (crop, as_it_lies)]
    assert likeness[0] > 0.75
    assert likeness[0] > likeness[1] + 0.1


def test_roll_is_measured_in_the_images_sense():
    assert np.degrees(face_roll(TEMPLATE)) == pytest.approx(0, abs=1e-3)
    assert np.degrees(face_roll(rotated(TEMPLATE, 30))) == pytest.approx(30, abs=1e-3)


def test_a_face_over_the_edge_is_filled_by_the_edge():
    crop = crop_face(np.full((100, 100), 77, np.uint8), template_face(2, x=-60, y=40))
    assert crop.shape == (48, 48)
    assert (crop == 77).all()


def test_an_empty_image_or_box_is_refused():
    with pytest.raises(ValueError, match=r"\(0, 10\)"):
        crop_face(np.zeros((0, 10), np.uint8), template_face())
    with pytest.raises(ValueError, match="empty"):
        crop_face(np.zeros((10, 10), np.uint8), FaceDetection(Box(1, 1, 0, 5), 0.9, TEMPLATE))


def judged(detector, image: np.ndarray) -> float:
    face = detector.detect(image)[0]
    return quality.face_quality(crop_face(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), face), face)


def test_a_good_portrait_has_full_quality(detector, astronaut):
    assert judged(detector, astronaut) > 0.9


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: cv2.GaussianBlur(image, (0, 0), 5),
        lambda image: (image * 0.06).astype(np.uint8),
        lambda image: np.clip(image.astype(int) + 190, 0, 255).astype(np.uint8),
    ],
    ids=["blurred", "dark", "overexposed"],
)
def test_a_spoilt_portrait_has_low_quality(detector, astronaut, spoil):
    assert judged(detector, spoil(astronaut)) < 0.5


def test_a_far_face_has_low_quality(detector, scene):
    assert judged(detector, scene(100, 100, scale=0.13, size=(120, 160))) < 0.6


def test_more_blur_never_raises_quality(detector, astronaut):
    face = detector.detect(astronaut)[0]
    scores = [
        quality.sharpness_quality(
            crop_face(cv2.cvtColor(cv2.GaussianBlur(astronaut, (0, 0), s), cv2.COLOR_BGR2GRAY), face)
        )
        for s in (0.5, 1, 2, 4, 8, 16)
    ]
    assert all(later <= earlier + 0.02 for earlier, later in pairwise(scores))
    assert scores[0] == 1
    assert scores[-1] < 0.2


def test_more_sensor_noise_never_raises_quality(detector, astronaut):
    face = detector.detect(astronaut)[0]
    crop = crop_face(cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY), face).astype(float)
    noise = np.random.default_rng(0).normal(size=crop.shape)
    scores = [
        quality.sharpness_quality((crop + s * noise).clip(0, 255).astype(np.uint8)) for s in (0, 20, 60, 100, 300)
    ]
    assert all(later <= earlier for earlier, later in pairwise(scores))
    assert scores[0] == 1
    assert scores[-1] < 0.1


def test_a_head_in_profile_has_lower_quality_than_a_frontal_one_rolled_by_any_angle():
    profile = TEMPLATE.copy()
    profile[2, 0] += 12  # the nose tip beyond the left eye
    assert quality.pose_quality(TEMPLATE) == 1
    assert quality.pose_quality(profile) < 0.5
    for degrees in (80, 180, 270):
        assert quality.pose_quality(rotated(TEMPLATE, degrees)) == pytest.approx(1, abs=1e-3)


def test_a_black_crop_has_no_quality():
    assert quality.face_quality(np.zeros((48, 48), np.uint8), template_face()) == 0
