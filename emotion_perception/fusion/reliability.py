"""How a model's distributions are to be taken as evidence, as measured on people it was not trained on.

``emotion-train fusion`` (``learning/fusion/reliability.py``) measures it on validation data and writes it
into the model's card, so that a model is swapped with its card alone. Two things:

- **Factors**, one an emotion, from the confusion matrix of probabilities. A model that names an emotion more often than
  it is there says less by naming it: the factors make the columns of the matrix add up as its rows do.
- **A weight**, by the quality of what was seen or heard: the exponent in the pool with which the model's word, beside
  the other sense's, gave the least log loss. Under 1 where it is surer than it should be.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS, valence_arousal
from emotion_perception.errors import ModelError
from emotion_perception.types import EmotionEstimate

KEY = "reliability"  # in a model's card


@dataclass(frozen=True)
class Reliability:
    """What evidence of one model is worth. The default takes every distribution as it is, at weight 1.

    Raises:
        ValueError: factors that are not positive, qualities that do not rise, or weights out of 0..4; says which.
    """

    factors: tuple[float, ...] = (1.0,) * len(EMOTIONS)
    quality: tuple[float, ...] = (0.0,)  # a face's quality 0..1, a voice's SNR in dB; rising
    weight: tuple[float, ...] = (1.0,)  # at each of them; straight between, constant beyond
    unknown: float = 1.0  # weight where the quality is not known (NaN)

    def __post_init__(self) -> None:
        if len(self.factors) != len(EMOTIONS) or not all(0 < factor < 1e3 for factor in self.factors):
            raise ValueError(f"factors must be {len(EMOTIONS)} positive numbers, got {self.factors}")
        if not len(self.quality) == len(self.weight) > 0 or not all(np.diff(self.quality) > 0):
            raise ValueError(f"quality must rise, with a weight each, got {self.quality} and {self.weight}")
        if not all(0 <= weight <= 4 for weight in (*self.weight, self.unknown)):
            raise ValueError(f"weights must be 0 to 4, got {self.weight} and {self.unknown}")

    @cached_property
    def _plain(self) -> bool:
        return len(set(self.factors)) == 1

    @classmethod
    def from_card(cls, card: Mapping[str, Any], name: str) -> Reliability | None:
        """That of a model's card; None where nobody has measured it.

        Raises:
            ModelError: the card has one that makes no sense; says what, and names the model.
        """
        if KEY not in card:
            return None
        try:
            told = card[KEY]
            return cls(
                tuple(float(value) for value in told["factors"]),
                tuple(float(value) for value in told["quality"]),
                tuple(float(value) for value in told["weight"]),
                float(told["unknown"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{name}: its card's reliability is wrong ({type(error).__name__}: {error})") from error

    def at(self, quality: float) -> float:
        """The weight at a quality; NaN is an unknown one."""
        if quality != quality:
            return self.unknown
        upper = bisect(self.quality, quality)  # np.interp takes five times as long, and every face comes here
        if upper in (0, len(self.quality)):
            return self.weight[min(upper, len(self.weight) - 1)]
        low, high = self.quality[upper - 1], self.quality[upper]
        rise = self.weight[upper] - self.weight[upper - 1]
        return self.weight[upper - 1] + rise * (quality - low) / (high - low)

    def read(self, estimate: EmotionEstimate) -> EmotionEstimate:
        """What an estimate of the model says as evidence: its distribution times the factors, normalised.

        The confidence keeps its proportion to the largest probability.
        """
        if self._plain:
            return estimate
        # Python's own arithmetic is quicker than numpy's on so few numbers, and every face of every picture comes here.
        told = estimate.probabilities.tolist()
        read = list(map(mul, told, self.factors))
        total = sum(read)
        p = np.array([value / total for value in read], np.float32)
        confidence = min(1.0, estimate.confidence * max(read) / total / max(told))
        return EmotionEstimate(p, estimate.intensities, confidence, *valence_arousal(p, estimate.intensities))
