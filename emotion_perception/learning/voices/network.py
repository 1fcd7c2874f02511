"""The voice networks: log-mel spectrogram as input, attentive statistics pooling over time, linear heads.

The emotion network uses the first layers of a speech recogniser's encoder, pretrained on many thousands of voices; a
small residual CNN detects overlapped speech. Training uses padded batches with masks; the exported ONNX file computes
the same for one unpadded utterance (:class:`UtteranceNet`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emotion_perception.acoustic.features import (
    BAND_DB,
    DELTA_DB,
    ENCODER_RANGE,
    LONGEST,
    N_MELS,
    RANGE_DB,
    SPEECH_LEVEL,
)
from emotion_perception.emotions import EMOTIONS


@dataclass(frozen=True)
class VoiceNetConfig:
    """Architecture: the first ``layers`` of Whisper's tiny encoder (Radford et al. 2023), and a head."""

    channels: int = 384
    heads: int = 6
    layers: int = 3
    head: int = 192  # channels after projecting the outputs of all layers; these are pooled
    attention: int = 64
    dropout: float = 0.3


@dataclass(frozen=True)
class OverlapNetConfig:
    """Architecture. ``widths`` are the channels after each residual stage, which halves the mel axis."""

    stem: int = 16  # multiple of 16: with 12, oneDNN's backward pass writes out of bounds (torch 2.9.1, AVX-512)
    widths: tuple[int, ...] = (32, 32)
    stem_stride: tuple[int, int] = (4, 2)  # along time and along the mel axis
    strides: tuple[int, ...] = (1, 2)  # along time, per stage
    temporal: int = 48  # channels of the temporal convolutions, 80 ms per step
    attention: int = 16
    dropout: float = 0.2


SEX = ("off", "task", "condition")  # role of the speaker's sex in training, see VoiceNet


class ResidualBlock(nn.Module):
    """Basic block of He et al. (2016) with stride ``stride_time`` along time and 2 along the mel axis."""

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


