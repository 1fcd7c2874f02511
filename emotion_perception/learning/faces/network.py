"""The face-expression network: a small residual CNN on a 48x48 grey-scale face, with class and intensity heads.

This is the only definition of the network: :mod:`emotion_perception.learning.faces.export` writes it as the ONNX file
that the robot runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

FACE_SIZE = 48
N_VISUAL = 7  # emotion_perception.emotions.VISUAL_EMOTIONS
N_FERPLUS = 8  # the seven and contempt, which is used only in training


@dataclass(frozen=True)
class ExpressionNetConfig:
    """Architecture. ``widths`` are the channels of the stages, ``blocks`` their depth.

    A stage with stride 2 halves the resolution: by default to 24, 12, 6 and 3 pixels. A stage with stride 1 has as many
    channels as its input, so that the strides follow from the shapes of the weights. With ``mirror`` the logits of a
    face and of its mirror image are averaged, at twice the computing time.

    Raises:
        ValueError: the settings differ in their number of stages, or a stage changes its width without stride 2.
    """

    stem: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 1)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    dropout: float = 0.3
    mirror: bool = True

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.blocks) == len(self.strides):
            raise ValueError(f"widths {self.widths}, blocks {self.blocks}, strides {self.strides}: one for each stage")
        for width, before, stride in zip(self.widths, (self.stem, *self.widths), self.strides, strict=False):
            if stride not in (1, 2) or (stride == 1 and width != before):
                raise ValueError(f"a stage of {width} channels after {before} has stride 2, got {stride}")


class ResidualBlock(nn.Module):
    """He et al. (2016), basic block: two 3x3 convolutions with an identity or 1x1 shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ExpressionNet(nn.Module):
    """Faces ``(N, 1, 48, 48)``, 0..255 -> logits: FER+ ``(N, 8)``, FER2013 ``(N, 7)``, intensity ``(N, 7)``.

    The first seven columns of each are :data:`emotion_perception.emotions.VISUAL_EMOTIONS`; the FER+ head's eighth is
    contempt. The network standardises each face, which cancels the camera's exposure and contrast.
    """

    def __init__(self, config: ExpressionNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ExpressionNetConfig()
        self.stem = nn.Sequential(
            nn.Conv2d(1, config.stem, 3, 1, 1, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU()
        )
        stages: list[nn.Module] = []
        channels = config.stem
        for width, depth, stride in zip(config.widths, config.blocks, config.strides, strict=True):
            for i in range(depth):
                stages.append(ResidualBlock(channels, width, stride if i == 0 else 1))
                channels = width
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(config.dropout)
        self.ferplus = nn.Linear(channels, N_FERPLUS)
        self.fer2013 = nn.Linear(channels, N_VISUAL)
        self.intensity = nn.Linear(channels, N_VISUAL)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, ResidualBlock):  # zero-initialised residual branches: Goyal et al. (2017)
                nn.init.zeros_(module.norm2.weight)

    @staticmethod
    def standardise(faces: Tensor) -> Tensor:
        """Subtract the mean of each face of ``(N, 1, 48, 48)`` and divide by its standard deviation."""
        centred = faces - faces.mean((1, 2, 3), keepdim=True)
        deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
        return centred / (deviation + 4.0)  # 4 grey levels: the noise of a black image is not amplified

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.dropout(self.stages(self.stem(self.standardise(faces))).mean((2, 3)))
        return self.ferplus(features), self.fer2013(features), self.intensity(features)
