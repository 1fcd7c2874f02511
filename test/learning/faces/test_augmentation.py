"""Augmented faces are other faces of the same kind; switched off, they are mirrored at most."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from emotion_perception.learning.faces.augmentation import (
    AugmentationConfig,
    _compress,
    _motion_blur,
    augment_faces,
    mirror_faces,
    mix_faces,
)

EXTENT = ("rotation", "zoom", "shift")  # of the warp; all other fields are shares of the faces
SHARES = [f.name for f in fields(AugmentationConfig) if f.name not in EXTENT]
OFF = AugmentationConfig(**dict.fromkeys(SHARES, 0.0))


@pytest.fixture
def faces() -> Tensor:
    """32 pictures of smooth patches, 0..1."""
    small = torch.rand(32, 1, 6, 6, generator=torch.Generator().manual_seed(4))
    return F.interpolate(small, size=(48, 48), mode="bilinear")


def test_augmentation_keeps_shape_and_range_and_is_repeatable():
    faces = torch.rand(32, 1, 48, 48) * 255
    config = AugmentationConfig(**dict.fromkeys(SHARES, 0.5))
    one = augment_faces(faces, torch.Generator().manual_seed(1), config)
    two = augment_faces(faces, torch.Generator().manual_seed(1), config)
    assert one.shape == faces.shape and one.min() >= 0 and one.max() <= 255
    assert torch.equal(one, two)
    assert not torch.allclose(one, faces, atol=5)


@pytest.mark.parametrize("warp", [0.0, 0.3, 1.0])
def test_as_many_faces_as_asked_keep_their_place_and_sharpness(faces, warp):
    many = faces.repeat(8, 1, 1, 1) * 255
    seen = augment_faces(many, torch.Generator().manual_seed(3), replace(OFF, warp=warp))
    alike = [torch.isclose(seen, face, atol=0.5).all(-1).all(-1).all(-1) for face in (many, many.flip(-1))]
    assert float((alike[0] | alike[1]).float().mean()) == pytest.approx(1 - warp, abs=0.08)


def test_mixup_blends_targets_as_it_blends_faces():
    faces = torch.zeros(64, 1, 4, 4)
    faces[:32] = 100.0
    target = (faces[:, 0, 0, 0] / 100).unsqueeze(1)
    mixed, (blended,) = mix_faces(faces, (target,), 1.0, 0.5, torch.Generator().manual_seed(0))
    assert torch.allclose(mixed[:, 0, 0, 0] / 100, blended[:, 0], atol=1e-6)
    assert ((blended > 0.01) & (blended < 0.99)).any()


def test_motion_blur_keeps_shape_and_brightness_and_smears(faces):
    moved = _motion_blur(faces, torch.Generator().manual_seed(1))
    assert moved.shape == faces.shape
    assert torch.allclose(moved.mean((1, 2, 3)), faces.mean((1, 2, 3)), atol=0.02)
    assert (moved - faces).abs().mean() > 0.005
    assert _detail(moved) < 0.95 * _detail(faces)


def test_motion_blur_is_along_one_line():
    point = torch.zeros(1, 1, 48, 48)
    point[..., 24, 24] = 1.0
    for seed in range(20):
        moved = _motion_blur(point, torch.Generator().manual_seed(seed))
        assert moved.sum() == pytest.approx(1, abs=1e-5)
        rows, columns = torch.nonzero(moved[0, 0] > 0, as_tuple=True)
        across, along = torch.linalg.svdvals(torch.stack([rows - 24.0, columns - 24.0])).sort().values
        assert across < 0.5 * along  # pixels beside the line, by rounding


def test_some_faces_are_smeared_and_others_not(faces, monkeypatch):
    from emotion_perception.learning.faces import augmentation as face_augmentation

    smeared: list[int] = []

    def count(some: Tensor, generator: torch.Generator) -> Tensor:
        smeared.append(len(some))
        return _motion_blur(some, generator)

    monkeypatch.setattr(face_augmentation, "_motion_blur", count)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        augment_faces(faces * 255, generator, replace(OFF, blur=0.3))
    assert 0.08 < sum(smeared) / (20 * len(faces)) < 0.22  # half of the blurred faces


@pytest.mark.parametrize("name", [name for name in SHARES if name != "warp"])
def test_each_change_applies_to_its_share_of_the_faces_and_leaves_the_others(faces, name):
    many = faces.repeat(8, 1, 1, 1) * 255
    seen = augment_faces(many, torch.Generator().manual_seed(5), replace(OFF, **{name: 0.5}))
    same = [torch.isclose(seen, face, atol=0.5).flatten(1).all(1) for face in (many, many.flip(-1))]
    assert float((same[0] | same[1]).float().mean()) == pytest.approx(0.5, abs=0.15)


def test_compression_makes_blocks_and_keeps_the_face(faces):
    seen = _compress(faces, torch.Generator().manual_seed(1))
    assert 0.002 < (seen - faces).abs().mean() < 0.05


def test_about_half_of_the_faces_are_mirrored_and_nothing_else_happens(faces):
    many = faces.repeat(8, 1, 1, 1)
    seen = mirror_faces(many, torch.Generator().manual_seed(2))
    same = (seen == many).flatten(1).all(1)
    mirrored = (seen == many.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 0.35 < mirrored.float().mean() < 0.65


def _detail(faces: Tensor) -> float:
    return float(faces.diff(dim=-1).abs().mean() + faces.diff(dim=-2).abs().mean())
