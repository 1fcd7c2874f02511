"""Clips of all corpora with their features and targets, and random training batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emotion_perception.emotions import EMOTIONS
from emotion_perception.learning.voices.augmentation import add_noise_to_spectrogram, cut
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.corpora import SpeechSplit, find_corpora, load_speech
from emotion_perception.learning.voices.features import FeatureBank, speech_features


@dataclass(frozen=True)
class Speech:
    """Clips of one or more corpora, and their features in the same order."""

    splits: tuple[SpeechSplit, ...]  # one per corpus
    bank: FeatureBank

    @classmethod
    def read(cls, data: Path | Sequence[Path], config: AcousticTraining, cache: Path) -> Speech:
        """Read all corpora in ``data`` with a non-zero share; features are cached in the folder ``cache``.

        Args:
            data: corpora, or folders that contain corpora.

        Raises:
            FileNotFoundError: there is none.
            ValueError: a corpus occurs twice, or all are excluded.
        """
        folders = {name: folder for name, folder in find_corpora(data).items() if config.share(name) > 0}
        if not folders:
            raise ValueError("the configuration gives every corpus that is there the share 0")
        splits = tuple(load_speech(folder, "all") for folder in folders.values())
        banks = [speech_features(split, config.copies, config.seed, cache) for split in splits]
        return cls(splits, FeatureBank.join(banks))

    def where(self, chosen: Sequence[np.ndarray]) -> Speech:
        """Select clips by ``chosen``, one ``(N,)`` bool mask per corpus; a corpus without selected clips is dropped."""
        kept = [split.where(mask) for split, mask in zip(self.splits, chosen, strict=True)]
        return Speech(tuple(split for split in kept if len(split)), self.bank.where(np.concatenate(chosen)))

    def held_for(self, split: str) -> Speech:
        """The clips of one split: ``train``, ``validation`` or ``test``."""
        return self.where([one.held_for(split) for one in self.splits])


@dataclass(frozen=True)
class Targets:
    """Labels of the clips of one or more splits, one row per clip."""

    labels: Tensor  # (N,) int64
    present: Tensor  # (N, 8) bool, labels that occur in the clip's corpus
    intensity: Tensor  # (N,) float32, NaN where unknown
    sex: Tensor  # (N,) float32, 1 female, -1 male, 0 unknown
    draw: Tensor  # (N,) float64, sampling weight

    @classmethod
    def of(cls, splits: Sequence[SpeechSplit], share: Callable[[str], float] | None = None) -> Targets:
        """Stack the splits; within the ``share`` of a corpus, all its labels are drawn equally often."""
        draw = []
        for split in splits:
            count = np.bincount(split.labels, minlength=len(EMOTIONS))
            draw.append((share(split.corpus) if share else 1.0) / count[split.labels] / (count > 0).sum())
        return cls(
            torch.from_numpy(np.concatenate([split.labels for split in splits])),
            torch.from_numpy(np.concatenate([np.tile(split.present, (len(split), 1)) for split in splits])),
            torch.from_numpy(np.concatenate([split.intensity for split in splits])),
            torch.from_numpy(np.concatenate([np.nan_to_num(2 * split.female - 1) for split in splits])),
            torch.from_numpy(np.concatenate(draw)),
        )


def draw_batch(
    bank: FeatureBank, rows: np.ndarray, noises: np.ndarray, config: AcousticTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Random cuts of a random copy of each clip, often with noise; all cuts of a batch have the same target length.

    Babble is mixed from the clips in ``bank`` and therefore contains training speakers only.

    Args:
        noises: ``(M, F, 80)`` log-mel, dB, of the noises other than babble.

    Returns:
        ``(N, F, 80)`` float32 log-mel in dB, zero-padded after the end of each clip, and ``(N,)`` valid frames.
    """
    length = int(rng.uniform(config.shortest_cut, config.longest_cut) * 100)
    mel = np.zeros((len(rows), length, bank.mel.shape[1]), np.float32)
    frames = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        clip = bank.clip(int(row), int(rng.integers(bank.copies)))
        noise: list[np.ndarray] = []
        before = after = 0
        if rng.random() < config.noise_share:
            if rng.random() < config.babble_share:
                voices = rng.integers(len(bank.offsets), size=rng.integers(3, 7))
                noise = [bank.clip(int(voice)) for voice in voices]
                before, after = (rng.uniform(0, config.babble_margin, 2) * length).astype(int)
            else:
                piece = noises[rng.integers(len(noises))]
                noise = [piece[rng.integers(len(piece) // 2) :]]
        tempo = float(rng.uniform(1 - config.tempo, 1 + config.tempo))
        part = cut(clip, length - before - after, tempo, rng)
        if noise:
            snr = float(rng.uniform(config.loudest_snr, config.quietest_snr))
            part = add_noise_to_spectrogram(part, noise, snr, before, after)
        mel[i, : len(part)] = part
        frames[i] = len(part)
    longest = int(frames.max())
    return torch.from_numpy(mel[:, :longest]), torch.from_numpy(frames)


def mixup_shares(n: int, config: AcousticTraining, rng: np.random.Generator) -> Tensor:
    """``(n,)`` weight 0.5..1 of each clip in its mixture (mixup, Zhang et al. 2018); 1 where it is not mixed."""
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, n)
    share = np.where(rng.random(n) < config.mixup_share, np.maximum(share, 1 - share), 1.0)
    return torch.from_numpy(share.astype(np.float32))
