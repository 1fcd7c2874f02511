"""Decision rules on an emotion state: freshness, thresholds with hysteresis, hold time. No ROS, no py_trees.

Time is always an argument, in nanoseconds of the clock that stamped the states, so that tests and simulated time need
no special treatment. Three rules prevent reactions to outdated states:

- **Age is measured from the stamp**, the time of capture. A latched message that arrives late is as old as its stamp.
- **A stamp ahead of the clock is not fresh**, nor is any state received before the clock jumped back.
- **Hold time is covered by messages.** A single message without a successor does not satisfy a hold time.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Generic, Protocol, TypeVar

from emotion_perception.behaviours.freshness import Freshness, describe_freshness, judge_freshness
from emotion_perception.emotions import ANGRY, CALM, DISGUSTED, FEARFUL, HAPPY, SAD, emotion_index
from emotion_perception.types import SECOND, EmotionState, EmotionStatus

UPSET: tuple[int, ...] = (SAD, ANGRY, FEARFUL, DISGUSTED)  # surprise may be pleasant or not: it is in neither group
SATISFIED: tuple[int, ...] = (CALM, HAPPY)
MAX_PERSONS = 256  # maximum number of persons stored by Newcomer and Rest


class OnStale(str, Enum):
    """Result of a condition while there is no fresh state (nothing yet, stale, from the future)."""

    FAILURE = "FAILURE"  # do not react
    SUCCESS = "SUCCESS"  # continue as if the condition were met, for guards
    RUNNING = "RUNNING"  # wait until there is one


class Observation(Protocol):
    """Something about one person that a condition can be about."""

    @property
    def stamp_ns(self) -> int:
        """Time of capture, ns."""

    @property
    def received_ns(self) -> int:
        """Time of arrival on the node's clock, ns."""

    @property
    def person(self) -> str:
        """The person; empty if unknown."""

    @property
    def has_evidence(self) -> bool:
        """False: there is nobody, which is an answer."""


Observed = TypeVar("Observed", bound=Observation)
Scored = TypeVar("Scored", bound=Observation, contravariant=True)


@dataclass(frozen=True)
class Snapshot:
    """The last state received, and its time of arrival."""

    state: EmotionState
    received_ns: int  # node's clock, ns

    @property
    def stamp_ns(self) -> int:
        """Time of capture, ns."""
        return self.state.stamp_ns

    @property
    def person(self) -> str:
        """The person; empty if unknown."""
        return self.state.person_id

    @property
    def has_evidence(self) -> bool:
        """Whether the state rests on a face or a voice."""
        return self.state.status != EmotionStatus.NO_EVIDENCE


