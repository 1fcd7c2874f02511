"""Decision rules on the attention and engagement of persons. No ROS, no py_trees.

The rules of :mod:`.decision` hold here as well: age is measured from the stamp, hold time is covered by messages. An
unknown value (NaN, level UNKNOWN) is no answer: the condition gives ``on_stale`` then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from emotion_perception.behaviours.decision import Judge, Limits, Verdict
from emotion_perception.behaviours.freshness import Freshness, describe_freshness, judge_freshness
from emotion_perception.types import Engagement, PersonState

WHO = ("partner", "anybody")  # whom a condition is about: the conversation partner, or any person in view


@dataclass(frozen=True)
class PersonsSnapshot:
    """The last array of persons received, and its time of arrival."""

    states: tuple[PersonState, ...]
    stamp_ns: int  # of the array
    received_ns: int  # node's clock, ns


@dataclass(frozen=True)
class PersonSnapshot:
    """One person of an array."""

    state: PersonState
    received_ns: int

    @property
    def stamp_ns(self) -> int:
        """Time of capture, ns."""
        return self.state.stamp_ns

    @property
    def person(self) -> str:
        """The person, or the face where the person is not known."""
        return self.state.person_id or self.state.face_id

    @property
    def has_evidence(self) -> bool:
        """Always: a person who is not there is not in the array."""
        return True


class PersonScorer(Protocol):
    """Computes a score from one person's state; NaN: not known."""

    def score(self, snapshot: PersonSnapshot, /) -> float:
        """Score of a new state."""

    def reset(self) -> None:
        """Drop the history."""


class _Stateless:
    def reset(self) -> None:
        """No history is kept."""


class EngagementScore(_Stateless):
    """1 for ENGAGED, 0.5 for DISENGAGING and ENGAGING, 0 for DISENGAGED; NaN for UNKNOWN."""

    def score(self, snapshot: PersonSnapshot) -> float:
        """0, 0.5, 1 or NaN."""
        return {Engagement.UNKNOWN: math.nan, Engagement.DISENGAGED: 0.0, Engagement.ENGAGED: 1.0}.get(
            snapshot.state.engagement, 0.5
        )


class LookingScore(_Stateless):
    """Probability of a look at the robot, 0..1."""

    def score(self, snapshot: PersonSnapshot) -> float:
        """The probability."""
        return snapshot.state.looking


class SpeakingScore(_Stateless):
    """Probability of speaking, 0..1."""

    def score(self, snapshot: PersonSnapshot) -> float:
        """The probability."""
        return snapshot.state.speaking


class ApproachScore(_Stateless):
    """Approach speed, m/s, within a distance; 0 beyond it.

    Args:
        within: distance, m.
    """

    def __init__(self, within: float) -> None:
        if not within > 0:
            raise ValueError(f"within must be more than 0 m, got {within:g}")
        self.within = within

    def score(self, snapshot: PersonSnapshot) -> float:
        """The speed; NaN where speed or distance are not known."""
        if math.isnan(snapshot.state.distance):
            return math.nan
        return snapshot.state.approach_speed if snapshot.state.distance <= self.within else 0.0


class PersonJudge:
    """A condition on the conversation partner, or on any person in view.

    Nobody of that kind in view is a negative answer. With ``anybody``, one person who meets the condition is enough;
    hysteresis and hold time run for each person separately.

    Args:
        scorer: stateless; it is used for all persons.
        limits: thresholds and times.
        who: ``partner`` or ``anybody``.

    Raises:
        ValueError: ``who`` is neither.
    """

    def __init__(self, scorer: PersonScorer, limits: Limits | None = None, who: str = "partner") -> None:
        if who not in WHO:
            raise ValueError(f"who must be one of {', '.join(WHO)}, got {who!r}")
        self.scorer, self.limits, self.who = scorer, limits or Limits(), who
        self._judges: dict[str, Judge[PersonSnapshot]] = {}
        self._snapshot: PersonsSnapshot | None = None
        self._persons: dict[str, PersonSnapshot] = {}

    def judge(self, snapshot: PersonsSnapshot | None, now_ns: int) -> Verdict:
        """The answer at ``now_ns``; a repeated snapshot counts once."""
        freshness, age = judge_freshness(snapshot, now_ns, self.limits.max_age, self.limits.future_tolerance)
        if freshness is not Freshness.FRESH or snapshot is None:
            self._judges.clear()
            self._snapshot = None
            return Verdict(None, describe_freshness(freshness, age))
        if snapshot is not self._snapshot:
            self._take(snapshot)
        if not self._persons:
            return Verdict(False, "nobody" if self.who == "anybody" else "no conversation partner")
        verdicts = []
        for name, person in self._persons.items():
            if math.isnan(self.scorer.score(person)):
                self._judges.pop(name, None)
                verdicts.append(Verdict(None, f"{name or 'person'}: unknown"))
                continue
            judge = self._judges.setdefault(name, Judge(self.scorer, self.limits))
            verdict = judge.judge(person, now_ns)
            verdicts.append(Verdict(verdict.answer, f"{name or 'person'}: {verdict.reason}", verdict.score))
        # One who meets the condition, else one who is known not to, else the reason why nothing is known.
        return max(
            verdicts, key=lambda verdict: (verdict.answer is True, verdict.answer is False, verdict.score or 0.0)
        )

    def _take(self, snapshot: PersonsSnapshot) -> None:
        self._snapshot = snapshot
        chosen = [state for state in snapshot.states if self.who == "anybody" or state.is_partner]
        persons = (PersonSnapshot(state, snapshot.received_ns) for state in chosen)
        self._persons = {person.person: person for person in persons}
        self._judges = {name: judge for name, judge in self._judges.items() if name in self._persons}
