"""py_trees conditions on the emotion state.

They follow the conventions of py_trees_ros: nothing uses ROS before ``setup(node=...)``, so trees can be drawn without
it; :class:`.ToBlackboard` receives states, and conditions only read the blackboard. They work with ``py_trees`` and any
rclpy node (``BehaviourTree.setup(node=node)``), and in a ``py_trees_ros`` tree, which passes its node in the same way.

All conditions have these arguments:

=============  =====================================================================================================
enter, leave   score from which the condition is met, and below which it is no longer met (hysteresis)
hold           s for which consecutive messages must meet the condition
dwell          s for which SUCCESS is kept, while states are fresh and of the same person
max_age        s since capture (header stamp, node's clock); an older state is stale
on_stale       status while there is no fresh state: ``"FAILURE"`` (default), ``"SUCCESS"`` or ``"RUNNING"``
namespace      blackboard namespace of :class:`.ToBlackboard`, for several persons or robots in one tree
=============  =====================================================================================================

A fresh state with status NO_EVIDENCE always gives FAILURE: absence of a person is information, not a stale state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, TypedDict

import py_trees
from py_trees.common import Access, Status
from typing_extensions import Unpack

from emotion_perception.behaviours.decision import (
    SATISFIED,
    UPSET,
    EmotionMass,
    EvidenceOf,
    Judge,
    Limits,
    Newcomer,
    OnStale,
    Rest,
    Scorer,
    Snapshot,
    ValenceDrop,
    Verdict,
)
from emotion_perception.behaviours.to_blackboard import NAMESPACE, clock_of, node_from
from emotion_perception.behaviours.trend import ValenceTrend


class _Judged(Protocol):
    def judge(self, snapshot: Any, now_ns: int) -> Verdict: ...


class EmotionCondition(py_trees.behaviour.Behaviour):
    """Base of the conditions: applies a decision rule to the snapshot on the blackboard.

    For your own condition, pass a :class:`decision.Judge` with your own scorer.

    Args:
        name: name of the behaviour.
        judge: the decision rule.
        on_stale: status while there is no fresh state.
        namespace: blackboard namespace of :class:`.ToBlackboard`.

    Blackboard Variables:
        * /emotion/snapshot: the last state (r)
    """

    KEY: ClassVar[str] = "snapshot"  # blackboard variable that the judge is given

    def __init__(self, name: str, judge: _Judged, on_stale: str = "FAILURE", namespace: str = NAMESPACE) -> None:
        super().__init__(name=name)
        try:
            self.on_stale = OnStale(on_stale)
        except ValueError:
            raise ValueError(f"on_stale must be FAILURE, SUCCESS or RUNNING, got {on_stale!r}") from None
        self.judge = judge
        self._now: Callable[[], int] | None = None
        self.blackboard = self.attach_blackboard_client(name=name, namespace=namespace)
        self.blackboard.register_key(key=self.KEY, access=Access.READ)

    def setup(self, **kwargs: Any) -> None:
        """Use the node's clock.

        Raises:
            KeyError: ``setup`` was called without ``node=``.
        """
        self._now = clock_of(node_from(self, kwargs))

    def update(self) -> Status:
        """SUCCESS, FAILURE, or ``on_stale`` without a fresh state."""
        assert self._now is not None, "call setup(node=...) first"
        snapshot = self.blackboard.get(self.KEY) if self.blackboard.exists(self.KEY) else None
        verdict = self.judge.judge(snapshot, self._now())
        self.feedback_message = verdict.reason
        if verdict.answer is None:
            return Status[self.on_stale.value]
        return Status.SUCCESS if verdict.answer else Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        """Clear the feedback message of an earlier tick."""
        if new_status is Status.INVALID:
            self.feedback_message = ""


class EvidenceArguments(TypedDict, total=False):
    """Arguments that every condition takes, by keyword; for meaning and defaults see :class:`ScoreCondition`."""

    dwell: float
    max_age: float
    on_stale: str
    namespace: str


class TimingArguments(EvidenceArguments, total=False):
    """Those of a condition that has thresholds of its own."""

    hold: float


class ScoreArguments(TimingArguments, total=False):
    """Those of a condition with the usual thresholds."""

    enter: float
    leave: float


class ScoreCondition(EmotionCondition):
    """Base of the conditions that compare a score of the state with two thresholds; subclasses choose the score.

    Args:
        name: name of the behaviour.
        scorer: computes the score.
        enter, leave, hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str,
        scorer: Scorer[Snapshot],
        enter: float = 0.6,
        leave: float = 0.4,
        hold: float = 1.0,
        dwell: float = 0.0,
        max_age: float = 2.0,
        on_stale: str = "FAILURE",
        namespace: str = NAMESPACE,
    ) -> None:
        super().__init__(name, Judge(scorer, Limits(enter, leave, hold, dwell, max_age)), on_stale, namespace)


class IsEmotion(ScoreCondition):
    """The person shows one of some emotions: the sum of their probabilities against the thresholds.

    Usage::

        IsEmotion("Angry or fearful?", ["angry", "fearful"], enter=0.6, leave=0.4, hold=0.5)

    Args:
        name: name of the behaviour.
        emotions: names of the vocabulary, a list or ``"angry;fearful"``.
        enter, leave: probability, 0..1.
        hold, dwell, max_age, on_stale, namespace: see the module.

    Raises:
        ValueError: an unknown emotion or invalid limits.
    """

    def __init__(
        self,
        name: str,
        emotions: str | Iterable[str],
        enter: float = 0.6,
        leave: float = 0.4,
        hold: float = 0.5,
        **limits: Unpack[EvidenceArguments],
    ) -> None:
        super().__init__(name, EmotionMass.of(emotions), enter, leave, hold, **limits)


