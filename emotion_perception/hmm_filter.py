"""Temporal filter of an emotion: a hidden Markov model in continuous time.

It is described for a face, with dense frames; for a voice, utterances take the place of frames (below).

**Transitions.** A face shows one of K expressions at a time. Over a time t it keeps it with probability
``exp(-t / hold)`` and otherwise takes any of the K with equal probability, so without evidence a belief fades towards
``1 / K``.

**Evidence.** The likelihood of a frame is its calibrated distribution p divided by the uniform prior ``1 / K``. It is
weakened in two ways. With the outlier probability o a frame says nothing about the expression (a blink, a mouth that
forms a word): ``q = (1 - o) * p + o / K``. And consecutive frames are correlated and share the same error, so a frame
counts by the time t that it represents: it multiplies the belief by ``exp(t / hold * e)`` with ``e = 1 - 1 / (K * q)``.
This is a tempered ``log(K * q)``: equal to first order for weak evidence, bounded by 1 in favour of an expression
however confident the frame is, and bounded against one by o.

**Combined**, in the limit of short times, this is ``dx/dt = M x`` with

    ``M = (ones(K, K) - diag(1 / q)) / (K * hold)``   and the belief ``x / sum(x)``,

solved exactly by the eigenvectors of the symmetric M. The belief therefore depends on how long evidence was seen, not
on the number of frames: 10 fps, 30 fps and irregular rates agree. A frame represents the time since the previous one,
at most ``longest``; during the rest of a longer gap the belief only fades.

**Confidence.** Repeated multiplication would drive the belief of a merely likely expression to 1. Fading prevents this:
``M q = 0``, and the other eigenvalues are negative (``v M v <= 0`` by Cauchy-Schwarz), so under constant q every belief
converges to q. The reported distribution has the outlier share removed: a constant p is reported as p.

**Figures**, at 25 fps with hold 0.35 s and o = 0.2, the rest of each distribution spread evenly: where an expression
was steady at 0.65 or more, three frames of another, however confident, never change the label. A lasting change from
0.7 to 0.7 is followed in 0.32 s, from 0.9 to 0.9 in 0.28 s, from 0.99 to 0.7 in 0.4 s; from 0.99 to an uncertain 0.6 it
takes 0.48 s. With a lower o a single confident frame decides; a longer hold is steadier and proportionally slower.

**Voice.** Utterances last one or two seconds with silence between. An utterance should change the belief quickly, but
silence should not erase it as quickly; so in a gap the belief fades with a time constant of its own, ``memory``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TemporalConfig:
    """Parameters of the filter.

    Raises:
        ValueError: a field is out of range; names it.
    """

    hold: float = 0.35  # s, time constant of state changes; sets how fast the belief follows the evidence
    outlier_probability: float = 0.2  # 0..1, probability that a frame says nothing about the emotion
    longest: float = 0.2  # s, longest time that one frame represents
    memory: float | None = None  # s, time constant of fading without evidence; None: `hold`

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
    """The belief ``(K,)`` after the first frame, whose distribution is ``p (K,)``."""
    return _with_outliers(p, config)


def next_belief(
    belief: np.ndarray, p: np.ndarray, elapsed: float, config: TemporalConfig, seen: float | None = None
) -> np.ndarray:
    """The belief ``(K,)`` after another frame.

    Args:
        belief: ``(K,)``, after the previous frame.
        p: ``(K,)``, the frame's calibrated distribution; flattened for a face of low quality, it changes the belief
            less.
        elapsed: s since the previous frame, >= 0.
        seen: s of ``elapsed`` that the frame represents; None: as much as ``longest`` allows.
    """
    return HmmUpdate.of(p, config).apply(belief, elapsed, config, seen)


@dataclass(frozen=True)
class HmmUpdate:
    """The update by one frame, for any belief: decay rates and eigenvectors of its matrix M (see above)."""

    rates: np.ndarray  # (K,), <= 0, times `hold`
    vectors: np.ndarray  # (K, K)

    @classmethod
    def of(cls, p: np.ndarray, config: TemporalConfig) -> HmmUpdate:
        """The update by a frame with the calibrated distribution ``p (K,)``."""
        values, vectors = np.linalg.eigh((1 - np.diag(1 / _with_outliers(p, config))) / len(p))
        return cls(np.minimum(values, 0), vectors)  # the largest is 0 up to rounding

    def apply(
        self, belief: np.ndarray, elapsed: float, config: TemporalConfig, seen: float | None = None
    ) -> np.ndarray:
        """:func:`next_belief` for repeated use with the same frame."""
        seen = min(elapsed if seen is None else seen, elapsed, config.longest)
        keep = math.exp((seen - elapsed) / (config.memory or config.hold))
        belief = keep * belief + (1 - keep) / len(belief)
        updated = self.vectors @ (np.exp(self.rates * (seen / config.hold)) * (belief @ self.vectors))
        updated = np.maximum(updated, 0)
        return np.asarray(updated / updated.sum())


def to_report(belief: np.ndarray, config: TemporalConfig) -> np.ndarray:
    """The distribution ``(K,)`` to report: the belief with the outlier share removed."""
    p = np.maximum(belief - config.outlier_probability / len(belief), 0)
    return p / p.sum()


def _with_outliers(p: np.ndarray, config: TemporalConfig) -> np.ndarray:
    p = np.asarray(p, np.float64)
    return (1 - config.outlier_probability) * p / p.sum() + config.outlier_probability / len(p)
