"""Emotion states and a clock to put them on, for the tests of the behaviours."""

from __future__ import annotations

import numpy as np

from emotion_perception.behaviours.decision import Snapshot
from emotion_perception.behaviours.person_decision import PersonsSnapshot
from emotion_perception.emotions import emotion_index
from emotion_perception.types import SECOND, EmotionEstimate, EmotionState, EmotionStatus, PersonState

START = 1_000.0  # s; where the tests' clocks begin


def ns(seconds: float) -> int:
    """Seconds to nanoseconds."""
    return round(seconds * SECOND)


def estimate(name: str, probability: float = 0.9) -> EmotionEstimate:
    """A distribution with one emotion at ``probability``, the rest even."""
    probabilities = np.full(8, (1.0 - probability) / 7, np.float32)
    probabilities[emotion_index(name)] = probability
    return EmotionEstimate.from_probabilities(probabilities)


def state(
    name: str = "",
    at: float = START,
    probability: float = 0.9,
    person: str = "person_1",
    status: EmotionStatus = EmotionStatus.VISUAL_ONLY,
) -> EmotionState:
    """A state captured at ``at`` s; without a name, one of NO_EVIDENCE."""
    if not name:
        return EmotionState(ns(at), EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ())
    return EmotionState(ns(at), status, person, "face_1", "", estimate(name, probability), ())


def snapshot(
    name: str = "", at: float = START, probability: float = 0.9, received: float | None = None, **more: object
) -> Snapshot:
    """The same, received when captured unless said otherwise."""
    return Snapshot(state(name, at, probability, **more), ns(at if received is None else received))  # type: ignore[arg-type]


def person(at: float = START, name: str = "person_1", partner: bool = True, **more: object) -> PersonState:
    """One person's attention; fields that are not given are not known."""
    return PersonState(ns(at), name, f"face of {name}", partner, **more)  # type: ignore[arg-type]


def persons(at: float = START, *others: PersonState, **partner: object) -> PersonsSnapshot:
    """An array of persons, received when captured: a conversation partner with these fields, and others."""
    states = (*((person(at, **partner),) if partner else ()), *others)  # type: ignore[arg-type]
    return PersonsSnapshot(states, ns(at), ns(at))


class FakeNode:
    """The part of a node that conditions use: a clock, set by hand. Tests advance ``seconds``."""

    def __init__(self, seconds: float = START) -> None:
        self.seconds = seconds

    def get_clock(self) -> FakeNode:
        return self

    def now(self) -> FakeNode:
        return self

    @property
    def nanoseconds(self) -> int:
        return ns(self.seconds)
