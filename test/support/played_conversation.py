"""Conversations played from a script, for the tests of arc, satisfaction and journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emotion_perception.emotions import emotion_index
from emotion_perception.interaction.arc import Arc, ArcSample, EmotionalArc
from emotion_perception.types import SECOND, EmotionEstimate, EmotionModality, EmotionState, EmotionStatus, Evidence

START = 1_790_000_000 * SECOND
Scene = tuple[str, float]  # an emotion's name (empty: nobody there) and how long, s


def estimate(name: str, share: float = 0.9) -> EmotionEstimate:
    """A distribution with one emotion at ``share``, the rest even."""
    p = np.full(8, (1 - share) / 7, np.float32)
    p[emotion_index(name)] = share
    return EmotionEstimate.from_probabilities(p)


def state(
    name: str,
    time: float,
    share: float = 0.9,
    weight: float = 1.0,
    status: EmotionStatus = EmotionStatus.VISUAL_ONLY,
    person: str = "person_1",
) -> EmotionState:
    """A state ``time`` seconds after START; without a name one of NO_EVIDENCE."""
    stamp = START + round(time * SECOND)
    if not name:
        return EmotionState(stamp, EmotionStatus.NO_EVIDENCE, "", "", "", EmotionEstimate.unknown(), ())
    emotion = estimate(name, share)
    modality = EmotionModality.ACOUSTIC if status == EmotionStatus.ACOUSTIC_ONLY else EmotionModality.VISUAL
    return EmotionState(stamp, status, person, "", "", emotion, (Evidence(modality, weight, 0.0, emotion),))


def play(*scenes: Scene, rate: float = 10.0, begin: float = 0.0, **more: object) -> Iterator[tuple[EmotionState, int]]:
    """States at ``rate`` Hz through the scenes, each with its time in ns."""
    steps = 0
    for name, seconds in scenes:
        for _ in range(round(seconds * rate)):
            made = state(name, begin + steps / rate, **more)  # type: ignore[arg-type]
            yield made, made.stamp_ns
            steps += 1


def arc_of(scenes: Sequence[Scene], step: float = 1.0, max_bins: int = 1200, **more: object) -> Arc:
    """The arc of the scenes, to their end."""
    made = EmotionalArc(START, step, 1.0, max_bins)
    for each, time_ns in play(*scenes, **more):  # type: ignore[arg-type]
        made.add(ArcSample.from_state(each, time_ns))
    return made.arc(START + round(sum(seconds for _, seconds in scenes) * SECOND))
