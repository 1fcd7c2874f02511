"""Text as evidence."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, HAPPY
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.pooling import pool
from emotion_perception.fusion.text import text_evidence
from emotion_perception.types import EmotionEstimate, EmotionModality, EmotionStatus, VoiceObservation

pytest.importorskip("vaderSentiment", reason="needs vaderSentiment")
NOW = 1_700_000_000_000_000_000


def test_text_without_valence_is_no_evidence():
    assert text_evidence("Where are the batteries?") is None
    assert text_evidence("") is None


def test_pleasant_text_supports_happy_and_unpleasant_text_does_not():
    pleasant, unpleasant = text_evidence("What a lovely day!"), text_evidence("This is horrible.")
    assert pleasant is not None and unpleasant is not None
    assert pleasant.label == HAPPY
    assert pleasant.valence > 0.1 > -0.1 > unpleasant.valence
    assert unpleasant.probabilities.argmin() == HAPPY


def test_text_does_not_separate_unpleasant_emotions():
    estimate = text_evidence("This is horrible.")
    assert estimate is not None
    assert estimate.confidence < 0.35


def test_very_long_text_is_truncated():
    assert text_evidence("great " * 100_000) is not None


def test_text_is_evidence_with_a_voice_and_not_alone():
    fusion = EmotionFusion()
    words = text_evidence("I hate this!")
    assert words is not None
    fusion.add_text(NOW, words)
    assert fusion.state(NOW).status == EmotionStatus.NO_EVIDENCE
    p = np.full(8, 0.05)
    p[[HAPPY, ANGRY]] = 0.35
    doubtful = EmotionEstimate.from_probabilities(p)
    fusion.add_voice(VoiceObservation(NOW, 1.5, "v", 20.0, False, True, doubtful))
    state = fusion.state(NOW)
    assert state.status == EmotionStatus.ACOUSTIC_ONLY
    assert [item.modality for item in state.evidence] == [EmotionModality.ACOUSTIC, EmotionModality.TEXT]
    assert state.emotion.label == ANGRY
    later = fusion.state(NOW + 4 * 10**9)
    assert later.evidence[1].weight < state.evidence[1].weight


def test_text_expires():
    fusion = EmotionFusion()
    words = text_evidence("I hate this!")
    assert words is not None
    fusion.add_text(NOW, words)
    later = NOW + 11 * 10**9
    voice = EmotionEstimate.from_probabilities(np.ones(8))
    fusion.add_voice(VoiceObservation(later, 1.5, "v", 20.0, False, True, voice))
    assert [item.modality for item in fusion.state(later).evidence] == [EmotionModality.ACOUSTIC]


def test_two_jumps_of_the_clock_after_a_text_are_survived():
    fusion = EmotionFusion()
    estimate = EmotionEstimate.from_probabilities(np.arange(1.0, 9.0))
    fusion.add_text(NOW, estimate)
    for _ in range(2):
        fusion.add_voice(VoiceObservation(NOW, 1.5, "v", 20.0, False, True, estimate))
        assert fusion.state(NOW - 60 * 10**9).status == EmotionStatus.NO_EVIDENCE
    assert fusion.counts["clock_jumps"] == 2


def test_pooling_text_keeps_the_ratio_of_calm_to_neutral():
    words = text_evidence("What a lovely day!")
    assert words is not None
    face = EmotionEstimate.from_probabilities(np.array([0.7, 0, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]))
    assert pool([face, words], [1, 1], [False, False]).probabilities[1] == 0
