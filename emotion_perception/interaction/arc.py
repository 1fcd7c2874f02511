"""The emotional arc of a conversation: valence and arousal over time, with uncertainty, gaps, turning points and shape.

- **Sampling.** Each sample of the emotion state holds until the next one, at most ``hold`` seconds; time after that,
  and time with status NO_EVIDENCE, is a gap. Gaps are never filled: a bin without evidence has NaN for its values.
- **Bins.** Time is cut into bins of ``step`` seconds. A bin's value is the mean over its samples, weighted by how
  long each held and by its evidence weight (at most 1: one fully trusted source). When there are too many bins, pairs
  are merged and the step doubles, so memory is bounded however long the conversation lasts.
- **Uncertainty.** A bin's standard deviation has the spread of the distributions and the differences between samples
  in it (law of total variance), widened by the square root of the evidence where that is less than one trusted source
  all the time.
- **Smoothing**, for turning points and shape only: Gaussian with sigma ``smoothing`` seconds, weighted by evidence,
  computed for bins with evidence only. Its standard deviation shrinks with the number of independent pieces of
  evidence under the kernel: one per ``INDEPENDENT_S``, as a voice decision is about that long and neighbouring
  images of a face are alike.

Turning points and shape are found by :mod:`~emotion_perception.interaction.arc_shape`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emotion_perception.emotions import CIRCUMPLEX, EMOTIONS
from emotion_perception.interaction.arc_shape import ShapeMatch, TurningPoint, find_turning_points, match_shape
from emotion_perception.types import SECOND, EmotionModality, EmotionState, EmotionStatus

INDEPENDENT_S = 5.0  # evidence closer in time than this (s) counts once
LEAST_TRUST = 0.05  # smallest weight of evidence, so that weak evidence still counts
MIN_SMOOTHING_S = 3.0  # sigma, s
SMOOTHING_SHARE = 1 / 20  # sigma as a share of the arc's length: what lasts a twentieth of the conversation is detail

_N = len(EMOTIONS)
# Columns of a bin: all are sums over time, so that merging two bins is adding them.
_EVIDENCE, _VISUAL, _ACOUSTIC, _TEXT, _TRUST, _CONFIDENCE, _VALENCE, _AROUSAL, _VALENCE2, _AROUSAL2 = range(10)
_PROBABILITIES = slice(10, 10 + _N)
_SENSES = 3  # visual, acoustic, text and any further modality
_SENSE_LABELS = slice(10 + _N, 10 + _N + _SENSES * _N)  # time with each emotion as the label of each sense
_COLUMNS = 10 + _N + _SENSES * _N


@dataclass(frozen=True)
class ArcSample:
    """One emotion state, as far as the arc needs it."""

    time_ns: int  # time at which the state was made
    status: EmotionStatus
    probabilities: np.ndarray  # (8,) float32; uniform with NO_EVIDENCE
    confidence: float  # 0..1
    valence: float  # -1..1
    arousal: float  # -1..1
    weights: tuple[float, float, float]  # of evidence: visual, acoustic, text and any further modality; >= 0
    person_id: str = ""
    sense_labels: tuple[int, ...] = (-1, -1, -1)  # most probable emotion by each sense alone, as weights; -1: none

    @classmethod
    def from_state(cls, state: EmotionState, time_ns: int) -> ArcSample:
        """The sample of a state made at ``time_ns``; a state without weights counts fully."""
        weights, sense_labels = [0.0, 0.0, 0.0], [-1, -1, -1]
        for item in state.evidence:
            sense = min(item.modality, EmotionModality.TEXT)
            weights[sense] += item.weight
            if item.weight > 0:
                sense_labels[sense] = item.emotion.label
        if not any(weights):
            weights[EmotionModality.VISUAL] = float(state.status in _SEEN)
            weights[EmotionModality.ACOUSTIC] = float(state.status in _HEARD)
        emotion = state.emotion
        return cls(
            time_ns,
            state.status,
            emotion.probabilities,
            emotion.confidence,
            emotion.valence,
            emotion.arousal,
            (weights[0], weights[1], weights[2]),
            state.person_id,
            tuple(sense_labels),
        )

    @property
    def has_evidence(self) -> bool:
        """Whether there was any evidence."""
        return self.status != EmotionStatus.NO_EVIDENCE


_SEEN = (EmotionStatus.VISUAL_ONLY, EmotionStatus.AUDIO_VISUAL)
_HEARD = (EmotionStatus.ACOUSTIC_ONLY, EmotionStatus.AUDIO_VISUAL)


@dataclass(frozen=True, eq=False)
class Arc:
    """An arc so far. Arrays have one element per bin, oldest first; values of bins without evidence are NaN."""

    start_ns: int
    end_ns: int
    step: float  # s
    seconds: np.ndarray  # (N,) length of the bin within the arc, s (the last may be shorter than step)
    evidence_s: np.ndarray  # (N,) time with any evidence, s
    visual_s: np.ndarray  # (N,) time with a face, s
    acoustic_s: np.ndarray  # (N,) time with a voice, s
    text_s: np.ndarray  # (N,) time with words, s
    trust: np.ndarray  # (N,) 0..1, mean evidence weight over the bin, at most one trusted source
    probabilities: np.ndarray  # (N, 8) mean distribution
    confidence: np.ndarray  # (N,) mean confidence, 0..1
    valence: np.ndarray  # (N,) -1..1
    arousal: np.ndarray  # (N,) -1..1
    valence_sd: np.ndarray  # (N,) 0..1
    arousal_sd: np.ndarray  # (N,) 0..1
    sense_labels: np.ndarray  # (N, 3) int8, emotion that face, voice and words alone showed longest; -1: none
    smoothing: float  # s, sigma of the smoothing
    smooth_valence: np.ndarray  # (N,)
    smooth_arousal: np.ndarray  # (N,)
    smooth_valence_sd: np.ndarray  # (N,)
    turning_points: tuple[TurningPoint, ...]
    shape: ShapeMatch
    valence_trend: float  # per minute, NaN with fewer than two bins of evidence
    arousal_trend: float  # per minute, as above

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def duration(self) -> float:
        """From start to end, s."""
        return max(0, self.end_ns - self.start_ns) / SECOND

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: bins with evidence."""
        return self.trust > 0

    @property
    def times(self) -> np.ndarray:
        """(N,) middle of each bin, s from the start."""
        return np.arange(len(self)) * self.step + self.seconds / 2

    @property
    def labels(self) -> np.ndarray:
        """(N,) uint8, most probable emotion of each bin; 0 (meaningless) without evidence."""
        return np.where(self.known, np.nan_to_num(self.probabilities).argmax(axis=1), 0).astype(np.uint8)

    @property
    def status(self) -> np.ndarray:
        """(N,) uint8, :class:`EmotionStatus` of each bin: all modalities with evidence in it."""
        visual, acoustic = self.visual_s > 0, self.acoustic_s > 0
        status = np.where(visual, np.where(acoustic, 3, 1), 2)
        return np.where(self.known, status, 0).astype(np.uint8)


