"""Labelled data for an evaluation: one folder per emotion, or a corpus as distributed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.emotions import EMOTIONS, VISUAL_INDICES, emotion_index
from emotion_perception.learning.faces.ferplus import load_ferplus


@dataclass(frozen=True)
class LabelledFiles:
    """N files with one emotion label each."""

    paths: tuple[Path, ...]
    labels: np.ndarray  # (N,) int64, index in the vocabulary
    other: int  # files in the same folders that have none of the suffixes


@dataclass(frozen=True)
class LabelledFaces:
    """N face crops with one emotion label each."""

    faces: np.ndarray  # (N, 48, 48) uint8
    labels: np.ndarray  # (N,) int64, index in the vocabulary
    votes: np.ndarray | None = None  # (N, 7), annotators' votes per visual emotion, if the label is their majority


def load_folders(folder: Path, suffixes: frozenset[str]) -> LabelledFiles:
    """Read ``folder/<emotion>/**/<file>``; a folder name may be a common alias ("anger", "joy").

    Raises:
        ValueError: not a folder, a sub-folder is not named after an emotion, or no file has one of ``suffixes``.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder; expected one sub-folder per emotion ({', '.join(EMOTIONS)})")
    paths: list[Path] = []
    labels: list[int] = []
    other = 0
    for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        try:
            label = emotion_index(sub.name)
        except ValueError as error:
            raise ValueError(f"{sub}: {error}") from None
        files = [p for p in sub.rglob("*") if p.is_file() and not p.name.startswith(".")]
        found = sorted(p for p in files if p.suffix.lower() in suffixes)
        other += len(files) - len(found)
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise ValueError(f"{folder}: no {'/'.join(sorted(suffixes))} file in a sub-folder named after an emotion")
    return LabelledFiles(tuple(paths), np.array(labels, dtype=np.int64), other)


def load_ferplus_faces(path: Path, split: str, labels: str) -> LabelledFaces:
    """One split of ``ferplus.npz`` with ``labels`` "fer2013" (original label) or "ferplus" (majority of the votes).

    Rows without a label in the vocabulary (contempt, unknown, not a face, original label missing) are left out.

    Raises:
        ValueError: unknown split or labels, or the archive lacks an array.
    """
    if labels not in ("fer2013", "ferplus"):
        raise ValueError(f"unknown labels {labels!r}; ferplus.npz has fer2013 and ferplus")
    data = load_ferplus(path, split)
    truth = data.fer2013 if labels == "fer2013" else data.majority
    rows = (truth >= 0) & (truth < len(VISUAL_INDICES))
    votes = data.votes[rows, : len(VISUAL_INDICES)] if labels == "ferplus" else None
    return LabelledFaces(data.faces[rows], np.array(VISUAL_INDICES)[truth[rows]], votes)
