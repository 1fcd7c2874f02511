"""What must hold of the fusion for any evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emotion_perception.emotions import CALM, EMOTIONS, HAPPY, NEUTRAL
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.pooling import pool
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.types import (
    Box,
    EmotionEstimate,
    EmotionState,
    EmotionStatus,
    FaceObservation,
    VoiceObservation,
)

START = 1_700_000_000_000_000_000
MS = 1_000_000
settings.register_profile("fusion", deadline=None, derandomize=True, max_examples=80)
settings.load_profile("fusion")

SPREAD = np.delete(np.eye(len(EMOTIONS), dtype=np.float32), CALM, axis=0)  # (7, 8): what a face shows, in eight
positive = st.floats(0, 1, allow_subnormal=False)
intensity = st.one_of(st.floats(0, 1), st.just(float("nan")))


@st.composite
def estimates(draw: st.DrawFn) -> EmotionEstimate:
    p = np.array(draw(st.lists(positive, min_size=8, max_size=8)), np.float32)
    p[draw(st.integers(0, 7))] += 0.05
    strengths = np.array(draw(st.lists(intensity, min_size=8, max_size=8)), np.float32)
    p /= p.sum()
    return EmotionEstimate.from_probabilities(p, strengths, confidence=float(p.max()) * draw(st.floats(0.3, 1)))


sources = st.lists(st.tuples(estimates(), st.floats(0, 3), st.booleans()), min_size=1, max_size=5)
faces = st.builds(
    lambda face_id, x, size, score, quality, emotion, opening, motion: FaceObservation(
        face_id, Box(x, 0, size, size), score, quality, emotion, opening, motion
    ),
    st.sampled_from("abc"),
    st.floats(-50, 700),
    st.floats(1, 400),
    st.floats(0, 1),
    st.floats(0, 1),
    estimates(),
    st.one_of(st.floats(0, 1), st.just(float("nan"))),
    st.one_of(st.floats(0, 2), st.just(float("nan"))),
)
voices = st.builds(
    lambda duration, snr, overlap, final, emotion, level: VoiceObservation(
        0, duration, "v", snr, overlap, final, emotion, np.array(level, np.float32)
    ),
    st.floats(0, 5),
    st.one_of(st.floats(-20, 40), st.just(float("nan"))),
    st.booleans(),
    st.booleans(),
    estimates(),
    st.lists(st.floats(-100, 0), max_size=20),
)


@st.composite
def scenes(draw: st.DrawFn) -> list[tuple[int, object]]:
    """Pictures (lists of faces) and voice decisions with their stamps in ms, no two the same."""
    image = st.lists(faces, max_size=3, unique_by=lambda face: face.face_id)
    items = draw(st.lists(st.one_of(image, voices), min_size=1, max_size=12))
    stamps = draw(st.lists(st.integers(0, 6000), min_size=len(items), max_size=len(items), unique=True))
    return list(zip(stamps, items, strict=True))


# As cards may say it.
FACES = Reliability((0.6, 0.6, 0.5, 0.7, 1.2, 1.3, 3.3, 0.8), (0.05, 0.25, 0.5, 0.8), (0.3, 0.7, 0.6, 0.9))
VOICES = Reliability((1.5, 0.7, 1.3, 0.7, 1.2, 1.4, 0.7, 0.9), (-8.0, 2.0, 15.0), (1.1, 0.9, 1.0), 0.8)


def play(scene: list[tuple[int, object]]) -> EmotionFusion:
    fusion = EmotionFusion(visual=FACES, acoustic=VOICES)
    for stamp, item in scene:
        if isinstance(item, VoiceObservation):
            fusion.add_voice(replace(item, stamp_ns=START + stamp * MS))
        else:
            fusion.add_faces(START + stamp * MS, item)  # type: ignore[arg-type]
    return fusion


def assert_sound(estimate: EmotionEstimate) -> None:
    assert estimate.probabilities.shape == (len(EMOTIONS),)
    assert estimate.probabilities.min() >= 0
    assert estimate.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert 0 <= estimate.confidence <= 1
    assert -1 <= estimate.valence <= 1
    assert -1 <= estimate.arousal <= 1
    known = estimate.intensities[~np.isnan(estimate.intensities)]
    assert ((known >= 0) & (known <= 1)).all()


@given(sources)
def test_pooled_distributions_stay_distributions(mix: list[tuple[EmotionEstimate, float, bool]]):
    assert_sound(pool(*zip(*mix, strict=True)))


@given(sources, st.randoms())
def test_pooling_does_not_depend_on_the_order_of_sources(mix, random):
    shuffled = list(mix)
    random.shuffle(shuffled)
    one, other = pool(*zip(*mix, strict=True)), pool(*zip(*shuffled, strict=True))
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    assert one.confidence == pytest.approx(other.confidence, abs=1e-6)


@given(sources, st.integers(0, 4), st.integers(0, 7), st.floats(0, 1))
def test_more_evidence_for_an_emotion_never_lowers_it(mix, which: int, emotion: int, share: float):
    """A source that moves towards an emotion moves the pool towards it, or leaves it."""
    which %= len(mix)
    if emotion == CALM and not mix[which][2]:
        emotion = NEUTRAL  # a face that says calm says neutral
    before = pool(*zip(*mix, strict=True))
    estimate, weight, tells = mix[which]
    moved = (1 - share) * estimate.probabilities
    moved[emotion] += share
    more = list(mix)
    more[which] = (EmotionEstimate.from_probabilities(moved, estimate.intensities), weight, tells)
    after = pool(*zip(*more, strict=True))
    assert after.probabilities[emotion] >= before.probabilities[emotion] - 1e-5


@given(sources, estimates(), st.floats(0, 2))
def test_another_face_source_for_an_emotion_never_lowers_it(mix, extra: EmotionEstimate, weight: float):
    mix = [(estimate, w, True) for estimate, w, _ in mix]
    if sum(w for _, w, _ in mix) < 1:  # under 1 a first face also changes how far the voice is trusted with calm
        mix = [(mix[0][0], 1.0, True), *mix]
    p = extra.probabilities.copy()
    p[NEUTRAL], p[CALM] = p[NEUTRAL] + p[CALM], 0
    top = int(p.argmax())
    if top == NEUTRAL:
        return
    before = pool(*zip(*mix, strict=True))
    after = pool(*zip(*mix, (EmotionEstimate.from_probabilities(p), weight, False), strict=True))
    assert after.probabilities[top] >= before.probabilities[top] - 1e-5


@given(estimates(), estimates(), st.booleans(), st.integers(0, 7), st.floats(0, 1))
def test_more_evidence_for_an_emotion_never_lowers_it_in_the_state(seen, heard, by_face: bool, emotion: int, share):
    """A face or a voice that moves towards an emotion moves the state towards it, whatever the models' cards say."""
    if by_face and emotion in (NEUTRAL, CALM):
        emotion = HAPPY  # neutral-or-calm is the voice's to divide
    seen = EmotionEstimate.from_probabilities(
        np.delete(seen.probabilities, CALM) @ SPREAD + 1e-6 * SPREAD.sum(0), seen.intensities
    )

    def state(face: EmotionEstimate, voice: EmotionEstimate) -> np.ndarray:
        scene = [
            (0, [FaceObservation("a", Box(0, 0, 90, 90), 0.9, 0.9, face)]),
            (1, VoiceObservation(0, 2.0, "v", 20.0, False, True, voice)),
        ]
        return play(scene).state(START + 10 * MS).emotion.probabilities

    moved = (1 - share) * (seen if by_face else heard).probabilities
    moved[emotion] += share
    more = EmotionEstimate.from_probabilities(moved)
    before = state(seen, heard)
    after = state(more, heard) if by_face else state(seen, more)
    assert after[emotion] >= before[emotion] - 1e-5


