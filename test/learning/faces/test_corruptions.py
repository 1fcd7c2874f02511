"""Damage to faces is what it says, and repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import color, data, transform

from emotion_perception.learning.faces.corruptions import CORRUPTIONS, corrupt


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    grey = color.rgb2gray(data.astronaut())[60:170, 170:280]
    return np.stack([(transform.resize(grey, (48, 48), anti_aliasing=True) * 255).astype(np.uint8)] * 3)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_keeps_shape_changes_the_face_and_repeats(faces, name):
    damaged = corrupt(faces, name)
    assert damaged.shape == faces.shape and damaged.dtype == np.uint8
    assert np.abs(damaged.astype(int) - faces).mean() > 1
    assert (damaged == corrupt(faces, name)).all()


def test_low_light_darkens(faces):
    assert corrupt(faces, "low_light").mean() < 0.7 * faces.mean()


def test_small_and_blurred_faces_lose_detail(faces):
    detail = np.abs(np.diff(faces.astype(float), axis=2)).mean()
    for name in ("small", "blurred"):
        assert np.abs(np.diff(corrupt(faces, name).astype(float), axis=2)).mean() < detail


def test_each_face_is_turned_by_its_own_angle(faces):
    turned = corrupt(faces, "rotated")
    assert np.abs(turned[0].astype(int) - turned[1]).mean() > 1


def test_unknown_damage_names_what_there_is(faces):
    with pytest.raises(ValueError, match="low_light, rotated"):
        corrupt(faces, "rain")
