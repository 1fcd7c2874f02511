"""Published face networks in torch, and their use as teachers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.common import load_published
from emotion_perception.learning.config import from_mapping
from emotion_perception.learning.faces.backbone import BackboneConfig, BackboneNet
from emotion_perception.learning.faces.network import ExpressionNet, ExpressionNetConfig
from emotion_perception.learning.onnx_files import read_network

FaceNet = ExpressionNet | BackboneNet  # faces (N, 1, 48, 48), 0..255 -> logits of the three heads


def load_network(path: Path) -> FaceNet:
    """A published network with frozen weights, in evaluation mode.

    Raises:
        ModelError: the file is missing, corrupt, or not a face-expression model of this kind.
    """
    _, card = read_network(path)
    try:
        training = card["training"]
        config = from_mapping(ExpressionNetConfig, training["net"])
        backbone = from_mapping(BackboneConfig, training.get("backbone", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"not a face-expression model: {path} ({error})") from error
    net = build_network(config, backbone)
    load_published(net, path)
    return net.eval().requires_grad_(False)


def build_network(config: ExpressionNetConfig, backbone: BackboneConfig) -> FaceNet:
    """The network with random weights; ``backbone`` is used instead of ``config`` if it has a name."""
    net: FaceNet = BackboneNet(backbone) if backbone.name else ExpressionNet(config)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Teachers:
    """Published networks as teachers: the mean of their calibrated logits.

    Args:
        paths: of the networks.
        shares: of each in the mean; empty: equal.

    Raises:
        ModelError: a network is missing, corrupt, or not a face-expression model of this kind.
        ValueError: there are not as many shares as networks, or their sum is not 1.
    """

    def __init__(self, paths: Sequence[Path], shares: Sequence[float] = ()) -> None:
        self._nets = [load_network(path) for path in paths]
        self._shares = tuple(shares) or (1 / len(paths),) * len(paths)
        if len(self._shares) != len(paths) or abs(sum(self._shares) - 1) > 1e-3:
            raise ValueError(f"teacher_shares: {len(paths)} shares with sum 1 are needed, got {list(shares)}")
        cards = [load_card(path) for path in paths]
        self._scales = [(card.scale("ferplus_scale"), card.scale("fer2013_scale"), 1.0) for card in cards]

    @torch.inference_mode()
    def __call__(
        self, faces: Tensor, frequencies: tuple[Tensor, Tensor], priors: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, ...]:
        """What the teachers predict: FER+ and FER2013 distributions, ``(N, 8)`` and ``(N, 7)``, intensities ``(N, 7)``.

        Args:
            faces: ``(N, 1, 48, 48)``, 0..255, as the student sees them.
            frequencies: log class frequencies that are in the teachers' logits (``train.class_frequencies``).
            priors: log class frequencies that the distributions have instead (``train.log_priors``).
        """
        heads = [net(faces) for net in self._nets]
        ferplus, fer2013, intensity = (
            sum(
                share * scale[i] * each[i].float()
                for share, scale, each in zip(self._shares, self._scales, heads, strict=True)
            )
            for i in range(3)
        )
        likelihoods = ferplus - frequencies[0], fer2013 - frequencies[1]
        return *((x + prior).softmax(1) for x, prior in zip(likelihoods, priors, strict=True)), intensity.sigmoid()