class IsUpset(ScoreCondition):
    """The person is sad, angry, fearful or disgusted: the sum of the four probabilities.

    Usage::

        IsUpset("Upset for 3 s?", hold=3.0)

    Args:
        name: name of the behaviour.
        enter, leave: probability, 0..1.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(self, name: str = "Upset?", **limits: Unpack[ScoreArguments]) -> None:
        super().__init__(name, EmotionMass(UPSET), **limits)


class IsSatisfied(ScoreCondition):
    """The person is calm or happy: the sum of the two probabilities. Neutral is neither upset nor satisfied.

    Usage::

        IsSatisfied("Satisfied?", hold=2.0)

    Args:
        name: name of the behaviour.
        enter, leave: probability, 0..1.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(self, name: str = "Satisfied?", **limits: Unpack[ScoreArguments]) -> None:
        super().__init__(name, EmotionMass(SATISFIED), **limits)


class HasEvidence(ScoreCondition):
    """There is current evidence from a face or a voice.

    Usage::

        HasEvidence("Somebody there?")
        HasEvidence("Face in view for a second?", modality="visual", hold=1.0)

    Args:
        name: name of the behaviour.
        modality: ``any``, ``visual``, ``acoustic`` or ``both``.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Somebody there?",
        modality: str = "any",
        hold: float = 0.0,
        **limits: Unpack[EvidenceArguments],
    ) -> None:
        super().__init__(name, EvidenceOf(modality), enter=0.5, leave=0.5, hold=hold, **limits)


class IsGrowingUnhappy(ScoreCondition):
    """Valence has fallen by ``enter`` from the person's maximum of the last ``window`` s, and is under ``below``.

    Usage::

        IsGrowingUnhappy("Growing unhappy?", enter=0.4, leave=0.2)

    Args:
        name: name of the behaviour.
        enter, leave: fall of valence, 0..2.
        window: s over which the maximum is taken.
        below: valence, -1..1.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Growing unhappy?",
        enter: float = 0.4,
        leave: float = 0.2,
        window: float = 30.0,
        below: float = -0.15,
        **limits: Unpack[TimingArguments],
    ) -> None:
        super().__init__(name, ValenceDrop(window, below), enter, leave, **limits)


class EmotionTrend(ScoreCondition):
    """Valence falls, or rises, by ``enter`` over ``window`` s: the trend of all states, not of two moments.

    Notices a slow decline earlier than :class:`IsGrowingUnhappy`, which compares with the best moment.

    Usage::

        EmotionTrend("Growing unhappy for 20 s?", window=20.0, enter=0.3, leave=0.15)

    Args:
        name: name of the behaviour.
        enter, leave: change of valence over the window, 0..2.
        window: s; with less than half of it observed, the condition is not met.
        direction: ``falling`` or ``rising``.
        below: valence, -1..1, that it must be under; 1: any.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Valence falling?",
        enter: float = 0.3,
        leave: float = 0.15,
        window: float = 20.0,
        direction: str = "falling",
        below: float = -0.15,
        **limits: Unpack[TimingArguments],
    ) -> None:
        super().__init__(name, ValenceTrend(window, direction, below), enter, leave, **limits)


class IsNewcomer(EmotionCondition):
    """A person arrived after a time without anybody: SUCCESS for ``lasts`` s, once per person.

    Usage::

        IsNewcomer("Newcomer?", lasts=3.0, away=5.0)

    Args:
        name: name of the behaviour.
        hold: s of evidence before a person counts.
        lasts: s for which SUCCESS is returned.
        away: s without anybody before the next person counts as new.
        forget_after: s after which a known ``person_id`` is new again.
        max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Newcomer?",
        hold: float = 0.5,
        lasts: float = 3.0,
        away: float = 5.0,
        forget_after: float = 300.0,
        max_age: float = 2.0,
        on_stale: str = "FAILURE",
        namespace: str = NAMESPACE,
    ) -> None:
        super().__init__(name, Newcomer(hold, lasts, away, forget_after, max_age), on_stale, namespace)


class Resting(py_trees.decorators.Decorator):
    """Decorator of a condition: FAILURE for ``seconds`` after its SUCCESS has ended, so that reactions do not repeat.

    Each ``person_id`` has a rest of its own.

    Usage::

        Resting("Not again for 20 s", IsEmotion("Happy?", "happy"), seconds=20.0)

    Args:
        name: name of the decorator.
        child: the condition.
        seconds: rest between two runs, s.
        namespace: blackboard namespace of :class:`.ToBlackboard`.

    Blackboard Variables:
        * /emotion/snapshot: the last state, for its ``person_id`` (r)
    """

    def __init__(
        self, name: str, child: py_trees.behaviour.Behaviour, seconds: float, namespace: str = NAMESPACE
    ) -> None:
        super().__init__(name=name, child=child)
        self._rest = Rest(seconds)
        self._now: Callable[[], int] | None = None
        self.blackboard = self.attach_blackboard_client(name=name, namespace=namespace)
        self.blackboard.register_key(key="snapshot", access=Access.READ)

    def setup(self, **kwargs: Any) -> None:
        """Use the node's clock.

        Raises:
            KeyError: ``setup`` was called without ``node=``.
        """
        self._now = clock_of(node_from(self, kwargs))

    def update(self) -> Status:
        """Status of the child, except while resting."""
        assert self._now is not None, "call setup(node=...) first"
        self.feedback_message = ""
        if self.decorated.status is not Status.SUCCESS:
            return self.decorated.status
        snapshot = self.blackboard.snapshot if self.blackboard.exists("snapshot") else None
        if self._rest.allow("" if snapshot is None else snapshot.state.person_id, self._now()):
            return Status.SUCCESS
        self.feedback_message = "resting"
        return Status.FAILURE
