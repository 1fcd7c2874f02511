"""A camera that shows nothing says so, after a while, and only then."""

from __future__ import annotations

import doctest
import time

import numpy as np
import pytest

from emotion_perception.types import SECOND
from emotion_perception.visual import blank_image
from emotion_perception.visual.blank_image import BLACK, HOLD_S, UNIFORM, BlankImageMonitor

SHAPE = (240, 320, 3)
FPS = 20


def noisy(level: float, sigma: float = 3.0, seed: int = 0) -> np.ndarray:
    """An even image with sensor noise."""
    noise = np.random.default_rng(seed).normal(level, sigma, SHAPE)
    return noise.clip(0, 255).astype(np.uint8)


def scene() -> np.ndarray:
    """Something to see: a bright figure before a dark wall with a shade."""
    image = np.full(SHAPE, 60, np.uint8) + np.linspace(0, 30, SHAPE[1]).astype(np.uint8)[:, None]
    image[60:200, 100:180] = 170
    return image


def wall() -> np.ndarray:
    """A plain wall in daylight: only its shading changes, by 12 levels from one side to the other."""
    return noisy(150) + np.linspace(0, 12, SHAPE[1]).astype(np.uint8)[:, None]


def film(monitor: BlankImageMonitor, image: np.ndarray, seconds: float, begin_s: float = 0.0) -> float:
    """Show an image for a while; the time in s at which it ends."""
    for number in range(round(seconds * FPS)):
        monitor.update(image, round((begin_s + number / FPS) * SECOND))
    return begin_s + seconds


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.zeros(SHAPE, np.uint8), BLACK),
        (noisy(6), BLACK),
        (np.zeros(SHAPE[:2], np.uint8), BLACK),
        (np.full(SHAPE, 127, np.uint8), UNIFORM),
        (noisy(120, sigma=6.0), UNIFORM),
        (np.full((3, 3, 3), 200, np.uint8), UNIFORM),
        (scene(), ""),
        (scene()[..., 0], ""),
        (wall(), ""),
    ],
)
def test_blank_images_are_named_and_pictures_are_not(image: np.ndarray, problem: str):
    monitor = BlankImageMonitor()
    film(monitor, image, HOLD_S + 1)
    assert monitor.problem == problem


def test_a_short_darkness_is_no_problem():
    monitor = BlankImageMonitor()
    end = film(monitor, np.zeros(SHAPE, np.uint8), HOLD_S - 0.5)
    assert monitor.problem == ""
    end = film(monitor, scene(), 1.0, end)
    film(monitor, np.zeros(SHAPE, np.uint8), HOLD_S - 0.5, end)
    assert monitor.problem == "", "the first darkness does not count any more"


def test_the_problem_is_over_as_soon_as_a_picture_returns():
    monitor = BlankImageMonitor()
    end = film(monitor, np.zeros(SHAPE, np.uint8), 10.0)
    film(monitor, scene(), 0.3, end)
    assert monitor.problem == ""


def test_brightness_about_the_limit_does_not_flicker():
    monitor = BlankImageMonitor()
    end = film(monitor, noisy(8), 5.0)
    said = []
    for number in range(20):  # 15 is black, 20 alone would not be
        end = film(monitor, np.full(SHAPE, 15 + 5 * (number % 2), np.uint8), 0.5, end)
        said.append(monitor.problem)
    assert set(said) == {BLACK}


def test_a_clock_that_is_set_back_starts_the_time_again():
    monitor = BlankImageMonitor()
    film(monitor, np.zeros(SHAPE, np.uint8), 10.0, begin_s=1000.0)
    film(monitor, np.zeros(SHAPE, np.uint8), 1.0, begin_s=10.0)
    assert monitor.problem == ""


def test_a_look_costs_less_than_a_hundredth_of_a_search_for_faces():
    image = np.zeros((480, 640, 3), np.uint8)
    best = float("inf")
    for number in range(30):
        began = time.perf_counter()
        BlankImageMonitor().update(image, number * SECOND)
        best = min(best, time.perf_counter() - began)
    assert best < 0.002, "a search takes 10 ms and more; this is done four times a second"


def test_the_examples_in_the_documentation_run():
    assert doctest.testmod(blank_image).failed == 0
