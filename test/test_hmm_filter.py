"""The filter over a face's expressions: steady against blinks, quick to follow, blind to the frame rate, calibrated."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_perception.hmm_filter import TemporalConfig, initial_belief, next_belief, to_report

CONFIG = TemporalConfig()
K = 7
FRAME = 0.04  # s, 25 fps
HAPPY, SAD = 1, 2

distributions = st.lists(st.floats(1e-6, 1), min_size=K, max_size=K).map(lambda values: np.array(values) / sum(values))
times = st.floats(1e-4, CONFIG.longest)
sure = st.floats(0.6, 0.999)


def showing(label: int, confidence: float) -> np.ndarray:
    """A frame of that confidence, the rest spread evenly."""
    p = np.full(K, (1 - confidence) / (K - 1))
    p[label] = confidence
    return p


def run(frames: Iterable[np.ndarray], elapsed: float = FRAME, config: TemporalConfig = CONFIG) -> np.ndarray:
    """The belief after frames at an even rate."""
    first, *rest = frames
    belief = initial_belief(first, config)
    for p in rest:
        belief = next_belief(belief, p, elapsed, config)
    return belief


def frames_to_follow(before: np.ndarray, after: np.ndarray, elapsed: float = FRAME, config=CONFIG) -> int:
    """How many frames of ``after`` it takes until they are the label."""
    belief = initial_belief(before, config)
    for count in range(1, 1000):
        belief = next_belief(belief, after, elapsed, config)
        if belief.argmax() == after.argmax():
            return count
    raise AssertionError("never followed")


@given(st.lists(distributions, min_size=1, max_size=20), st.floats(0, 100))
def test_it_stays_a_distribution(frames, elapsed):
    belief = run(frames, elapsed)
    for p in (belief, to_report(belief, CONFIG)):
        assert p.min() >= 0
        assert p.sum() == pytest.approx(1)


def test_certain_frames_stay_finite():
    belief = run([np.eye(K)[HAPPY]] * 50 + [np.eye(K)[SAD]] * 50)
    assert np.isfinite(belief).all() and belief.argmax() == SAD


@given(distributions, distributions)
def test_a_steady_look_settles_at_its_own_distribution_from_anywhere(start, p):
    """No running away to 1: what is merely likely stays merely likely."""
    belief = run([start] + [p] * 60, CONFIG.longest)
    assert np.abs(to_report(belief, CONFIG) - p).max() < 0.01


@given(distributions)
def test_the_first_frame_is_told_as_it_is(p):
    assert to_report(initial_belief(p, CONFIG), CONFIG) == pytest.approx(p, abs=1e-9)


@given(st.floats(0.65, 0.999), st.floats(0.3, 1.0), st.integers(1, 3))
def test_a_blink_of_up_to_three_frames_never_flips_the_label(confidence, odd, count):
    assert run([showing(HAPPY, confidence)] * 30 + [showing(SAD, odd)] * count).argmax() == HAPPY


@given(sure, st.floats(0.7, 0.999))
def test_a_true_change_is_followed_within_about_four_tenths_of_a_second(before, after):
    assert frames_to_follow(showing(HAPPY, before), showing(SAD, after)) <= 11


def test_surer_frames_are_followed_sooner():
    counts = [frames_to_follow(showing(HAPPY, 0.9), showing(SAD, c)) for c in (0.5, 0.6, 0.7, 0.8, 0.9, 0.99)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@given(sure, sure, st.floats(0.2, 0.9))
def test_a_flattened_frame_moves_a_belief_later(before, after, trust):
    """So a poor picture, whose distribution is flattened, counts for less."""
    sharp = showing(SAD, after)
    flat = sharp**trust / (sharp**trust).sum()
    start = initial_belief(showing(HAPPY, before), CONFIG)
    assert next_belief(start, flat, FRAME, CONFIG)[SAD] < next_belief(start, sharp, FRAME, CONFIG)[SAD]


def test_a_longer_hold_is_steadier_in_proportion():
    short, long = (
        frames_to_follow(showing(HAPPY, 0.8), showing(SAD, 0.8), 0.001, TemporalConfig(hold=hold))
        for hold in (0.2, 0.6)
    )
    assert long == pytest.approx(3 * short, rel=0.02)


@given(st.lists(distributions, min_size=2, max_size=6), st.permutations(range(K)))
def test_no_expression_is_special(frames, order):
    straight, renamed = run(frames), run([p[order] for p in frames])
    assert renamed == pytest.approx(straight[order], abs=1e-9)


@given(distributions, distributions, st.lists(times, min_size=1, max_size=12))
def test_a_steady_look_in_uneven_frames_says_what_it_says_in_even_ones(start, p, gaps):
    uneven = initial_belief(start, CONFIG)
    for gap in gaps:
        uneven = next_belief(uneven, p, gap, CONFIG)
    even = run([start] + [p] * len(gaps), sum(gaps) / len(gaps))
    assert uneven == pytest.approx(even, abs=1e-8)


@given(st.integers(0, 2**32 - 1))
def test_a_changing_face_is_read_alike_at_any_rate(seed):
    """A smile that comes and goes over 2 s, seen at 100 fps and at random times of 10 to 50 fps."""

    def face(time: float) -> np.ndarray:
        smile = 0.5 - 0.5 * np.cos(np.pi * time)
        return (1 - smile) * showing(0, 0.8) + smile * showing(HAPPY, 0.9)

    rng = np.random.default_rng(seed)
    time, belief = 0.0, initial_belief(face(0), CONFIG)
    while time < 1.9:
        gap = rng.uniform(0.02, 0.1)
        time += gap
        belief = next_belief(belief, face(time), gap, CONFIG)
    dense = run([face(t) for t in np.linspace(0, time, round(time * 100) + 1)], time / round(time * 100))
    # A frame stands for the time before it: at 10 fps that is up to 0.05 s early.
    assert np.abs(to_report(belief, CONFIG) - to_report(dense, CONFIG)).max() < 0.12


@pytest.mark.parametrize("fps", [10, 25, 30, 60])
def test_a_change_is_followed_after_the_same_time_at_every_rate(fps):
    seconds = frames_to_follow(showing(HAPPY, 0.8), showing(SAD, 0.8), 1 / fps) / fps
    exact = frames_to_follow(showing(HAPPY, 0.8), showing(SAD, 0.8), 0.001) * 0.001
    assert exact <= seconds < exact + 1 / fps + 0.001


def test_one_frame_after_a_gap_counts_for_a_moment_and_the_belief_has_faded():
    before = initial_belief(showing(HAPPY, 0.9), CONFIG)
    uninformative = np.full(K, 1 / K)
    short, long = (next_belief(before, uninformative, gap, CONFIG) for gap in (0.1, 3.0))
    assert short[HAPPY] > 0.5
    assert long == pytest.approx(uninformative, abs=1e-3)
    at_most = next_belief(uninformative, showing(SAD, 0.9), CONFIG.longest, CONFIG)
    assert next_belief(before, showing(SAD, 0.9), 60.0, CONFIG) == pytest.approx(at_most, abs=1e-6)


@pytest.mark.parametrize(
    ("field", "value"), [("hold", 0.0), ("outlier_probability", 0.0), ("outlier_probability", 1.0), ("longest", -1.0)]
)
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        TemporalConfig(**{field: value})
