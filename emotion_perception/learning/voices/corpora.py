"""Clips of speech corpora with labels and speaker-disjoint splits; :mod:`.corpus_layouts` defines the corpora."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.learning.voices.corpus_layouts import AUDIO_SUFFIXES, CORPORA, ClipInfo, Corpus, corpus_of

SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class SpeechSplit:
    """Clips of one corpus. Row i of every field is the same clip."""

    corpus: str
    paths: tuple[Path, ...]
    labels: np.ndarray  # (N,) int64, index into EMOTIONS
    speakers: np.ndarray  # (N,) str, "<corpus>/<speaker>"
    intensity: np.ndarray  # (N,) float32, 0..1; NaN where the corpus has none, and for neutral
    female: np.ndarray  # (N,) float32, 1: woman, 0: man, NaN: unknown; never an input of the published model
    age: np.ndarray  # (N,) float32, years; NaN: unknown
    held_out: tuple[tuple[str, str], ...] = ()  # speakers that are not training data, each with its split

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
            self.age[rows],
            self.held_out,
        )

    def held_for(self, split: str) -> np.ndarray:
        """``(N,)`` bool: the clips of ``split``: ``train``, ``validation``, ``test`` or ``all``."""
        held = dict(self.held_out)
        return np.array([split in ("all", held.get(str(s).split("/")[1], "train")) for s in self.speakers], bool)


def corpus_labels(corpus: str) -> np.ndarray:
    """``(8,)`` bool mask of the labels that the corpus has; the other emotions are unlabelled there, not absent."""
    mask = np.zeros(len(EMOTIONS), dtype=bool)
    mask[list(CORPORA[corpus].labels)] = True
    return mask


def find_corpora(folders: Path | Sequence[Path]) -> dict[str, Path]:
    """Folder of each corpus by name, in the order of :data:`CORPORA`.

    Args:
        folders: corpora, or folders that contain corpora.

    Raises:
        FileNotFoundError: there is none.
        ValueError: two folders contain the same corpus.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    found: dict[str, Path] = {}
    for folder in folders:
        for candidate in [folder] if _is_corpus(folder) else sorted(p for p in folder.glob("*") if p.is_dir()):
            if not _is_corpus(candidate):
                continue
            name = corpus_of(candidate).name
            if name in found:
                raise ValueError(f"{found[name]} and {candidate} are the same corpus")
            found[name] = candidate
    if not found:
        raise FileNotFoundError(f"no speech corpus in {', '.join(map(str, folders))}; known are {', '.join(CORPORA)}")
    return {name: found[name] for name in CORPORA if name in found}


def load_speech(folder: Path, split: str) -> SpeechSplit:
    """Clips of a corpus, which is recognised by the folder's name, that belong to ``split``.

    Clips with an emotion outside the vocabulary are left out.

    Args:
        folder: the corpus, for example ``../shared/data/emodb``.
        split: ``train``, ``validation``, ``test`` or ``all``.

    Raises:
        ValueError: unknown corpus or split, or a file whose name does not follow the corpus.
        FileNotFoundError: the folder is missing or contains no clip.
    """
    folder = Path(folder)
    corpus = corpus_of(folder)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no sound file in {folder}")
    clips = [(path, info) for path in files if (info := _parse(corpus, path)).label is not None]
    held_out = corpus.held_out or _default_held_out({info.speaker for _, info in clips})
    everything = SpeechSplit(
        corpus.name,
        tuple(path for path, _ in clips),
        np.array([info.label for _, info in clips], dtype=np.int64),
        np.array([f"{corpus.name}/{info.speaker}" for _, info in clips], dtype=np.str_),
        np.array([info.intensity for _, info in clips], dtype=np.float32),
        np.array([info.female for _, info in clips], dtype=np.float32),
        np.array([info.age for _, info in clips], dtype=np.float32),
        tuple((speaker, name) for name, speakers in held_out.items() for speaker in speakers),
    )
    return everything.where(everything.held_for(split))


def _is_corpus(folder: Path) -> bool:
    try:
        return bool(corpus_of(folder))
    except ValueError:
        return False


def _parse(corpus: Corpus, path: Path) -> ClipInfo:
    try:
        return corpus.parse(path)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{path} does not follow the file names of {corpus.name}: {error}") from error


def _default_held_out(speakers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every tenth speaker for validation and every tenth for the test; of three to nine, the last two; of fewer, none.

    The choice depends on the speakers' names only, so it is the same on every machine.
    """
    names = sorted(speakers)
    if len(names) < 3:
        return {}
    if len(names) < 10:
        return {"validation": (names[-2],), "test": (names[-1],)}
    return {"validation": tuple(names[8::10]), "test": tuple(names[9::10])}
