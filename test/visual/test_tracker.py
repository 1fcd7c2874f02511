"""Identities of faces over time, on made-up detections."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emotion_perception.types import SECOND, Box, FaceDetection
from emotion_perception.visual.tracker import FaceTracker, TrackerConfig, assign

FRAME = SECOND // 30


def face(x: float, y: float = 200.0, size: float = 60.0, score: float = 0.9) -> FaceDetection:
    """A face centred at x, y."""
    return FaceDetection(Box(x - size / 2, y - size / 2, size, size), score, np.zeros((5, 2), np.float32))


def picture(*people: tuple[float, int], width: int = 640) -> np.ndarray:
    """An image in which each (x, seed) is a patch of its own texture; later ones lie in front."""
    image = np.full((400, width), 90, np.uint8)
    for x, seed in people:
        texture = np.random.default_rng(seed).integers(0, 256, (6, 6)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
        left = round(x) - 30
        image[170:230, max(left, 0) : left + 60] = texture[:, max(-left, 0) :]
    return image


@pytest.fixture
def tracker() -> FaceTracker:
    return FaceTracker(TrackerConfig(seed=3))


def test_a_moving_face_keeps_its_identity(tracker):
    ids = {tracker.update([face(100 + 8 * i)], i * FRAME)[0].face_id for i in range(60)}
    assert len(ids) == 1


def test_an_identity_begins_with_a_letter(tracker):
    names = [f.face_id for f in tracker.update([face(100 * i) for i in range(1, 20)], 0)]
    assert len(set(names)) == 19
    assert all(name[0].isalpha() and name.isalnum() for name in names)


def test_the_same_seed_gives_the_same_identities():
    first, second = FaceTracker(TrackerConfig(seed=5)), FaceTracker(TrackerConfig(seed=5))
    assert first.update([face(100)], 0)[0].face_id == second.update([face(100)], 0)[0].face_id


@pytest.mark.parametrize("speed", [0, 60, 150], ids=["still", "1 face/s", "2.5 faces/s"])
def test_a_face_keeps_its_identity_through_a_second_of_occlusion(tracker, speed):
    for i in range(20):
        before = tracker.update([face(100 + speed * i / 30)], i * FRAME)[0].face_id
    for i in range(20, 50):
        hidden = tracker.update([], i * FRAME)
        assert [f.seen for f in hidden] == [False]
    after = tracker.update([face(100 + speed * 50 / 30)], 50 * FRAME)[0]
    assert after.face_id == before
    assert after.seen


def test_a_face_out_of_sight_for_long_is_given_up(tracker):
    before = tracker.update([face(100)], 0)[0].face_id
    assert tracker.update([], 2 * SECOND) == []
    assert tracker.update([face(100)], 2 * SECOND + FRAME)[0].face_id != before


@pytest.mark.parametrize("textured", [False, True], ids=["by motion", "by appearance too"])
def test_two_faces_that_cross_keep_their_identities(tracker, textured):
    def step(i: int) -> tuple[float, float]:
        return 150 + 4 * i, 450 - 4 * i

    for i in range(75):
        a, b = step(i)
        image = picture((b, 2), (a, 1)) if textured else None
        hidden = abs(a - b) < 40  # the one in front hides the other
        found = tracker.update([face(a)] if hidden else [face(a), face(b)], i * FRAME, image)
        places = {f.face_id: f.box.x + 30 for f in found if f.seen}
        if i == 10:
            left, right = sorted(places, key=places.__getitem__)
    assert len(places) == 2
    assert places[left] == pytest.approx(step(74)[0], abs=15)
    assert places[right] == pytest.approx(step(74)[1], abs=15)


def test_appearance_tells_apart_two_faces_that_change_places_out_of_sight(tracker):
    for i in range(10):
        found = tracker.update([face(250), face(320)], i * FRAME, picture((250, 1), (320, 2)))
    left, right = (f.face_id for f in sorted(found, key=lambda f: f.box.x))
    for i in range(10, 30):
        tracker.update([], i * FRAME, picture())
    found = tracker.update([face(250), face(320)], 30 * FRAME, picture((250, 2), (320, 1)))
    assert [f.face_id for f in sorted(found, key=lambda f: f.detection.box.x)] == [right, left]


def test_a_face_elsewhere_is_another_face(tracker):
    first = tracker.update([face(100)], 0)[0].face_id
    found = tracker.update([face(500)], FRAME)
    assert [f.face_id for f in found if f.seen] != [first]


def test_a_face_of_another_size_is_another_face(tracker):
    first = tracker.update([face(100, size=40)], 0)[0].face_id
    found = tracker.update([face(100, size=120)], FRAME)
    assert [f.face_id for f in found if f.seen] != [first]


def test_a_sure_face_is_confirmed_at_once_and_a_doubtful_one_later(tracker):
    assert tracker.update([face(100, score=0.9)], 0)[0].confirmed
    tracker.reset()
    confirmed = [tracker.update([face(100, score=0.55)], i * FRAME)[0].confirmed for i in range(6)]
    assert confirmed[0] is False
    assert confirmed[-1] is True


def test_the_same_stamp_changes_nothing(tracker):
    before = tracker.update([face(100)], SECOND)
    assert tracker.update([face(400), face(500)], SECOND) == before


def test_a_late_image_changes_nothing(tracker):
    before = tracker.update([face(100)], SECOND)
    assert tracker.update([face(400)], SECOND - 3 * FRAME) == before


def test_a_jump_back_in_time_starts_anew(tracker):
    before = tracker.update([face(100)], 100 * SECOND)[0].face_id
    found = tracker.update([face(100)], SECOND)
    assert [f.seen for f in found] == [True]
    assert found[0].face_id != before
    assert found[0].age == 0.0


def test_the_prediction_follows_the_motion(tracker):
    for i in range(30):
        tracker.update([face(100 + 5 * i)], i * FRAME)
    [(_, box)] = tracker.predict(30 * FRAME)
    assert box.x + box.width / 2 == pytest.approx(250, abs=4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1), (2, 2), (3, 5), (6, 4)])
def test_the_pairs_chosen_are_those_that_cost_least(shape):
    cost = np.random.default_rng(3).random(shape)
    rows, columns = assign(cost)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == min(shape)
    tall = cost if shape[0] <= shape[1] else cost.T
    least = min(
        sum(tall[i, j] for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(tall.shape[1]), tall.shape[0])
    )
    assert cost[rows, columns].sum() == pytest.approx(least)