@dataclass(frozen=True)
class Limits:
    """Thresholds and times of a condition.

    Raises:
        ValueError: a limit is not finite or out of range, or ``leave`` is above ``enter``.
    """

    enter: float = 0.6  # score from which the condition is met
    leave: float = 0.4  # score below which it is no longer met; the gap to `enter` is the hysteresis
    hold: float = 0.0  # s for which consecutive messages must meet it
    dwell: float = 0.0  # s for which a positive answer is kept while states are fresh and of the same person
    max_age: float = 2.0  # s from the stamp; an older state is stale
    future_tolerance: float = 0.5  # s a stamp may be ahead of the clock: clocks of two machines differ slightly

    def __post_init__(self) -> None:
        for name in ("enter", "leave", "hold", "dwell", "max_age", "future_tolerance"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")
            if name in ("hold", "dwell", "future_tolerance") and value < 0:
                raise ValueError(f"{name} must be at least 0 s, got {value:g}")
        if self.max_age <= 0:
            raise ValueError(f"max_age must be more than 0 s, got {self.max_age:g}")
        if self.leave > self.enter:
            raise ValueError(f"leave ({self.leave:g}) must not be above enter ({self.enter:g})")


@dataclass(frozen=True)
class Verdict:
    """A condition's answer and the reason for it."""

    answer: bool | None  # None: there is no fresh state
    reason: str
    score: float | None = None


class Scorer(Protocol[Scored]):
    """Computes a score from states; may use earlier states of the same person."""

    def score(self, snapshot: Scored, /) -> float:
        """Score of a new state with evidence."""

    def reset(self) -> None:
        """Drop the history: another person, or a gap between states."""


class EmotionMass:
    """The probability of a set of emotions, 0..1."""

    def __init__(self, indices: Iterable[int]) -> None:
        self.indices = tuple(dict.fromkeys(indices))
        if not self.indices:
            raise ValueError("name at least one emotion")

    @classmethod
    def of(cls, names: str | Iterable[str]) -> EmotionMass:
        """From names; several in one string are separated by ``;`` as in BehaviorTree.CPP.

        Raises:
            ValueError: no name, or one that is not in the vocabulary.
        """
        parts = names.split(";") if isinstance(names, str) else names
        return cls(emotion_index(name) for name in parts)

    def score(self, snapshot: Snapshot) -> float:
        """Sum of the probabilities."""
        return float(sum(snapshot.state.emotion.probabilities[index] for index in self.indices))

    def reset(self) -> None:
        """No history is kept."""


class EvidenceOf:
    """1 while the state is based on the requested modalities, else 0."""

    _STATUSES: ClassVar[dict[str, set[EmotionStatus]]] = {
        "any": {EmotionStatus.VISUAL_ONLY, EmotionStatus.ACOUSTIC_ONLY, EmotionStatus.AUDIO_VISUAL},
        "visual": {EmotionStatus.VISUAL_ONLY, EmotionStatus.AUDIO_VISUAL},
        "acoustic": {EmotionStatus.ACOUSTIC_ONLY, EmotionStatus.AUDIO_VISUAL},
        "both": {EmotionStatus.AUDIO_VISUAL},
    }

    def __init__(self, modality: str = "any") -> None:
        if modality not in self._STATUSES:
            raise ValueError(f"modality must be one of {', '.join(self._STATUSES)}, got {modality!r}")
        self.accepted = self._STATUSES[modality]

    def score(self, snapshot: Snapshot) -> float:
        """1 or 0."""
        return float(snapshot.state.status in self.accepted)

    def reset(self) -> None:
        """No history is kept."""


class ValenceDrop:
    """Fall of valence, smoothed over about a second, from its maximum in the last ``window`` s, 0..2.

    0 unless valence is under ``below``: a fall from delighted to content is not a reason to react, and the valence of
    an expressionless face is rarely estimated as exactly 0.
    """

    SMOOTHING = 1.0  # s, time constant; also the time before a maximum counts

    def __init__(self, window: float = 30.0, below: float = -0.15) -> None:
        if not window > self.SMOOTHING:
            raise ValueError(f"window must be more than {self.SMOOTHING:g} s, got {window:g}")
        self.window = window
        self.below = below
        self._peaks: deque[tuple[int, float]] = deque()  # decreasing valence, oldest first: the first is the maximum
        self._first_ns = self._last_ns = 0
        self._valence = math.nan

    def score(self, snapshot: Snapshot) -> float:
        """Fall of valence, 0..2."""
        now, valence = snapshot.received_ns, snapshot.state.emotion.valence
        if math.isnan(self._valence):
            self._first_ns, self._valence = now, valence
        else:
            step, watched = max(0, now - self._last_ns), max(1, now - self._first_ns)
            # A plain mean at first, so that the first state does not count more than the others.
            share = max(1.0 - math.exp(-step / SECOND / self.SMOOTHING), step / watched)
            self._valence += share * (valence - self._valence)
        self._last_ns = now
        if now - self._first_ns >= self.SMOOTHING * SECOND:
            while self._peaks and self._peaks[-1][1] <= self._valence:
                self._peaks.pop()
            self._peaks.append((now, self._valence))
            while now - self._peaks[0][0] > self.window * SECOND:
                self._peaks.popleft()
        if not self._peaks or self._valence >= self.below:
            return 0.0
        return self._peaks[0][1] - self._valence

    def reset(self) -> None:
        """Drop the person's history."""
        self._peaks.clear()
        self._valence = math.nan


class Judge(Generic[Observed]):
    """One condition on the state: a score with hysteresis and hold time.

    It is reset by another person, NO_EVIDENCE, a stale state, a backward clock jump, and a gap of more than ``max_age``
    between consecutive states.
    """

    def __init__(self, scorer: Scorer[Observed], limits: Limits | None = None) -> None:
        self.scorer = scorer
        self.limits = limits or Limits()
        self.reset()

    def reset(self) -> None:
        """Drop all history."""
        self._snapshot: Observed | None = None
        self._score = 0.0
        self._person_id = ""
        self._above_since: int | None = None  # ns, arrival of the first of the consecutive states above the threshold
        self._yes_since: int | None = None  # ns
        self.scorer.reset()

    def judge(self, snapshot: Observed | None, now_ns: int) -> Verdict:
        """The answer at ``now_ns``; a repeated snapshot counts once."""
        limits = self.limits
        freshness, age = judge_freshness(snapshot, now_ns, limits.max_age, limits.future_tolerance)
        if freshness is not Freshness.FRESH or snapshot is None:
            self.reset()
            return Verdict(None, describe_freshness(freshness, age))
        if not snapshot.has_evidence:
            self.reset()
            return Verdict(False, "no evidence")
        if snapshot is not self._snapshot:
            self._take(snapshot)
        held = 0.0 if self._above_since is None else (snapshot.received_ns - self._above_since) / SECOND
        words = f"{self._score:.2f}"
        if self._above_since is not None and held >= limits.hold:
            if self._yes_since is None:
                self._yes_since = now_ns
            return Verdict(True, f"{words} for {held:.1f} s", self._score)
        if self._yes_since is not None and now_ns - self._yes_since < limits.dwell * SECOND:
            return Verdict(True, f"{words}, dwelling", self._score)
        self._yes_since = None
        if self._above_since is not None:
            return Verdict(False, f"{words} for {held:.1f} of {limits.hold:g} s", self._score)
        return Verdict(False, f"{words} < {limits.enter:g}", self._score)

    def _take(self, snapshot: Observed) -> None:
        person_id = snapshot.person
        another = bool(person_id and self._person_id and person_id != self._person_id)
        if another or (
            self._snapshot is not None and not self._goes_on(self._snapshot.received_ns, snapshot.received_ns)
        ):
            self.reset()
        self._snapshot = snapshot
        self._person_id = person_id or self._person_id
        self._score = self.scorer.score(snapshot)
        threshold = self.limits.enter if self._above_since is None else self.limits.leave
        if not self._score >= threshold:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = snapshot.received_ns

    def _goes_on(self, before_ns: int, now_ns: int) -> bool:
        """Whether two states are consecutive: no jump back, no long gap."""
        step = (now_ns - before_ns) / SECOND
        return -self.limits.future_tolerance <= step <= self.limits.max_age


@dataclass
class Newcomer:
    """Arrival of a person: a positive answer for ``lasts`` s, once per person.

    A person is new after at least ``away`` s without anybody, unless the same ``person_id`` was present less than
    ``forget_after`` s ago. Time in which the condition is not ticked, because a more urgent branch runs, is no absence.
    """

    hold: float = 0.5  # s of evidence before it counts
    lasts: float = 3.0  # s
    away: float = 5.0  # s
    forget_after: float = 300.0  # s
    max_age: float = 2.0  # s from the stamp; an older state is stale
    future_tolerance: float = 0.5  # s
    _pending: bool = field(default=True, init=False)
    _here_since: int | None = field(default=None, init=False)
    _absent_since: int | None = field(default=None, init=False)
    _greet_until: int | None = field(default=None, init=False)
    _asked_ns: int | None = field(default=None, init=False)
    _known: OrderedDict[str, int] = field(default_factory=OrderedDict, init=False)  # person to last seen, ns

    def __post_init__(self) -> None:
        for name in ("hold", "lasts", "away", "forget_after", "future_tolerance"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0 s, got {getattr(self, name)}")
        if not self.max_age > 0:
            raise ValueError(f"max_age must be more than 0 s, got {self.max_age}")

    def judge(self, snapshot: Snapshot | None, now_ns: int) -> Verdict:
        """The answer at ``now_ns``."""
        step = 0.0 if self._asked_ns is None else (now_ns - self._asked_ns) / SECOND
        if step < -self.future_tolerance:  # the clock jumped back: all stored times are invalid
            self._pending, self._here_since, self._greet_until = True, None, None
            self._known.clear()
        if step < -self.future_tolerance or step > self.max_age:
            self._absent_since = None
        self._asked_ns = now_ns
        freshness, age = judge_freshness(snapshot, now_ns, self.max_age, self.future_tolerance)
        present = snapshot is not None and snapshot.state.status != EmotionStatus.NO_EVIDENCE
        if freshness is not Freshness.FRESH or snapshot is None or not present:
            self._here_since = None
            if self._absent_since is None:
                self._absent_since = now_ns
            self._pending = self._pending or now_ns - self._absent_since >= self.away * SECOND
            if freshness is not Freshness.FRESH:
                return Verdict(None, describe_freshness(freshness, age))
            return Verdict(False, "no evidence")
        self._absent_since = None
        if self._here_since is None:
            self._here_since = snapshot.received_ns
        self._decide(snapshot, now_ns)
        if self._pending:
            return Verdict(False, "somebody is coming")
        if self._greet_until is not None and now_ns < self._greet_until:
            return Verdict(True, snapshot.state.person_id or "somebody new")
        return Verdict(False, "met before")

    def _decide(self, snapshot: Snapshot, now_ns: int) -> None:
        assert self._here_since is not None
        if self._pending and snapshot.received_ns - self._here_since < self.hold * SECOND:
            return
        person_id = snapshot.state.person_id
        if self._pending:
            self._pending = False
            seen = self._known.get(person_id)
            if seen is None or now_ns - seen >= self.forget_after * SECOND:
                self._greet_until = now_ns + round(self.lasts * SECOND)
        if person_id:
            self._known[person_id] = now_ns
            self._known.move_to_end(person_id)
            if len(self._known) > MAX_PERSONS:
                self._known.popitem(last=False)


class Rest:
    """Allows a reaction to a person while its reason lasts, then blocks it for ``seconds``.

    Each person has a rest of their own. A state without a ``person_id`` counts as the person of the last reaction.
    """

    def __init__(self, seconds: float, grace: float = 1.0) -> None:
        if not (seconds >= 0 and grace >= 0):
            raise ValueError(f"seconds and grace must be at least 0, got {seconds} and {grace}")
        self.seconds = seconds
        self.grace = grace  # s; a shorter interruption, such as a missed tick, does not end the run
        self._last: OrderedDict[str, int] = OrderedDict()  # person to the last reaction, ns; least recent first

    def allow(self, person_id: str, now_ns: int) -> bool:
        """Whether the reaction may run at ``now_ns``; call it while there is a reason for it."""
        if not person_id and self._last:
            person_id = next(reversed(self._last))
        # A reaction to somebody without an id may have been to this person.
        last = [self._last[known] for known in {person_id, ""} if known in self._last]
        if last and self.grace < (now_ns - max(last)) / SECOND < self.seconds:
            return False
        self._last[person_id] = now_ns
        self._last.move_to_end(person_id)
        if len(self._last) > MAX_PERSONS:
            self._last.popitem(last=False)
        return True
