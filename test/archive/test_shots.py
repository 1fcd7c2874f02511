"""Cuts are found, motion is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from emotion_perception.archive.shots import mark_cuts
from emotion_perception.media.demo_clip import frames as demo_frames
from emotion_perception.media.items import LazyFrame, thumbnail_of

FPS = 25


def frame(picture: np.ndarray, time: float) -> LazyFrame:
    return LazyFrame(time, True, lambda: picture, lambda: thumbnail_of(picture))


def cuts(pictures) -> list[float]:
    marked = mark_cuts(frame(picture, i / FPS) for i, picture in enumerate(pictures))
    return [item.time for item, cut in marked if cut]


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    """Grey pictures of 240x320 that have nothing in common."""
    names = (data.astronaut, data.coffee, data.rocket)
    return [cv2.resize(cv2.cvtColor(name(), cv2.COLOR_RGB2GRAY), (320, 240)) for name in names]


def noisy(picture: np.ndarray, count: int, deviation: float = 4.0) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.clip(picture + rng.normal(0, deviation, picture.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def test_each_cut_is_found_at_its_picture(scenes):
    film = [picture for scene in scenes for picture in noisy(scene, 50)]
    assert cuts(film) == [2.0, 4.0]


def test_a_portrait_in_motion_is_not_cut():
    assert cuts(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in demo_frames(data.astronaut())) == []


def test_noise_and_slow_change_of_light_are_no_cuts(scenes):
    dusk = [np.clip(scenes[0] * (1 - i / 150), 0, 255).astype(np.uint8) for i in range(100)]
    assert cuts(noisy(scenes[0], 100, 12.0)) == [] and cuts(dusk) == []


def test_a_step_of_the_exposure_is_no_cut(scenes):
    grey = (scenes[0] // 2).astype(np.uint8)
    assert cuts([*[grey] * 30, *[grey + 6] * 30, *[grey] * 30]) == []


def test_pictures_that_are_shown_several_times_are_no_cuts(scenes):
    wide = cv2.resize(scenes[1], (960, 240))
    slow = [np.ascontiguousarray(wide[:, 4 * (i // 5) : 4 * (i // 5) + 320]) for i in range(100)]
    assert cuts(slow) == []


def test_a_pan_is_no_cut(scenes):
    wide = cv2.resize(scenes[1], (960, 240))
    pan = [np.ascontiguousarray(wide[:, 4 * i : 4 * i + 320]) for i in range(100)]
    assert cuts([*[pan[0]] * 25, *pan]) == []


def test_what_changes_right_after_a_cut_belongs_to_it(scenes):
    film = [*noisy(scenes[0], 50), *noisy(scenes[1], 3), *noisy(scenes[2], 50)]
    assert cuts(film) == [2.0]


def test_a_cut_within_motion_is_found(scenes):
    first, second = (cv2.resize(scene, (960, 240)) for scene in scenes[1:])
    pans = [np.ascontiguousarray(wide[:, 4 * i : 4 * i + 320]) for wide in (first, second) for i in range(50)]
    assert cuts(pans) == [2.0]


def test_every_picture_comes_out_in_order_but_those_that_cannot_be_converted(scenes):
    def broken() -> np.ndarray:
        raise ValueError("damaged")

    frames = [frame(scenes[0], 0.0), LazyFrame(0.2, True, broken, broken), frame(scenes[0], 0.4)]
    errors: list[bool] = []
    assert [(f.time, cut) for f, cut in mark_cuts(frames, lambda: errors.append(True))] == [(0.0, False), (0.4, False)]
    assert len(errors) == 1
