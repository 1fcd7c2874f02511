"""Mouth motion as a cue for the active speaker."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emotion_perception.fusion.mouth_motion import MAX_RATIO, MouthSamples, mouth_log_likelihood_ratio

LEVEL = 20 * np.sin(np.arange(40) * 0.7) - 30  # dB, every 40 ms


def mouth(motion: float, opening: float = 0.0, delay: float = 0.0, fps: float = 30.0) -> np.ndarray:
    """A mouth over 1.6 s of speech: its motion, and how far it opens with the level, so many s later."""
    time = np.arange(-0.2, 1.8, 1 / fps)
    level = np.interp(time - delay, (np.arange(40) + 0.5) * 0.04, LEVEL)
    return np.column_stack((time, 0.4 + opening * (level + 30) / 100, np.full(len(time), motion)))


def ratios(*mouths: np.ndarray, duration: float = 1.6, level_db: np.ndarray = LEVEL) -> list[float]:
    return mouth_log_likelihood_ratio(MouthSamples.from_tables(mouths), duration, level_db)


def test_mouth_that_moves_and_opens_with_the_voice_is_the_speakers() -> None:
    speaking, moving, still = ratios(mouth(0.25, 1), mouth(0.25), mouth(0.06))
    assert speaking > 1 > moving > still
    assert still < -1


@pytest.mark.parametrize("delay", [-0.08, 0.08])
def test_frame_that_is_slightly_early_or_late_matters_little(delay: float) -> None:
    in_time, shifted = ratios(mouth(0.25, 1), mouth(0.25, 1, delay))
    assert shifted == pytest.approx(in_time, abs=0.3)


def test_ten_frames_per_second_are_sufficient() -> None:
    fast, slow = ratios(mouth(0.2, 1), mouth(0.2, 1, fps=10))
    assert slow == pytest.approx(fast, abs=1)


def test_ratio_is_unknown_where_frames_or_levels_are_too_few() -> None:
    glimpse, unknown = mouth(0.2, 1)[:12], mouth(math.nan)
    assert np.isnan(ratios(glimpse, unknown, np.zeros((0, 3)))).all()
    assert np.isnan(ratios(mouth(0.2, 1), duration=0.2, level_db=LEVEL[:5])).all()
    assert np.isnan(ratios(mouth(0.2, 1), duration=0.0)).all()
    assert ratios() == []


def test_no_mouth_decides_alone() -> None:
    assert max(ratios(mouth(5.0, 1))) <= MAX_RATIO == 4
    assert min(ratios(mouth(0.0))) >= -3


def test_mouth_that_cannot_be_seen_is_not_silent() -> None:
    still, covered = mouth(0.06), mouth(0.06)
    covered[:, 1] = 0.04  # without the dark line between the lips
    assert ratios(still)[0] < -1.5
    assert abs(ratios(covered)[0]) < 0.1
    in_profile = mouth_log_likelihood_ratio(MouthSamples.from_tables([still], in_sight=0.2), 1.6, LEVEL)
    assert abs(in_profile[0]) < 0.3


def test_motion_that_goes_with_the_voice_is_the_speakers() -> None:
    """Two mouths that move and open alike; the motion of one follows the level."""
    time = mouth(0.2)[:, 0]
    level = np.interp(time + 0.08, (np.arange(40) + 0.5) * 0.04, LEVEL)  # lips move before the sound
    speaks, moves = mouth(0.2), mouth(0.2)
    speaks[:, 2] = 0.2 + (level + 30) / 200
    moves[:, 2] = 0.2 - (level + 30) / 200
    one, other = ratios(speaks, moves)
    assert one > other + 1


def test_jaw_that_opens_is_the_speakers() -> None:
    closed, unknown, opens = (
        mouth_log_likelihood_ratio(MouthSamples.from_tables([mouth(0.2)], jaw=jaw), 1.6, LEVEL)[0]
        for jaw in (0.01, math.nan, 0.2)
    )
    assert opens > unknown > closed
    assert opens > closed + 0.7
