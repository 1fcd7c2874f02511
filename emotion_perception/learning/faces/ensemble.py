"""Two face networks as one: their log likelihoods are averaged.

A network trained from random weights on FER+ and one fine-tuned from the face encoder make different errors, so that
their mean is better than either on pictures from elsewhere (docs/visual_model.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class EnsembleConfig:
    """An ensemble does not average over mirror images: its members cost as much as one network that does."""

    mirror: bool = False


class FaceEnsemble(nn.Module):
    """Faces ``(N, 1, 48, 48)``, 0..255 -> sums of the members' logits ``(N, 8)``, ``(N, 7)``, ``(N, 7)``.

    :func:`scale_heads` makes the sum a weighted mean.

    Raises:
        ValueError: there are no members.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble has at least one member")
        self.config = EnsembleConfig()
        self.members = nn.ModuleList(members)

    @property
    def ferplus(self) -> nn.Linear:
        """The head whose bias holds the class frequencies of the FER+ labels."""
        return self.members[0].ferplus  # type: ignore[return-value]

    @property
    def fer2013(self) -> nn.Linear:
        """The head whose bias holds the class frequencies of the FER2013 labels."""
        return self.members[0].fer2013  # type: ignore[return-value]

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, *others = (member(faces) for member in self.members)
        for heads in others:
            first = tuple(a + b for a, b in zip(first, heads, strict=True))
        return first


@torch.no_grad()
def scale_heads(member: Any, calibration: Mapping[str, float], weight: float) -> None:
    """Multiply a member's heads: the classes by weight and inverse temperature, the intensities by the weight."""
    factors = {
        "ferplus": weight * calibration["ferplus_scale"],
        "fer2013": weight * calibration["fer2013_scale"],
        "intensity": weight,
    }
    for name, factor in factors.items():
        head = getattr(member, name)
        head.weight.mul_(factor)
        head.bias.mul_(factor)