class AttentiveStatistics(nn.Module):
    """Attentive statistics pooling (Okabe et al. 2018): ``(N, channels, T)`` -> ``(N, 2 * channels)``.

    Weighted mean and standard deviation over time.
    """

    def __init__(self, channels: int, attention: int) -> None:
        super().__init__()
        self.into = nn.Conv1d(channels, attention, 1)
        self.out = nn.Conv1d(attention, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask`` ``(N, T)`` bool: valid time steps; None: all."""
        score = self.out(torch.tanh(self.into(x))).float()
        if mask is not None:
            score = score.masked_fill(~mask[:, None], -1e4)
        weight = score.softmax(-1)
        mean = (weight * x).sum(-1)
        variance = (weight * x.square()).sum(-1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer: self-attention and two linear layers (Vaswani et al. 2017; Xiong et al. 2020)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.joined = nn.Linear(channels, channels)
        self.linear_norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(N, T, channels)`` -> the same shape; ``mask`` ``(N, 1, 1, T)`` bool: time steps to attend to."""
        y = self.attention_norm(x)
        q, k, v = (
            part(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.joined(y.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.wide(self.linear_norm(x))))


class SpeechEncoder(nn.Module):
    """First layers of Whisper's encoder: ``(N, F, 80)`` -> one output per layer, ``(N, T, channels)``, T = F / 2."""

    def __init__(self, channels: int, heads: int, layers: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(N_MELS, channels, 3, 1, 1)
        self.conv2 = nn.Conv1d(channels, channels, 3, 2, 1)
        self.positions = nn.Parameter(torch.randn(LONGEST // 2, channels) / 50)
        self.layers = nn.ModuleList([EncoderLayer(channels, heads) for _ in range(layers)])

    def forward(self, mel: Tensor, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """The outputs of all layers, and an ``(N, T)`` bool mask of the valid time steps.

        Args:
            mel: ``(N, F, 80)`` log-mel, dB, F up to 400.
            frames: ``(N,)`` int, valid frames of each row.

        Raises:
            ValueError: more frames than the encoder has positions for.
        """
        if mel.shape[1] > LONGEST:
            raise ValueError(f"{mel.shape[1]} frames, the network takes at most {LONGEST}")
        mask = torch.arange(mel.shape[1]) < frames[:, None]
        return self.encode(encoder_input(mel, mask) * mask[..., None], mask[:, ::2]), mask[:, ::2]

    def encode(self, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The outputs of all layers for :func:`encoder_input`; ``mask`` ``(N, T)``: valid steps, None: all."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(x.transpose(1, 2))))).transpose(1, 2)
        # The last valid step gets the last position, as in the pretraining of the encoder.
        if mask is None:
            x = x + self.positions[self.positions.shape[0] - x.shape[1] :]
        else:
            places = len(self.positions) - mask.sum(1, keepdim=True) + torch.arange(mask.shape[1])
            x = x + self.positions[places.clamp(max=len(self.positions) - 1)]
        outputs = []
        for layer in self.layers:
            x = layer(x, None if mask is None else mask[:, None, None])
            outputs.append(x)
        return outputs


class VoiceNet(nn.Module):
    """``(N, F, 80)`` log-mel in dB, F up to 400 -> emotion logits ``(N, 8)`` and intensity logits ``(N, 8)``.

    Args:
        sex: role of the speaker's sex in training, for the study in docs/acoustic_model.md: ``off``; ``task``, an
            auxiliary output; ``condition``, an input. No published network has these layers.

    Raises:
        ValueError: ``sex`` is none of these.
    """

    def __init__(self, config: VoiceNetConfig | None = None, sex: str = "off") -> None:
        super().__init__()
        self.config = config = config or VoiceNetConfig()
        if sex not in SEX:
            raise ValueError(f"sex must be one of {', '.join(SEX)}, got {sex!r}")
        self.encoder = SpeechEncoder(config.channels, config.heads, config.layers)
        self.norms = nn.ModuleList([nn.LayerNorm(config.channels) for _ in range(config.layers)])
        self.project = nn.Linear(config.layers * config.channels, config.head)
        self.pool = AttentiveStatistics(config.head, config.attention)
        pooled = 2 * config.head
        self.pooled_norm = nn.LayerNorm(pooled)
        self.dropout = nn.Dropout(config.dropout)
        self.emotion = nn.Linear(pooled, len(EMOTIONS))
        self.intensity = nn.Linear(pooled, len(EMOTIONS))
        self.sex = nn.Linear(pooled, 1) if sex == "task" else None
        self.given_sex = nn.Linear(1, config.head, bias=False) if sex == "condition" else None

    def forward(
        self, mel: Tensor, frames: Tensor | None = None, sex: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Emotion and intensity logits and, with the auxiliary task, ``(N,)`` logits of a female speaker.

        Args:
            mel: ``(N, F, 80)`` float32, dB.
            frames: ``(N,)`` int, valid frames of each row; None: all.
            sex: ``(N,)`` float: 1 female, -1 male, 0 unknown; only with ``condition``.

        Raises:
            ValueError: more than 400 frames.
        """
        outputs, mask = self.encoder(mel, _all_frames(mel) if frames is None else frames)
        x = self.pooled(outputs, mask, sex)
        return self.emotion(x), self.intensity(x), None if self.sex is None else self.sex(x)[:, 0]

    def pooled(self, outputs: list[Tensor], mask: Tensor | None = None, sex: Tensor | None = None) -> Tensor:
        """Utterance embedding ``(N, 2 * head)`` of the encoder's outputs, the input of the linear heads."""
        x = self.project(torch.cat([norm(part) for norm, part in zip(self.norms, outputs, strict=True)], dim=2))
        if self.given_sex is not None and sex is not None:
            x = x + self.given_sex(sex[:, None])[:, None]
        return self.dropout(self.pooled_norm(self.pool(F.gelu(x).transpose(1, 2).float(), mask)))


class OverlapNet(nn.Module):
    """``(N, F, 80)`` log-mel in dB -> ``(N,)`` logits of overlapped speech; :func:`normalise` computes its channels."""

    def __init__(self, config: OverlapNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or OverlapNetConfig()
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
        self.pool = AttentiveStatistics(config.temporal, config.attention)
        self.pooled_norm = nn.BatchNorm1d(2 * config.temporal)
        self.dropout = nn.Dropout(config.dropout)
        self.several = nn.Linear(2 * config.temporal, 1)

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """``mel`` and ``frames`` as for :class:`VoiceNet`, but of any length."""
        mask = torch.arange(mel.shape[1]) < (_all_frames(mel) if frames is None else frames)[:, None]  # (N, F)
        x = (normalise(mel, mask) * mask[:, None, :, None]).contiguous(memory_format=torch.channels_last)
        return self.classify(x, mask)

    def classify(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(N,)`` logits for :func:`normalise`, ``(N, 3, F, 80)``; ``mask`` ``(N, F)``: valid frames, None: all."""
        x = F.relu(self.stem_norm(self.stem(x)))
        mask = None if mask is None else mask[:, :: self.config.stem_stride[0]]
        for stage, stride in zip(self.stages, self.config.strides, strict=True):
            x = stage(x if mask is None else x * mask[:, None, :, None])
            mask = None if mask is None else mask[:, ::stride]
        x = x.permute(0, 1, 3, 2).flatten(1, 2)  # (N, channels * mels, steps)
        x = F.relu(self.project_norm(self.project(x)))
        for block in self.temporal:
            x = block(x if mask is None else x * mask[:, None])
        return self.several(self.dropout(self.pooled_norm(self.pool(x.float(), mask))))[:, 0]


class TrainingDistance(nn.Module):
    """How far utterance embeddings lie from those of the training clips: their Mahalanobis distance by sqrt(size).

    A song, a laugh or a hum lies farther away than any speech. The covariance is shrunk towards the identity, because
    it is estimated from few clips (Lee et al. 2018 use the distance for the same purpose, per class).
    """

    SHRINKAGE = 0.1  # of the mean variance, added to each

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.whitening: Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("whitening", torch.eye(size))

    @classmethod
    def of(cls, embeddings: Tensor) -> TrainingDistance:
        """Fit to ``(N, size)`` embeddings of training clips."""
        distance = cls(embeddings.shape[1])
        distance.mean = embeddings.mean(0)
        variances, axes = torch.linalg.eigh(torch.cov(embeddings.T))
        variances = variances.clamp(min=0) + cls.SHRINKAGE * variances.mean() + 1e-6
        distance.whitening = axes / variances.sqrt()
        return distance

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(N, size)`` -> ``(N,)``; about 0.7 for clips of the training corpora."""
        return ((embeddings - self.mean) @ self.whitening).square().mean(1).sqrt()


class UtteranceNet(nn.Module):
    """What the published ONNX file computes: the logits of one utterance from its features.

    Args:
        net: emotion network.
        overlap: detector of overlapped speech; None: no overlap output.
        distance: from the training clips; None: no such output.
    """

    def __init__(
        self, net: VoiceNet, overlap: OverlapNet | None = None, distance: TrainingDistance | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.overlap = overlap
        self.distance = distance

    def forward(self, spectrogram: Tensor, channels: Tensor | None = None) -> tuple[Tensor, ...]:
        """Emotion and intensity logits ``(1, 8)``, distance ``(1,)``, and with ``channels`` the overlap logit ``(1,)``.

        Args:
            spectrogram: ``(1, F, 80)`` float32, :func:`~emotion_perception.acoustic.features.encoder_input`.
            channels: ``(1, 3, F, 80)`` float32, :func:`~emotion_perception.acoustic.features.normalise`.
        """
        x = self.net.pooled(self.net.encoder.encode(spectrogram))
        logits: tuple[Tensor, ...] = self.net.emotion(x), self.net.intensity(x)
        if self.distance is not None:
            logits = *logits, self.distance(x)
        if self.overlap is None or channels is None:
            return logits
        return *logits, self.overlap.classify(channels)


def _all_frames(mel: Tensor) -> Tensor:
    return torch.full((len(mel),), mel.shape[1])


def encoder_input(mel: Tensor, mask: Tensor) -> Tensor:
    """``(N, F, 80)`` dB and ``(N, F)`` bool -> ``(N, F, 80)`` with the level removed, on Whisper's scale.

    The padded-batch form of :func:`emotion_perception.acoustic.features.encoder_input`; a test compares them.
    """
    valid = mask[..., None]
    power = (10 ** (mel / 10) * valid).sum((1, 2), keepdim=True) / (valid.sum((1, 2), keepdim=True) * N_MELS)
    x = mel / 10 - power.log10() + SPEECH_LEVEL
    peak = x.masked_fill(~valid, -1e4).amax((1, 2), keepdim=True)
    return (x.maximum(peak - ENCODER_RANGE) + 4) / 4


def normalise(mel: Tensor, mask: Tensor) -> Tensor:
    """``(N, F, 80)`` dB and ``(N, F)`` bool -> three channels independent of level, ``(N, 3, F, 80)``.

    The padded-batch form of :func:`emotion_perception.acoustic.features.normalise`; a test compares them.
    """
    valid = mask[..., None].float()
    count = valid.sum(1, keepdim=True).clamp(min=1)  # (N, 1, 1)
    peak = mel.masked_fill(~mask[..., None], -1e4).amax((1, 2), keepdim=True)
    mel = mel.maximum(peak - RANGE_DB)
    bands = (mel * valid).sum(1, keepdim=True) / count  # (N, 1, 80)
    centre = bands.mean(2, keepdim=True)
    deviation = ((mel - centre).square() * valid).sum((1, 2), keepdim=True) / (count * N_MELS)
    whole = (mel - centre) / (deviation.sqrt() + 1.0)
    band = (mel - bands) * valid
    slope = F.pad(band[:, 2:] - band[:, :-2], (0, 0, 1, 1))
    return torch.stack([whole, band / BAND_DB, slope / DELTA_DB], dim=1)
