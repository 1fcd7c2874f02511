"""Features for training: log-mel of clips, cropped to speech as at run time, and of perturbed copies, in one array.

Decoding, cropping and perturbing five thousand clips takes minutes and gives the same result in every run, so the
result is cached.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from emotion_perception.acoustic.features import SAMPLE_RATE, log_mel
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector, crop_to_speech
from emotion_perception.files import replacing
from emotion_perception.learning.voices.augmentation import perturb
from emotion_perception.learning.voices.corpora import SpeechSplit

FEATURES = Path("runs/features")  # cache of the command-line tools
VERSION = 5  # of the cached features; increase it when their computation changes


def read_speech(path: Path) -> np.ndarray:
    """Read a sound file as ``(T,)`` float32 mono at 16 kHz.

    Raises:
        soundfile.LibsndfileError: the file cannot be read.
    """
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE).astype(np.float32)


@dataclass(frozen=True)
class FeatureBank:
    """Log-mel spectrograms of clips with one or more copies per clip; copy 0 is the unperturbed clip."""

    mel: np.ndarray  # (sum of frames, 80) float16, dB
    offsets: np.ndarray  # (clips, copies, 2) int64, first row of mel and last row + 1

    @property
    def copies(self) -> int:
        """Number of copies per clip."""
        return self.offsets.shape[1]

    @property
    def seconds(self) -> np.ndarray:
        """``(clips,)`` length of each clip (copy 0), s."""
        return (self.offsets[:, 0, 1] - self.offsets[:, 0, 0]) / 100

    @classmethod
    def join(cls, banks: Sequence[FeatureBank]) -> FeatureBank:
        """Concatenate several banks, in order."""
        starts = np.cumsum([0, *(len(bank.mel) for bank in banks)])[:-1]
        offsets = [bank.offsets + start for bank, start in zip(banks, starts, strict=True)]
        return cls(np.concatenate([bank.mel for bank in banks]), np.concatenate(offsets))

    def where(self, chosen: np.ndarray) -> FeatureBank:
        """Select clips by the mask ``chosen``, ``(clips,)`` bool; the spectrograms are shared, not copied."""
        return FeatureBank(self.mel, self.offsets[chosen])

    def shortened(self, frames: int) -> FeatureBank:
        """The same bank with each clip limited to its first ``frames`` frames."""
        offsets = self.offsets.copy()
        offsets[..., 1] = np.minimum(offsets[..., 1], offsets[..., 0] + frames)
        return FeatureBank(self.mel, offsets)

    def clip(self, index: int, copy: int = 0) -> np.ndarray:
        """``(F, 80)`` float16 log-mel of one copy of a clip."""
        start, stop = self.offsets[index, copy]
        return self.mel[start:stop]


def clip_features(
    path: Path, detector: VoiceActivityDetector, copies: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """``(F, 80)`` float16 log-mel of a sound file, cropped to speech, and of ``copies - 1`` perturbed copies.

    Raises:
        soundfile.LibsndfileError: the file cannot be read.
    """
    clip = crop_to_speech(read_speech(path), detector)
    return [log_mel(clip if copy == 0 else perturb(clip, rng)).astype(np.float16) for copy in range(copies)]


def speech_features(split: SpeechSplit, copies: int, seed: int, cache: Path | None) -> FeatureBank:
    """Features of all clips of ``split`` in their order, read from the folder ``cache`` if present there.

    Args:
        copies: 1: only the clips; n: also n - 1 perturbed copies of each.
        cache: None: no caching.
    """
    described = json.dumps([VERSION, copies, seed, [f"{p.parent.name}/{p.name}" for p in split.paths]])
    key = hashlib.sha256(described.encode()).hexdigest()
    kept = cache / f"{split.corpus}_{key[:12]}.features.npz" if cache is not None else None
    if kept is not None and kept.exists():
        with np.load(kept) as stored:
            return FeatureBank(stored["mel"], stored["offsets"])
    detector = VoiceActivityDetector()
    rng = np.random.default_rng(seed)
    parts, offsets, end = [], np.zeros((len(split), copies, 2), np.int64), 0
    for i, path in enumerate(tqdm(split.paths, desc=f"features of {split.corpus}", unit="clip")):
        for copy, part in enumerate(clip_features(path, detector, copies, rng)):
            offsets[i, copy] = end, end + len(part)
            end += len(part)
            parts.append(part)
    bank = FeatureBank(np.concatenate(parts), offsets)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as partial, partial.open("wb") as file:  # a handle: savez may append .npz to a path
            np.savez(file, mel=bank.mel, offsets=bank.offsets)
    return bank
