"""Own-face baseline: some faces look sad or stern at rest, and some people smile with closed lips.

The expression network compares a face with everybody's. After some seconds of a face track it is also compared with its
own resting face. For each emotion, the *margin* is the log-likelihood ratio of the emotion against neutral (log of the
ratio of their probabilities under equal priors). The resting margin is a quantile of the track's own margins, from a
histogram that fades over minutes. An emotion then becomes as probable as neutral where its margin rises :data:`CLEAR`
above the resting one, instead of at 0: the margin changes by ``-(resting + CLEAR)``.

- **Anchored.** Only frames that can show a resting face are counted: those in which no margin exceeds the
  :data:`RESTING_LIMIT` of its emotion, which few people exceed at rest. A smile that the network recognises never
  counts; a face that looks somewhat sad or stern does. A frame that shows an expression by the baseline so far counts
  little, so a minute of slight smiles does not become the resting face.
- **Bounded.** A margin rises by at most :data:`MAX_RAISED` and falls by at most :data:`MAX_LOWERED`. It rises only as
  far as it deviates from the resting margin, so a face at rest remains as clearly neutral as before.
- **Slow.** The weight is 0 for a new track and 0.5 after ``half_s`` seconds of resting face. Lowering a margin takes
  :data:`LOWERING` times as long, because a face that looks sad at rest and a sad person look the same at first.
- **Speech.** A speaking mouth raises the margins of surprise, disgust and anger, so frames with an open and with a
  closed mouth have separate baselines. That of the closed mouth also takes frames with an open one, with less weight;
  the reverse would make the first words look like an expression.

Measured by ``scripts/measure_face_baseline.py``; docs/visual_model.md, "A person's own face".
"""

from __future__ import annotations

import math

import numpy as np

from emotion_perception.emotions import VISUAL_EMOTIONS

MAX_RAISED = 6.0  # largest increase of a margin, nats
MAX_LOWERED = 2.0  # largest decrease of a margin, nats
CLEAR = 1.5  # nats above the resting margin at which an emotion is as probable as neutral
LOWERING = 20.0  # times as much resting face is needed for the same weight of a decrease
MEMORY_S = 300.0  # time constant of the histogram, s of resting face
QUANTILE = 0.75  # of the margins at rest; above the median, because they vary with head pose and light
OPEN_MOUTH = (0.2, 0.3)  # mouth opening: below closed, above open, in between in part both
MIN_QUALITY, FULL_QUALITY = 0.5, 0.9  # face quality up to which the baseline is unused, and from which it counts fully
OPEN_AS_CLOSED = 0.4  # weight of frames with an open mouth in the baseline of the closed mouth
LONGEST_S = 0.2  # longest time that one frame represents
EXPRESSION_DECAY = 2.5  # per nat of the largest adapted margin above 0: decay of a frame's weight as resting face
MAX_PERSONS = 64  # known persons whose baselines are kept
MIN_WEIGHT = 0.01  # weight of a clear expression as resting face, so that no wrong baseline is permanent

# Largest margin at which a frame can show a resting face, nats: about the 95th percentile of neutral faces of FER+.
RESTING_LIMIT = np.array([{"sad": 1.5, "angry": 0.75}.get(name, 0.0) for name in VISUAL_EMOTIONS[1:]])  # (6,)
_EDGES = np.arange(-14.0, 4.01, 0.5)  # of the histogram's bins, nats; the first and last bin are open


class _Resting:
    """Distribution of the margins of a resting face in one state of the mouth."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._histogram = np.zeros((len(RESTING_LIMIT), len(_EDGES) + 1))

    def add(self, margins: np.ndarray, seconds: float) -> None:
        keep = math.exp(-seconds / MEMORY_S)
        self._histogram *= keep
        self._histogram[np.arange(len(margins)), np.searchsorted(_EDGES, margins)] += seconds
        self.seconds = keep * self.seconds + seconds

    def change(self, margins: np.ndarray, half_s: float) -> tuple[np.ndarray, float]:
        """Change ``(6,)`` of a frame's margins, and the weight of the baseline in it, 0..1."""
        if self.seconds <= 0:
            return np.zeros(len(margins)), 0.0
        at_rest = self._margins()
        wanted = np.clip(-(at_rest + CLEAR), -MAX_LOWERED, MAX_RAISED)
        deviation = np.clip((margins - at_rest) / CLEAR, 0, 1)
        weight = _growth(self.seconds, half_s)
        return wanted * np.where(wanted > 0, weight * deviation, _growth(self.seconds, LOWERING * half_s)), weight

    def _margins(self) -> np.ndarray:
        """The resting margin of each emotion, linear within its bin."""
        cumulative = np.cumsum(self._histogram, 1) / self.seconds
        bins = (cumulative >= min(QUANTILE, cumulative[0, -1])).argmax(1)
        rows, width = np.arange(len(bins)), _EDGES[1] - _EDGES[0]
        below = np.where(bins > 0, cumulative[rows, bins - 1], 0.0)
        share = (QUANTILE - below) / np.maximum(cumulative[rows, bins] - below, 1e-9)
        return np.asarray(_EDGES[0] + width * (bins - 1 + np.clip(share, 0, 1)))


