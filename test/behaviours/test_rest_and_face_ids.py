"""A reaction rests although the tracker loses a face in mid-conversation, and does not rest for another person."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from states import START, estimate, ns

from emotion_perception.behaviours.decision import Rest
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.types import Box, FaceObservation

LOST, BACK = 5.0, 7.0  # s; longer than the track timeout of the face tracker


def face(face_id: str, x: float = 100.0, size: float = 100.0) -> FaceObservation:
    return FaceObservation(face_id, Box(x, 80.0, size, size), 0.9, 0.9, estimate("happy"))


def reactions(images: Iterable[tuple[float, list[FaceObservation]]]) -> list[float]:
    """Times, s, at which a reaction to the conversation partner begins, "not again for 20 s"."""
    fusion, rest, begun, running = EmotionFusion(), Rest(20.0), [], ""  # running: person of the running reaction
    for time, faces in images:
        fusion.add_faces(ns(START + time), faces)
        partner = fusion.state(ns(START + time))
        allowed = bool(partner.face_id) and rest.allow(partner.person_id, ns(START + time))
        if allowed and running != partner.person_id:
            begun.append(time)
        running = partner.person_id if allowed else ""
    return begun


def visit(face_id: str, first: float, last: float, **more: float) -> list[tuple[float, list[FaceObservation]]]:
    return [(step / 10, [face(face_id, **more)]) for step in range(round(first * 10), round(last * 10))]


def absence(first: float, last: float) -> list[tuple[float, list[FaceObservation]]]:
    return [(step / 10, []) for step in range(round(first * 10), round(last * 10))]


@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_new_face_id_in_mid_conversation_does_not_repeat_the_reaction(shift: float) -> None:
    images = visit("before", 0, LOST) + absence(LOST, BACK) + visit("after", BACK, 15, x=100 + shift)
    assert reactions(images) == [0.0]


@pytest.mark.parametrize(
    "other", [{"x": 400.0}, {"size": 220.0}], ids=["in another place", "much nearer to the camera"]
)
def test_another_person_who_comes_gets_the_reaction(other: dict[str, float]) -> None:
    images = visit("ada", 0, LOST) + absence(LOST, BACK) + visit("bob", BACK, 15, **other)
    assert reactions(images) == [0.0, BACK]


def test_person_who_comes_to_the_same_place_later_gets_the_reaction() -> None:
    images = visit("ada", 0, LOST) + absence(LOST, 11) + visit("bob", 11, 15)
    assert reactions(images) == [0.0, 11.0]


def test_two_faces_in_one_image_are_two_persons() -> None:
    both = [(time, [*faces, face("bob", x=130)]) for time, faces in visit("ada", 2, LOST)]
    assert reactions(visit("ada", 0, 2) + both + visit("bob", LOST, 15, x=130)) == [0.0, LOST + 0.5]
