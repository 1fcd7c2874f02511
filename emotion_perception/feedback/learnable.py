"""What the accepted corrections in a folder offer a training: how many of which emotion, and which of them are new."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_perception.feedback.corrections import ACCEPTED, PENDING, read_correction

MIN_CORRECTIONS = 5  # to train on, without the held-out ones; with fewer the model would overfit
HELD_OUT = 5  # one correction in so many, on average, is held out for testing


@dataclass(frozen=True)
class Learnable:
    """The corrections of one kind ("face" or "voice")."""

    accepted: Mapping[str, int]  # number of accepted corrections of each emotion, held-out ones included
    new: Mapping[str, int]  # those of them that no training has used yet
    held_out: int  # accepted corrections that are tested on, never trained on
    pending: int  # corrections that nobody has reviewed yet

    @property
    def to_learn(self) -> int:
        """Number of accepted corrections to train on."""
        return sum(self.accepted.values()) - self.held_out

    @property
    def enough(self) -> bool:
        """Whether a training would start."""
        return self.to_learn >= MIN_CORRECTIONS


def learnable(folder: Path, kind: str, used: frozenset[str] = frozenset()) -> Learnable:
    """Count the corrections of a kind; files that cannot be read are left out, as the training leaves them out.

    Args:
        folder: of the corrections.
        kind: "face" or "voice".
        used: ids of the corrections that earlier trainings used.
    """
    accepted: Counter[str] = Counter()
    new: Counter[str] = Counter()
    held_out = 0
    for path, fields in _readable(folder / ACCEPTED, kind):
        accepted[fields["label"]] += 1
        new[fields["label"]] += path.stem not in used
        held_out += is_held_out(path, fields)
    return Learnable(dict(accepted), dict(+new), held_out, count_pending(folder, kind))


def count_pending(folder: Path, kind: str) -> int:
    """Number of corrections of a kind that nobody has reviewed yet."""
    return len(_readable(folder / PENDING, kind))


def is_held_out(path: Path, fields: Mapping[str, Any]) -> bool:
    """Depends on the id only: a correction held out once is held out in every later training.

    Corrections of the same time range are similar, and are either all held out or all used for training.
    """
    together = str(fields.get("stretch") or path.stem)
    return int(hashlib.sha256(together.encode()).hexdigest(), 16) % HELD_OUT == 0


def _readable(folder: Path, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            fields = read_correction(path)
        except (OSError, ValueError):
            continue
        if fields["kind"] == kind:
            found.append((path, fields))
    return found
