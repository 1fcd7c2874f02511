"""Composed scenes of people in front of a robot with known truth, as ``visual_node`` would see them.

A person follows a script of phases. The camera measures what it would measure: boxes with noise, landmarks in turns at
``landmark_rate``, none of faces turned far away, missed detections.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from emotion_perception.attention.geometry import Camera
from emotion_perception.types import SECOND, Box, EmotionEstimate, Engagement, FaceLandmarks, FaceObservation
from emotion_perception.visual.landmark_reader import LandmarkReader

CAMERA = Camera(554.0, 554.0, 320.0, 240.0)  # 640x480, 60 degrees
FACE = 0.18  # m
FPS = 15
START_NS = 1_000 * SECOND
LOST_YAW, UNREADABLE_YAW = math.radians(80), math.radians(60)  # of the head: not detected, no landmarks

D, G, E, L, U = (
    Engagement.DISENGAGED,
    Engagement.ENGAGING,
    Engagement.ENGAGED,
    Engagement.DISENGAGING,
    Engagement.UNKNOWN,
)


@dataclass(frozen=True)
class Phase:
    """What a person does for a while, and which levels are right once it has lasted ``grace`` s."""

    seconds: float
    right: frozenset[Engagement]
    to: float | None = None  # m, distance at its end; None: stays
    across: float | None = None  # m to the right of the camera's axis at its end; None: stays
    gaze: float = 0.0  # degrees by which the gaze misses the robot, towards the image's right
    speaks: bool = False
    grace: float = 2.5  # s after its beginning in which earlier levels are right as well


@dataclass
class Person:
    """A person with a script; starts ``at`` s at ``distance`` m, ``across`` m to the right."""

    name: str
    phases: Sequence[Phase]
    distance: float = 2.0
    across: float = 0.0
    at: float = 0.0
    height: float = 1.0  # of the face relative to the mean one
    gaze_bias: tuple[float, float] = (0.0, 0.0)  # degrees of yaw and pitch by which this person's gaze is misjudged

    def at_time(self, seconds: float) -> tuple[Phase, float, float, float] | None:
        """Phase, seconds since its beginning, distance and position across; None while not there."""
        since, distance, across = seconds - self.at, self.distance, self.across
        if since < 0:
            return None
        for phase in self.phases:
            end = (phase.to or distance, across if phase.across is None else phase.across)
            if since < phase.seconds:
                share = since / phase.seconds
                return phase, since, distance + share * (end[0] - distance), across + share * (end[1] - across)
            since, (distance, across) = since - phase.seconds, end
        return None


@dataclass
class Scene:
    """Iterates over images: stamp, faces, and the truth by name."""

    people: Sequence[Person]
    seconds: float
    landmark_rate: float = 2.0
    fps: float = FPS
    seed: int = 0
    missed: float = 0.03  # share of detections that are missing
    truth: dict[str, tuple[Phase, float]] = field(default_factory=dict)

    def images(self) -> Iterator[tuple[int, list[FaceObservation], dict[str, float]]]:
        """Stamp in ns, the faces, and the probability of each to be speaking."""
        rng = np.random.default_rng(self.seed)
        reader = LandmarkReader(self.landmark_rate)
        for number in range(round(self.seconds * self.fps)):
            seconds = number / self.fps
            stamp_ns = START_NS + round(seconds * SECOND)
            seen: list[tuple[str, Box, float, tuple[float, float]]] = []
            speaking: dict[str, float] = {}
            self.truth = {}
            for person in self.people:
                there = person.at_time(seconds)
                if there is None:
                    continue
                phase, since, distance, across = there
                self.truth[person.name] = phase, since
                speaking[person.name] = 0.85 if phase.speaks else 0.05
                if abs(math.radians(phase.gaze)) * 0.75 > LOST_YAW or rng.random() < self.missed:
                    continue
                side = CAMERA.focal_y * FACE * person.height / distance * (1 + 0.03 * rng.standard_normal())
                x, y = CAMERA.centre_x + CAMERA.focal_x * across / distance, CAMERA.centre_y
                if not side / 2 < x < 640 - side / 2:
                    continue
                seen.append((person.name, Box(x - side / 2, y - side / 2, side, side), phase.gaze, person.gaze_bias))
            due = reader.choose({name: box.height for name, box, _, _ in seen}, stamp_ns)
            yield (
                stamp_ns,
                [
                    FaceObservation(
                        name,
                        box,
                        0.9,
                        0.6,
                        EmotionEstimate.unknown(),
                        landmarks=measured(gaze, bias, box.height, rng) if name == due else None,
                    )
                    for name, box, gaze, bias in seen
                ],
                speaking,
            )


def measured(gaze: float, bias: tuple[float, float], side: float, rng: np.random.Generator) -> FaceLandmarks:
    """Landmarks of a face whose gaze misses the robot by ``gaze`` degrees; the head takes three quarters of it."""
    head = math.radians(0.75 * gaze)
    if abs(head) > UNREADABLE_YAW or rng.random() < 0.03:
        return FaceLandmarks(0.2)
    blinks = rng.random() < 0.05
    noise = 0.035 + 0.4 / (0.055 * side) * 0.5
    return FaceLandmarks(
        0.95,
        head_yaw=head + 0.05 * rng.standard_normal(),
        head_pitch=-0.05 + 0.06 * rng.standard_normal(),
        head_roll=0.0,
        gaze_yaw=math.radians(gaze + bias[0]) + noise * rng.standard_normal() + blinks * 0.5,
        gaze_pitch=math.radians(bias[1]) + noise * rng.standard_normal() - blinks * 0.6,
        eye_closure=0.9 if blinks else 0.1,
        jaw_opening=0.1,
    )


def levels(*allowed: Engagement) -> frozenset[Engagement]:
    """A set of levels."""
    return frozenset(allowed)
