"""Class priors: how often each emotion is assumed to occur, and how to exchange that assumption.

A classifier estimates ``p(e | x)``, a posterior that contains the class frequencies of its training data. Inside the
package evidence travels as likelihood ratios: posteriors divided by their prior, written as distributions under the
:data:`BALANCED` prior. Whoever publishes multiplies with one configured prior (setting ``emotion_prior``), once::

    p(e | x)  ~  likelihood ratio(e) * prior(e)

A source that has no class for an emotion (faces: calm) gives it probability 0 under every prior; its distribution is
the one over the other emotions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from emotion_perception.emotions import EMOTIONS, emotion_index

SMALLEST = 1e-4  # of a prior; with 0 no evidence could ever show the emotion
TOLERANCE = 0.02  # of the sum of eight given numbers, for rounding


def _named(*values: float) -> np.ndarray:
    prior = np.array(values, np.float32) / np.float32(sum(values))
    prior.setflags(write=False)
    return prior


# In the order of EMOTIONS: neutral, calm, happy, sad, angry, fearful, disgusted, surprised. docs/fusion.md gives the
# reasons.
PRIORS: Mapping[str, np.ndarray] = {
    "balanced": _named(*[1.0] * len(EMOTIONS)),
    # Between `web` and `balanced`: about the square root of the class frequencies of FER+.
    "service": _named(0.20, 0.10, 0.22, 0.14, 0.12, 0.06, 0.04, 0.12),
    # Class frequencies of the label votes of FER+ (photographs found on the web), which has no calm.
    "web": _named(0.3594, 0.05, 0.2420, 0.1109, 0.0859, 0.0200, 0.0091, 0.1227),
}
DEFAULT_PRIOR = "service"
BALANCED = PRIORS["balanced"]
PRIOR_SETTING = (
    f"How often each emotion is assumed to occur: {', '.join(PRIORS)}, or eight numbers such as neutral=0.2, calm=0.1, "
    "... A rarer emotion needs stronger evidence. Give every node the same. See fusion.md."
)
UNKNOWN = np.zeros(len(EMOTIONS), np.float32)  # the prior of a distribution of which it is not known
UNKNOWN.setflags(write=False)


def parse_prior(value: str | Sequence[float] | np.ndarray) -> np.ndarray:
    """A prior ``(8,)`` float32 with sum 1.

    Args:
        value: a name of :data:`PRIORS`; eight numbers in the order of the vocabulary, as a sequence or as text with
            commas; or text such as ``neutral=0.3, calm=0.1, ...`` with all eight emotions.

    Raises:
        ValueError: an unknown name, a missing emotion, a number below 0.0001, or a sum that is not 1; says which.

    Example:
        >>> parse_prior("balanced").tolist() == [0.125] * 8
        True
        >>> parse_prior("neutral=1")
        Traceback (most recent call last):
        ValueError: emotion_prior lacks calm, happy, sad, angry, fearful, disgusted, surprised
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in PRIORS:
            return PRIORS[text.lower()]
        items = [item.strip() for item in text.strip("[]").split(",") if item.strip()]
        try:
            numbers = _by_name(items) if "=" in text else [float(item) for item in items]
        except ValueError as error:
            if str(error).startswith(("emotion_prior", "unknown emotion")):
                raise
            numbers = []
        if not numbers:
            raise ValueError(
                f"emotion_prior must be {', '.join(PRIORS)}, or {len(EMOTIONS)} numbers such as neutral=0.3, calm=0.1, "
                f"..., got {value!r}"
            )
    else:
        numbers = [float(number) for number in value]
    if len(numbers) != len(EMOTIONS):
        raise ValueError(f"emotion_prior must have {len(EMOTIONS)} numbers ({', '.join(EMOTIONS)}), got {len(numbers)}")
    for name, number in zip(EMOTIONS, numbers, strict=True):
        if not SMALLEST <= number < math.inf:
            raise ValueError(f"emotion_prior of {name} must be at least {SMALLEST:g}, got {number:g}")
    total = sum(numbers)
    if abs(total - 1) > TOLERANCE:
        raise ValueError(f"emotion_prior must sum to 1, got {total:g}")
    return _named(*numbers)


def _by_name(items: Sequence[str]) -> list[float]:
    found: dict[int, float] = {}
    for item in items:
        name, _, number = item.partition("=")
        index = emotion_index(name)
        if index in found:
            raise ValueError(f"emotion_prior names {EMOTIONS[index]} twice")
        found[index] = float(number)
    if missing := [name for index, name in enumerate(EMOTIONS) if index not in found]:
        raise ValueError(f"emotion_prior lacks {', '.join(missing)}")
    return [found[index] for index in range(len(EMOTIONS))]


def prior_name(prior: np.ndarray) -> str:
    """The name of a prior ``(8,)``: one of :data:`PRIORS`, ``unknown`` for all 0, else ``custom``."""
    if not np.any(prior):
        return "unknown"
    return next((name for name, known in PRIORS.items() if np.allclose(prior, known, atol=1e-4)), "custom")


def exchange_prior(probabilities: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The distributions that the same evidence gives under another prior.

    Args:
        probabilities: ``(..., 8)``, sum 1.
        old: ``(8,)``, the prior that they contain; all 0: not known, taken as balanced.
        new: ``(8,)``, the prior that the result contains; :data:`BALANCED`: likelihood ratios.

    Returns:
        ``(..., 8)`` float32, sum 1.

    Example:
        >>> evidence = np.array([0.5, 0, 0.5, 0, 0, 0, 0, 0])
        >>> print(exchange_prior(evidence, BALANCED, np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])))
        [0.75 0.   0.25 0.   0.   0.   0.   0.  ]
    """
    was, wanted = old.tolist(), new.tolist()
    ratio = [n / max(o, SMALLEST) for n, o in zip(wanted, was, strict=True)] if any(was) else wanted
    if probabilities.ndim == 1:  # every face and voice: Python arithmetic is several times faster for eight numbers
        weighted = [p * r for p, r in zip(probabilities.tolist(), ratio, strict=True)]
        total = sum(weighted)
        return np.array([p / total for p in weighted], np.float32)
    p = np.asarray(probabilities, np.float64) * ratio
    return np.asarray(p / p.sum(axis=-1, keepdims=True), np.float32)
