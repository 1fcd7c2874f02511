"""Shared parts of the trainings: schedule, moving average, resumable checkpoints, published weights."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
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


def grow_from(module: nn.Module, path: Path, place: Callable[[str], str] = str, new: Sequence[str] = ()) -> None:
    """Initialise a network from a published one that is at most as deep and as wide; at first both compute the same.

    The old weights fill the first channels of every layer. New channels keep their random weights; the connections from
    them to old channels start at zero and are learnt (Chen et al. 2016, Net2Net).

    Args:
        place: maps a tensor's name in the file to its name in ``module``.
        new: prefixes of the names of layers that the file lacks; these layers start as the identity.

    Raises:
        ModelError: the file is missing or corrupt, or its network is not a smaller one of this kind; names it.
    """
    tensors = {place(name): value for name, value in read_network(path)[0].items()}
    state = {
        name: value
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked") and not name.startswith(tuple(new))
    }
    strange = set(tensors) ^ set(state)
    larger = [
        name
        for name in set(tensors) & set(state)
        if any(a > b for a, b in zip(tensors[name].shape, state[name].shape, strict=False))
    ]
    if strange or larger:
        raise ModelError(f"{path} is not a smaller network of this kind: see {sorted(strange or larger)[0]}")
    with torch.no_grad():
        for name, value in state.items():
            old = torch.from_numpy(tensors[name]).to(value.dtype)
            if value.dim() > 1:
                value[: old.shape[0], old.shape[1] :] = 0
            value[tuple(slice(n) for n in old.shape)] = old
