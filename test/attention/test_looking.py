"""Whether a gaze is a look at the robot: heads of known pose, and what happens between and without measurements."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from emotion_perception.attention.geometry import Camera, Vector, line_of_sight, miss_angle, miss_angle_of_target
from emotion_perception.attention.looking import LookingFilter, LookingHistory
from emotion_perception.types import SECOND, Box, FaceLandmarks
from emotion_perception.visual import head_pose as poses
from emotion_perception.visual.landmarks import POINTS

LIMIT = math.radians(12)
FOCAL = 554.0  # px


def landmarks(head: float, gaze: float, **more: float) -> FaceLandmarks:
    """A face with head and gaze turned by these degrees of yaw."""
    turned, looks = math.radians(head), math.radians(gaze)
    return replace(FaceLandmarks(0.95, turned, 0.0, 0.0, looks, 0.0, 0.1, 0.1), **more)


def project(
    head: tuple[float, float, float], gaze: tuple[float, float], distance: float, noise: float, rng
) -> np.ndarray:
    """Points ``(478, 3)`` px of the canonical face, seen in perspective at ``distance`` cm, with ``noise`` px.

    Args:
        head: yaw, pitch, roll, rad.
        gaze: yaw and pitch, rad, relative to the line to the camera.
        distance: cm.
        noise: standard deviation of every point, px.
        rng: random generator.
    """
    canonical = np.zeros((POINTS, 3))
    canonical[poses._INDICES] = poses._CANONICAL
    rotation = poses.head_rotation(*head)
    at = canonical @ rotation.T  # cm, x right, y up, z towards the camera
    for side, (outer, inner, iris) in zip((-1.0, 1.0), poses.EYES, strict=True):
        middle = (canonical[outer] + canonical[inner]) / 2
        centre = rotation @ (middle + poses.EYE_CENTRE * [side, 1.0, 1.0])
        yaw, pitch = gaze
        direction = np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)])
        at[iris] = centre + poses.EYE_RADIUS * direction
    depth = distance - at[:, 2]
    pixels = np.stack([FOCAL * at[:, 0] / depth, -FOCAL * at[:, 1] / depth, -FOCAL * at[:, 2] / distance], 1)
    return pixels + 320 + noise * rng.standard_normal(pixels.shape)


@pytest.mark.parametrize(("distance", "noise"), [(60, 0.5), (120, 0.3), (200, 0.2)])
def test_gaze_of_posed_heads_is_known_within_12_degrees(distance: float, noise: float) -> None:
    """Looks at the robot or elsewhere; those within 3 degrees of the limit count for neither."""
    rng = np.random.default_rng(0)
    right = total = 0
    errors = []
    for yaw in range(-30, 31, 6):
        for pitch in range(-18, 19, 6):
            gaze = np.radians([yaw, pitch])
            # The head takes about two thirds of a shift of gaze, and is tilted now and then.
            head = (*(gaze * rng.uniform(0.4, 0.9)), rng.normal(0, 0.15))
            points = project(head, tuple(gaze), distance, noise, rng)
            pose = poses.head_pose(points)
            seen = poses.gaze_direction(points, pose)
            errors.append(math.degrees(math.hypot(seen.yaw - gaze[0], seen.pitch - gaze[1])))
            looking = LookingFilter(LIMIT, 3.0)
            found = FaceLandmarks(0.95, pose.yaw, pose.pitch, pose.roll, seen.yaw, seen.pitch, 0.1, 0.1)
            assert looking.measure(0, found, FOCAL * 20 / distance)
            miss = math.degrees(miss_angle(*gaze))
            if abs(miss - 12) > 3:
                total += 1
                right += (looking.at(0) >= 0.5) == (miss < 12)
    assert np.percentile(errors, 95) < 12
    assert right >= 0.95 * total, f"{right} of {total}"


@pytest.mark.parametrize(("gaze", "looks"), [(0, True), (8, True), (18, False), (35, False), (-35, False)])
def test_a_near_face_looks_at_the_robot_or_not(gaze: float, looks: bool) -> None:
    filtered = LookingFilter(LIMIT, 3.0)
    filtered.measure(0, landmarks(0.5 * gaze, gaze), 150)
    assert (filtered.at(0) > 0.6) if looks else (filtered.at(0) < 0.4)


def test_eyes_that_meet_the_robot_count_more_than_a_turned_head() -> None:
    filtered = LookingFilter(LIMIT, 3.0)
    filtered.measure(0, landmarks(30, 0), 150)
    assert filtered.at(0) > 0.8


def test_with_closed_eyes_the_head_counts_alone() -> None:
    filtered = LookingFilter(LIMIT, 3.0)
    filtered.measure(0, landmarks(0, 40, eye_closure=0.9), 150)
    assert filtered.at(0) > 0.6


def test_the_gaze_of_a_small_face_is_less_sure() -> None:
    near, far = LookingFilter(LIMIT, 3.0), LookingFilter(LIMIT, 3.0)
    near.measure(0, landmarks(0, 0), 200)
    far.measure(0, landmarks(0, 0), 30)
    assert near.at(0) > far.at(0) > 0.6


def test_between_measurements_the_belief_fades_and_ends_unknown() -> None:
    filtered = LookingFilter(LIMIT, 3.0)
    assert math.isnan(filtered.at(0))
    filtered.measure(0, landmarks(0, 0), 150)
    beliefs = [filtered.at(tenth * SECOND // 10) for tenth in range(31)]
    assert beliefs == sorted(beliefs, reverse=True)
    assert beliefs[5] > 0.8 and 0.5 < beliefs[30] < 0.65
    assert math.isnan(filtered.at(3 * SECOND + 1))


@pytest.mark.parametrize(
    "broken", [{"score": 0.3}, {"score": math.nan}, {"gaze_yaw": math.nan}, {"head_pitch": math.inf}]
)
def test_missing_or_broken_landmarks_are_no_measurement(broken: dict[str, float]) -> None:
    filtered = LookingFilter(LIMIT, 3.0)
    assert not filtered.measure(0, landmarks(0, 0, **broken), 150)
    assert not filtered.measure(0, landmarks(0, 0), 0.0)
    assert math.isnan(filtered.at(0))


@pytest.mark.parametrize("x", [100.0, 320.0, 540.0])
@pytest.mark.parametrize("target", [Vector(0, 0, 0), Vector(0.5, 0, 0), Vector(-0.4, -0.6, 0.1), Vector(0, 0.5, 0)])
def test_a_gaze_at_a_target_misses_it_by_nothing(x: float, target: Vector) -> None:
    camera = Camera(FOCAL, FOCAL, 320, 240)
    sight = line_of_sight(Box(x - 50, 150, 100, 100), camera)
    here = np.array(sight) * 1.5
    wanted = np.array(target) - here
    wanted /= np.linalg.norm(wanted)
    # Yaw and pitch relative to the line to the camera, from the axes of that line.
    right = np.array([sight.z, 0, -sight.x]) / math.hypot(sight.z, sight.x)
    up = np.cross(right, -np.array(sight))
    up = -up if up[1] > 0 else up
    pitch = math.asin(wanted @ up)
    yaw = math.atan2(wanted @ right, wanted @ -np.array(sight))
    assert miss_angle_of_target(yaw, pitch, sight, 1.5, target) == pytest.approx(0, abs=1e-3)
    assert miss_angle_of_target(yaw + 0.3, 0.0, sight, 1.5, target) > 0.2


def test_history_has_share_and_duration_of_looks() -> None:
    history = LookingHistory(10.0)
    assert math.isnan(history.share())
    for tenth in range(101):
        history.add(tenth * SECOND // 10, 0.9 if tenth >= 60 else 0.1)
    assert history.share() == pytest.approx(0.41, abs=0.03)
    assert history.duration(10 * SECOND) == pytest.approx(4.0, abs=0.11)
    history.add(10_100_000_000, math.nan)
    assert history.duration(10_100_000_000) == 0


def test_history_forgets_what_is_older_than_its_window() -> None:
    history = LookingHistory(10.0)
    for tenth in range(400):
        history.add(tenth * SECOND // 10, 0.9 if tenth < 200 else 0.1)
    assert history.share() == 0.0
