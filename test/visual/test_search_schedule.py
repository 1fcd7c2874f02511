"""When a stream is searched: seldom while nothing moves, at once when something does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from emotion_perception.types import SECOND, Box
from emotion_perception.visual.perception import VisualConfig, VisualPerception
from emotion_perception.visual.search_schedule import QUIET_INTERVAL_S, SearchSchedule

INTERVAL_S = 0.2
RATE = 25


def room(seed: int = 0) -> np.ndarray:
    """A picture with structure and the noise of a sensor."""
    ramp = np.add.outer(np.arange(480) // 4, np.arange(640) // 8) % 200 + 25
    noise = np.random.default_rng(seed).normal(0, 5, (480, 640, 1))
    return np.clip(ramp[..., np.newaxis] + noise, 0, 255).astype(np.uint8).repeat(3, axis=2)


def searches(images: list[np.ndarray], followed: list[Box] | None, interval_s: float = INTERVAL_S) -> list[int]:
    """Numbers of the images that are searched."""
    schedule, found = SearchSchedule(interval_s), []
    for number, image in enumerate(images):
        stamp = round(number / RATE * SECOND)
        if schedule.due(image, stamp, followed):
            schedule.searched(image, stamp)
            found.append(number)
    return found


def test_a_still_picture_is_searched_once_a_second_whatever_its_noise() -> None:
    assert searches([room(seed) for seed in range(60)], []) == [0, 25, 50]


def test_a_change_is_searched_within_the_interval() -> None:
    images = [room(seed) for seed in range(30)]
    for image in images[12:]:
        cv2.circle(image, (500, 300), 12, (150, 170, 230), -1)  # as large as a face of 24 px
    assert searches(images, [])[:2] == [0, 15]


def test_a_followed_face_may_move_without_a_search() -> None:
    images = [room(seed) for seed in range(20)]
    for number, image in enumerate(images):
        cv2.circle(image, (300 + number, 200), 40, (150, 170, 230), -1)
    box = Box(260.0, 160.0, 100.0, 100.0)
    assert searches(images, [box]) == [0]
    assert searches(images, []) == [0, 5, 10, 15]


def test_a_lost_face_or_one_left_out_keeps_the_usual_rate() -> None:
    assert searches([room(seed) for seed in range(12)], None) == [0, 5, 10]


def test_an_interval_of_zero_searches_every_image_and_a_long_one_is_kept() -> None:
    assert searches([room()] * 4, [], interval_s=0) == [0, 1, 2, 3]
    assert searches([room()] * 60, [], interval_s=2 * QUIET_INTERVAL_S) == [0, 50]


def test_a_portrait_that_does_not_move_is_searched_less_than_half_as_often(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    perception = VisualPerception(VisualConfig(landmark_rate=0))
    detect, found = perception.detector.detect, []
    monkeypatch.setattr(perception.detector, "detect", lambda *args: found.append(1) or detect(*args))
    for number in range(50):
        faces = perception.process(astronaut, round(number / RATE * SECOND))
        assert number < 10 or len(faces) == 1
    assert len(found) <= 4, "every 0.2 s it would be ten"
