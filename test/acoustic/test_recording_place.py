"""Offline tools adapt to the place of a recording or of a folder, and leave short files alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import LoudnessDetector, silence, tone

from emotion_perception import Recognizer
from emotion_perception.acoustic import perception as acoustic
from emotion_perception.archive.analysis import Analyser, Settings
from emotion_perception.archive.campaign import made_by
from emotion_perception.cli import recognize
from emotion_perception.media.opening import open_media


def write_utterances(path: Path, count: int) -> Path:
    """A WAV file with ``count`` equal utterances and pauses."""
    soundfile.write(path, np.concatenate([silence(0.5), *[tone(0.5), silence(0.6)] * count]), 16_000)
    return path


@pytest.fixture(autouse=True)
def loudness_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acoustic, "VoiceActivityDetector", lambda *_: LoudnessDetector())


def test_a_long_recording_is_adapted_to_and_a_short_one_resets_that(tmp_path: Path) -> None:
    long, short = write_utterances(tmp_path / "long.wav", 25), write_utterances(tmp_path / "short.wav", 3)
    plain, adapting = Recognizer(), Recognizer(adapt=True)
    assert adapting.adapt_to([long]) == 25
    state = adapting.acoustic.place.state
    changed = [moment.state.emotion.probabilities for moment in adapting.moments(long)]
    original = [moment.state.emotion.probabilities for moment in plain.moments(long)]
    assert np.abs(adapting.acoustic.place.shift).max() > 0.1
    assert np.abs(np.array(changed) - np.array(original)).max() > 0.03  # a tone is unlike speech: both are flat
    assert adapting.acoustic.place.state == state  # the analysis itself learns nothing
    assert adapting.adapt_to([short]) == 3
    kept = [moment.state.emotion.probabilities for moment in adapting.moments(short)]
    np.testing.assert_allclose(kept, [moment.state.emotion.probabilities for moment in plain.moments(short)])


def test_a_recording_without_sound_has_no_utterances(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, silence(2.0), 16_000)
    assert Recognizer(adapt=True).adapt_to([path]) == 0


@pytest.mark.parametrize(("mode", "adapted"), [("folder", True), ("recording", False)])
def test_recordings_of_a_folder_share_a_place(mode: str, adapted: bool, tmp_path: Path, capsys) -> None:
    paths = [str(write_utterances(tmp_path / f"{name}.wav", 12)) for name in ("one", "two")]
    assert recognize.main([*paths, "--adapt", mode, "--step", "5"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("voices adapted to the place") == int(adapted)
    assert captured.err.count("12 utterances, 20 are needed") == (0 if adapted else 2)
    assert {json.loads(line)["path"] for line in captured.out.splitlines()} == set(paths)


def test_archive_adapts_each_part_alike_and_only_long_recordings(tmp_path: Path) -> None:
    long, short = write_utterances(tmp_path / "long.wav", 25), write_utterances(tmp_path / "short.wav", 3)

    def distributions(analyser: Analyser, path: Path, first: int = 0) -> np.ndarray:
        with open_media(path) as media:
            parts = analyser.observe(media, first)
            return np.array([voice.emotion.probabilities for part in parts for u in part.utterances for voice in u])

    plain, adapting = (Analyser(Settings(part_s=10.0, adapt=adapt)) for adapt in (False, True))
    adapted = distributions(adapting, long)
    state = adapting.acoustic.place.state
    assert np.abs(adapted - distributions(plain, long)).max() > 0.03  # a tone is unlike speech: both are flat
    np.testing.assert_allclose(distributions(adapting, short), distributions(plain, short), atol=0.02)  # formats
    distributions(adapting, long, first=2)
    assert adapting.acoustic.place.state == state


def test_a_data_set_that_is_not_adapted_can_be_continued_by_a_release_that_can_adapt() -> None:
    assert "adapt" not in made_by(Settings()) and made_by(Settings(adapt=True))["adapt"] is True
