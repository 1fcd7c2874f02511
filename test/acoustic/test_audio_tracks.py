"""The audio track with the speech, and stereo whose channels cancel each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from clips import write_tracks

from emotion_perception.acoustic.ring_buffer import StreamInput, resample
from emotion_perception.messages.samples import Downmix
from emotion_perception.recognition import Recognizer

SPEECH = Path(__file__).parents[3] / "shared/data/ravdess_speech/Actor_21/03-01-05-02-01-01-21.flac"


def speech() -> np.ndarray:
    if not SPEECH.is_file():
        pytest.skip("RAVDESS is not in ../shared/data")
    x = resample(*soundfile.read(SPEECH, dtype="float32"))
    return np.clip(np.rint(x * 32767), -32768, 32767).astype(np.int16)


def test_track_with_speech_is_preferred_to_music_and_named(tmp_path: Path):
    voice = speech()
    t = np.arange(len(voice)) / 16_000
    music = (6000 * sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330))).astype(np.int16) // 3
    path = write_tracks(tmp_path / "game.mkv", [music, voice])
    with Recognizer().open(path) as media:
        assert media.audio_track == 2
        assert media.note == "audio track 2 of 2, chosen by its speech"
    with Recognizer().open(path, audio_track=1) as media:
        assert (media.audio_track, media.note) == (1, "audio track 1 of 2, as requested")
    dubbed = write_tracks(tmp_path / "film.mkv", [voice, voice])
    with Recognizer().open(dubbed) as media:
        assert media.audio_track == 1, "the player's choice among equals"


def test_opposite_phase_is_recognised_as_the_mono_sound_and_said_once():
    voice = speech()
    stereo = np.stack([voice, -voice.clip(-32767)], axis=1)
    np.testing.assert_allclose(resample(stereo, 16_000), resample(voice, 16_000), atol=1e-4)
    stream = StreamInput()
    for begin in range(0, len(stereo), 512):
        block = stereo[begin : begin + 512]
        stream.place(len(block), 16_000, round(begin / 16_000 * 1e9))
        stream.convert(block)
    assert sum("opposite phase" in warning for warning in stream.take_warnings()) == 1


def test_independent_and_one_sided_channels_are_averaged():
    rng = np.random.default_rng(0)
    for x in (rng.normal(0, 0.1, (16_000, 8)), rng.normal(0, 0.1, (16_000, 2)) * (1, 0)):
        downmix = Downmix()
        for block in np.array_split(x.astype(np.float32), 30):
            np.testing.assert_allclose(downmix(block), block.mean(axis=1), atol=1e-6)
        assert not downmix.cancels
