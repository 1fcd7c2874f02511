"""What both trainings share: schedule, moving average, resumable checkpoints, published weights."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from emotion_perception.errors import ModelError
from emotion_perception.files import replacing
from emotion_perception.learning.onnx_files import read_network

Network = TypeVar("Network", bound=nn.Module)


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


class MovingAverage(Generic[Network]):
    """Exponential moving average of a module's weights and buffers (Polyak & Juditsky 1992), warmed up."""

    def __init__(self, module: Network, decay: float) -> None:
        self.module: Network = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged, current = self.module.state_dict(), module.state_dict()
        for name, value in averaged.items():
            if value.dtype.is_floating_point:
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state atomically: a run that is killed while it writes resumes from the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The training state at ``path``, or None where there is none yet. It is this program's own file, so unpickled."""
    return torch.load(path, weights_only=False) if path.exists() else None


def load_published(module: nn.Module, path: Path) -> None:
    """Put published weights into a network of the same architecture.

    Raises:
        ModelError: the file is missing, corrupt, or of another architecture; names it.
    """
    tensors, _ = read_network(path)
    put_weights(module, module.state_dict() | {name: torch.from_numpy(value) for name, value in tensors.items()}, path)


def put_weights(module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Put tensors that were read from ``path`` into a network, all of them and no others.

    Raises:
        ModelError: they are another architecture's; names the file.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"not weights of this network: {path} ({error})") from error


def grow_from(module: nn.Module, path: Path, place: Callable[[str], str] = str, new: Sequence[str] = ()) -> None:
    """Begin a network from published weights of one at most as deep and as wide: it first computes the very same.

    The old weights fill the first channels of every layer. The new channels keep their random weights, but nothing old
    listens to them yet: those connections are zero, and are learnt (Chen et al. 2016, Net2Net).

    Args:
        place: name in ``module`` of what has the given name in the file.
        new: what the names of layers that the file lacks begin with; they pass on what they get.

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
        raise ModelError(f"{path} is no smaller network of this kind: see {sorted(strange or larger)[0]}")
    with torch.no_grad():
        for name, value in state.items():
            old = torch.from_numpy(tensors[name]).to(value.dtype)
            if value.dim() > 1:
                value[: old.shape[0], old.shape[1] :] = 0
            value[tuple(slice(n) for n in old.shape)] = old
