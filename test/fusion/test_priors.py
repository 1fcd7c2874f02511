"""The prior enters a fused state once, whatever the priors of the evidence."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import CALM, EMOTIONS, VISUAL_INDICES
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.priors import BALANCED, PRIORS, UNKNOWN, exchange_prior
from emotion_perception.types import (
    Box,
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    FaceObservation,
    VoiceObservation,
)

NOW = 1_000_000_000_000
HALF = Reliability(quality=(0.0,), weight=(0.5,), unknown_weight=0.5)
FACE_FACTORS = Reliability(factors=(1.2, 1.2, 0.9, 0.8, 1.1, 0.9, 1.0, 1.1))


def face(p: np.ndarray, prior: np.ndarray = BALANCED) -> FaceObservation:
    return FaceObservation("face", Box(0, 0, 100, 100), 1.0, 1.0, EmotionEstimate.from_probabilities(p, prior=prior))


def voice(p: np.ndarray, prior: np.ndarray = BALANCED, at: float = 0.0) -> VoiceObservation:
    emotion = EmotionEstimate.from_probabilities(p, prior=prior)
    return VoiceObservation(NOW + round(at * 1e9), 2.0, "voice", 20.0, False, True, emotion)


def no_evidence_of_a_face() -> np.ndarray:
    return np.array([0.0 if e == CALM else 1.0 for e in range(8)])


def state(prior: str, *evidence: FaceObservation | VoiceObservation, reliability: Reliability | None = None):
    fusion = EmotionFusion(FusionConfig(emotion_prior=prior), reliability, reliability)
    for item in evidence:
        if isinstance(item, FaceObservation):
            fusion.add_faces(NOW, [item])
        else:
            fusion.add_voice(item)
    return fusion.state(NOW)


def assert_same(one: EmotionState, other: EmotionState) -> None:
    np.testing.assert_allclose(one.emotion.probabilities, other.emotion.probabilities, atol=2e-6)
    assert one.emotion.confidence == pytest.approx(other.emotion.confidence, abs=2e-6)


def of_face(prior: np.ndarray) -> np.ndarray:
    """A prior over the emotions that a face shows."""
    p = np.where(np.arange(8) == CALM, 0, prior)
    return p / p.sum()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("reliability", [None, HALF])
def test_two_modalities_without_evidence_give_the_prior_once(prior: str, reliability: Reliability | None) -> None:
    flat_face, flat_voice = face(no_evidence_of_a_face()), voice(np.ones(8))
    np.testing.assert_allclose(
        state(prior, flat_voice, reliability=reliability).emotion.probabilities, PRIORS[prior], atol=1e-6
    )
    np.testing.assert_allclose(
        state(prior, flat_face, reliability=reliability).emotion.probabilities, of_face(PRIORS[prior]), atol=1e-6
    )
    both = state(prior, flat_face, flat_voice).emotion
    np.testing.assert_allclose(both.probabilities, PRIORS[prior], atol=1e-6)
    np.testing.assert_array_equal(both.prior, PRIORS[prior])


def test_estimates_that_only_repeat_their_prior_are_no_evidence() -> None:
    """A face and a voice that state their priors and nothing else."""
    seen, heard = face(of_face(PRIORS["web"]), PRIORS["web"]), voice(PRIORS["web"], PRIORS["web"])
    np.testing.assert_allclose(state("service", seen, heard).emotion.probabilities, PRIORS["service"], atol=1e-6)


@pytest.mark.parametrize("published", ["web", "service"])
@pytest.mark.parametrize("reliability", [None, HALF, FACE_FACTORS])
def test_prior_of_the_incoming_estimates_does_not_matter(published: str, reliability: Reliability | None) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.dirichlet(np.ones(8)) * no_evidence_of_a_face(), rng.dirichlet(np.ones(8))
        seen = face(p / p.sum())
        heard = [voice(q, at=-4.0), voice(rng.dirichlet(np.ones(8)))]
        prior = PRIORS[published]
        again_seen = face(exchange_prior(seen.emotion.probabilities, BALANCED, prior), prior)
        again_heard = [
            voice(exchange_prior(item.emotion.probabilities, BALANCED, prior), prior, (item.stamp_ns - NOW) / 1e9)
            for item in heard
        ]
        one = state("service", seen, *heard, reliability=reliability)
        other = state("service", again_seen, *again_heard, reliability=reliability)
        assert one.status == EmotionStatus.AUDIO_VISUAL
        assert_same(one, other)


@pytest.mark.parametrize("kinds", ["face", "voice", "both", "words"])
@pytest.mark.parametrize("reliability", [None, HALF])
def test_consumer_who_exchanges_the_prior_gets_what_the_node_would_have_published(
    kinds: str, reliability: Reliability | None
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        p, q = rng.dirichlet(np.ones(8)) * no_evidence_of_a_face(), rng.dirichlet(np.ones(8))
        states = []
        for prior in ("service", "web"):
            fusion = EmotionFusion(FusionConfig(emotion_prior=prior), reliability, reliability)
            if kinds != "voice":
                fusion.add_faces(NOW, [face(p / p.sum())])
            if kinds in ("voice", "both"):
                fusion.add_voice(voice(q))
            if kinds == "words":
                fusion.add_estimate(EmotionModality.TEXT, NOW, EmotionEstimate.from_probabilities(q))
            states.append(fusion.state(NOW))
        service, web = states
        by_hand = service.emotion.probabilities / service.emotion.prior * PRIORS["web"]
        np.testing.assert_allclose(by_hand / by_hand.sum(), web.emotion.probabilities, atol=2e-6)
        assert service.emotion.with_prior(PRIORS["web"]).confidence == pytest.approx(web.emotion.confidence, abs=2e-6)


def test_evidence_of_a_state_is_under_the_prior_of_the_state() -> None:
    p = np.array([0.2, 0, 0.5, 0.1, 0.1, 0.05, 0.02, 0.03])
    fused = state("web", face(p), voice(np.ones(8)))
    visual, acoustic = (item.emotion for item in fused.evidence)
    np.testing.assert_array_equal(visual.prior, PRIORS["web"])
    np.testing.assert_allclose(visual.probabilities, exchange_prior(p, BALANCED, PRIORS["web"]), atol=1e-6)
    np.testing.assert_allclose(acoustic.probabilities, PRIORS["web"], atol=1e-6)


def test_publisher_that_states_no_prior_is_taken_as_balanced() -> None:
    p = np.array([0.2, 0, 0.5, 0.1, 0.1, 0.05, 0.02, 0.03])
    assert_same(state("service", face(p, UNKNOWN)), state("service", face(p, BALANCED)))


def test_words_without_valence_and_neutral_evidence_change_nothing() -> None:
    """Text is a likelihood ratio: it brings no prior of its own."""
    fusion = EmotionFusion(FusionConfig(emotion_prior="service"))
    fusion.add_faces(NOW, [face(no_evidence_of_a_face())])
    fusion.add_text(NOW, EmotionEstimate.from_probabilities(np.ones(8)))
    np.testing.assert_allclose(fusion.state(NOW).emotion.probabilities, of_face(PRIORS["service"]), atol=1e-6)


def test_steady_voice_reports_its_own_distribution_however_often_it_speaks() -> None:
    """The filter works on likelihood ratios: its uniform stationary distribution adds no prior."""
    p = np.array([0.1, 0.1, 0.1, 0.3, 0.2, 0.1, 0.05, 0.05])
    fusion = EmotionFusion(FusionConfig(emotion_prior="service"))
    for k in range(8):
        fusion.add_voice(voice(exchange_prior(p, BALANCED, PRIORS["service"]), PRIORS["service"], 3.0 * k))
    once = state("service", voice(p))
    repeated = fusion.state(NOW + round(21e9))
    np.testing.assert_allclose(repeated.emotion.probabilities, once.emotion.probabilities, atol=0.01)


def test_no_evidence_is_uniform_with_confidence_0_under_every_prior() -> None:
    nothing = state("web")
    assert nothing.status == EmotionStatus.NO_EVIDENCE and nothing.emotion.confidence == 0
    np.testing.assert_allclose(nothing.emotion.probabilities, nothing.emotion.prior)
    assert len(EMOTIONS) == len(VISUAL_INDICES) + 1
