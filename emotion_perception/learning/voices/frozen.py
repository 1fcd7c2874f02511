"""Features of clips from the pretrained encoder as it is, for heads that train in seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from emotion_perception.acoustic.features import LONGEST, log_mel
from emotion_perception.acoustic.voice_activity import VoiceActivityDetector, crop_to_speech
from emotion_perception.files import replacing
from emotion_perception.learning.voices.corpora import SpeechSplit
from emotion_perception.learning.voices.features import read_speech
from emotion_perception.learning.voices.network import SpeechEncoder, VoiceNet
from emotion_perception.learning.voices.prosody import NAMES, prosody
from emotion_perception.learning.voices.weights import load_initial

VERSION = 2  # of the cached features; increase it when their computation changes


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of the clips of several corpora. Row i of every field is the same clip."""

    encoder: np.ndarray  # (N, D) float16, mean and deviation over time of each layer's output
    prosody: np.ndarray  # (N, 12) float32
    labels: np.ndarray  # (N,) int64
    speakers: np.ndarray  # (N,) str, "<corpus>/<speaker>"
    corpora: np.ndarray  # (N,) str


def frozen_features(splits: Sequence[SpeechSplit], initial: Path, cache: Path) -> FrozenFeatures:
    """Features of all clips of ``splits``, cropped to speech, at most their last four seconds.

    Args:
        initial: the encoder's weights (``scripts/speech_encoder.py``), or a published model.
        cache: folder of earlier results.

    Raises:
        ModelError: ``initial`` is missing, corrupt, or of another architecture.
    """
    net = VoiceNet()
    load_initial(net, initial)
    source = hashlib.sha256(initial.read_bytes()).hexdigest()[:12]
    parts = [_cached(split, net.encoder.eval(), source, cache) for split in splits]
    return FrozenFeatures(
        np.concatenate([encoder for encoder, _ in parts]),
        np.concatenate([prosodic for _, prosodic in parts]),
        np.concatenate([split.labels for split in splits]),
        np.concatenate([split.speakers for split in splits]),
        np.concatenate([np.full(len(split), split.corpus) for split in splits]),
    )


@torch.inference_mode()
def clip_features(path: Path, detector: VoiceActivityDetector, encoder: SpeechEncoder) -> tuple[np.ndarray, np.ndarray]:
    """``(D,)`` statistics of the encoder's outputs and ``(12,)`` prosody of a sound file.

    Raises:
        soundfile.LibsndfileError: the file cannot be read.
    """
    samples = crop_to_speech(read_speech(path), detector)
    mel = log_mel(samples)[-LONGEST:]
    outputs, _ = encoder(torch.from_numpy(mel)[None], torch.tensor([len(mel)]))
    statistics = [part for output in outputs for part in (output[0].mean(0), output[0].std(0))]
    return torch.cat(statistics).numpy().astype(np.float16), prosody(samples, mel)


def cache_path(split: SpeechSplit, source: str, cache: Path) -> Path:
    """File of the features of ``split`` from the encoder whose weights have the hash ``source``."""
    described = json.dumps([VERSION, source, [f"{p.parent.name}/{p.name}" for p in split.paths]])
    return cache / f"{split.corpus}_{hashlib.sha256(described.encode()).hexdigest()[:12]}.frozen.npz"


def _cached(split: SpeechSplit, encoder: SpeechEncoder, source: str, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    kept = cache_path(split, source, cache)
    if not kept.exists():
        detector = VoiceActivityDetector()
        found = [
            clip_features(path, detector, encoder)
            for path in tqdm(split.paths, desc=f"encoder on {split.corpus}", unit="clip")
        ]
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as partial, partial.open("wb") as file:
            np.savez(file, encoder=np.array([e for e, _ in found]), prosody=np.array([p for _, p in found]))
    with np.load(kept) as stored:
        if stored["prosody"].shape != (len(split), len(NAMES)):
            raise ValueError(f"{kept} does not fit {split.corpus}; remove it")
        return stored["encoder"], stored["prosody"]
