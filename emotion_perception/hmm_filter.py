"""An emotion over time: a hidden Markov model in continuous time, not a moving average.

It is told for a face, whose frames come densely; a voice is the same with turns of speech for frames (below).

**Change.** A face shows one of K expressions at a time; over a time t it keeps it with probability
``exp(-t / hold)`` and else takes any with the same chance, so a belief fades towards ``1 / K``.

**Evidence.** A frame's calibrated distribution p divided by the uniform prior ``1 / K`` is its likelihood. Two things
keep it from counting in full. With chance ``slip`` a frame says nothing about the expression (a blink, a mouth that
forms a word): ``q = (1 - slip) * p + slip / K``. And neighbouring frames show the same picture with the same error, so
a frame counts by the time t that it stands for: it multiplies a belief by ``exp(t / hold * e)`` with
``e = 1 - 1 / (K * q)``. That is the tempered ``log(K * q)``: the same to first order where a frame says little, at
most 1 in favour of an expression however likely the frame says it is, and against one as far as ``slip`` lets it.

**Both together**, in the limit of short times, are ``dx/dt = M x`` with

    ``M = (ones(K, K) - diag(1 / q)) / (K * hold)``   and the belief ``x / sum(x)``,

solved exactly by the eigenvectors of the symmetric M. So a belief depends on what was seen for how long, not on
how many frames told it: 10 fps, 30 fps and uneven rates agree. The time a frame stands for, since the one before,
is at most ``longest``; a longer gap only lets the belief fade.

**Confidence.** Multiplied without end, a frame that is merely likely would drive any belief to 1. Here fading holds
against it: ``M q = 0``, and the other eigenvalues are negative (``v M v <= 0`` by Cauchy-Schwarz), so under a steady q
any belief settles at q, and no further. What is reported takes the slip out again: a steady p is reported as p.

**The numbers**, at 25 fps with hold 0.35 s and slip 0.2, the rest of each distribution spread evenly: where an
expression was steady at 0.65 or more, three frames of another, however sure, never flip the label. A lasting change
from 0.7 to 0.7 is followed in 0.32 s, from 0.9 to 0.9 in 0.28 s, from 0.99 to 0.7 in 0.4 s; to a doubtful 0.6, from
0.99, it takes 0.48 s. Less slip lets a single sure frame decide; more hold is steadier, and later in proportion.

**A voice** speaks in turns of one or two seconds with silence between, in which nobody's mood is forgotten as soon as a
sentence can change what is believed: there a gap fades the belief with a time scale of its own, ``memory``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TemporalConfig:
    """How steady a belief is.

    Raises:
        ValueError: a field is out of range; names it.
    """

    hold: float = 0.35  # s, the scale of all times: how soon a belief fades, how soon it follows what is seen
    outlier_probability: float = 0.2  # 0..1, chance that a frame says nothing about the expression
    longest: float = 0.2  # s, the most that one frame stands for
    memory: float | None = None  # s, how soon a belief fades where nothing is seen; None: with `hold`

    def __post_init__(self) -> None:
        for name, good in (
            ("hold", self.hold > 0),
            ("outlier_probability", 0 < self.outlier_probability < 1),
            ("longest", self.longest > 0),
            ("memory", self.memory is None or self.memory > 0),
        ):
            if not good:
                raise ValueError(f"{name} is out of range: {getattr(self, name)}")


def initial_belief(p: np.ndarray, config: TemporalConfig) -> np.ndarray:
    """The belief ``(K,)`` after the first frame of a face, whose distribution is ``p (K,)``."""
    return _with_outliers(p, config)


def next_belief(
    belief: np.ndarray, p: np.ndarray, elapsed: float, config: TemporalConfig, seen: float | None = None
) -> np.ndarray:
    """The belief ``(K,)`` after one more frame.

    Args:
        belief: ``(K,)``, as of the frame before.
        p: ``(K,)``, the frame's calibrated distribution; flattened where the picture is poor, it moves the belief less.
        elapsed: s since the frame before, >= 0.
        seen: s of ``elapsed`` that the frame stands for; left out, as much as it may.
    """
    return HmmUpdate.of(p, config).apply(belief, elapsed, config, seen)


@dataclass(frozen=True)
class HmmUpdate:
    """What one frame does to any belief: the decay rates and eigenvectors of its M (above)."""

    rates: np.ndarray  # (K,), <= 0, times `hold`
    vectors: np.ndarray  # (K, K)

    @classmethod
    def of(cls, p: np.ndarray, config: TemporalConfig) -> HmmUpdate:
        """That of a frame whose calibrated distribution is ``p (K,)``."""
        values, vectors = np.linalg.eigh((1 - np.diag(1 / _with_outliers(p, config))) / len(p))
        return cls(np.minimum(values, 0), vectors)  # the largest is 0 up to rounding

    def apply(
        self, belief: np.ndarray, elapsed: float, config: TemporalConfig, seen: float | None = None
    ) -> np.ndarray:
        """:func:`next_belief`, for one who needs it more than once for the same frame."""
        seen = min(elapsed if seen is None else seen, elapsed, config.longest)
        keep = math.exp((seen - elapsed) / (config.memory or config.hold))
        belief = keep * belief + (1 - keep) / len(belief)
        moved = self.vectors @ (np.exp(self.rates * (seen / config.hold)) * (belief @ self.vectors))
        moved = np.maximum(moved, 0)
        return np.asarray(moved / moved.sum())


def to_report(belief: np.ndarray, config: TemporalConfig) -> np.ndarray:
    """The distribution ``(K,)`` to tell: the belief with the slip taken out."""
    p = np.maximum(belief - config.outlier_probability / len(belief), 0)
    return p / p.sum()


def _with_outliers(p: np.ndarray, config: TemporalConfig) -> np.ndarray:
    p = np.asarray(p, np.float64)
    return (1 - config.outlier_probability) * p / p.sum() + config.outlier_probability / len(p)