class EmotionalArc:
    """Collects samples of the emotion state into an arc. Bounded memory; not thread-safe.

    Args:
        start_ns: beginning of the first bin.
        step: length of a bin at first, s.
        hold: longest time for which a sample is valid, s.
        max_bins: merged in pairs beyond; even, at least 16.

    Raises:
        ValueError: step or hold is not positive, or max_bins is odd or too small.
    """

    def __init__(self, start_ns: int, step: float = 1.0, hold: float = 1.0, max_bins: int = 1200) -> None:
        if not step > 0 or not hold > 0:
            raise ValueError(f"step and hold must be positive, got {step} and {hold}")
        if max_bins < 16 or max_bins % 2:
            raise ValueError(f"max_bins must be even and at least 16, got {max_bins}")
        self.start_ns = start_ns
        self.dropped = 0  # samples out of order or from before the start
        self._step_ns = round(step * SECOND)
        self._hold_ns = round(hold * SECOND)
        self._max_bins = max_bins
        self._bins = np.zeros((64, _COLUMNS))
        self._last: ArcSample | None = None

    def add(self, sample: ArcSample) -> bool:
        """Add a sample; False, and counted, if it is not newer than the last or is from before the start."""
        if sample.time_ns < self.start_ns or (self._last is not None and sample.time_ns <= self._last.time_ns):
            self.dropped += 1
            return False
        if self._last is not None:
            self._make_room(min(sample.time_ns, self._last.time_ns + self._hold_ns))
            self._spread(self._bins, self._last, sample.time_ns)
        self._last = sample
        return True

    def arc(self, end_ns: int) -> Arc:
        """The arc from the start to ``end_ns``; time after the last sample's hold is a gap."""
        self._make_room(end_ns)
        bins = self._bins.copy()
        if self._last is not None and end_ns > self._last.time_ns:
            self._spread(bins, self._last, end_ns)
        count = max(0, math.ceil((end_ns - self.start_ns) / self._step_ns))
        return _make_arc(self.start_ns, max(end_ns, self.start_ns), self._step_ns / SECOND, bins[:count])

    def _make_room(self, until_ns: int) -> None:
        needed = math.ceil((until_ns - self.start_ns) / self._step_ns)
        while needed > self._max_bins:
            half = len(self._bins) // 2
            self._bins[:half] = self._bins[0::2] + self._bins[1::2]
            self._bins[half:] = 0
            self._step_ns *= 2
            needed = math.ceil((until_ns - self.start_ns) / self._step_ns)
        if needed > len(self._bins):
            size = min(self._max_bins, max(needed + needed % 2, 2 * len(self._bins)))
            self._bins = np.concatenate([self._bins, np.zeros((size - len(self._bins), _COLUMNS))])

    def _spread(self, bins: np.ndarray, sample: ArcSample, until_ns: int) -> None:
        """Add a sample to the bins from its time until the next sample, or until the end of its hold time."""
        if not sample.has_evidence:
            return
        row = _row(sample)
        now, end = sample.time_ns - self.start_ns, min(until_ns, sample.time_ns + self._hold_ns) - self.start_ns
        while now < end:
            index = now // self._step_ns
            if index >= len(bins):
                return
            edge = min(end, (index + 1) * self._step_ns)
            bins[index] += row * ((edge - now) / SECOND)
            now = edge