@given(estimates(), st.integers(HAPPY, 7), st.integers(HAPPY, 7), st.floats(0.1, 1))
def test_contradiction_lowers_confidence(drawn: EmotionEstimate, top: int, other: int, weight: float):
    """The same face beside the same voice, once in agreement and once with two emotions swapped."""
    assume(top != other)
    p = 0.04 * drawn.probabilities + 0.02  # no third emotion that both could agree on
    p[top] += 0.8
    voice, swapped = EmotionEstimate.from_probabilities(p), p.copy()
    swapped[[top, other]] = p[[other, top]]
    agreeing = pool([voice, voice], [1.0, weight], [True, False])
    contradicted = pool([voice, EmotionEstimate.from_probabilities(swapped)], [1.0, weight], [True, False])
    assert contradicted.confidence < agreeing.confidence
    as_sure = pool([voice, EmotionEstimate.from_probabilities(swapped)], [1.0, 1.0], [True, False])
    assert as_sure.confidence < voice.confidence


@given(scenes(), st.integers(0, 8000))
def test_every_state_of_every_scene_is_sound(scene, now: int):
    fusion = play(scene)
    state = fusion.state(START + now * MS)
    assert_sound(state.emotion)
    assert (state.status == EmotionStatus.NO_EVIDENCE) == (not state.evidence)
    assert all(item.weight > 0 and item.age >= 0 for item in state.evidence)
    assert [one.face_id for one in fusion.states(START + now * MS)][:1] == ([state.face_id] if state.evidence else [])


@given(scenes(), st.randoms(), st.integers(4000, 8000))
def test_order_of_arrival_does_not_matter(scene, random, now: int):
    late = list(scene)
    random.shuffle(late)
    one, other = play(sorted(scene, key=lambda item: item[0])), play(late)

    def by_face(fusion: EmotionFusion) -> dict[str, EmotionState]:
        return {state.face_id: state for state in fusion.states(START + now * MS)}

    expected, got = by_face(one), by_face(other)
    assert expected.keys() == got.keys()
    for face_id, state in expected.items():
        assert (state.stamp_ns, state.status) == (got[face_id].stamp_ns, got[face_id].status)
        np.testing.assert_allclose(state.emotion.probabilities, got[face_id].emotion.probabilities, atol=1e-5)


@given(scenes())
def test_silence_decays_to_no_evidence(scene):
    fusion = play(scene)
    assert fusion.state(START + 11_100 * MS).status == EmotionStatus.NO_EVIDENCE
    assert fusion.states(START + 11_100 * MS) == ()
