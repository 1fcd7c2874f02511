"""Sounds, and the card of a network, that the acoustic tests share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from emotion_perception.acoustic.perception import AcousticPerception
from emotion_perception.types import VoiceObservation

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
PUBLISHED = ROOT / "models" / "voice.onnx"
RATE = 16_000


class LoudnessDetector:
    """In place of Silero VAD: loud is speech. It lets tests say to the sample where speech begins and ends."""

    def reset(self) -> None:
        """It has no state."""

    def __call__(self, window: np.ndarray) -> float:
        return 0.99 if np.sqrt(np.mean(window**2)) > 0.05 else 0.01

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        return np.array([self(samples[i : i + 512]) for i in range(0, len(samples) - 511, 512)])


def tone(seconds: float, level: float = 0.3, rate: int = RATE) -> np.ndarray:
    """A voice-like buzz, (T,) float32: harmonics of a gliding 140 Hz."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (140 * time + 10 * np.sin(2 * np.pi * time))
    return (level / 3 * sum(np.sin(k * phase) / k for k in range(1, 10))).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.zeros(round(seconds * rate), np.float32)


def play(
    perception: AcousticPerception, samples: np.ndarray, chunk: int = 320, rate: int = RATE, start_ns: int = 0
) -> list[VoiceObservation]:
    """Everything observed while ``samples`` are pushed in chunks and the stream ends."""
    found = []
    for i in range(0, len(samples), chunk):
        found += perception.push(samples[i : i + chunk], rate, start_ns + i * 1_000_000_000 // rate)
    return found + perception.flush()


def card_of(net, overlap=None, scale: float = 0.7, short_s: float = 0.0, threshold: float = 0.5) -> dict:
    """The card's fields that training adds for a network."""
    card = {"calibration": {"scale": scale, "short_s": short_s}, "training": {"net": asdict(net.config)}}
    if overlap is not None:
        card["overlap"] = {"threshold": threshold, "net": asdict(overlap.config)}
    return card
