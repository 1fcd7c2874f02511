"""What the two models output for labelled faces and voices, clean and degraded, and synthetic pairs of the two.

Faces of FER+ and voices of RAVDESS go through the robot's own pipelines. Which split is used is up to the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from emotion_perception.acoustic.features import SAMPLE_RATE
from emotion_perception.acoustic.perception import AcousticPerception
from emotion_perception.emotions import CALM, EMOTIONS, NEUTRAL
from emotion_perception.files import replacing
from emotion_perception.inference.cards import card_path
from emotion_perception.learning.faces.labelled import load_ferplus_faces
from emotion_perception.learning.voices.augmentation import coloured_noise, fan_noise
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.media.files import read_audio
from emotion_perception.priors import BALANCED
from emotion_perception.visual.perception import VisualPerception

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class ModelOutputs:
    """The outputs of one model for N labelled cases, with what decides their weight as evidence."""

    probabilities: np.ndarray  # (N, 8) under the balanced prior (likelihood ratios)
    labels: np.ndarray  # (N,) int64, index in the vocabulary
    quality: np.ndarray  # (N,) quality of a face, 0..1, or SNR of a voice, dB; NaN where unknown
    seconds: np.ndarray  # (N,) length of the speech; 0 for a face
    found: np.ndarray  # (N,) bool: a face or speech was found
    group: np.ndarray  # (N,) int64; cases of different groups share no speaker (voices) or image (faces)

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: np.ndarray) -> ModelOutputs:
        """Some of the cases, by a mask or by indices."""
        return ModelOutputs(**{name: value[chosen] for name, value in vars(self).items()})


def concatenate(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    """The cases of several outputs."""
    return ModelOutputs(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def degrade_face(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise, blur, low resolution, darkness or glare, of a random strength from negligible to extreme."""
    strength = rng.random()
    x: np.ndarray = face.astype(np.float32)
    kind = rng.integers(5)
    if kind == 0:
        x = x + rng.normal(0, 80 * strength, x.shape)
    elif kind == 1:
        x = cv2.GaussianBlur(x, (0, 0), 0.5 + 4 * strength)
    elif kind == 2:
        side = round(24 - 18 * strength)
        x = cv2.resize(cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA), x.shape[::-1])
    elif kind == 3:
        x = 255 * (x / 255) ** (1 + 7 * strength) + rng.normal(0, 3, x.shape)
    else:
        x = x * (1 + 4 * strength) + 50 * strength
    return x.clip(0, 255).astype(np.uint8)


def add_any_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White, pink or fan noise at -8 to 20 dB."""
    kind = rng.integers(3)
    noise = fan_noise(len(samples), rng) if kind == 2 else coloured_noise(len(samples), float(kind), rng)
    return with_noise(samples, noise, float(rng.uniform(-8, 20)))


def with_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Samples ``(T,)`` with noise of RMS 1 added at an SNR, relative to their loud parts."""
    loud = samples[np.abs(samples) > 0.01 * np.abs(samples).max()]
    level = float(np.sqrt(np.mean(loud**2))) if len(loud) else 0.0
    return (samples + noise * level * 10 ** (-snr_db / 20)).astype(np.float32)


def face_outputs(
    perception: VisualPerception, data: Path, split: str, damage: Damage | None = None, seed: int = 0
) -> ModelOutputs:
    """The face model on a split of ``ferplus.npz``, labelled by majority vote; quality as on the robot.

    Args:
        perception: the visual pipeline.
        data: folder with ``ferplus.npz``.
        split: Training, PublicTest or PrivateTest.
        damage: degrades each face first.
        seed: of the damage.

    Raises:
        ValueError, OSError: the data are not readable.
    """
    archive = load_ferplus_faces(data / "ferplus.npz", split, "ferplus")
    rng = np.random.default_rng(seed)
    probabilities, quality = [], []
    for face in tqdm(archive.faces, desc=f"faces of {split}", unit="face", leave=False):
        observed = perception.whole_face(damage(face, rng) if damage else face)
        probabilities.append(observed.emotion.with_prior(BALANCED).probabilities)
        quality.append(observed.quality)
    n = len(archive.labels)
    return ModelOutputs(
        np.array(probabilities), archive.labels, np.array(quality), np.zeros(n), np.ones(n, bool), np.arange(n) % 2
    )


