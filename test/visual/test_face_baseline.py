"""The own-face baseline: what a person's resting face changes, and what it must not change."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import VISUAL_EMOTIONS, visual_to_vocabulary
from emotion_perception.priors import PRIORS
from emotion_perception.types import SECOND, Box, EmotionEstimate, FaceObservation
from emotion_perception.visual.expression_filter import ExpressionFilter, FaceFilter
from emotion_perception.visual.face_baseline import MAX_LOWERED, MAX_PERSONS, MAX_RAISED, FaceBaseline, KnownFaces
from emotion_perception.visual.perception import VisualConfig, VisualPerception

STEP = 0.1  # s between two frames
RESTING = {"happy": -7.0, "sad": -5.0, "angry": -8.0, "fearful": -9.0, "disgusted": -7.0, "surprised": -8.0}
SLIGHT_SMILE = RESTING | {"happy": -2.5}  # with closed lips: neutral for the network
BROAD_SMILE = RESTING | {"happy": 5.0}
SAD_AT_REST = RESTING | {"sad": 0.7}


def p_of(margins: dict[str, float]) -> np.ndarray:
    """``(7,)`` probabilities with these log-likelihood ratios against neutral."""
    p = np.exp([0.0] + [margins[name] for name in VISUAL_EMOTIONS[1:]])
    return p / p.sum()


def margins_of(p: np.ndarray) -> np.ndarray:
    return np.log(p[1:] / p[0])


def label(p: np.ndarray) -> str:
    return VISUAL_EMOTIONS[int(p.argmax())]


def watch(baseline: FaceBaseline, margins: dict[str, float], seconds: float, **face: float) -> np.ndarray:
    """A noisy stream of one expression; returns the last adapted distribution, of the expression without noise."""
    rng = np.random.default_rng(0)
    for _ in range(round(seconds / STEP)):
        noisy = {name: value + rng.normal(0, 0.4) for name, value in margins.items()}
        baseline.adapt(p_of(noisy), STEP, **face)
    return baseline.adapt(p_of(margins), 0.0, **face)


@pytest.fixture
def baseline() -> FaceBaseline:
    return FaceBaseline(strength=1.0, half_s=3.0)


def test_a_smile_with_closed_lips_is_happy_once_the_resting_face_is_known(baseline):
    assert label(baseline.adapt(p_of(SLIGHT_SMILE), STEP)) == "neutral", "an unknown person's is not"
    baseline.reset()
    watch(baseline, RESTING, 10)
    assert label(baseline.adapt(p_of(SLIGHT_SMILE), STEP)) == "happy"
    assert label(baseline.adapt(p_of(RESTING), STEP)) == "neutral"


def test_a_face_that_looks_sad_at_rest_becomes_neutral_and_its_real_sadness_stays(baseline):
    assert label(baseline.adapt(p_of(SAD_AT_REST), STEP)) == "sad"
    assert label(watch(baseline, SAD_AT_REST, 180)) == "neutral"
    assert label(baseline.adapt(p_of(SAD_AT_REST | {"sad": 3.5}), STEP)) == "sad"


def test_a_sad_looking_face_stays_sad_for_the_first_twenty_seconds(baseline):
    assert label(watch(baseline, SAD_AT_REST, 20)) == "sad"


def test_a_person_who_smiles_for_a_minute_stays_happy(baseline):
    assert label(watch(baseline, BROAD_SMILE, 60)) == "happy"
    assert baseline.weight == 0.0, "a recognised smile is no resting face"


def test_a_minute_of_slight_smiles_does_not_become_the_resting_face(baseline):
    watch(baseline, RESTING, 10)
    assert label(watch(baseline, SLIGHT_SMILE, 60)) == "happy"
    assert label(watch(baseline, RESTING, 1)) == "neutral"


def test_a_person_who_is_angry_from_the_first_second_stays_angry(baseline):
    assert label(watch(baseline, RESTING | {"angry": 4.0}, 120)) == "angry"


@pytest.mark.parametrize("first", [RESTING, SAD_AT_REST, SLIGHT_SMILE, BROAD_SMILE])
def test_no_margin_changes_by_more_than_the_stated_bound(baseline, first):
    watch(baseline, first, 120)
    rng = np.random.default_rng(1)
    for _ in range(200):
        margins = rng.uniform(-12, 8, 6)
        p = p_of(dict(zip(VISUAL_EMOTIONS[1:], margins, strict=True)))
        change = margins_of(baseline.adapt(p, 0.0)) - margins
        assert change.min() >= -MAX_LOWERED - 1e-6
        assert change.max() <= MAX_RAISED + 1e-6


def test_weight_grows_from_zero_and_is_half_after_the_set_time(baseline):
    watch(baseline, RESTING, 0)
    assert baseline.weight == 0.0
    watch(baseline, RESTING, 1)
    assert baseline.weight < 0.15, "a young track has hardly any"
    watch(baseline, RESTING, 2)
    assert baseline.weight == pytest.approx(0.5, abs=0.05)
    watch(baseline, RESTING, 20)
    assert baseline.weight > 0.9


def test_a_speaking_mouth_has_a_baseline_of_its_own(baseline):
    """Speech looks surprised to the network. Against the closed mouth it would be a clear deviation."""
    speaking = RESTING | {"surprised": -0.5, "disgusted": -1.0}
    watch(baseline, RESTING, 10, mouth_opening=0.1)
    watch(baseline, speaking, 10, mouth_opening=0.3)
    assert label(baseline.adapt(p_of(speaking), STEP, mouth_opening=0.3)) == "neutral"
    closed = FaceBaseline(1.0, 3.0)
    watch(closed, RESTING, 10)
    assert label(closed.adapt(p_of(speaking), STEP)) != "neutral"


def test_a_poor_image_neither_uses_nor_changes_the_baseline(baseline):
    watch(baseline, RESTING, 10)
    p = p_of(SLIGHT_SMILE)
    np.testing.assert_allclose(baseline.adapt(p, STEP, quality=0.4), p, atol=1e-9)
    assert baseline.weight == 0.0
    fresh = FaceBaseline(1.0, 3.0)
    watch(fresh, RESTING, 10, quality=0.4)
    np.testing.assert_allclose(fresh.adapt(p, STEP), p, atol=1e-9)


def test_strength_zero_changes_nothing():
    off = FaceBaseline(strength=0.0, half_s=3.0)
    watch(off, RESTING, 60)
    np.testing.assert_allclose(off.adapt(p_of(SLIGHT_SMILE), STEP), p_of(SLIGHT_SMILE), atol=1e-9)


@pytest.mark.parametrize("wrong", [{"strength": 1.1, "half_s": 3.0}, {"strength": 1.0, "half_s": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="strength"):
        FaceBaseline(**wrong)


def observation(margins: dict[str, float], prior: np.ndarray) -> FaceObservation:
    emotion = EmotionEstimate.from_probabilities(visual_to_vocabulary(p_of(margins))).with_prior(prior)
    return FaceObservation("face_1", Box(0, 0, 90, 90), 0.9, 1.0, emotion)


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_a_face_track_publishes_the_weight_of_its_baseline(prior):
    track = FaceFilter(ExpressionFilter(0.0, 0.2), FaceBaseline(1.0, 3.0))
    first = track.update(observation(RESTING, prior), 0)
    assert first.baseline_weight == 0.0
    for i in range(1, 100):
        track.update(observation(RESTING, prior), round(i * STEP * SECOND))
    smile = track.update(observation(SLIGHT_SMILE, prior), 10 * SECOND)
    assert smile.baseline_weight > 0.8
    assert smile.emotion.name == "happy"


def test_pipeline_learns_a_face_and_forgets_it_with_the_track(perception, scene):
    image = scene(200, 100)
    weights = [perception.process(image, i * SECOND // 10)[0].baseline_weight for i in range(3, 10)]
    assert all(0 <= weight <= 1 for weight in weights)
    assert perception.still(image)[0].baseline_weight == 0.0, "a still has no past"
    without = VisualPerception(VisualConfig(face_baseline=0.0, id_seed=1), perception.classifier)
    assert without.face_filter().baseline is None
    assert perception.face_filter().baseline is not perception.face_filter().baseline


def test_a_known_person_s_baseline_outlasts_the_track(perception, scene):
    image = scene(200, 100)
    frames = [perception.process(image, i * SECOND // 10) for i in range(6)]
    perception.set_person(frames[-1][0].face_id, "anna")
    learnt = perception._filters[frames[-1][0].face_id].baseline
    perception.reset()
    again = [perception.process(image, i * SECOND // 10) for i in range(6)][-1][0]
    assert perception._filters[again.face_id].baseline is not learnt
    perception.set_person(again.face_id, "anna")
    assert perception._filters[again.face_id].baseline is learnt
    perception.set_person("nobody", "anna")


def test_two_persons_never_share_a_baseline_and_few_are_kept():
    known, first = KnownFaces(), FaceBaseline(1.0, 2.0)
    watch(first, RESTING, 5)
    assert known.baseline("anna", first) is first
    assert known.baseline("anna", FaceBaseline(1.0, 2.0)) is first, "the one that knows more is kept"
    assert known.baseline("bela", first) is None, "it is anna's"
    for i in range(MAX_PERSONS):
        known.baseline(f"person_{i}", FaceBaseline(1.0, 2.0))
    newcomer = FaceBaseline(1.0, 2.0)
    assert known.baseline("anna", newcomer) is newcomer, "the longest unused was dropped"
