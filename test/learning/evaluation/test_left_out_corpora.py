"""The comparison of methods on corpora that were left out of the training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import tone

pytest.importorskip("torch")

from emotion_perception.acoustic.features import log_mel
from emotion_perception.cli import evaluate
from emotion_perception.learning.evaluation import left_out_corpora as left_out
from emotion_perception.learning.voices.frozen import FrozenFeatures
from emotion_perception.learning.voices.network import VoiceNet
from emotion_perception.learning.voices.prosody import NAMES, prosody
from emotion_perception.learning.voices.weights import save_encoder

LABELS = {"ravdess_speech": range(8), "emodb": range(7), "ased": (0, 2, 3, 4, 5)}


def synthetic(shift: float) -> FrozenFeatures:
    """Clips of three corpora; all features of the last corpus are shifted from neutral towards angry."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(8, 40))
    rows = []
    for corpus, labels in LABELS.items():
        for speaker in range(6):
            for label in labels:
                for _ in range(8):
                    x = directions[label] + 0.8 * rng.normal(size=40)
                    if corpus == "ased":
                        x = x + shift * (directions[4] - directions[0])
                    rows.append((x, label, f"{corpus}/{speaker}", corpus))
    return FrozenFeatures(
        np.array([x for x, *_ in rows], np.float16),
        rng.normal(size=(len(rows), 12)).astype(np.float32),
        np.array([label for _, label, *_ in rows]),
        np.array([speaker for *_, speaker, _ in rows]),
        np.array([corpus for *_, corpus in rows]),
    )


def test_adaptation_recovers_a_corpus_whose_features_are_shifted() -> None:
    clips = synthetic(0.5)
    rows = {row["method"]: row["corpora"]["ased"] for row in left_out.score(clips, left_out.compute(clips))}
    reference, adapted, centred = (rows[left_out.METHODS[k]] for k in (1, 2, 5))
    assert reference["uar"] < 92
    assert adapted["gain"] > 5 and adapted["gain_95"][0] > 0
    assert centred["gain"] >= adapted["gain"] - 3
    assert rows[left_out.REFERENCE]["gain"] == 0


def test_intervals_hold_the_score_and_the_table_has_every_method() -> None:
    clips = synthetic(0.0)
    summary = {"methods": left_out.score(clips, left_out.compute(clips))}
    for row in summary["methods"]:
        for one in (row["mean"], *row["corpora"].values()):
            assert one["uar_95"][0] - 0.1 <= one["uar"] <= one["uar_95"][1] + 0.1
    table = left_out.as_table(summary)
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == list(left_out.METHODS)


def test_balanced_weights_make_the_labels_of_a_corpus_equally_frequent() -> None:
    labels, corpora = np.array([0, 0, 0, 1, 2, 2]), np.array(["a", "a", "a", "a", "b", "b"])
    weights = left_out.label_weights(labels, corpora, balanced=True)
    assert weights[:3].sum() == pytest.approx(weights[3])
    assert weights[:4].sum() / weights[4:].sum() == pytest.approx(np.sqrt(4 / 2))
    assert weights.mean() == pytest.approx(1)
    assert len(set(left_out.label_weights(labels, corpora, balanced=False)[:4])) == 1


def test_prosody_measures_pitch_and_syllables_and_ignores_the_level() -> None:
    time = np.arange(32_000) / 16_000
    syllables = 1.1 - np.cos(2 * np.pi * 4 * time)  # 4 Hz
    buzz = syllables * sum(np.sin(2 * np.pi * k * 200 * time) / k for k in range(1, 10))
    buzz = (buzz + 0.01 * np.random.default_rng(0).normal(size=len(time))).astype(np.float32)
    found = dict(zip(NAMES, prosody(buzz, log_mel(buzz)), strict=True))
    assert found[NAMES[0]] == pytest.approx(12, abs=0.3)  # an octave above 100 Hz
    assert found["share of voiced frames"] > 0.9
    assert found["level peaks per s, about the syllable rate"] == pytest.approx(4, abs=0.6)
    np.testing.assert_allclose(prosody(0.1 * buzz, log_mel(0.1 * buzz)), prosody(buzz, log_mel(buzz)), atol=0.02)


def test_the_command_reads_corpora_and_writes_the_table(tmp_path: Path, monkeypatch, capsys) -> None:
    data = tmp_path / "corpora"
    names = {
        "emodb": [f"{speaker}a01{code}a" for speaker in ("03", "08") for code in "WLEAFTN"],
        "nemo": [f"{s}_{e}_1" for s in ("SK0", "MS0") for e in ("anger", "fear", "happiness", "neutral", "sadness")],
        "ased": [f"{e}1-01-01-02-{speaker}" for speaker in ("01", "02") for e in "nfhsa"],
    }
    for corpus, stems in names.items():
        (data / corpus).mkdir(parents=True)
        for k, stem in enumerate(stems):
            soundfile.write(data / corpus / f"{stem}.flac", tone(0.5, level=0.1 + 0.01 * k), 16_000)
    monkeypatch.chdir(tmp_path)
    save_encoder(tmp_path / "encoder.safetensors", VoiceNet().encoder, "random")
    command = ["acoustic", "--protocol", "leave-corpus-out", "--data", str(data), "--out", str(tmp_path / "out")]
    assert evaluate.main(command) == 2  # without the encoder
    capsys.readouterr()
    assert evaluate.main([*command, "--initial", str(tmp_path / "encoder.safetensors")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["clips"] == 34 and len(summary["methods"]) == len(left_out.METHODS)
    assert (tmp_path / "out" / "left_out_corpora.md").read_text().count("\n") == len(left_out.METHODS) + 2
    assert len(list((tmp_path / "runs" / "features").glob("*.frozen.npz"))) == 3
