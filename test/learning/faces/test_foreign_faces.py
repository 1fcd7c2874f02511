"""Synthetic foreign pictures keep the format of a face and repeat; held-out kinds are not fitted."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import color, data, transform

from emotion_perception.learning.faces.foreign_faces import FITTED, FOREIGN, HELD_OUT, NO_FACE, make_foreign


@pytest.fixture(scope="module", params=[48, 120])
def faces(request) -> np.ndarray:
    grey = color.rgb2gray(data.astronaut())[60:170, 170:280]
    side = request.param
    return np.stack([(transform.resize(grey, (side, side), anti_aliasing=True) * 255).astype(np.uint8)] * 2)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_picture_has_the_shape_of_the_face_differs_from_it_and_repeats(faces, name):
    changed = make_foreign(faces, name, seed=3)
    assert changed.shape == faces.shape and changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - faces).mean() > 1
    assert (changed == make_foreign(faces, name, seed=3)).all()


def test_kinds_for_measuring_only_are_not_fitted():
    assert not FITTED.keys() & HELD_OUT.keys()
    assert not set(FITTED.values()) & set(HELD_OUT.values())
    assert FOREIGN.keys() == FITTED.keys() | HELD_OUT.keys() | NO_FACE.keys()


def test_a_mask_leaves_the_eyes_as_they_are(faces):
    eyes = slice(0, faces.shape[1] * 2 // 5)
    masked = make_foreign(faces, "masked")
    assert np.abs(masked[:, eyes].astype(int) - faces[:, eyes]).mean() < 3


def test_an_unknown_kind_names_those_there_are(faces):
    with pytest.raises(ValueError, match="masked, half_covered"):
        make_foreign(faces, "rain")
