"""The emotional arc: what it says, and above all what it does not say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played_conversation import START, Scene, arc_of, play, state

from emotion_perception.emotions import EMOTIONS, HAPPY
from emotion_perception.interaction.arc import Arc, ArcSample, EmotionalArc
from emotion_perception.interaction.arc_shape import ArcShape, match_shape, template
from emotion_perception.types import SECOND, EmotionEstimate, EmotionStatus, Evidence

SIX = [shape for shape in ArcShape if shape >= ArcShape.RAGS_TO_RICHES]


def drawn_shape(shape: ArcShape, length: float = 120.0, noise: float = 0.0, **more: object) -> ArcShape:
    """The shape found for a valence curve drawn after a template."""
    times = np.arange(0.5, length)
    rng = np.random.default_rng(int(shape))
    valence = 0.6 * template(shape, times / length) + noise * rng.standard_normal(len(times))
    one = np.ones(len(times))
    return match_shape(times, valence, 0.05 * one, one, length).shape


def test_a_steady_emotion_gives_its_valence_and_arousal_in_every_bin() -> None:
    arc = arc_of([("happy", 10)], share=0.93)
    expected = state("happy", 0, share=0.93).emotion
    assert len(arc) == 10
    assert arc.valence == pytest.approx(np.full(10, expected.valence), abs=1e-5)
    assert arc.arousal == pytest.approx(np.full(10, expected.arousal), abs=1e-5)
    assert set(arc.labels) == {HAPPY}
    assert arc.evidence_s.sum() == pytest.approx(10)


def test_time_without_evidence_is_a_gap_and_never_a_value() -> None:
    arc = arc_of([("happy", 10), ("", 5), ("angry", 10)])
    gap = slice(10, 15)
    assert not arc.known[gap].any() and arc.known[:10].all() and arc.known[15:].all()
    for values in (arc.valence, arc.arousal, arc.valence_sd, arc.smooth_valence, arc.smooth_arousal, arc.confidence):
        assert np.isnan(values[gap]).all()
        assert np.isfinite(values[:10]).all() and np.isfinite(values[15:]).all()
    assert set(arc.status[gap]) == {EmotionStatus.NO_EVIDENCE}


def test_a_sample_speaks_no_longer_than_its_hold_when_states_stop_coming() -> None:
    made = EmotionalArc(START, step=1.0, hold=1.0)
    made.add(ArcSample.from_state(state("happy", 0.0), START))
    made.add(ArcSample.from_state(state("happy", 20.0), START + 20 * SECOND))
    arc = made.arc(START + 30 * SECOND)
    assert arc.evidence_s.sum() == pytest.approx(2.0)
    assert list(np.flatnonzero(arc.known)) == [0, 20]


def test_fainter_evidence_is_less_certain() -> None:
    strong, weak = arc_of([("sad", 20)], weight=1.0), arc_of([("sad", 20)], weight=0.2)
    assert (weak.valence_sd > 1.5 * strong.valence_sd).all()


def test_a_flatter_distribution_is_less_certain() -> None:
    sure, unsure = arc_of([("sad", 20)], share=0.95), arc_of([("sad", 20)], share=0.4)
    assert (unsure.valence_sd > sure.valence_sd).all()


def test_a_bin_that_was_half_seen_is_less_certain_than_one_wholly_seen() -> None:
    arc = arc_of([("sad", 1.0), ("sad", 0.5), ("", 0.5)])
    assert arc.valence_sd[1] == pytest.approx(arc.valence_sd[0] * math.sqrt(2), rel=1e-3)


def test_a_change_of_mood_within_a_bin_counts_as_uncertainty() -> None:
    mixed = arc_of([("happy", 0.5), ("angry", 0.5)], share=1.0)
    assert mixed.valence_sd[0] == pytest.approx((0.85 + 0.55) / 2, abs=0.01)


def test_mixed_evidence_in_a_bin_is_weighted_by_how_much_it_can_be_trusted() -> None:
    made = EmotionalArc(START)
    for k in range(10):
        name, weight = ("happy", 1.0) if k % 2 else ("angry", 0.1)
        made.add(ArcSample.from_state(state(name, k / 10, weight=weight), START + k * SECOND // 10))
    assert made.arc(START + SECOND).labels[0] == HAPPY


def test_late_and_repeated_samples_are_counted_and_change_nothing() -> None:
    made = EmotionalArc(START)
    for time in (0.0, 1.0, 2.0):
        assert made.add(ArcSample.from_state(state("happy", time), START + round(time * SECOND)))
    before = made.arc(START + 3 * SECOND)
    for time in (2.0, 0.5, -1.0):
        assert not made.add(ArcSample.from_state(state("angry", time), START + round(time * SECOND)))
    assert made.dropped == 3
    assert made.arc(START + 3 * SECOND).valence == pytest.approx(before.valence)


def test_a_long_conversation_keeps_its_sums_in_bounded_memory() -> None:
    scenes: list[Scene] = [("happy", 60), ("", 30), ("angry", 60)]
    fine, coarse = arc_of(scenes), arc_of(scenes, max_bins=16)
    assert len(coarse) <= 16 and coarse.step > fine.step
    assert coarse.evidence_s.sum() == pytest.approx(fine.evidence_s.sum())
    assert np.nansum(coarse.trust * coarse.seconds * coarse.valence.clip(-1, 1)) == pytest.approx(
        np.nansum(fine.trust * fine.seconds * fine.valence), abs=1e-6
    )


def test_an_arc_can_be_read_at_any_time_and_goes_on_unchanged() -> None:
    made, plain = EmotionalArc(START), EmotionalArc(START)
    for each, time_ns in play(("happy", 8), ("sad", 8)):
        made.add(ArcSample.from_state(each, time_ns))
        plain.add(ArcSample.from_state(each, time_ns))
        made.arc(time_ns + SECOND // 3)
    end = START + 16 * SECOND
    assert made.arc(end).valence == pytest.approx(plain.arc(end).valence)


def test_an_empty_arc_says_that_there_is_too_little() -> None:
    arc = EmotionalArc(START).arc(START)
    assert len(arc) == 0
    assert arc.shape.shape == ArcShape.TOO_LITTLE
    assert math.isnan(arc.valence_trend)


@pytest.mark.parametrize("shape", SIX)
def test_each_classic_shape_is_recognised(shape: ArcShape) -> None:
    assert drawn_shape(shape) == shape
    assert drawn_shape(shape, noise=0.1) == shape


def test_the_shapes_turn_as_often_and_begin_as_their_stories_do() -> None:
    middles = {  # valence at 0, 1/3, 2/3 and 1
        ArcShape.RAGS_TO_RICHES: "rises",
        ArcShape.RICHES_TO_RAGS: "falls",
        ArcShape.MAN_IN_A_HOLE: "falls rises",
        ArcShape.ICARUS: "rises falls",
        ArcShape.CINDERELLA: "rises falls rises",
        ArcShape.OEDIPUS: "falls rises falls",
    }
    for shape, story in middles.items():
        signs = np.sign(np.diff(template(shape, np.linspace(0, 1, 601))))
        steps = signs[np.flatnonzero(np.diff(signs, prepend=0))]
        assert " ".join("rises" if sign > 0 else "falls" for sign in steps if sign) == story


@pytest.mark.parametrize("shape", [ArcShape.NONE, ArcShape.TOO_LITTLE, ArcShape.FLAT])
def test_what_is_no_classic_shape_has_no_template(shape: ArcShape) -> None:
    with pytest.raises(ValueError, match="no template"):
        template(shape, np.zeros(3))


def test_a_played_fall_and_rise_is_a_man_in_a_hole_with_one_turning_point() -> None:
    arc = arc_of([("happy", 40), ("angry", 40), ("happy", 40)])
    assert arc.shape.shape == ArcShape.MAN_IN_A_HOLE
    assert arc.shape.correlation > 0.8
    (valley,) = arc.turning_points
    assert not valley.peak
    assert valley.time == pytest.approx(60, abs=6)
    assert valley.before < -0.8 and valley.after > 0.8


def test_peaks_and_valleys_alternate() -> None:
    arc = arc_of([(name, 60.0) for name in ("sad", "happy", "angry", "happy", "sad")])
    assert [point.peak for point in arc.turning_points] == [True, False, True]
    assert [point.time for point in arc.turning_points] == pytest.approx([90, 150, 210], abs=12)


def test_noise_makes_neither_turning_points_nor_a_shape() -> None:
    rng = np.random.default_rng(5)
    made = EmotionalArc(START)
    for k in range(1200):
        share = float(rng.uniform(0.3, 0.5))
        made.add(ArcSample.from_state(state("neutral", k / 10, share=share), START + k * SECOND // 10))
    arc = made.arc(START + 120 * SECOND)
    assert arc.turning_points == ()
    assert arc.shape.shape == ArcShape.FLAT
    assert math.isnan(arc.shape.correlation)


@pytest.mark.parametrize("scenes", [[("happy", 8), ("angry", 8)], [("happy", 15), ("", 60), ("angry", 15)]])
def test_a_short_or_mostly_unseen_conversation_has_no_shape(scenes: list[Scene]) -> None:
    shape = arc_of(scenes).shape
    assert shape.shape == ArcShape.TOO_LITTLE
    assert shape.reason


def test_a_curve_that_swings_too_often_follows_none_of_the_six() -> None:
    times = np.arange(0.5, 200)
    one = np.ones(len(times))
    match = match_shape(times, np.sin(times / 200 * 2 * np.pi * 5), 0.05 * one, one, 200.0)
    assert match.shape == ArcShape.NONE
    assert abs(match.correlation) < math.sqrt(0.5)
    assert set(match.correlations) == set(SIX)


def test_trend_is_the_change_per_minute() -> None:
    made = EmotionalArc(START)
    for k in range(600):
        share = 0.2 + 0.6 * k / 600
        made.add(ArcSample.from_state(state("happy", k / 10, share=share), START + k * SECOND // 10))
    first, last = (state("happy", 0, share=share).emotion.valence for share in (0.2, 0.8))
    assert made.arc(START + 60 * SECOND).valence_trend == pytest.approx(last - first, rel=0.02)


@pytest.mark.parametrize(("step", "hold", "bins"), [(0.0, 1.0, 64), (1.0, 0.0, 64), (1.0, 1.0, 15), (1.0, 1.0, 8)])
def test_impossible_settings_are_refused(step: float, hold: float, bins: int) -> None:
    with pytest.raises(ValueError):
        EmotionalArc(START, step, hold, bins)


scenes = st.lists(st.tuples(st.sampled_from(("", *EMOTIONS)), st.integers(1, 12)), min_size=1, max_size=6)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(scenes, st.floats(0.15, 1.0), st.floats(0.0, 3.0), st.sampled_from([0.3, 1.0, 2.5]), st.sampled_from([16, 1200]))
def test_any_conversation_gives_values_in_range_and_gaps_just_where_nothing_was_known(
    played: list[tuple[str, int]], share: float, weight: float, step: float, max_bins: int
) -> None:
    arc: Arc = arc_of(played, step=step, max_bins=max_bins, share=share, weight=weight, rate=5.0)
    known = arc.known
    assert arc.seconds.sum() == pytest.approx(arc.duration)
    assert (arc.evidence_s <= arc.seconds + 1e-9).all()
    for values in (arc.valence, arc.arousal, arc.smooth_valence):
        assert (np.abs(values[known]) <= 1).all()
        assert np.isnan(values[~known]).all()
    assert ((arc.valence_sd[known] >= 0) & (arc.valence_sd[known] <= 1)).all()
    assert arc.probabilities[known].sum(axis=1) == pytest.approx(np.ones(known.sum()), abs=1e-5)
    assert arc.evidence_s.sum() == pytest.approx(sum(seconds for name, seconds in played if name))
    squares = sum(r * r for r in arc.shape.correlations.values()) / 2  # each shape has its opposite among the six
    assert squares <= 1.15


def test_evidence_of_a_modality_beyond_text_counts_with_the_text() -> None:
    emotion = EmotionEstimate.from_probabilities(np.eye(len(EMOTIONS))[HAPPY])
    evidence = [Evidence(modality, 0.25, 0.0, emotion) for modality in (0, 2, 3)]
    sample = ArcSample.from_state(replace(state("happy", 0.0), evidence=tuple(evidence)), 0)
    assert sample.weights == (0.25, 0.0, 0.5)
