"""What words speak for."""

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


def test_words_without_valence_say_nothing():
    assert text_evidence("Where are the batteries?") is None
    assert text_evidence("") is None


def test_pleasant_words_speak_for_happy_and_unpleasant_ones_against_it():
    pleasant, unpleasant = text_evidence("What a lovely day!"), text_evidence("This is horrible.")
    assert pleasant is not None and unpleasant is not None
    assert pleasant.label == HAPPY
    assert pleasant.valence > 0.1 > -0.1 > unpleasant.valence
    assert unpleasant.probabilities.argmin() == HAPPY


def test_words_never_say_which_unpleasant_emotion():
    told = text_evidence("This is horrible.")
    assert told is not None
    assert told.confidence < 0.35


def test_very_long_text_is_cut_and_survived():
    assert text_evidence("great " * 100_000) is not None


def test_words_alone_are_no_evidence_and_beside_a_voice_they_are():
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


def test_words_are_forgotten():
    fusion = EmotionFusion()
    words = text_evidence("I hate this!")
    assert words is not None
    fusion.add_text(NOW, words)
    later = NOW + 11 * 10**9
    voice = EmotionEstimate.from_probabilities(np.ones(8))
    fusion.add_voice(VoiceObservation(later, 1.5, "v", 20.0, False, True, voice))
    assert [item.modality for item in fusion.state(later).evidence] == [EmotionModality.ACOUSTIC]


def test_pooling_words_changes_no_share_of_calm():
    words = text_evidence("What a lovely day!")
    assert words is not None
    face = EmotionEstimate.from_probabilities(np.array([0.7, 0, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]))
    assert pool([face, words], [1, 1], [False, False]).probabilities[1] == 0
