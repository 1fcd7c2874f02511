"""py_trees conditions on the attention of persons: engaged, attending, speaking, approaching.

They read what :class:`.PersonsToBlackboard` receives and have the arguments of :mod:`.conditions`; ``hold`` and
``dwell`` run for each person separately. ``who`` is ``partner``, the conversation partner, or ``anybody`` in view.
Nobody of that kind in view is FAILURE; a value that is not known, or no fresh message, is ``on_stale``: with
``on_stale="SUCCESS"`` a condition restricts a reaction only where attention is known.
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import Unpack

from emotion_perception.behaviours.conditions import EmotionCondition, EvidenceArguments
from emotion_perception.behaviours.decision import Limits
from emotion_perception.behaviours.person_decision import (
    ApproachScore,
    EngagementScore,
    LookingScore,
    PersonJudge,
    PersonScorer,
    SpeakingScore,
)
from emotion_perception.behaviours.to_blackboard import NAMESPACE


class PersonCondition(EmotionCondition):
    """Base of the conditions on persons: compares a score with two thresholds; subclasses choose the score.

    Args:
        name: name of the behaviour.
        scorer: computes the score of a person.
        who: ``partner`` or ``anybody``.
        enter, leave, hold, dwell, max_age, on_stale, namespace: see :mod:`.conditions`.

    Blackboard Variables:
        * /emotion/persons: the last array of persons (r)
    """

    KEY: ClassVar[str] = "persons"

    def __init__(
        self,
        name: str,
        scorer: PersonScorer,
        who: str = "partner",
        enter: float = 0.6,
        leave: float = 0.4,
        hold: float = 0.0,
        dwell: float = 0.0,
        max_age: float = 2.0,
        on_stale: str = "FAILURE",
        namespace: str = NAMESPACE,
    ) -> None:
        judge = PersonJudge(scorer, Limits(enter, leave, hold, dwell, max_age), who)
        super().__init__(name, judge, on_stale, namespace)


class IsEngaged(PersonCondition):
    """The person is engaged with the robot: from ENGAGED until DISENGAGED, through DISENGAGING.

    Usage::

        IsEngaged("Somebody engaged?", who="anybody")

    Args:
        name: name of the behaviour.
        who: ``partner`` or ``anybody``.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self, name: str = "Engaged?", who: str = "partner", hold: float = 0.0, **limits: Unpack[EvidenceArguments]
    ) -> None:
        super().__init__(name, EngagementScore(), who, enter=1.0, leave=0.5, hold=hold, **limits)


class IsAttending(PersonCondition):
    """The person looks at the robot: the probability of a look against the thresholds.

    Usage::

        IsAttending("Looks here for 2 s?", hold=2.0)

    Args:
        name: name of the behaviour.
        who: ``partner`` or ``anybody``.
        enter, leave: probability, 0..1.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Attending?",
        who: str = "partner",
        enter: float = 0.6,
        leave: float = 0.4,
        hold: float = 0.5,
        **limits: Unpack[EvidenceArguments],
    ) -> None:
        super().__init__(name, LookingScore(), who, enter, leave, hold, **limits)


class IsSpeaking(PersonCondition):
    """The person is speaking: the probability against the thresholds.

    Usage::

        py_trees.decorators.Inverter("Do not interrupt", IsSpeaking(dwell=0.5))

    Args:
        name: name of the behaviour.
        who: ``partner`` or ``anybody``.
        enter, leave: probability, 0..1.
        hold, dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Speaking?",
        who: str = "partner",
        enter: float = 0.5,
        leave: float = 0.3,
        hold: float = 0.0,
        **limits: Unpack[EvidenceArguments],
    ) -> None:
        super().__init__(name, SpeakingScore(), who, enter, leave, hold, **limits)


class PersonApproaches(PersonCondition):
    """The person comes closer: the approach speed against the thresholds, within a distance.

    Usage::

        PersonApproaches("Somebody coming?", who="anybody", within=5.0)

    Args:
        name: name of the behaviour.
        who: ``partner`` or ``anybody``.
        enter, leave: speed, m/s.
        hold: s of messages.
        within: distance up to which an approach counts, m.
        dwell, max_age, on_stale, namespace: see the module.
    """

    def __init__(
        self,
        name: str = "Approaching?",
        who: str = "partner",
        enter: float = 0.3,
        leave: float = 0.15,
        hold: float = 0.5,
        within: float = 6.0,
        **limits: Unpack[EvidenceArguments],
    ) -> None:
        super().__init__(name, ApproachScore(within), who, enter, leave, hold, **limits)
