"""FER+ (Barsoum et al. 2016): FER2013's faces with ten annotator votes each, in one ``ferplus.npz``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.emotions import FER2013_LABELS, FERPLUS_COLUMNS, FERPLUS_CONTEMPT, VISUAL_INDICES

SPLITS = ("Training", "PublicTest", "PrivateTest")
# FER+ vote column of each class of the network's FER+ head: the seven visual emotions, then contempt.
_VOTE_ORDER = [FERPLUS_COLUMNS.index(i) for i in VISUAL_INDICES] + [FERPLUS_CONTEMPT]
_FER2013_TO_VISUAL = np.array([VISUAL_INDICES.index(i) for i in FER2013_LABELS])


@dataclass(frozen=True)
class FerPlusSplit:
    """One split with N faces. Classes are in the order of the visual vocabulary; FER+ adds contempt as the eighth."""

    faces: np.ndarray  # (N, 48, 48) uint8
    votes: np.ndarray  # (N, 8) float32, number of ten votes per class; without unknown and "not a face"
    majority: np.ndarray  # (N,) int64, 0..7; -1 where unknown or "not a face" won
    fer2013: np.ndarray  # (N,) int64, 0..6; -1 where the original label is missing

    @property
    def distribution(self) -> np.ndarray:
        """Vote shares ``(N, 8)`` that sum to 1 (uniform where no vote is for an emotion)."""
        total = self.votes.sum(1, keepdims=True)
        return np.where(total > 0, self.votes / np.maximum(total, 1), 1 / self.votes.shape[1]).astype(np.float32)


def load_ferplus(path: str | Path, split: str) -> FerPlusSplit:
    """Read one split of ``ferplus.npz`` (arrays ``faces|images``, ``votes``, ``usage``, ``fer2013``).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: unknown split, or the file lacks an array.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; FER+ has {', '.join(SPLITS)}")
    with np.load(path, allow_pickle=False) as archive:
        images = next((name for name in ("faces", "images", "pixels") if name in archive), None)
        missing = [name for name in ("votes", "usage", "fer2013") if name not in archive]
        if images is None or missing:
            raise ValueError(f"{path}: not a FER+ archive, it lacks {missing or ['faces']} (has {list(archive)})")
        rows = archive["usage"] == split
        all_votes = archive["votes"][rows].astype(np.float32)
        original = archive["fer2013"][rows].astype(np.int64)
        faces = archive[images][rows]
    votes = all_votes[:, _VOTE_ORDER]
    winner = all_votes.argmax(1)
    to_class = np.full(all_votes.shape[1], -1, dtype=np.int64)
    to_class[_VOTE_ORDER] = np.arange(len(_VOTE_ORDER))
    return FerPlusSplit(
        faces=faces,
        votes=votes,
        majority=to_class[winner],
        fer2013=np.where(original >= 0, _FER2013_TO_VISUAL[np.maximum(original, 0)], -1),
    )
