"""Who the conversation partner is: the most engaged, then the largest face, with hysteresis."""

from __future__ import annotations

import numpy as np

from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.types import SECOND, Box, EmotionEstimate, Engagement, FaceObservation

HAPPY = EmotionEstimate.from_probabilities(np.array([1, 0, 9, 0, 0, 0, 0, 0]))


class Scene:
    """Faces with a side in px, at 10 Hz."""

    def __init__(self) -> None:
        self.fusion = EmotionFusion()
        self.tenth = 0

    def show(self, seconds: float, levels: dict[str, Engagement], **sides: float) -> list[str]:
        """The partners in order, without repetition."""
        chosen: list[str] = []
        for _ in range(round(seconds * 10)):
            self.tenth += 1
            now = self.tenth * SECOND // 10
            faces = [FaceObservation(name, Box(0, 0, side, side), 0.9, 0.8, HAPPY) for name, side in sides.items()]
            self.fusion.add_faces(now, faces)
            self.fusion.set_engagement(levels)
            face_id = self.fusion.state(now).face_id
            if not chosen or chosen[-1] != face_id:
                chosen.append(face_id)
        return chosen


def test_an_engaged_person_comes_before_a_larger_face() -> None:
    assert Scene().show(2, {"small": Engagement.ENGAGED, "large": Engagement.DISENGAGED}, small=60, large=120) == [
        "small"
    ]


def test_who_becomes_engaged_takes_over_after_a_second() -> None:
    scene = Scene()
    assert scene.show(2, {"small": Engagement.DISENGAGED}, small=60, large=120) == ["large"]
    levels = {"small": Engagement.ENGAGED, "large": Engagement.DISENGAGED}
    assert scene.show(0.8, levels, small=60, large=120) == ["large"]
    assert scene.show(1, levels, small=60, large=120) == ["large", "small"]


def test_a_glance_away_does_not_end_a_conversation() -> None:
    scene = Scene()
    both = {"a": Engagement.ENGAGED, "b": Engagement.ENGAGED}
    assert scene.show(2, both, a=100, b=90) == ["a"]
    assert scene.show(0.8, both | {"a": Engagement.DISENGAGING}, a=100, b=90) == ["a"]
    assert scene.show(3, both, a=100, b=90) == ["a"]


def test_among_equally_engaged_people_the_larger_face_takes_over() -> None:
    scene = Scene()
    both = {"a": Engagement.ENGAGED, "b": Engagement.ENGAGED}
    assert scene.show(2, both, a=100, b=60) == ["a"]
    assert scene.show(2, both, a=60, b=100) == ["a", "b"]


def test_without_any_known_engagement_the_largest_face_is_the_partner() -> None:
    for levels in ({}, {"a": Engagement.UNKNOWN, "b": Engagement.UNKNOWN, "c": Engagement.DISENGAGED}):
        scene = Scene()
        assert scene.show(2, levels, a=100, b=90, c=50) == ["a"]
        assert scene.show(0.8, levels, a=60, b=100, c=50) == ["a"]
        assert scene.show(1, levels, a=60, b=100, c=50) == ["a", "b"]
        assert scene.show(1, levels, c=50) == ["b", "c"]
