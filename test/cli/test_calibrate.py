"""``emotion-calibrate`` learns a place from recordings and writes a file that the node reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emotion_perception.acoustic.place import load_place
from emotion_perception.cli import calibrate

ACTOR = Path(__file__).resolve().parents[3] / "shared" / "data" / "ravdess_speech" / "Actor_21"


@pytest.mark.skipif(not ACTOR.is_dir(), reason="RAVDESS is not in ../shared/data")
def test_a_recording_of_ordinary_speech_becomes_the_file_of_a_place(tmp_path: Path, capsys) -> None:
    parts = []
    for path in sorted(ACTOR.glob("03-01-01-*.flac")) + sorted(ACTOR.glob("03-01-02-01-*.flac")):
        samples, rate = soundfile.read(path, dtype="float32")
        parts += [samples, np.zeros(rate, np.float32)]
    soundfile.write(tmp_path / "room.wav", np.concatenate(parts), rate)
    out = tmp_path / "room.json"
    assert calibrate.main([str(tmp_path / "room.wav"), "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    state = load_place(out)
    assert state.utterances == printed["utterances"] >= 5
    assert len(printed["shift"]) == 8 and printed["foreignness"] < 4


def test_a_recording_without_speech_writes_nothing(tmp_path: Path, capsys) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(32_000, np.float32), 16_000)
    assert calibrate.main([str(tmp_path / "quiet.wav"), "--out", str(tmp_path / "q.json")]) == 1
    assert "0 utterances" in capsys.readouterr().err
    assert not (tmp_path / "q.json").exists()


def test_a_missing_file_is_named(tmp_path: Path, capsys) -> None:
    assert calibrate.main([str(tmp_path / "no.wav"), "--out", str(tmp_path / "q.json")]) == 2
    assert "no.wav" in capsys.readouterr().err
