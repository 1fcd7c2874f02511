"""The networks of the voice: a residual CNN on a log-mel spectrogram, then attentive statistics pooling over time.

One hears the emotion, a much smaller one of the same build whether several people speak at once.

Imports torch, so only training does; the robot runs the same graph in
:mod:`emotion_perception.acoustic.emotion_classifier`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emotion_perception.acoustic.features import BAND_DB, DELTA_DB, N_MELS, RANGE_DB
from emotion_perception.emotions import EMOTIONS


@dataclass(frozen=True)
class VoiceNetConfig:
    """Architecture. ``widths`` are the channels after each residual stage, which halves the mel axis."""

    stem: int = 24
    widths: tuple[int, ...] = (32, 64, 128)
    stem_stride: tuple[int, int] = (2, 2)  # over time and over the mel axis
    strides: tuple[int, ...] = (1, 2, 2)  # over time, of each stage
    temporal: int = 192  # channels of the temporal convolutions, 80 ms a step
    attention: int = 64
    dropout: float = 0.4


# Channels in sixteens: of a stem of twelve, oneDNN's backward pass writes out of bounds (torch 2.9.1, AVX-512).
OVERLAP_NET = VoiceNetConfig(
    stem=16, widths=(32, 32), stem_stride=(4, 2), strides=(1, 2), temporal=48, attention=16, dropout=0.2
)

SEX = ("off", "task", "condition")  # how the speaker's sex takes part in training


class ResidualBlock(nn.Module):
    """He et al. (2016), basic block, halving time by ``stride_time`` and the mel axis by 2."""

    def __init__(self, channels_in: int, channels: int, stride_time: int) -> None:
        super().__init__()
        stride = (stride_time, 2)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut_norm(self.shortcut(x)))


class TemporalBlock(nn.Module):
    """Residual dilated convolution over time."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, 1, dilation, dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class SpeechTrunk(nn.Module):
    """``(N, F, 64)`` log-mel in dB -> what was heard, ``(N, 2 * temporal)``.

    The level is taken out inside the network: it sees (1) the spectrogram standardised as a whole, which keeps the
    spectral tilt, (2) each mel band less its own mean, which takes out the microphone, (3) the slope of the bands over
    time.
    """

    def __init__(self, config: VoiceNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, config.stem, 5, config.stem_stride, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.stem)
        stages = []
        channels, mels = config.stem, N_MELS // config.stem_stride[1]
        for width, stride in zip(config.widths, config.strides, strict=True):
            stages.append(ResidualBlock(channels, width, stride))
            channels, mels = width, mels // 2
        self.stages = nn.ModuleList(stages)
        self.project = nn.Conv1d(channels * mels, config.temporal, 1, bias=False)
        self.project_norm = nn.BatchNorm1d(config.temporal)
        self.temporal = nn.ModuleList([TemporalBlock(config.temporal, d) for d in (1, 2)])
        self.attention_in = nn.Conv1d(config.temporal, config.attention, 1)
        self.attention_out = nn.Conv1d(config.attention, config.temporal, 1)
        self.pooled_norm = nn.BatchNorm1d(2 * config.temporal)
        self.dropout = nn.Dropout(config.dropout)

    def hear(self, mel: Tensor, frames: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        """``(N, 2 * temporal)``.

        Args:
            mel: ``(N, F, 64)`` float32, dB.
            frames: ``(N,)`` int, valid frames of each row; None where all are.
            given: ``(N, temporal)`` something known beforehand, added before the temporal convolutions.
        """
        if frames is None:
            frames = torch.full((len(mel),), mel.shape[1])
        mask = torch.arange(mel.shape[1]) < frames[:, None]  # (N, F)
        x = (normalise(mel, mask) * mask[:, None, :, None]).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.stem_norm(self.stem(x)))
        mask = mask[:, :: self.config.stem_stride[0]]
        for stage, stride in zip(self.stages, self.config.strides, strict=True):
            x = stage(x * mask[:, None, :, None])
            mask = mask[:, ::stride]
        x = x.permute(0, 1, 3, 2).flatten(1, 2)  # (N, channels * mels, steps)
        x = self.project_norm(self.project(x))
        x = F.relu(x if given is None else x + given[..., None])
        for block in self.temporal:
            x = block(x * mask[:, None])
        return self.dropout(self.pooled_norm(self._pool(x.float(), mask)))

    def _pool(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attentive statistics pooling (Okabe et al. 2018): weighted mean and deviation, ``(N, 2 channels)``."""
        score = self.attention_out(torch.tanh(self.attention_in(x))).float()
        weight = score.masked_fill(~mask[:, None], -1e4).softmax(-1)
        mean = (weight * x).sum(-1)
        variance = (weight * x.square()).sum(-1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


class VoiceNet(SpeechTrunk):
    """``(N, F, 64)`` log-mel in dB -> emotion logits ``(N, 8)`` and intensity logits ``(N, 8)``.

    Args:
        sex: how the speaker's sex takes part in training, to study whether it helps (docs/acoustic_model.md): ``off``;
            ``task``, it is to be told as well; ``condition``, it is given. No published network has these layers.

    Raises:
        ValueError: ``sex`` is something else.
    """

    def __init__(self, config: VoiceNetConfig | None = None, sex: str = "off") -> None:
        super().__init__(config or VoiceNetConfig())
        if sex not in SEX:
            raise ValueError(f"sex must be one of {', '.join(SEX)}, got {sex!r}")
        heard = 2 * self.config.temporal
        self.emotion = nn.Linear(heard, len(EMOTIONS))
        self.intensity = nn.Linear(heard, len(EMOTIONS))
        self.sex = nn.Linear(heard, 1) if sex == "task" else None
        self.given_sex = nn.Linear(1, self.config.temporal, bias=False) if sex == "condition" else None

    def forward(
        self, mel: Tensor, frames: Tensor | None = None, sex: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Emotion and intensity logits, and ``(N,)`` logits of a woman's voice where the network is to tell.

        Args:
            mel, frames: as in :meth:`SpeechTrunk.hear`.
            sex: ``(N,)`` float: 1 a woman, -1 a man, 0 not known; where the network is given it.
        """
        given = None if self.given_sex is None or sex is None else self.given_sex(sex[:, None])
        heard = self.hear(mel, frames, given)
        return self.emotion(heard), self.intensity(heard), None if self.sex is None else self.sex(heard)[:, 0]


class OverlapNet(SpeechTrunk):
    """``(N, F, 64)`` log-mel in dB -> ``(N,)`` logits that several people speak at once."""

    def __init__(self, config: VoiceNetConfig = OVERLAP_NET) -> None:
        super().__init__(config)
        self.several = nn.Linear(2 * config.temporal, 1)

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        return self.several(self.hear(mel, frames))[:, 0]


def normalise(mel: Tensor, mask: Tensor) -> Tensor:
    """``(N, F, 64)`` dB and ``(N, F)`` bool -> the three level-free channels ``(N, 3, F, 64)``."""
    valid = mask[..., None].float()
    count = valid.sum(1, keepdim=True).clamp(min=1)  # (N, 1, 1)
    peak = mel.masked_fill(~mask[..., None], -1e4).amax((1, 2), keepdim=True)
    mel = mel.maximum(peak - RANGE_DB)
    bands = (mel * valid).sum(1, keepdim=True) / count  # (N, 1, 64)
    centre = bands.mean(2, keepdim=True)
    deviation = ((mel - centre).square() * valid).sum((1, 2), keepdim=True) / (count * N_MELS)
    whole = (mel - centre) / (deviation.sqrt() + 1.0)
    band = (mel - bands) * valid
    slope = F.pad(band[:, 2:] - band[:, :-2], (0, 0, 1, 1))
    return torch.stack([whole, band / BAND_DB, slope / DELTA_DB], dim=1)
