"""What somebody said as evidence: the valence of the words, by VADER's lexicon and rules (Hutto & Gilbert 2014).

Words tell pleasant from unpleasant, hardly which of the unpleasant emotions, and often nothing. So a text multiplies
the odds of two emotions by ``exp(TILT * score * difference of their valence)``: with a score of 0 it says nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from emotion_perception.emotions import CIRCUMPLEX
from emotion_perception.types import EmotionEstimate

TILT = 1.5  # nats a unit of score and valence; see docs/fusion.md for the measurement
LONGEST = 2000  # characters that are looked at: nobody says more in one breath


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def text_available() -> bool:
    """Whether the optional package vaderSentiment is installed."""
    try:
        _analyzer()
    except ImportError:
        return False
    return True


def text_evidence(text: str, tilt: float = TILT) -> EmotionEstimate | None:
    """The distribution that English words speak for; None where they say nothing about valence.

    Raises:
        ImportError: vaderSentiment is not installed.
    """
    score = float(_analyzer().polarity_scores(text[:LONGEST])["compound"])  # -1..1
    if score == 0.0:
        return None
    return EmotionEstimate.from_probabilities(np.exp(tilt * score * CIRCUMPLEX[:, 0]))
