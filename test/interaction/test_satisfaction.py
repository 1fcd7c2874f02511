"""The satisfaction score: what raises it, what lowers it, and when there is none."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from played_conversation import Scene, arc_of

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.satisfaction import MAX_MARGIN, VALUES, Satisfaction, rate
from emotion_perception.types import EmotionStatus


def rated(*scenes: Scene, **more: object) -> Satisfaction:
    """The rating of a conversation played from scenes."""
    return rate(arc_of(scenes, **more))  # type: ignore[arg-type]


def points(result: Satisfaction, name: str) -> float:
    """How far one factor moved the score."""
    return next(item.points for item in result.factors if item.name == name)


def score(result: Satisfaction) -> int:
    """The score, which must be there."""
    assert result.score is not None, result.reason
    return result.score


def test_a_happy_customer_is_satisfied_and_an_angry_one_is_not() -> None:
    happy, angry = rated(("happy", 120)), rated(("angry", 120))
    assert score(happy) > 85 and happy.verdict == "satisfied"
    assert score(angry) < 20 and angry.verdict == "dissatisfied"


def test_indifference_is_fifty_and_undecided() -> None:
    result = rated(("neutral", 120))
    assert score(result) == pytest.approx(50, abs=1)
    assert result.verdict == "undecided"


def test_an_estimator_that_knows_nothing_pulls_to_neither_side() -> None:
    assert VALUES.sum() == pytest.approx(0)
    result = rated(("happy", 600), share=1 / 8)
    assert score(result) == 50 and result.verdict == "undecided"


def test_the_end_weighs_more_than_the_beginning() -> None:
    better = rated(("angry", 60), ("happy", 60))
    worse = rated(("happy", 60), ("angry", 60))
    assert score(better) > score(worse) + 25
    assert points(better, "end") > 0 > points(worse, "end")
    assert points(better, "trend") > 0 > points(worse, "trend")


def test_one_intense_moment_moves_the_score_although_it_was_short() -> None:
    calm = rated(("neutral", 170))
    burst = rated(("neutral", 70), ("angry", 30), ("neutral", 70))
    mean_alone = 50 * 0.5 * VALUES[EMOTIONS.index("angry")] * 30 / 170
    assert score(burst) < score(calm) + mean_alone - 2
    assert min(burst.factors, key=lambda item: item.points).name == "peak"
    assert "1:2" in next(item.text for item in burst.factors if item.name == "peak")


def test_the_factors_add_up_to_the_score() -> None:
    result = rated(("sad", 30), ("", 10), ("happy", 50), ("surprised", 20), share=0.7)
    assert score(result) == round(50 + sum(item.points for item in result.factors))
    sizes = [abs(item.points) for item in result.factors]
    assert sizes == sorted(sizes, reverse=True)


def test_too_little_evidence_gives_no_score_and_says_how_much_there_was() -> None:
    result = rated(("happy", 6), ("", 60))
    assert (result.score, result.margin, result.verdict) == (None, None, "unknown")
    assert "6 s of evidence in 66 s, 10 s needed" in result.reason


def test_nobody_there_gives_no_score() -> None:
    result = rated(("", 60))
    assert result.score is None and result.factors == () and result.evidence_s == 0


def test_a_margin_too_wide_to_say_anything_gives_no_score() -> None:
    result = rated(("happy", 12), share=0.35, weight=0.2)
    assert result.score is None
    assert "margin" in result.reason


def test_more_evidence_narrows_the_margin() -> None:
    short, long = rated(("happy", 30)), rated(("happy", 300))
    assert short.margin is not None and long.margin is not None
    assert long.margin < short.margin


def test_time_without_evidence_widens_the_margin() -> None:
    seen, half_seen = rated(("happy", 60)), rated(("happy", 30), ("", 60), ("happy", 30))
    assert seen.margin is not None and half_seen.margin is not None
    assert half_seen.margin > seen.margin + 3


def test_evidence_is_told_by_sense() -> None:
    result = rated(("happy", 30), status=EmotionStatus.ACOUSTIC_ONLY)
    assert (result.visual_s, result.acoustic_s) == pytest.approx((0, 30))
    assert "face 0 s, voice 30 s" in result.reason


scenes = st.lists(st.tuples(st.sampled_from(("", *EMOTIONS)), st.integers(2, 40)), min_size=1, max_size=5)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(scenes, st.floats(0.2, 1.0))
def test_any_score_is_within_the_scale_and_its_margin_worth_stating(played: list[Scene], share: float) -> None:
    result = rated(*played, share=share, rate=4.0)
    assume(result.score is not None)
    assert result.score is not None and 0 <= result.score <= 100
    assert result.margin is not None and 0 <= result.margin <= MAX_MARGIN


@settings(deadline=None, derandomize=True, max_examples=25)
@given(scenes, st.integers(0, 4))
def test_a_happier_stretch_never_lowers_the_score(played: list[Scene], which: int) -> None:
    played = [(name or "neutral", seconds) for name, seconds in played]
    which %= len(played)
    happier = [("happy", seconds) if i == which else (name, seconds) for i, (name, seconds) in enumerate(played)]
    before, after = rated(*played, rate=4.0), rated(*happier, rate=4.0)
    assume(before.score is not None and after.score is not None)
    # A happier beginning also makes a fall of what follows, and may bring the peak to the other side of indifference.
    assert score(after) >= score(before) - 10
