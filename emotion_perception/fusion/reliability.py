"""Reliability of a model's estimates as evidence, measured on people it was not trained on.

``emotion-train fusion`` (:mod:`emotion_perception.learning.fusion`) measures it on validation data and writes it, by
the name in each model's card, to ``models/fusion.yaml``. It has two parts:

- **Factors**, one per emotion, from the confusion matrix of probabilities under the balanced prior. If a model names an
  emotion more often than it occurs, that name is weaker evidence; the factors make the column sums of the matrix equal
  to its row sums. They hold no class frequencies: these are a matter of the prior.
- **A weight** by face quality or SNR: the exponent in the pool that gave the least log loss of the fused distribution.
  It is below 1 where the model is overconfident.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from emotion_perception.emotions import EMOTIONS, emotion_index, valence_arousal
from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card
from emotion_perception.priors import BALANCED
from emotion_perception.resources import find_model
from emotion_perception.types import EmotionEstimate

FUSION_FILE = "fusion.yaml"  # in models/
MAX_WEIGHT = 4.0


@dataclass(frozen=True)
class Reliability:
    """How far the estimates of one model are to be trusted. The default takes them unchanged, at weight 1.

    Raises:
        ValueError: factors that are not positive, qualities that do not increase, or weights outside 0..4; names which.

    Example:
        >>> face = Reliability(quality=(0.1, 0.9), weight=(0.2, 1.0))
        >>> round(face.weight_at(0.5), 3)
        0.6
    """

    factors: tuple[float, ...] = (1.0,) * len(EMOTIONS)
    quality: tuple[float, ...] = (0.0,)  # quality of a face, 0..1, or SNR of a voice, dB; increasing
    weight: tuple[float, ...] = (1.0,)  # at each of them; linear in between, constant beyond
    unknown_weight: float = 1.0  # where the quality is not known (NaN)

    def __post_init__(self) -> None:
        if len(self.factors) != len(EMOTIONS) or not all(0 < factor < 1e3 for factor in self.factors):
            raise ValueError(f"factors must be {len(EMOTIONS)} positive numbers, got {self.factors}")
        if not len(self.quality) == len(self.weight) > 0 or not all(np.diff(self.quality) > 0):
            raise ValueError(f"quality must increase, with one weight each, got {self.quality} and {self.weight}")
        if not all(0 <= weight <= MAX_WEIGHT for weight in (*self.weight, self.unknown_weight)):
            raise ValueError(
                f"weights must be 0 to {MAX_WEIGHT:g}, got {self.weight} and, if unknown, {self.unknown_weight}"
            )

    @cached_property
    def _has_equal_factors(self) -> bool:
        return len(set(self.factors)) == 1

    @classmethod
    def from_mapping(cls, entry: Any, source: str) -> Reliability:
        """An entry of a fusion file, or the field ``reliability`` of a model card.

        Raises:
            ModelError: a field is missing or out of range; names source and field.
        """
        try:
            factors = {emotion_index(name): float(value) for name, value in entry["factors"].items()}
            weights = dict(sorted((float(quality), float(weight)) for quality, weight in entry["weights"].items()))
            missing = [name for emotion, name in enumerate(EMOTIONS) if emotion not in factors]
            if missing:
                raise ValueError(f"factors lack {', '.join(missing)}")
            in_order = tuple(factors[emotion] for emotion in range(len(EMOTIONS)))
            return cls(in_order, tuple(weights), tuple(weights.values()), float(entry["unknown_weight"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{source}: wrong reliability ({type(error).__name__}: {error})") from error

    def to_mapping(self) -> dict[str, Any]:
        """As plain values, the form that :meth:`from_mapping` reads."""
        return {
            "factors": dict(zip(EMOTIONS, self.factors, strict=True)),
            "weights": dict(zip(self.quality, self.weight, strict=True)),
            "unknown_weight": self.unknown_weight,
        }

    def weight_at(self, quality: float) -> float:
        """The weight at a quality; NaN: an unknown one."""
        if quality != quality:
            return self.unknown_weight
        upper = bisect(self.quality, quality)  # np.interp takes five times as long, once per face and frame
        if upper in (0, len(self.quality)):
            return self.weight[min(upper, len(self.weight) - 1)]
        low, high = self.quality[upper - 1], self.quality[upper]
        rise = self.weight[upper] - self.weight[upper - 1]
        return self.weight[upper - 1] + rise * (quality - low) / (high - low)

    def as_evidence(self, estimate: EmotionEstimate) -> EmotionEstimate:
        """The model's likelihood ratios: without the prior of the estimate, times the factors, normalised.

        The confidence keeps its ratio to the largest probability. A prior that is not known counts as balanced.
        """
        estimate = estimate.with_prior(BALANCED)
        if self._has_equal_factors:
            return estimate
        # Python's own arithmetic is faster than numpy's on eight numbers, once per face and frame.
        original = estimate.probabilities.tolist()
        scaled = list(map(mul, original, self.factors))
        total = sum(scaled)
        p = np.array([value / total for value in scaled], np.float32)
        confidence = min(1.0, estimate.confidence * max(scaled) / total / max(original))
        return EmotionEstimate(p, estimate.intensities, confidence, *valence_arousal(p, estimate.intensities))


def load_reliabilities(path: Path) -> dict[str, Reliability]:
    """The reliabilities in a fusion file, by the names in the models' cards.

    Raises:
        ModelError: the file is missing, not YAML, or has a wrong entry; names file, model and field.
    """
    try:
        content = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"fusion file not readable: {path} ({' '.join(str(error).split())})") from error
    models = content.get("models") if isinstance(content, Mapping) else None
    if not isinstance(models, Mapping):
        raise ModelError(f"{path}: a fusion file must have `models`, a mapping of model names to reliabilities")
    return {str(name): Reliability.from_mapping(entry, f"{path}: {name}") for name, entry in models.items()}


def reliability_of(model: str, fusion_file: str = FUSION_FILE) -> Reliability | None:
    """The reliability of a face or voice model: its entry in the fusion file or else the one in its own card.

    Args:
        model, fusion_file: paths, or names of files in ``models/``.

    Returns:
        None where neither file has one.

    Raises:
        ModelError: a file is missing or wrong; names it.
    """
    known = load_reliabilities(find_model(fusion_file))
    path = find_model(model)
    name = model_name(path)
    if name in known:
        return known[name]
    own = load_card(path).reliability
    return None if own is None else Reliability.from_mapping(own, str(path))


def model_name(model: Path) -> str:
    """The name in a model's card.

    Raises:
        ModelError: the model is missing or has no card.
    """
    return load_card(model).model
