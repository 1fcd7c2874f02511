"""Engagement of one person with the robot: a state machine with hysteresis.

The levels are those of ROS4HRI. Attention is the smoothed probability of a look at the robot; a person who speaks while
facing the robot is attentive, wherever the eyes wander.

=============  ===========  ==========================================================================================
from           to           when
=============  ===========  ==========================================================================================
any            UNKNOWN      attention has been unknown for ``UNKNOWN_AFTER`` s
UNKNOWN        DISENGAGED   attention is known
DISENGAGED     ENGAGING     attentive, and near or approaching
ENGAGING       ENGAGED      still attentive, near and not leaving after ``engage_after_s``, or ``SPEAKS_AFTER`` s if
                            speaking to the robot
ENGAGING       DISENGAGED   inattentive for ``LOST_AFTER`` s, or neither near nor approaching any more
ENGAGED        DISENGAGING  inattentive for ``disengage_after_s``, or ``LEAVES_AFTER`` s if leaving; or too far away
DISENGAGING    ENGAGED      attentive and near again
DISENGAGING    DISENGAGED   after ``disengage_after_s``
=============  ===========  ==========================================================================================

Every level lasts at least ``SHORTEST`` s, so that a subscriber at 10 Hz sees each of them; only UNKNOWN comes at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emotion_perception.attention.config import AttentionConfig
from emotion_perception.types import SECOND, Engagement

TRANSITIONS: dict[Engagement, frozenset[Engagement]] = {
    Engagement.UNKNOWN: frozenset({Engagement.DISENGAGED}),
    Engagement.DISENGAGED: frozenset({Engagement.ENGAGING, Engagement.UNKNOWN}),
    Engagement.ENGAGING: frozenset({Engagement.ENGAGED, Engagement.DISENGAGED, Engagement.UNKNOWN}),
    Engagement.ENGAGED: frozenset({Engagement.DISENGAGING, Engagement.UNKNOWN}),
    Engagement.DISENGAGING: frozenset({Engagement.ENGAGED, Engagement.DISENGAGED, Engagement.UNKNOWN}),
}
ATTENTIVE, INATTENTIVE = 0.6, 0.45  # smoothed attention from which a person is attentive, and under which not any more
SHORTEST = 0.3  # s
NOTICED_AFTER = 0.3  # s of attention before ENGAGING, and before ENGAGED again
SPEAKS_AFTER = 0.6  # s
LOST_AFTER = 0.8  # s
LEAVES_AFTER = 0.6  # s
UNKNOWN_AFTER = 1.0  # s
APPROACHING, LEAVING = 0.3, -0.4  # m/s
FAR_MARGIN = 1.2  # factor on the engagement distance beyond which an engaged person is too far away


@dataclass(frozen=True)
class Cues:
    """What is known of a person in one image."""

    attention: float  # 0..1, smoothed; NaN: not known
    distance: float = math.nan  # m; NaN: not known, which hinders nothing
    approach_speed: float = math.nan  # m/s
    speaking_to_robot: bool = False


class EngagementMachine:
    """The level of engagement of one person.

    Args:
        config: see :class:`AttentionConfig`.
    """

    def __init__(self, config: AttentionConfig) -> None:
        self._config = config
        self._level_ns: int | None = None  # since when the level is what it is
        self._attentive = False
        self._since: dict[str, int] = {}  # conditions that hold, and since when, ns
        self.level = Engagement.UNKNOWN

    def step(self, stamp_ns: int, cues: Cues) -> Engagement:
        """The level after one more image; stamps must not fall."""
        if self._level_ns is None:
            self._level_ns = stamp_ns
        wanted = self._next(stamp_ns, cues)
        if wanted != self.level and (wanted == Engagement.UNKNOWN or (stamp_ns - self._level_ns) / SECOND >= SHORTEST):
            self.level, self._level_ns = wanted, stamp_ns
            self._since.clear()
        return self.level

    def _next(self, stamp_ns: int, cues: Cues) -> Engagement:
        unknown = self._held("unknown", math.isnan(cues.attention), stamp_ns)
        if unknown >= UNKNOWN_AFTER:
            return Engagement.UNKNOWN
        if math.isnan(cues.attention):
            return self.level
        config = self._config
        self._attentive = cues.attention >= (INATTENTIVE if self._attentive else ATTENTIVE)
        attentive = self._held("attentive", self._attentive, stamp_ns)
        inattentive = self._held("inattentive", not self._attentive, stamp_ns)
        speaking = self._held("speaking", cues.speaking_to_robot, stamp_ns)
        near = not cues.distance > config.engagement_distance  # also if not known
        approaching, leaving = cues.approach_speed >= APPROACHING, cues.approach_speed <= LEAVING
        too_far = cues.distance > config.engagement_distance * FAR_MARGIN and not approaching
        far = self._held("far", too_far, stamp_ns) >= LOST_AFTER
        if self.level == Engagement.UNKNOWN:
            return Engagement.DISENGAGED
        if self.level == Engagement.DISENGAGED:
            return Engagement.ENGAGING if attentive >= NOTICED_AFTER and (near or approaching) else self.level
        if self.level == Engagement.ENGAGING:
            if inattentive >= LOST_AFTER or far:
                return Engagement.DISENGAGED
            wait = config.engage_after_s - NOTICED_AFTER
            convinced = attentive >= wait or (attentive > 0 and speaking >= SPEAKS_AFTER)
            return Engagement.ENGAGED if convinced and near and not leaving else self.level
        if self.level == Engagement.ENGAGED:
            lost = inattentive >= (LEAVES_AFTER if leaving else config.disengage_after_s)
            return Engagement.DISENGAGING if lost or far else self.level
        if attentive >= NOTICED_AFTER and near and not leaving:
            return Engagement.ENGAGED
        over = self._level_ns is not None and (stamp_ns - self._level_ns) / SECOND >= config.disengage_after_s
        return Engagement.DISENGAGED if over else self.level

    def _held(self, name: str, condition: bool, stamp_ns: int) -> float:
        """For how long a condition has held, s; 0 if it does not."""
        if not condition:
            self._since.pop(name, None)
            return 0.0
        return (stamp_ns - self._since.setdefault(name, stamp_ns)) / SECOND
