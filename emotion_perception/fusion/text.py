"""Text as evidence: the valence of a transcript, by VADER's lexicon and rules (Hutto & Gilbert 2014).

Words separate pleasant from unpleasant, hardly one unpleasant emotion from another, and are often neutral. A text
therefore multiplies the odds of two emotions by ``exp(TILT * score * difference of their valence)``: a score of 0
changes nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from emotion_perception.emotions import CIRCUMPLEX
from emotion_perception.types import EmotionEstimate

TILT = 1.5  # nats per unit of score and of valence; measured in docs/fusion.md
MAX_CHARACTERS = 2000  # of a transcript that are read, more than one utterance has


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
    """The distribution that an English text supports; None where its valence is neutral.

    Raises:
        ImportError: vaderSentiment is not installed.
    """
    score = float(_analyzer().polarity_scores(text[:MAX_CHARACTERS])["compound"])  # -1..1
    if score == 0.0:
        return None
    return EmotionEstimate.from_probabilities(np.exp(tilt * score * CIRCUMPLEX[:, 0]))
