"""Landmarks in a stream of images, in stills and in explanations."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from emotion_perception.types import SECOND, FaceLandmarks
from emotion_perception.visual.explain import draw_explanation, explain_face
from emotion_perception.visual.landmark_reader import HRI_POINTS, LandmarkReader
from emotion_perception.visual.perception import VisualConfig, VisualPerception


def stamps(count: int, rate: float = 30.0) -> list[int]:
    return [round(i * SECOND / rate) for i in range(count)]


def test_the_rate_bounds_the_measurements_of_all_faces_together():
    reader = LandmarkReader(5.0)
    chosen = [reader.choose({"near": 100.0, "far": 100.0}, stamp) for stamp in stamps(300)]
    counts = Counter(face for face in chosen if face)
    assert 48 <= counts.total() <= 51
    assert abs(counts["near"] - counts["far"]) <= 1


def test_near_faces_have_their_turn_more_often_and_far_ones_do_too():
    reader = LandmarkReader(10.0)
    counts = Counter(reader.choose({"near": 200.0, "far": 50.0}, stamp) for stamp in stamps(600))
    assert counts["near"] > 2 * counts["far"] > 20


def test_a_newcomer_is_measured_at_the_next_turn():
    reader = LandmarkReader(10.0)
    for stamp in stamps(30):
        reader.choose({"near": 200.0}, stamp)
    assert reader.choose({"near": 200.0, "new": 20.0}, 2 * SECOND) == "new"


def test_at_rate_0_nothing_is_measured():
    reader = LandmarkReader(0.0)
    assert {reader.choose({"near": 100.0}, stamp) for stamp in stamps(30)} == {None}


def test_a_face_that_left_has_no_turn():
    reader = LandmarkReader(10.0)
    assert reader.choose({"gone": 100.0}, 0) == "gone"
    assert reader.choose({}, SECOND) is None
    assert reader.choose({"here": 10.0}, 2 * SECOND) == "here"


@pytest.fixture(scope="module")
def streaming() -> VisualPerception:
    return VisualPerception(VisualConfig(id_seed=1, landmark_rate=5.0))


def test_a_stream_has_landmarks_at_the_rate_and_none_in_between(streaming, scene):
    streaming.reset()
    faces = [streaming.process(scene(200, 120), stamp)[0] for stamp in stamps(31)]
    measured = [i for i, face in enumerate(faces) if face.landmarks is not None]
    assert 5 <= len(measured) <= 6
    newest = streaming.newest_landmarks(faces[-1].face_id)
    assert newest is faces[measured[-1]].landmarks
    assert newest is not None and newest.score > 0.9
    assert "lip corners up" in newest.facial_actions
    box = faces[measured[-1]].box
    inside = (newest.points >= [box.x - box.width / 2, box.y - box.height / 2]).all()
    assert inside and (newest.points <= [box.x + 1.5 * box.width, box.y + 1.5 * box.height]).all()


def test_landmarks_are_forgotten_with_their_face(streaming, scene):
    streaming.reset()
    face = streaming.process(scene(200, 120), 0)[0]
    assert streaming.newest_landmarks(face.face_id) is not None
    streaming.reset()
    assert streaming.newest_landmarks(face.face_id) is None


def test_with_the_rate_at_0_the_landmarks_of_stills_are_still_measured(scene):
    perception = VisualPerception(VisualConfig(id_seed=1, landmark_rate=0.0))
    image = scene(200, 120)
    assert perception.process(image, 0)[0].landmarks is None
    assert perception.still(image)[0].landmarks is None
    [face] = perception.still(image, landmarks=True)
    assert face.landmarks is not None and face.landmarks.score > 0.9


def test_the_70_points_are_in_ros4hris_order(streaming, astronaut):
    landmarks = streaming.still(astronaut, landmarks=True)[0].landmarks
    assert len(HRI_POINTS) == len(set(HRI_POINTS)) == 70
    x, y = landmarks.points.T
    # Right ear to left ear, chin below; brows above eyes; pupils between the corners of their eye.
    assert x[0] < x[8] < x[16] and y[8] == y[:17].max()
    assert (y[17:27] < y[[36, 37, 38, 39, 40, 42, 43, 44, 45, 46]]).all()
    assert x[36] < x[68] < x[39] and x[42] < x[69] < x[45]
    assert y[27] < y[28] < y[29] < y[30] < y[33] < y[51] < y[57]
    assert x[48] < x[60] < x[62] < x[64] < x[54]
    assert (y[[37, 38, 43, 44]] < y[[41, 40, 47, 46]]).all()


def test_an_explanation_names_the_facial_actions(perception, astronaut):
    face = perception.detect_still(astronaut, landmarks=True)[0]
    bare = explain_face(face.crop, perception.classifier)
    assert bare.facial_actions == ""
    explained = explain_face(face.crop, perception.classifier, landmarks=face.landmarks)
    assert "lip corners up" in explained.facial_actions
    plain, worded = draw_explanation(face.crop, bare), draw_explanation(face.crop, explained)
    assert plain.shape == (288, 576, 3)
    assert worded.shape[0] > 288 and worded.shape[1] == 576
    np.testing.assert_array_equal(worded[:288], plain)
    assert worded[288:].max() == 255


def test_many_actions_take_several_lines(perception, astronaut):
    face = perception.detect_still(astronaut)[0]

    def height(actions: str) -> int:
        landmarks = FaceLandmarks(1.0, facial_actions=actions)
        return draw_explanation(face.crop, explain_face(face.crop, perception.classifier, None, landmarks)).shape[0]

    assert height("a 0.5, b 0.4") == height("a 0.5") < height("a 0.5, b 0.4, c 0.3")
