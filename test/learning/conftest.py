"""Labelled faces that a tiny network can learn in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def archive(tmp_path) -> Path:
    """A FER+-like archive of 96 faces: bright ones are happy, dark ones sad, two rows are not faces."""
    rng = np.random.default_rng(0)
    n = 96
    happy = rng.random(n) < 0.5
    votes = np.zeros((n, 10), np.uint8)
    votes[happy, 1] = 9
    votes[~happy, 3] = 9
    votes[:, 0] = 1
    votes[:2] = np.eye(10, dtype=np.uint8)[9] * 10
    images = rng.integers(0, 60, (n, 48, 48)).astype(np.uint8)
    images[happy, 30:40, 10:38] += 150
    path = tmp_path / "ferplus.npz"
    np.savez(
        path,
        images=images,
        votes=votes,
        usage=np.array(["Training"] * 64 + ["PublicTest"] * 32),
        names=np.array([f"fer{i:07}.png" for i in range(n)]),
        fer2013=np.where(happy, 3, 4).astype(np.int8),
    )
    return path
