"""The changes of sound that the robustness table measures are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.learning.evaluation import robustness_table as table


def sine(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)


def pitch(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * 16_000 / len(samples))


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_tempo_changes_the_length_and_not_the_pitch(factor: float) -> None:
    changed = table.change_tempo(sine(200), factor)
    assert len(changed) == pytest.approx(16_000 / factor, rel=0.1)
    assert pitch(changed) == pytest.approx(200, abs=6)


@pytest.mark.parametrize("semitones", [-6, 6])
def test_pitch_shift_changes_the_pitch_and_not_the_length(semitones: float) -> None:
    changed = table.pitch_shift(sine(200), semitones)
    assert len(changed) == pytest.approx(16_000, rel=0.1)
    assert pitch(changed) == pytest.approx(200 * 2 ** (semitones / 12), rel=0.04)


def test_tilt_is_in_decibels_per_octave() -> None:
    for hz in (500, 2000):
        gain = 20 * np.log10(table.tilt(sine(hz), 3.0).std() / sine(hz).std())
        assert gain == pytest.approx(3.0 * np.log2(hz / 1000), abs=0.1)


def test_every_condition_returns_finite_sound() -> None:
    for name, change in table.CONDITIONS.items():
        heard = change(sine(150, 0.5))
        assert np.isfinite(heard).all() and len(heard) > 4000, name
        assert np.abs(heard).max() > 0, name
