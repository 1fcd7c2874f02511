"""Labelled faces that a tiny network can learn in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from emotion_perception.learning import precision


@pytest.fixture(scope="module")
def number_format() -> torch.dtype:
    """The format of the trainings, whatever is faster on this machine now: their results can be compared."""
    return torch.float32


@pytest.fixture(scope="module", autouse=True)
def fixed_precision(number_format: torch.dtype) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "training_precision", lambda net, loss: number_format)
        yield


@pytest.fixture
def used_precisions(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The number formats of forward passes after the precision was measured, with bfloat16 as the faster one.

    The list begins with a None for each measurement.
    """
    used: list = []
    autocast = precision.autocast

    def measure(net: torch.nn.Module, loss: Callable) -> torch.dtype:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        for number_format in (torch.float32, torch.bfloat16):
            assert torch.isfinite(loss(net, number_format))
        net.load_state_dict(before)
        net.zero_grad()
        assert used[-2:] == [torch.float32, torch.bfloat16], "the loss computes in the format that is measured"
        used[-2:] = [None]
        return torch.bfloat16

    def watch(device: torch.device, number_format: torch.dtype):
        used.append(number_format)
        return autocast(device, number_format)

    monkeypatch.setattr(precision, "training_precision", measure)
    monkeypatch.setattr(precision, "autocast", watch)
    return used


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
