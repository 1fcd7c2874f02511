"""How often the voice model's label changes with level, room, speaking rate, microphone and faulty recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from tqdm import tqdm

from emotion_perception.acoustic.features import SAMPLE_RATE
from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.emotions import ANGRY, HAPPY, NEUTRAL
from emotion_perception.learning.report import write_text
from emotion_perception.learning.voices.augmentation import change_speed, reverberate
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.learning.voices.features import read_speech


def tilt(samples: np.ndarray, db_per_octave: float) -> np.ndarray:
    """``(T,)`` samples through a microphone whose response rises by ``db_per_octave`` from 1 kHz."""
    frequency = np.maximum(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE), 60.0)
    gain = 10 ** (db_per_octave * np.log2(frequency / 1000) / 20)
    return np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)).astype(np.float32)


def change_tempo(samples: np.ndarray, factor: float) -> np.ndarray:
    """``(T,)`` samples at ``factor`` times the tempo, with the same pitch (overlap-add of 40 ms frames, WSOLA)."""
    frame, search = 640, 160
    hop = frame // 2
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    n = max(1, int((len(samples) - frame - search) / (hop * factor)))
    out = np.zeros(n * hop + frame, np.float32)
    expected = samples[:frame]
    for k in range(n):
        centre = int(k * hop * factor)
        lags = range(max(0, centre - search), min(len(samples) - frame, centre + search) + 1, 8)
        start = max(lags, key=lambda s: float(samples[s : s + frame] @ expected), default=centre)
        out[k * hop : k * hop + frame] += window * samples[start : start + frame]
        following = samples[start + hop : start + hop + frame]
        expected = np.pad(following, (0, frame - len(following)))
    return out


def pitch_shift(samples: np.ndarray, semitones: float) -> np.ndarray:
    """``(T,)`` samples with another pitch and the same tempo, formants included; positive: towards a child."""
    factor = 2 ** (semitones / 12)
    stretched = change_tempo(samples, 1 / factor)
    return soxr.resample(stretched, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32)


def _room(rt60: float, direct_db: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: reverberate(x, rt60, direct_db, np.random.default_rng(0))


def _clipped(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples, -0.2 * np.abs(samples).max(), 0.2 * np.abs(samples).max())


CONDITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "level -20 dB": lambda x: 0.1 * x,
    "level -10 dB": lambda x: 0.316 * x,
    "level +10 dB": lambda x: np.clip(3.16 * x, -1, 1),
    "level +20 dB": lambda x: np.clip(10 * x, -1, 1),
    "room, 0.3 s, near": _room(0.3, 6.0),
    "room, 0.6 s, far": _room(0.6, -3.0),
    "tempo -15 %": lambda x: change_tempo(x, 0.85),
    "tempo +15 %": lambda x: change_tempo(x, 1.15),
    "speed +10 % (with pitch)": lambda x: change_speed(x, 1.1),
    "microphone +3 dB per octave": lambda x: tilt(x, 3.0),
    "microphone -3 dB per octave": lambda x: tilt(x, -3.0),
    "DC offset 3 %": lambda x: np.clip(x + 0.03, -1, 1),
    "DC offset 10 %": lambda x: np.clip(x + 0.1, -1, 1),
    "clipped at a fifth of the peak": _clipped,
    "pitch +6 semitones": lambda x: pitch_shift(x, 6),
    "pitch -6 semitones": lambda x: pitch_shift(x, -6),
}


def robustness_table(data: Path, split: str, out: Path, weights: Path | None = None) -> list[dict[str, Any]]:
    """Classify neutral and happy clips under each condition; writes ``robustness.json`` and ``robustness.md``.

    Returns:
        One row per condition: shares in percent, over the clips of each of both emotions, with the label unchanged,
        right, and angry; and mean confidence and arousal.

    Raises:
        ValueError, FileNotFoundError: ``data`` is not a speech corpus.
    """
    perception = AcousticPerception(AcousticConfig(model=str(weights)) if weights else AcousticConfig())
    clips = load_speech(data, split)
    clips = clips.where(np.isin(clips.labels, (NEUTRAL, HAPPY)))
    samples = [read_speech(path) for path in clips.paths]
    rows: list[dict[str, Any]] = []
    original: np.ndarray | None = None
    for name, change in tqdm({"as recorded": lambda x: x, **CONDITIONS}.items(), desc="conditions"):
        found = [perception.classify_recording(change(x).astype(np.float32), SAMPLE_RATE).emotion for x in samples]
        labels = np.array([emotion.probabilities.argmax() for emotion in found])
        original = labels if original is None else original
        row: dict[str, Any] = {"condition": name, "unchanged": round(100 * float((labels == original).mean()), 1)}
        for label, word in ((NEUTRAL, "neutral"), (HAPPY, "happy")):
            mine = clips.labels == label
            row[f"{word}_right"] = round(100 * float((labels[mine] == label).mean()), 1)
            row[f"{word}_angry"] = round(100 * float((labels[mine] == ANGRY).mean()), 1)
        row["confidence"] = round(float(np.mean([emotion.confidence for emotion in found])), 3)
        row["arousal"] = round(float(np.mean([emotion.arousal for emotion in found])), 3)
        rows.append(row)
    out.mkdir(parents=True, exist_ok=True)
    table = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    table += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    write_text(out / "robustness.json", json.dumps(rows, indent=1))
    write_text(out / "robustness.md", "\n".join([*table, ""]))
    return rows
