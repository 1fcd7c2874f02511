"""Turning points and shape of an emotional arc.

- **Turning points**: extremes of the smoothed valence with a change on both sides that exceeds noise.
- **Shape**: one of the six arcs of stories (Reagan, Mitchell, Kiley, Danforth & Dodds 2016, "The emotional arcs of
  stories are dominated by six basic shapes"), by weighted correlation with cosine templates. These are orthogonal, so
  the squared correlations sum to at most about 1, and at most one shape can explain more than half of the variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

SURE = 1.64  # standard deviations: a difference beyond them is noise in 1 of 20 cases (one-sided)
MIN_CHANGE = 0.2  # of valence, for a turning point or a shape
MIN_SHAPE_S = 20.0  # evidence needed for a shape, s
MIN_SHAPE_BINS = 8  # bins with evidence needed for a shape
MAX_SHAPE_GAP = 1 / 3  # longest gap for a shape, as a share of the arc's length
MIN_CORRELATION = math.sqrt(0.5)  # a shape explains at least half of the variance of the smoothed valence


class ArcShape(IntEnum):
    """Shape of an arc; values as in ``emotion_msgs/EmotionArc``."""

    NONE = 0  # valence changes, but matches none of the six well enough
    TOO_LITTLE = 1  # too short, or too many gaps
    FLAT = 2  # no change beyond noise
    RAGS_TO_RICHES = 3  # rise
    RICHES_TO_RAGS = 4  # fall (tragedy)
    MAN_IN_A_HOLE = 5  # fall, rise
    ICARUS = 6  # rise, fall
    CINDERELLA = 7  # rise, fall, rise
    OEDIPUS = 8  # fall, rise, fall


SHAPE_TEXT: dict[ArcShape, str] = {
    ArcShape.NONE: "no classic shape",
    ArcShape.TOO_LITTLE: "too little evidence",
    ArcShape.FLAT: "flat",
    ArcShape.RAGS_TO_RICHES: "rags to riches (rise)",
    ArcShape.RICHES_TO_RAGS: "riches to rags (fall)",
    ArcShape.MAN_IN_A_HOLE: "man in a hole (fall, rise)",
    ArcShape.ICARUS: "Icarus (rise, fall)",
    ArcShape.CINDERELLA: "Cinderella (rise, fall, rise)",
    ArcShape.OEDIPUS: "Oedipus (fall, rise, fall)",
}


def template(shape: ArcShape, x: np.ndarray) -> np.ndarray:
    """The template of one of the six shapes at ``x`` (0 start .. 1 end), -1..1.

    Raises:
        ValueError: the shape is not one of the six.
    """
    if shape < ArcShape.RAGS_TO_RICHES:
        raise ValueError(f"{shape.name} has no template")
    half_waves = 1 + (shape - ArcShape.RAGS_TO_RICHES) // 2
    # Man in a hole falls first although it comes before Icarus.
    sign = 1.0 if shape in (ArcShape.RICHES_TO_RAGS, ArcShape.MAN_IN_A_HOLE, ArcShape.OEDIPUS) else -1.0
    return sign * np.cos(half_waves * np.pi * x)


@dataclass(frozen=True)
class TurningPoint:
    """An extreme of the smoothed valence."""

    index: int  # of the bin
    time: float  # s from the start of the arc, middle of the bin
    peak: bool  # True: from rise to fall; False: from fall to rise
    valence: float  # smoothed, -1..1
    before: float  # change of valence since the previous extreme (or the start)
    after: float  # change of valence until the next extreme (or the end)


@dataclass(frozen=True)
class ShapeMatch:
    """The shape that best matches an arc, and how well."""

    shape: ArcShape
    correlation: float  # with the best of the six templates, -1..1; NaN for TOO_LITTLE and FLAT
    correlations: dict[ArcShape, float]  # with each of the six; empty for TOO_LITTLE and FLAT
    reason: str  # in plain English

    @property
    def text(self) -> str:
        """Name of the shape in plain English."""
        return SHAPE_TEXT[self.shape]


def find_turning_points(times: np.ndarray, valence: np.ndarray, sd: np.ndarray) -> tuple[TurningPoint, ...]:
    """Extremes of ``valence (N,)`` whose changes on both sides exceed MIN_CHANGE and noise; the ends do not count."""
    known = np.flatnonzero(~np.isnan(valence))
    if len(known) < 3:
        return ()

    def differs(a: int, b: int) -> bool:
        return abs(valence[a] - valence[b]) >= max(MIN_CHANGE, SURE * math.hypot(sd[a], sd[b]))

    extremes: list[int] = []  # confirmed, alternating peaks and valleys; the first is where the first change began
    high = low = int(known[0])
    rising: bool | None = None
    for i in map(int, known):
        if valence[i] > valence[high]:
            high = i
        if valence[i] < valence[low]:
            low = i
        if rising is not False and valence[i] < valence[high] and differs(i, high):
            extremes.append(high)
            rising, high, low = False, i, i
        elif rising is not True and valence[i] > valence[low] and differs(i, low):
            extremes.append(low)
            rising, high, low = True, i, i
    if not extremes:
        return ()
    last = high if rising else low  # the extreme reached since the last confirmed one
    first = int(known[0])
    # The first extreme is a turning point only if valence changed before it.
    inner = extremes if differs(first, extremes[0]) else extremes[1:]
    chain = [first, *inner, last] if inner is extremes else [*extremes, last]
    return tuple(
        TurningPoint(
            index=i,
            time=float(times[i]),
            peak=bool(valence[i] > valence[after]),
            valence=float(valence[i]),
            before=float(valence[i] - valence[before]),
            after=float(valence[after] - valence[i]),
        )
        for before, i, after in zip(chain[:-2], chain[1:-1], chain[2:], strict=True)
    )


def match_shape(
    times: np.ndarray, valence: np.ndarray, sd: np.ndarray, trust: np.ndarray, evidence: float
) -> ShapeMatch:
    """Match ``valence (N,)`` between its first and last bin with evidence to the six shapes.

    Args:
        times: middle of each bin, s.
        valence: smoothed; NaN without evidence.
        sd: its standard deviation.
        trust: weight of each bin, 0 without evidence.
        evidence: time with evidence, s.
    """
    known = np.flatnonzero(~np.isnan(valence))
    if evidence < MIN_SHAPE_S or len(known) < MIN_SHAPE_BINS:
        reason = f"{evidence:.0f} s of evidence in {len(known)} points; {MIN_SHAPE_S:.0f} s in {MIN_SHAPE_BINS} needed"
        return ShapeMatch(ArcShape.TOO_LITTLE, math.nan, {}, reason)
    t, v = times[known], valence[known]
    length = t[-1] - t[0]
    longest = float(np.diff(t).max())
    if longest > MAX_SHAPE_GAP * length:
        reason = f"a gap of {longest:.0f} s without evidence in {length:.0f} s"
        return ShapeMatch(ArcShape.TOO_LITTLE, math.nan, {}, reason)
    high, low = known[v.argmax()], known[v.argmin()]
    change = float(valence[high] - valence[low])
    needed = max(MIN_CHANGE, SURE * math.hypot(sd[high], sd[low]))
    if change < needed:
        reason = f"valence changes by {change:.2f}, which is within noise (up to {needed:.2f})"
        return ShapeMatch(ArcShape.FLAT, math.nan, {}, reason)
    x = (t - t[0]) / length
    shapes = [shape for shape in ArcShape if shape >= ArcShape.RAGS_TO_RICHES]
    correlations = {shape: correlation(v, template(shape, x), trust[known]) for shape in shapes}
    best = max(shapes, key=correlations.__getitem__)
    r = correlations[best]
    share = f"a correlation of {r:.2f} explains {100 * r * r:.0f} % of the variance"
    if r < MIN_CORRELATION:
        return ShapeMatch(
            ArcShape.NONE, r, correlations, f"{SHAPE_TEXT[best]} matches best, but {share}; half is needed"
        )
    return ShapeMatch(best, r, correlations, share)


def correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Weighted Pearson correlation of two ``(N,)`` series, -1..1; 0 if one of them is constant."""
    a = a - np.average(a, weights=weights)
    b = b - np.average(b, weights=weights)
    scale = math.sqrt(float(weights @ a**2) * float(weights @ b**2))
    return float(np.clip(weights @ (a * b) / scale, -1.0, 1.0)) if scale > 1e-12 else 0.0
