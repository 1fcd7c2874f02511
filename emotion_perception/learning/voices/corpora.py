"""Speech corpora with speaker-disjoint splits.

RAVDESS (Livingstone & Russo 2018), EmoDB (Burkhardt et al. 2005), nEMO (Christop 2024).
Labels are part of the file names; :mod:`emotion_perception.emotions` maps them to the vocabulary. No speaker is in two
splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.emotions import EMODB_CODES, EMOTIONS, NEUTRAL, RAVDESS_CODES, emotion_index

SPLITS = ("train", "validation", "test", "all")
CORPORA = ("ravdess_speech", "emodb", "nemo")

# Held-out speakers by corpus and split; all others are training data. One woman and one man per split where the corpus
# is large enough; of nEMO's three women and three men, one woman (validation) and one man (test) are held out.
HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "ravdess_speech": {"validation": ("19", "20"), "test": ("21", "22", "23", "24")},
    "emodb": {"validation": ("09", "12"), "test": ("15", "16")},
    "nemo": {"validation": ("IC0",), "test": ("SM0",)},
}
# From the documentation of the corpora; in RAVDESS, women have even numbers.
WOMEN = {"emodb": ("08", "09", "13", "14", "16"), "nemo": ("EB0", "IC0", "KD0")}
# RAVDESS has two intensities; their values in 0..1 are a convention of this project.
NORMAL_INTENSITY, STRONG_INTENSITY = 0.4, 0.9


@dataclass(frozen=True)
class SpeechSplit:
    """Clips of one corpus. Row i of every field is the same clip."""

    corpus: str
    paths: tuple[Path, ...]
    labels: np.ndarray  # (N,) int64, index into EMOTIONS
    speakers: np.ndarray  # (N,) str, "<corpus>/<speaker>"
    intensity: np.ndarray  # (N,) float32, 0..1; NaN where the corpus has none, and for neutral
    female: np.ndarray  # (N,) float32, 1: woman, 0: man; only for the study in docs/acoustic_model.md

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def present(self) -> np.ndarray:
        """``(8,)`` bool: the labels that this corpus has."""
        return corpus_labels(self.corpus)

    def where(self, chosen: np.ndarray) -> SpeechSplit:
        """The clips selected by ``chosen``, ``(N,)`` bool."""
        rows = np.flatnonzero(chosen)
        return SpeechSplit(
            self.corpus,
            tuple(self.paths[row] for row in rows),
            self.labels[rows],
            self.speakers[rows],
            self.intensity[rows],
            self.female[rows],
        )

    def held_for(self, split: str) -> np.ndarray:
        """``(N,)`` bool: the clips of ``split``: ``train``, ``validation``, ``test`` or ``all``."""
        held = {speaker: name for name, speakers in HELD_OUT[self.corpus].items() for speaker in speakers}
        return np.array([split in ("all", held.get(str(s).split("/")[1], "train")) for s in self.speakers], bool)


def corpus_labels(corpus: str) -> np.ndarray:
    """``(8,)`` bool mask of the labels that the corpus has; the other emotions are unlabelled there, not absent."""
    present = {
        "ravdess_speech": RAVDESS_CODES.values(),
        "emodb": EMODB_CODES.values(),
        "nemo": [emotion_index(name) for name in ("anger", "fear", "happiness", "neutral", "sadness", "surprised")],
    }[corpus]
    mask = np.zeros(len(EMOTIONS), dtype=bool)
    mask[list(present)] = True
    return mask


def load_speech(folder: Path, split: str) -> SpeechSplit:
    """Clips of ``folder`` (named ``ravdess_speech``, ``emodb`` or ``nemo``) that belong to ``split``.

    Args:
        folder: the corpus in the data directory.
        split: ``train``, ``validation``, ``test`` or ``all``.

    Raises:
        ValueError: unknown corpus or split, or a file whose name does not follow the corpus.
        FileNotFoundError: the folder is missing or contains no clip.
    """
    folder = Path(folder)
    corpus = folder.name
    if corpus not in CORPORA:
        raise ValueError(f"{folder} is not one of the speech corpora {', '.join(CORPORA)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}")
    pattern, parse = _PARSERS[corpus]
    files = sorted(folder.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no {pattern} in {folder}")
    rows = [(path, *_parse(parse, path)) for path in files]
    clips = SpeechSplit(
        corpus,
        tuple(row[0] for row in rows),
        np.array([row[2] for row in rows], dtype=np.int64),
        np.array([f"{corpus}/{row[1]}" for row in rows], dtype=np.str_),
        np.array([row[3] for row in rows], dtype=np.float32),
        np.array([_is_woman(corpus, row[1]) for row in rows], dtype=np.float32),
    )
    return clips.where(clips.held_for(split))


def _is_woman(corpus: str, speaker: str) -> bool:
    return int(speaker) % 2 == 0 if corpus == "ravdess_speech" else speaker in WOMEN[corpus]


def _parse(parse: Callable[[str], tuple[str, int, float]], path: Path) -> tuple[str, int, float]:
    try:
        return parse(path.stem)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{path} does not follow the file names of its corpus: {error}") from error


def _ravdess(stem: str) -> tuple[str, int, float]:
    _, _, emotion, intensity, _, _, actor = stem.split("-")
    label = RAVDESS_CODES[emotion]
    strength = {"01": NORMAL_INTENSITY, "02": STRONG_INTENSITY}[intensity]
    return actor, label, float("nan") if label == NEUTRAL else strength


def _emodb(stem: str) -> tuple[str, int, float]:
    return stem[:2], EMODB_CODES[stem[5]], float("nan")


def _nemo(stem: str) -> tuple[str, int, float]:
    speaker, emotion, _ = stem.split("_")
    return speaker, emotion_index(emotion), float("nan")


_PARSERS: dict[str, tuple[str, Callable[[str], tuple[str, int, float]]]] = {
    "ravdess_speech": ("Actor_*/*.flac", _ravdess),
    "emodb": ("*.flac", _emodb),
    "nemo": ("*.ogg", _nemo),
}
