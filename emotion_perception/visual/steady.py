"""One face's expression over time, where somebody else follows the faces and hands over their pictures one by one."""

from __future__ import annotations

import numpy as np

from emotion_perception.emotions import VISUAL_INDICES, visual_to_vocabulary
from emotion_perception.hmm_filter import TemporalConfig, first_belief, next_belief, reported
from emotion_perception.types import SECOND, EmotionEstimate


class SteadyExpression:
    """The filter of ``visual_node`` (:mod:`emotion_perception.hmm_filter`) for a single face.

    Args:
        config: how steady; None: no filter, each picture by itself.
    """

    def __init__(self, config: TemporalConfig | None) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Forget what was seen, as after a jump in time."""
        self._belief: np.ndarray | None = None  # (7,)
        self._stamp_ns = 0

    def add(self, seen: EmotionEstimate, stamp_ns: int) -> EmotionEstimate:
        """What the face shows as of this picture, which is newer than the one before."""
        if self._config is None:
            return seen
        p = np.asarray(seen.probabilities, np.float64)[list(VISUAL_INDICES)]
        if self._belief is None:
            self._belief = first_belief(p, self._config)
        else:
            elapsed = (stamp_ns - self._stamp_ns) / SECOND
            self._belief = next_belief(self._belief, p, elapsed, self._config)
        self._stamp_ns = stamp_ns
        told = visual_to_vocabulary(reported(self._belief, self._config))
        return EmotionEstimate.from_probabilities(told, seen.intensities)
