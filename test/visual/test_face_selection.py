"""Whom to read in a crowd: the near, those who face the robot, and not another one every image."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_perception.types import SECOND, Box, FaceDetection
from emotion_perception.visual.alignment import TEMPLATE
from emotion_perception.visual.face_selection import FaceSelection
from emotion_perception.visual.tracker import TrackedFace

FRAME = SECOND // 25
PROFILE = TEMPLATE + np.array([[0, 0], [0, 0], [12, 0], [0, 0], [0, 0]], np.float32)  # the nose beyond the left eye


def face(name: str, size: float, landmarks: np.ndarray = TEMPLATE, seen: bool = True) -> TrackedFace:
    box = Box(0, 0, size, size)
    return TrackedFace(name, box, FaceDetection(box, 0.9, landmarks), seen, True, 0.0, 0.0)


def watch(selection: FaceSelection, faces: list[TrackedFace], images: int, start: int = 0) -> list[set[str]]:
    alive = {face.face_id for face in faces}
    return [selection.choose(faces, alive, i * FRAME) for i in range(start, start + images)]


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_never_more_than_there_are_places_and_all_where_there_is_room(count):
    faces = [face(f"f{i}", 40 + i) for i in range(count)]
    [chosen] = watch(FaceSelection(3), faces, 1)
    assert len(chosen) == min(3, count)


def test_of_equally_engaged_faces_the_nearest_are_chosen():
    faces = [face(f"f{i}", size) for i, size in enumerate((30, 90, 50, 70))]
    assert watch(FaceSelection(2), faces, 1)[-1] == {"f1", "f3"}


def test_who_faces_the_robot_comes_before_a_somewhat_nearer_one_who_looks_away():
    chosen = watch(FaceSelection(1), [face("away", 60, PROFILE), face("facing", 50)], 100)
    assert chosen[0] == {"away"}  # nobody is known yet
    assert chosen[-1] == {"facing"}


def test_a_much_nearer_face_is_chosen_though_it_looks_away():
    assert watch(FaceSelection(1), [face("away", 150, PROFILE), face("facing", 50)], 100)[-1] == {"away"}


def test_a_glance_aside_costs_no_place():
    selection = FaceSelection(1)
    watch(selection, [face("talks", 52), face("waits", 50)], 100)
    aside = watch(selection, [face("talks", 52, PROFILE), face("waits", 50)], 15, start=100)
    assert aside == [{"talks"}] * 15


def test_faces_of_about_one_size_do_not_take_turns():
    rng = np.random.default_rng(0)
    selection, changes, before = FaceSelection(2), 0, None
    for i in range(500):
        faces = [face(name, 60 * float(np.exp(rng.normal(0, 0.05)))) for name in "abcd"]
        chosen = selection.choose(faces, set("abcd"), i * FRAME)
        changes += before is not None and chosen != before
        before = chosen
    assert changes == 0


def test_someone_who_comes_close_takes_a_place_once():
    selection, holders = FaceSelection(1), []
    for i in range(200):
        faces = [face("stays", 60), face("comes", 30 + 0.6 * i)]
        holders.append(*selection.choose(faces, {"stays", "comes"}, i * FRAME))
    assert holders == sorted(holders, reverse=True)  # all "stays", then all "comes"
    assert set(holders) == {"stays", "comes"}


def test_a_missed_detection_does_not_cost_the_place():
    selection = FaceSelection(1)
    both = [face("talks", 60), face("waits", 55)]
    watch(selection, both, 50)
    alive = {"talks", "waits"}
    assert selection.choose(both[1:], alive, 50 * FRAME) == {"waits"}  # nobody else is in view
    assert selection.choose(both, alive, 51 * FRAME) == {"talks"}


def test_who_is_gone_is_forgotten():
    selection = FaceSelection(1)
    watch(selection, [face("old", 60)], 100)
    assert selection.choose([face("new", 20)], {"new"}, 100 * FRAME) == {"new"}
    assert selection.choose([face("new", 20), face("old", 21)], {"new", "old"}, 101 * FRAME) == {"new"}


def test_the_choice_does_not_hang_on_the_frame_rate():
    def turned(fps: int) -> float:
        """When a place goes to the one who faces the robot, in s."""
        selection, step = FaceSelection(1), SECOND // fps
        faces = [face("away", 60, PROFILE), face("facing", 50)]
        return next(i / fps for i in range(1000) if selection.choose(faces, {"away", "facing"}, i * step) == {"facing"})

    assert turned(10) == pytest.approx(turned(50), abs=0.11)