def _row(sample: ArcSample) -> np.ndarray:
    """The sums that one second of a sample adds to a bin."""
    p = sample.probabilities.astype(np.float64)
    trust = float(np.clip(sum(sample.weights), LEAST_TRUST, 1.0))
    spread = p @ (CIRCUMPLEX - p @ CIRCUMPLEX) ** 2  # (2,) variance of valence and arousal under the distribution
    row = np.empty(_COLUMNS)
    row[_EVIDENCE] = 1.0
    row[_VISUAL] = sample.status in _SEEN
    row[_ACOUSTIC] = sample.status in _HEARD
    row[_TEXT] = sample.weights[EmotionModality.TEXT] > 0
    row[_TRUST] = trust
    row[_CONFIDENCE] = trust * sample.confidence
    row[_VALENCE] = trust * sample.valence
    row[_AROUSAL] = trust * sample.arousal
    row[_VALENCE2] = trust * (sample.valence**2 + spread[0])
    row[_AROUSAL2] = trust * (sample.arousal**2 + spread[1])
    row[_PROBABILITIES] = trust * p
    row[_SENSE_LABELS] = (np.arange(_N) == np.array(sample.sense_labels)[:, None]).ravel()
    return row


def _make_arc(start_ns: int, end_ns: int, step: float, bins: np.ndarray) -> Arc:
    count, length = len(bins), (end_ns - start_ns) / SECOND
    seconds = np.full(count, step)
    if count:
        seconds[-1] = length - step * (count - 1)
    weight = bins[:, _TRUST]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = bins / weight[:, None]  # NaN where there is no evidence: 0 / 0
        # The last bin may hold a sample that reaches over the end.
        trust = np.minimum(weight / seconds, 1.0)
        widening = np.maximum(trust, LEAST_TRUST)
        valence_sd, arousal_sd = (
            np.clip(np.sqrt(np.maximum(mean[:, second] - mean[:, first] ** 2, 0.0) / widening), 0.0, 1.0)
            for first, second in ((_VALENCE, _VALENCE2), (_AROUSAL, _AROUSAL2))
        )
    by_sense = bins[:, _SENSE_LABELS].reshape(count, _SENSES, _N)
    smoothing = max(MIN_SMOOTHING_S, length * SMOOTHING_SHARE)
    smooth_valence, smooth_sd = smooth(mean[:, _VALENCE], valence_sd, trust, smoothing, step)
    smooth_arousal, _ = smooth(mean[:, _AROUSAL], arousal_sd, trust, smoothing, step)
    times = np.arange(count) * step + seconds / 2
    turning_points = find_turning_points(times, smooth_valence, smooth_sd)
    return Arc(
        start_ns=start_ns,
        end_ns=end_ns,
        step=step,
        seconds=seconds,
        evidence_s=np.minimum(bins[:, _EVIDENCE], seconds),
        visual_s=np.minimum(bins[:, _VISUAL], seconds),
        acoustic_s=np.minimum(bins[:, _ACOUSTIC], seconds),
        text_s=np.minimum(bins[:, _TEXT], seconds),
        trust=trust,
        probabilities=mean[:, _PROBABILITIES],
        confidence=mean[:, _CONFIDENCE],
        valence=mean[:, _VALENCE],
        arousal=mean[:, _AROUSAL],
        valence_sd=valence_sd,
        arousal_sd=arousal_sd,
        sense_labels=np.where(by_sense.any(axis=2), by_sense.argmax(axis=2), -1).astype(np.int8),
        smoothing=smoothing,
        smooth_valence=smooth_valence,
        smooth_arousal=smooth_arousal,
        smooth_valence_sd=smooth_sd,
        turning_points=turning_points,
        shape=match_shape(times, smooth_valence, smooth_sd, trust, float(bins[:, _EVIDENCE].sum())),
        valence_trend=_trend(times, mean[:, _VALENCE], trust),
        arousal_trend=_trend(times, mean[:, _AROUSAL], trust),
    )


