"""MobileNet (Howard et al. 2017) trained to tell people apart, from which the face network is fine-tuned.

Features that identify a person carry over to other cameras, ages and continents, which the 28,000 training faces of
FER+ do not cover. ``scripts/face_encoder.py`` extracts the weights from a published package.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class SameConv(nn.Conv2d):
    """3x3 or 1x1 convolution with TensorFlow's padding: with stride 2, an even size is padded at the far end only."""

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size[0] == 3:
            x = F.pad(x, (1, 1, 1, 1) if self.stride[0] == 1 else (0, 1, 0, 1))
        return self._conv_forward(x, self.weight, self.bias)


class SeparableBlock(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, each with ReLU6; batch norm is part of their weights."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = SameConv(channels_in, channels_in, 3, stride, groups=channels_in)
        self.pointwise = SameConv(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.pointwise(F.relu6(self.depthwise(x))))


class Stem(nn.Module):
    """The first convolution, on one grey channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SameConv(1, channels, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.conv(x))


def face_encoder(width: float = 1.0) -> nn.Sequential:
    """Grey faces ``(N, 1, S, S)``, S a multiple of 32 -> features ``(N, 1024 * width, S / 32, S / 32)``.

    The weights are random.

    Args:
        width: factor on the number of channels; the published weights are of width 1.
    """
    channels = [max(16, round(width * c / 16) * 16) for c in CHANNELS]
    blocks = [SeparableBlock(a, b, s) for a, b, s in zip(channels[:-1], channels[1:], STRIDES, strict=True)]
    return nn.Sequential(Stem(channels[0]), *blocks)
