"""Shared parts of the trainings: schedule, moving average, resumable checkpoints, published weights."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from emotion_perception.errors import ModelError
from emotion_perception.files import replacing
from emotion_perception.learning.onnx_files import read_network


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (for libraries that draw from numpy's global state)
    torch.manual_seed(seed)


def one_cycle(step: int, total: int, warm_up: float = 0.15, floor: float = 1e-3) -> float:
    """Learning-rate factor 0..1: linear warm-up over the first ``warm_up`` share of ``total`` steps, then a cosine."""
    rise = max(1.0, warm_up * total)
    if step < rise:
        return max(floor, step / rise)
    return max(floor, 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, total - rise))))


def one_cycle_schedule(optimizer: torch.optim.Optimizer, total: int) -> LambdaLR:
    """:func:`one_cycle` for each group of the optimizer, whose ``lr`` is the peak; step it after each batch."""
    return LambdaLR(optimizer, lambda step: one_cycle(step, total))


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a module's weights and buffers (Polyak & Juditsky 1992).

    It forgets faster at first: update n has decay ``(1 + n) / (10 + n)``, at most ``decay``. Integers are copied.
    """

    def update(averaged: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        n = int(updates)
        return averaged.lerp(current, 1 - min(decay, (1 + n) / (10 + n))) if averaged.is_floating_point() else current

    average = AveragedModel(module, avg_fn=update, use_buffers=True)
    average.n_averaged.fill_(1)  # the initial weights count: they are not overwritten
    average.eval().requires_grad_(False)
    return average


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state atomically: a run killed while writing resumes from the previous state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The training state at ``path``, None if there is none yet. Unpickled: for this program's own files only."""
    return torch.load(path, weights_only=False) if path.exists() else None


def load_published(module: nn.Module, path: Path) -> None:
    """Load published weights into a network of the same architecture.

    Raises:
        ModelError: the file is missing, corrupt, or of another architecture; names it.
    """
    tensors, _ = read_network(path)
    put_weights(module, module.state_dict() | {name: torch.from_numpy(value) for name, value in tensors.items()}, path)


def put_weights(module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load tensors that were read from ``path`` into a network; names must match exactly.

    Raises:
        ModelError: they are of another architecture; names the file.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"not weights of this network: {path} ({error})") from error
