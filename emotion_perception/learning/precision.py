"""The number format of a training: bfloat16 if that is faster on this machine, otherwise fp32."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def training_precision(net: Network, loss: Callable[[Network, torch.dtype], Tensor]) -> torch.dtype:
    """bfloat16 or float32, whichever takes less time for a loss and its gradients.

    A CPU without bfloat16 instructions emulates it: a batch of the face training took 13 s instead of 0.53 s in fp32
    (measured on a CPU with AVX2 alone). A GPU with bfloat16 is faster with it.

    Args:
        net: in training; weights, batch-norm statistics, gradients and torch's random state are left as they are.
        loss: of one batch (a part will do), computed with a copy of ``net`` in the given format.
    """
    device = next(net.parameters()).device
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    net = copy.deepcopy(net)
    seconds: dict[torch.dtype, float] = {}
    with torch.random.fork_rng(devices=()):
        for precision in (torch.float32, torch.bfloat16):
            times: list[float] = []
            while len(times) < 2 and (not times or times[0] < 3 * seconds.get(torch.float32, float("inf"))):
                started = time.perf_counter()  # the first batch also allocates memory and selects kernels
                loss(net, precision).backward()
                times.append(time.perf_counter() - started)
            seconds[precision] = min(times)
    return min(seconds, key=lambda precision: seconds[precision])


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Mixed precision in forward passes; no effect if ``precision`` is float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision is torch.bfloat16)