def smooth(
    values: np.ndarray, sd: np.ndarray, trust: np.ndarray, sigma: float, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian mean of ``(N,)`` values over bins with evidence, and its standard deviation; NaN where there is none.

    Args:
        values: one per bin; NaN without evidence.
        sd: standard deviation of each value.
        trust: weight of each, 0 without evidence.
        sigma: width of the kernel, s.
        step: length of a bin, s.
    """
    if not len(values):
        return values, sd
    reach = min(len(values) - 1, math.ceil(3 * sigma / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / sigma) ** 2)

    def blur(series: np.ndarray) -> np.ndarray:
        return np.convolve(series, kernel)[reach : reach + len(series)]

    known = trust > 0
    filled = np.where(known, values, 0.0)
    variance = np.where(known, sd, 0.0) ** 2
    total = blur(trust)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, blur(trust * filled) / total, np.nan)
        # Kish's effective number of bins under the kernel, in independent pieces of evidence.
        squares = np.convolve(trust**2, kernel**2)[reach : reach + len(trust)]
        pieces = np.maximum(1.0, total**2 / squares * step / INDEPENDENT_S)
        deviation = np.where(known, np.sqrt(blur(trust * variance) / total / pieces), np.nan)
    return mean, deviation


def _trend(times: np.ndarray, values: np.ndarray, trust: np.ndarray) -> float:
    """Slope per minute by weighted least squares; NaN with fewer than two bins of evidence."""
    known = trust > 0
    if known.sum() < 2:
        return math.nan
    t, v, w = times[known] / 60, values[known], trust[known]
    t = t - np.average(t, weights=w)
    return float(w @ (t * v) / (w @ t**2))
