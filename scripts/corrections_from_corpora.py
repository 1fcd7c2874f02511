"""Accepted corrections made of validation speakers: to measure what `emotion-train acoustic --feedback` does.

python scripts/corrections_from_corpora.py DIR ../shared/data ravdess_speech=20 emodb=10 nemo=10
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

from emotion_perception.emotions import EMOTIONS
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.learning.voices.features import read_speech


def main(folder: Path, data: Path, wanted: dict[str, int]) -> None:
    """Write so many sounds of each corpus, drawn at random, each with its true emotion."""
    accepted = folder / "accepted"
    accepted.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    made = 0
    for corpus, count in wanted.items():
        split = load_speech(data / corpus, "validation")
        for row in rng.permutation(len(split))[:count]:
            name = f"20261125T12{made // 60:02}{made % 60:02}Z-{row:06x}"
            soundfile.write(accepted / f"{name}.wav", read_speech(split.paths[row]), 16_000, subtype="PCM_16")
            fields = {"format": 1, "id": name, "kind": "voice", "label": EMOTIONS[split.labels[row]]}
            (accepted / f"{name}.json").write_text(json.dumps(fields))
            made += 1


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        {name: int(count) for name, count in (pair.split("=") for pair in sys.argv[3:])},
    )
