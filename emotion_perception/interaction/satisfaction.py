"""A customer-satisfaction score, 0..100, from the arc of a conversation, with its factors and its margin.

::

    s(t)  = sum over emotions of p_e(t) * VALUES[e]                      -1..1, satisfaction at a moment
    score = 50 + 50 * (0.5 * mean + 0.3 * end + 0.2 * peak)              level
               +  5 * (end - beginning)                                  direction, at most 10 points
            cut to 0..100

- ``mean``: over all time with evidence, weighted by it. Half of the level, as people remember duration too little.
- ``end``: the last fifth of the evidence, at least 10 s. ``peak``: the smoothed moment furthest from indifference.
  People remember an experience by its most intense moment and by its end (peak-end rule: Kahneman, Fredrickson,
  Schreiber & Redelmeier 1993; Redelmeier & Kahneman 1996), so these make the other half, the end more as it is
  measured better.
- ``end - beginning`` (the first fifth): getting better is liked beyond its level (Loewenstein & Prelec 1993).
- ``VALUES``: pleasantness of the emotion in a service encounter. Anger counts most among the unpleasant ones, as it
  goes with complaint and leaving (Bougie, Pieters & Zeelenberg 2003). They sum to 0: a uniform
  distribution gives 50, so uncertainty pulls the score to the middle and never to one side.

The weights are reasoned, not fitted: no freely usable data has conversations with both video and the customer's own
rating. Fit them to your own questionnaires before you rely on single scores.

``margin`` is the half-width of a 95 % interval from the estimates themselves: their spread, with evidence closer than
``INDEPENDENT_S`` counted once, and any value possible in time without evidence. It does not cover a model that is
wrong with confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import INDEPENDENT_S, Arc, smooth

#                  neutral calm happy  sad   angry fearful disgusted surprised
VALUES = np.array([0.00, 0.50, 1.00, -0.25, -0.70, -0.20, -0.45, 0.10])
MEAN_WEIGHT, END_WEIGHT, PEAK_WEIGHT = 0.5, 0.3, 0.2
TREND_POINTS = 5.0
END_SHARE = 0.2  # of the evidence
MIN_END_S = 10.0
UNSEEN_SD = 0.5  # of s over time without evidence: any value in -1..1 is possible
MAX_MARGIN = 25.0  # with more, the score would be meaningless


@dataclass(frozen=True)
class Factor:
    """One part of a score."""

    name: str
    points: float  # its contribution to the score, relative to 50
    text: str  # in plain English


@dataclass(frozen=True)
class Satisfaction:
    """A score with its explanation; ``score`` and ``margin`` are None without enough evidence."""

    score: int | None  # 0..100, 50 is indifferent
    margin: int | None  # half-width of the 95 % interval, points
    factors: tuple[Factor, ...]  # largest first; 50 plus their points is the score before cutting
    evidence_s: float  # time with any evidence, s
    visual_s: float  # with a face
    acoustic_s: float  # with a voice
    text_s: float  # with words
    reason: str  # why there is no score, or the evidence it rests on

    @property
    def verdict(self) -> str:
        """``satisfied``, ``dissatisfied``, ``undecided`` (50 lies within the margin) or ``unknown`` (no score)."""
        if self.score is None or self.margin is None:
            return "unknown"
        if self.score - self.margin > 50:
            return "satisfied"
        return "dissatisfied" if self.score + self.margin < 50 else "undecided"


def rate(arc: Arc, min_evidence_s: float = 10.0) -> Satisfaction:
    """The satisfaction over an arc; no score with less than ``min_evidence_s`` of evidence or a margin over 25."""
    seconds = {
        "evidence_s": float(arc.evidence_s.sum()),
        "visual_s": float(arc.visual_s.sum()),
        "acoustic_s": float(arc.acoustic_s.sum()),
        "text_s": float(arc.text_s.sum()),
    }
    evidence = seconds["evidence_s"]
    rests_on = f"{evidence:.0f} s of evidence in {arc.duration:.0f} s ({_by_modality(seconds)})"
    if not arc.known.any() or evidence < min_evidence_s:
        reason = f"{evidence:.0f} s of evidence in {arc.duration:.0f} s, {min_evidence_s:.0f} s needed"
        return Satisfaction(None, None, (), reason=reason, **seconds)

    known = arc.known
    p = arc.probabilities[known]  # (K, 8)
    mass = arc.trust[known] * arc.seconds[known]  # (K,) evidence, in seconds of one trusted source
    times = arc.times[known]
    now = p @ VALUES  # (K,) s(t)
    sd = np.sqrt(np.maximum(p @ VALUES**2 - now**2, 0.0))
    shares = mass / mass.sum()

    end_part, start_part = _part(mass, arc.evidence_s[known], last=True), _part(mass, arc.evidence_s[known], last=False)
    peak_part = _peak_part(arc, known)
    end, start, peak = (float(part @ now) for part in (end_part, start_part, peak_part))

    mean_shares = shares @ p  # (8,) share of time by emotion
    factors = [
        Factor(name, 50 * MEAN_WEIGHT * float(share * value), f"{name} {100 * share:.0f} % of the time")
        for name, share, value in zip(EMOTIONS, mean_shares, VALUES, strict=True)
        if value
    ]
    factors += [
        Factor("end", 50 * END_WEIGHT * end, f"{_mood(end)} at the end"),
        Factor(
            "peak", 50 * PEAK_WEIGHT * peak, f"{_mood(peak)} at the most intense moment, {_clock(peak_part @ times)}"
        ),
        Factor("trend", TREND_POINTS * (end - start), _direction(end - start)),
    ]
    factors.sort(key=lambda factor: -abs(factor.points))
    score = float(np.clip(50 + sum(factor.points for factor in factors), 0, 100))

    influence = 50 * (MEAN_WEIGHT * shares + END_WEIGHT * end_part + PEAK_WEIGHT * peak_part)
    influence += TREND_POINTS * (end_part - start_part)
    unseen = 50 * MEAN_WEIGHT * UNSEEN_SD * max(0.0, 1 - evidence / max(arc.duration, 1e-9))
    # Weak evidence is less certain than its distribution.
    doubt = sd / np.sqrt(np.maximum(arc.trust[known], 0.05))
    margin = 1.96 * math.hypot(_sum_sd(influence * doubt, times), unseen)
    if margin > MAX_MARGIN:
        reason = f"the margin would be {margin:.0f} points, at most {MAX_MARGIN:.0f} make a score; {rests_on}"
        return Satisfaction(None, None, tuple(factors), reason=reason, **seconds)
    return Satisfaction(round(score), math.ceil(margin), tuple(factors), reason=rests_on, **seconds)


def _part(mass: np.ndarray, evidence: np.ndarray, last: bool) -> np.ndarray:
    """Weights ``(K,)``, sum 1, of the first or last fifth of the evidence, at least MIN_END_S."""
    wanted = max(END_SHARE * float(evidence.sum()), MIN_END_S)
    order = evidence[::-1] if last else evidence
    taken = np.clip(wanted - (np.cumsum(order) - order), 0.0, order)  # seconds of each bin within the part
    taken = taken[::-1] if last else taken
    weights = taken / np.maximum(evidence, 1e-9) * mass
    return weights / weights.sum()


def _peak_part(arc: Arc, known: np.ndarray) -> np.ndarray:
    """Weights ``(K,)``, sum 1, of the smoothed moment that is furthest from indifference."""
    now = arc.probabilities @ VALUES
    curve, _ = smooth(now, np.zeros_like(now), arc.trust, arc.smoothing, arc.step)
    centre = int(np.nanargmax(np.abs(curve)))
    distance = (np.flatnonzero(known) - centre) * arc.step / arc.smoothing
    weights = arc.trust[known] * np.where(np.abs(distance) <= 3, np.exp(-0.5 * distance**2), 0.0)
    return weights / weights.sum()


def _sum_sd(terms: np.ndarray, times: np.ndarray) -> float:
    """Standard deviation of a sum of ``(K,)`` terms: wholly dependent within INDEPENDENT_S, independent beyond."""
    blocks = np.floor(times / INDEPENDENT_S).astype(int)
    sums = np.bincount(blocks - blocks.min(), weights=terms)
    return float(np.sqrt(sums @ sums))


def _by_modality(seconds: dict[str, float]) -> str:
    parts = [f"face {seconds['visual_s']:.0f} s", f"voice {seconds['acoustic_s']:.0f} s"]
    if seconds["text_s"]:
        parts.append(f"words {seconds['text_s']:.0f} s")
    return ", ".join(parts)


def _mood(value: float) -> str:
    if abs(value) < 0.1:
        return "indifferent"
    degree = "very " if abs(value) > 0.5 else "somewhat " if abs(value) < 0.25 else ""
    return degree + ("pleased" if value > 0 else "displeased")


def _direction(change: float) -> str:
    if abs(change) < 0.1:
        return "ended as it began"
    return "ended better than it began" if change > 0 else "ended worse than it began"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"at {minutes}:{rest:02d}"
