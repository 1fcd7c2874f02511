"""Composed scenes with known truth: people who come, look, talk, turn away, leave, pass by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from people import CAMERA, START_NS, D, E, G, L, Person, Phase, Scene, U, levels

from emotion_perception.attention.engagement import TRANSITIONS
from emotion_perception.attention.tracker import AttentionTracker
from emotion_perception.types import SECOND, Engagement, PersonState

NOT_ENGAGED = levels(D, U, G)
LEAVING = levels(D, L, U)
SEEDS = range(4)


def visitor(name: str = "visitor", at: float = 0.0) -> Person:
    """Walks up, looks, talks, thinks aloud, reads a phone, comes back to the robot, leaves."""
    return Person(
        name,
        [
            Phase(5, NOT_ENGAGED, to=2.2, grace=5.0),
            Phase(6, levels(E)),
            Phase(5, levels(E), speaks=True),
            Phase(3, levels(E), gaze=20, speaks=True),
            Phase(6, levels(D, L), gaze=40, grace=4.5),
            Phase(5, levels(E), grace=3.5),
            Phase(6, LEAVING, to=6.0, gaze=70, grace=3.0),
        ],
        distance=6.0,
        at=at,
    )


def passer_by(name: str, at: float, side: int) -> Person:
    """Crosses at 2.5 m within 4 s and looks where the way leads."""
    return Person(name, [Phase(4, NOT_ENGAGED, across=1.4 * side, gaze=50 * side)], 2.5, -1.4 * side, at)


SCENES: dict[str, Callable[[], Sequence[Person]]] = {
    "a visit": lambda: [visitor()],
    "a visit beside somebody with a phone": lambda: [
        visitor(),
        Person("phone", [Phase(36, NOT_ENGAGED, gaze=45, grace=0)], 1.8, 0.6),
    ],
    "passers-by": lambda: [passer_by(f"p{number}", 5.0 * number, 1 - 2 * (number % 2)) for number in range(6)],
    "a glance in passing": lambda: [
        Person(
            "glance",
            [
                Phase(3, NOT_ENGAGED, across=-0.3, gaze=50, grace=0),
                Phase(0.8, NOT_ENGAGED, across=0.1, grace=0),
                Phase(3, NOT_ENGAGED, across=1.3, gaze=50, grace=0),
            ],
            2.5,
            -1.3,
        )
    ],
    "two who talk to each other": lambda: [
        Person("left", [Phase(20, NOT_ENGAGED, gaze=60, speaks=True, grace=0)], 1.6, -0.4),
        Person("right", [Phase(20, NOT_ENGAGED, gaze=-60, grace=0)], 1.6, 0.4),
    ],
    "two who talk with the robot": lambda: [
        Person("left", [Phase(10, levels(E), grace=4.0), Phase(10, levels(E), speaks=True)], 1.6, -0.4),
        Person("right", [Phase(20, levels(E), grace=4.0)], 1.9, 0.4),
    ],
    "somebody who watches from afar": lambda: [Person("far", [Phase(20, levels(D, U), grace=0)], 5.5)],
}


def group() -> list[Person]:
    """Five people: one comes to the robot, one turns away from it, one stays, two talk to each other."""
    return [
        Person(
            "a",
            [
                Phase(6, levels(D), gaze=40, grace=3),
                Phase(12, levels(E), grace=5),
                Phase(10, levels(D, L), gaze=50, grace=6),
            ],
            1.5,
            -0.6,
        ),
        Person("b", [Phase(28, levels(E), grace=5)], 1.8, -0.3),
        Person("c", [Phase(28, levels(D, G), gaze=45, grace=3)], 2.2, 0.0),
        Person("d", [Phase(28, levels(D, G), gaze=-35, grace=3)], 2.0, 0.4),
        Person("e", [Phase(10, levels(D, G), gaze=60, grace=3), Phase(18, levels(E), grace=6)], 2.4, 0.8),
    ]


def play(
    people: Sequence[Person], seed: int, seconds: float, landmark_rate: float = 2.0
) -> tuple[int, int, list[tuple[float, PersonState]]]:
    """Right and all messages outside the times of grace, and every message with its time, s."""
    rng = np.random.default_rng(100 + seed)
    for person in people:
        person.gaze_bias, person.height = (rng.normal(0, 2), rng.normal(-2, 3)), 1 + 0.07 * rng.normal()
    scene, tracker = Scene(people, seconds, landmark_rate, seed=seed), AttentionTracker()
    tracker.set_camera(CAMERA)
    right = total = 0
    messages: list[tuple[float, PersonState]] = []
    next_ns = START_NS
    for stamp_ns, faces, speaking in scene.images():
        tracker.add_faces(stamp_ns, faces, {}, speaking)
        if stamp_ns < next_ns:
            continue
        next_ns += SECOND // 10
        for state in tracker.states(stamp_ns):
            messages.append(((stamp_ns - START_NS) / SECOND, state))
            phase, since = scene.truth.get(state.face_id, (None, 0.0))
            if phase is not None and since >= phase.grace:
                total += 1
                right += state.engagement in phase.right
    return right, total, messages


def length(people: Sequence[Person]) -> float:
    return max(person.at + sum(phase.seconds for phase in person.phases) for person in people)


@pytest.mark.parametrize("name", SCENES)
def test_engagement_is_right_in_95_percent_of_the_messages(name: str) -> None:
    right = total = 0
    for seed in SEEDS:
        people = SCENES[name]()
        counts = play(people, seed, length(people))
        right, total = right + counts[0], total + counts[1]
    assert total > 50 * len(SEEDS) // 2
    assert right >= 0.95 * total, f"{right} of {total}"


@pytest.mark.parametrize(("landmark_rate", "share"), [(2.0, 0.85), (5.0, 0.95)])
def test_a_group_of_five_needs_more_landmarks(landmark_rate: float, share: float) -> None:
    counts = [play(group(), seed, 28, landmark_rate)[:2] for seed in SEEDS]
    right, total = (sum(values) for values in zip(*counts, strict=True))
    assert right >= share * total, f"{right} of {total}"


@pytest.mark.parametrize("name", SCENES)
def test_every_message_follows_the_table_of_transitions(name: str) -> None:
    seen: dict[str, Engagement] = {}
    people = SCENES[name]()
    for seconds, state in play(people, 1, length(people))[2]:
        before = seen.get(state.face_id)
        if before is not None and state.engagement != before:
            assert state.engagement in TRANSITIONS[before], f"{state.face_id} at {seconds:.1f} s"
        seen[state.face_id] = state.engagement


def test_a_visit_passes_through_every_level() -> None:
    messages = play([visitor()], 2, 37)[2]
    assert {state.engagement for _, state in messages} == set(Engagement)


def test_distance_zone_and_speed_follow_the_visitor() -> None:
    people = [visitor()]
    messages = play(people, 0, 11)[2]
    height = people[0].height
    for seconds, state in messages:
        truth = people[0].at_time(seconds)
        assert truth is not None
        if seconds > 0.5:
            assert state.distance * height == pytest.approx(truth[2], rel=0.12)
        if 1.0 < seconds < 4.5:
            assert state.approach_speed * height == pytest.approx(0.76, abs=0.4)
        if seconds > 7.0:
            assert abs(state.approach_speed) < 0.25


def test_looking_time_and_share_grow_while_the_visitor_looks() -> None:
    messages = dict(play([visitor()], 0, 25)[2])
    arrived = messages[min(messages, key=lambda s: abs(s - 11))]
    assert arrived.looking_duration > 5 and arrived.attention > 0.75
    reading = messages[min(messages, key=lambda s: abs(s - 24.5))]
    assert reading.looking_duration == 0 and reading.attention < 0.7
