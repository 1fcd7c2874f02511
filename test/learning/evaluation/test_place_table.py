"""The table of places scores the adaptation on logits that a place has shifted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import PUBLISHED, tone

pytest.importorskip("torch")

from emotion_perception.acoustic.place import ClassStatistics
from emotion_perception.cli import evaluate
from emotion_perception.emotions import NEUTRAL, SAD
from emotion_perception.learning.evaluation import place_table
from emotion_perception.learning.voices.calibration import HeldOutLogits

STATISTICS = ClassStatistics(4 * np.eye(8), np.eye(8))


def test_a_shifted_place_is_scored_better_after_adaptation() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 40)
    logits = STATISTICS.means[labels] + rng.normal(size=(len(labels), 8))
    logits[:, NEUTRAL] -= 2.1
    logits[:, SAD] += 2.1
    speakers = np.array([f"ravdess_speech/{k % 4}" for k in range(len(labels))])
    place = HeldOutLogits(logits[None], np.ones((1, len(labels))), labels, speakers)
    row = place_table._score(place, "ravdess_speech", STATISTICS, np.full(8, 0.5), {"scale": 1.0, "short_s": 0.0})
    assert row["uar_95"][0] <= row["uar"] <= row["uar_95"][1]
    assert row["even"] > row["uar"] + 5 and row["neutral"] > row["uar"] + 5
    assert row["even"] >= row["even_few"] > row["uar"]
    assert row["neutral"] > row["neutral_mean"], "the mean of mostly neutral speech is not the place"
    assert 0 < row["ece"] < 1 and 0 < row["even_ece"] < 1


@pytest.mark.parametrize("neutral", [None, 0.9])
def test_utterances_are_heard_with_the_stated_shares(neutral: float | None) -> None:
    labels = np.array([NEUTRAL] * 5 + [SAD] * 20 + [7] * 3)
    chances = place_table._chances(labels, neutral)
    assert chances.sum() == pytest.approx(1)
    assert chances[labels == NEUTRAL].sum() == pytest.approx(neutral or 1 / 3)


def test_the_command_scores_the_test_speakers_of_corpora_that_the_model_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "emodb").mkdir()
    for speaker in ("03", "15"):
        for code in "WN":
            soundfile.write(tmp_path / "emodb" / f"{speaker}a01{code}a.flac", tone(0.7), 16_000)
    arguments = ["--place-table", "--data", str(tmp_path), "--weights", str(PUBLISHED), "--out", str(tmp_path / "out")]
    assert evaluate.main(["acoustic", *arguments]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["corpus"], row["trained_on"], row["clips"]) == ("emodb", True, 2)
    assert len((tmp_path / "out" / "places.md").read_text().splitlines()) == 3
    assert HeldOutLogits.load(tmp_path / "out" / "logits.npz").speakers.tolist() == ["emodb/15"] * 2