class FaceBaseline:
    """Resting face of one person, and the expressions relative to it.

    Args:
        strength: 0..1, share of the correction that is applied.
        half_s: seconds of resting face after which half of it is applied.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> baseline = FaceBaseline(strength=1.0, half_s=3.0)
        >>> resting, slight_smile = np.full(7, 0.002), np.full(7, 0.002)
        >>> resting[0], slight_smile[0:2] = 1.0, (0.8, 0.2)
        >>> for _ in range(100):
        ...     adapted = baseline.adapt(resting, elapsed_s=0.1)
        >>> int(adapted.argmax()), int(baseline.adapt(slight_smile, 0.1).argmax())
        (0, 1)
    """

    def __init__(self, strength: float, half_s: float) -> None:
        if not 0 <= strength <= 1 or not half_s > 0:
            raise ValueError(f"strength must lie in 0..1 and half_s be positive, got {strength} and {half_s}")
        self._strength, self._half_s = strength, half_s
        self.reset()

    def reset(self) -> None:
        """Forget the resting face: another person."""
        self._states = (_Resting(), _Resting())  # mouth closed, mouth open
        self.weight = 0.0  # of the baseline in the newest result, 0..1

    @property
    def seconds(self) -> float:
        """Seconds of resting face that it stands for."""
        return max(state.seconds for state in self._states)

    def adapt(
        self, p: np.ndarray, elapsed_s: float, quality: float = 1.0, mouth_opening: float = math.nan
    ) -> np.ndarray:
        """The expression of the next frame relative to the resting face so far; then the frame is added to it.

        Args:
            p: ``(7,)`` probabilities of :data:`~emotion_perception.emotions.VISUAL_EMOTIONS` under equal priors.
            elapsed_s: time since the previous frame, >= 0.
            quality: 0..1, of the face.
            mouth_opening: 0..1; NaN, unknown, counts as closed.

        Returns:
            ``(7,)`` probabilities that sum to 1.
        """
        log_p = np.log(np.maximum(p, 1e-12))
        margins = log_p[1:] - log_p[0]
        is_open = 0.0 if math.isnan(mouth_opening) else _ramp(mouth_opening, *OPEN_MOUTH)
        usable = _ramp(quality, MIN_QUALITY, FULL_QUALITY)
        shares = ((self._states[0], 1 - is_open), (self._states[1], is_open))
        change, weight = np.zeros(len(margins)), 0.0
        for state, share in shares:
            of_state, known = state.change(margins, self._half_s)
            change, weight = change + share * of_state, weight + share * known
        change, self.weight = usable * self._strength * change, usable * self._strength * weight
        adapted = margins + change
        if usable > 0 and np.all(margins <= RESTING_LIMIT):
            resting = max(MIN_WEIGHT, math.exp(-EXPRESSION_DECAY * max(0.0, float(adapted.max()))))
            seconds = usable * resting * min(elapsed_s, LONGEST_S)
            self._states[0].add(margins, (1 - is_open + OPEN_AS_CLOSED * is_open) * seconds)
            self._states[1].add(margins, is_open * seconds)
        log_p[1:] = adapted + log_p[0]
        weights = np.exp(log_p - log_p.max())
        return np.asarray(weights / weights.sum())


class KnownFaces:
    """Baselines of known persons, which outlast their face tracks: numbers only, in memory, of MAX_PERSONS at most."""

    def __init__(self) -> None:
        self._baselines: dict[str, FaceBaseline] = {}  # by person id, longest unused first

    def baseline(self, person_id: str, current: FaceBaseline) -> FaceBaseline | None:
        """The baseline of a person whose face track has the baseline ``current`` so far.

        It is the one that stands for more seconds; ``current`` is not used if it is another person's. None: the person
        is new and ``current`` is another person's.
        """
        known = self._baselines.pop(person_id, None)
        if current not in self._baselines.values() and (known is None or known.seconds < current.seconds):
            known = current
        if known is not None:
            self._baselines[person_id] = known
            if len(self._baselines) > MAX_PERSONS:
                del self._baselines[next(iter(self._baselines))]
        return known


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _growth(seconds: float, half_s: float) -> float:
    """0 at first, 0.5 after ``half_s``, then towards 1; the first seconds count little."""
    return seconds**2 / (seconds**2 + half_s**2)
