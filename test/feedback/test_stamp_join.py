"""Images and the faces detected in them are joined by stamp, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from page_world import a_face

from emotion_perception.emotions import SAD
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.feedback.stamp_join import Joined, StampJoin
from emotion_perception.types import SECOND

MS = SECOND // 1000
FRAME = 33 * MS


def shown(found: list[Joined]) -> list[tuple]:
    return [(pair.image, pair.faces) for pair in found if not pair.late]


def evidence(found: list[Joined]) -> list[tuple]:
    return [(pair.image, pair.faces) for pair in found if pair.matched]


def test_an_image_waits_for_its_own_faces_and_is_shown_once():
    join: StampJoin = StampJoin()
    assert join.add_image(0, "i0", 1) == []
    found = join.add_faces(0, "f0")
    assert shown(found) == evidence(found) == [("i0", "f0")]
    assert join.add_image(FRAME, "i1", 1) == []


def test_the_next_image_ends_the_wait_and_late_faces_still_find_their_image():
    join: StampJoin = StampJoin()
    join.add_image(0, "i0", 1)
    first = join.add_image(FRAME, "i1", 1)
    assert shown(first) == [("i0", None)] and evidence(first) == []
    second = join.add_faces(0, "f0")
    assert shown(second) == [] and evidence(second) == [("i0", "f0")]
    third = join.add_image(2 * FRAME, "i2", 1)
    assert shown(third) == [("i1", "f0")] and evidence(third) == [], "newest faces are for display only"


def test_faces_that_overtake_their_image_wait_for_it():
    join: StampJoin = StampJoin()
    assert join.add_faces(0, "f0") == []
    found = join.add_image(0, "i0", 1)
    assert shown(found) == evidence(found) == [("i0", "f0")]


@pytest.mark.parametrize("faces_first", [True, False])
def test_the_nearest_image_stands_in_for_one_that_was_lost(faces_first: bool):
    join: StampJoin = StampJoin()
    join.add_image(0, "i0", 1)
    if faces_first:
        assert evidence(join.add_faces(2 * FRAME, "f2")) == []
        found = join.add_image(3 * FRAME, "i3", 1)
    else:
        join.add_image(3 * FRAME, "i3", 1)
        found = join.add_faces(2 * FRAME, "f2")
    assert evidence(found) == [("i3", "f2")]


def test_faces_far_from_every_image_are_evidence_of_nothing():
    join: StampJoin = StampJoin()
    join.add_image(0, "i0", 1)
    join.add_image(SECOND, "i1", 1)
    assert evidence(join.add_faces(SECOND // 2, "f")) == []


def test_waiting_images_are_bounded_in_time_and_bytes():
    join: StampJoin = StampJoin(hold_s=1.0, max_bytes=100)
    for i in range(100):
        join.add_image(i * FRAME, f"i{i}", 10)
    assert len(join._held) == 10 and evidence(join.add_faces(0, "f0")) == []
    join.add_image(100 * SECOND, "later", 10)
    assert len(join._held) == 1


def test_after_the_clock_was_set_back_old_images_are_forgotten():
    join: StampJoin = StampJoin()
    join.add_image(9 * SECOND, "old", 1)
    join.add_image(SECOND, "new", 1)
    assert evidence(join.add_faces(9 * SECOND, "f")) == []
    assert evidence(join.add_faces(SECOND, "f")) == [("new", "f")]


def arrivals(rate_hz: float, delay_s: float, lost: int, seconds: float) -> Iterator[tuple[int, str, int]]:
    """Arrival time, kind and stamp of images and of their faces; every ``lost``-th image does not arrive."""
    events = []
    for i in range(round(rate_hz * seconds)):
        stamp = round(i * SECOND / rate_hz)
        if not lost or i % lost:
            events.append((stamp, "image", stamp))
        events.append((stamp + round(delay_s * SECOND), "faces", stamp))
    yield from sorted(events)


@pytest.mark.parametrize("delay_s", [0.01, 0.05, 0.3, 1.5])
@pytest.mark.parametrize("lost", [0, 2, 3])
def test_a_face_on_screen_for_two_seconds_can_always_be_corrected(delay_s: float, lost: int, tmp_path):
    """Fifteen corrections while faces arrive after the next images and images are lost, as on a busy computer."""
    recent = RecentEvidence()
    corrections = Corrections(CorrectionConfig(tmp_path), recent)
    image = np.full((480, 640, 3), 90, np.uint8)
    join: StampJoin = StampJoin()
    corrected = 0
    for now, kind, stamp in arrivals(30, delay_s, lost, 2 + delay_s + 15 * 0.5):
        found = join.add_faces(stamp, [a_face("f1")]) if kind == "faces" else join.add_image(stamp, image, image.nbytes)
        for pair in found:
            if pair.matched and recent.due(pair.faces_ns, [face.face_id for face in pair.faces]):
                recent.add_faces(pair.image, pair.faces_ns, pair.faces)
        if now >= (2 + delay_s + 0.5 * corrected) * SECOND and corrected < 15:
            corrections.correct(SAD, face_id="f1", stamp_ns=stamp)
            corrected += 1
    assert corrected == 15