def voice_outputs(
    perception: AcousticPerception, data: Path, split: str, damage: Damage | None = None, seed: int = 0
) -> ModelOutputs:
    """The voice model on the speech of RAVDESS, one decision per clip; SNR as on the robot.

    Args:
        perception: the acoustic pipeline.
        data: folder with ``ravdess_speech``.
        split: train, validation or test.
        damage: degrades the samples of each clip first.
        seed: of the damage.

    Raises:
        ValueError, OSError: the data are not readable.
    """
    corpus = load_speech(data / "ravdess_speech", split)
    rng = np.random.default_rng(seed)
    clips = []
    for path in tqdm(corpus.paths, desc=f"voices of {split}", unit="clip", leave=False):
        samples, rate = read_audio(path)
        mono = np.asarray(samples, np.float32).reshape(len(samples), -1).mean(1)
        if rate != SAMPLE_RATE:
            raise ValueError(f"{path} has {rate} Hz, expected {SAMPLE_RATE} Hz")
        clips.append(perception.classify_recording(damage(mono, rng) if damage else mono, rate))
    return ModelOutputs(
        np.array([clip.emotion.with_prior(BALANCED).probabilities for clip in clips]),
        corpus.labels,
        np.array([clip.snr_db for clip in clips]),
        np.array([clip.duration for clip in clips]),
        np.array([clip.speech_found for clip in clips]),
        np.unique(corpus.speakers, return_inverse=True)[1],
    )


def cached(cache: Path | None, name: str, model: Path, make: Callable[[], ModelOutputs]) -> ModelOutputs:
    """``make()``, or its earlier result with the same model and program, from a folder; None: no cache."""
    if cache is None:
        return make()
    path = cache / f"{name}-{_fingerprint(model)}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as archive:
            return ModelOutputs(**archive)
    made = make()
    cache.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        np.savez(partial, **vars(made))
    return made


def _fingerprint(model: Path) -> str:
    """Hash of a model's file and card and of the program that runs it."""
    digest = hashlib.sha256(model.read_bytes())
    if (card := card_path(model)).is_file():
        digest.update(card.read_bytes())
    package = Path(__file__).parents[2]
    sources = [path for name in ("inference", "visual", "acoustic") for path in sorted((package / name).glob("*.py"))]
    for source in (*sources, package / "priors.py"):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def synthetic_pairs(
    faces: np.ndarray, voices: np.ndarray, rng: np.random.Generator, each: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of a face and a voice with the same emotion, as indices ``(P,)`` of faces and of voices.

    The true emotion of a pair is the label of its voice. FER+ has no calm faces, so a neutral face is paired with a
    neutral or a calm voice with equal probability.

    Args:
        faces, voices: labels ``(N,)``, ``(M,)``.
        rng: draws the pairs.
        each: pairs per emotion; 0: every face once, with the class frequencies of the faces.

    Raises:
        ValueError: an emotion of the faces has no voice.
    """
    by_emotion = [np.flatnonzero(voices == emotion) for emotion in range(len(EMOTIONS))]
    if each:
        by_face = [np.flatnonzero(faces == (NEUTRAL if e == CALM else e)) for e in range(len(EMOTIONS))]
        both = [e for e in range(len(EMOTIONS)) if len(by_face[e]) and len(by_emotion[e])]
        return (
            np.concatenate([rng.choice(by_face[e], each) for e in both]),
            np.concatenate([rng.choice(by_emotion[e], each) for e in both]),
        )
    wanted = np.where((faces == NEUTRAL) & (rng.random(len(faces)) < 0.5), CALM, faces)
    missing = [EMOTIONS[e] for e in np.unique(wanted) if not len(by_emotion[e])]
    if missing:
        raise ValueError(f"no voice is {', '.join(missing)}, but some faces are")
    return np.arange(len(faces)), np.array([rng.choice(by_emotion[e]) for e in wanted])
