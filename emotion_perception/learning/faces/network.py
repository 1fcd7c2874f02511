"""The face-expression network: a small residual CNN on a 48x48 grey face, classification and intensity together.

This is the only definition of the network: :mod:`emotion_perception.learning.faces.export` writes it as the ONNX file
that a robot runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

FACE_SIZE = 48
N_VISUAL = 7  # emotion_perception.emotions.VISUAL_EMOTIONS
N_FERPLUS = 8  # the seven and contempt, which only the training sees


@dataclass(frozen=True)
class ExpressionNetConfig:
    """Architecture. ``widths`` are the channels of the stages, ``blocks`` their depth.

    A stage halves the picture where its ``strides`` is 2: by default they see 24, 12, 6 and 3 pixels. Where it is 1,
    the stage is as wide as what comes before it: from the weights alone the robot sees which blocks halve. With
    ``mirror`` a face's answer is that of the face and of its mirror image together, at twice the time.

    Raises:
        ValueError: the stages' settings are not equally many, or a stage widens without halving.
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
    """He et al. (2016), basic block: two 3x3 convolutions beside an identity or 1x1 shortcut."""

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
    """Grey faces ``(N, 1, 48, 48)``, 0..255 -> logits: FER+ ``(N, 8)``, FER2013 ``(N, 7)``, intensity ``(N, 7)``.

    The first seven columns of each are :data:`emotion_perception.emotions.VISUAL_EMOTIONS`; the FER+ head's eighth is
    contempt. Each face is standardised inside the network, so that exposure and contrast of the camera cancel.
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
            elif isinstance(module, ResidualBlock):  # residual branches start at zero: Goyal et al. (2017)
                nn.init.zeros_(module.norm2.weight)

    @staticmethod
    def standardise(faces: Tensor) -> Tensor:
        """Each face of ``(N, 1, 48, 48)`` less its mean, over its deviation."""
        centred = faces - faces.mean((1, 2, 3), keepdim=True)
        deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
        return centred / (deviation + 4.0)  # 4 grey levels: a black picture stays near zero and is not amplified noise

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.dropout(self.stages(self.stem(self.standardise(faces))).mean((2, 3)))
        return self.ferplus(features), self.fer2013(features), self.intensity(features)
