"""What is drawn onto a picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emotion_perception.emotions import ANGRY, EMOTIONS, HAPPY
from emotion_perception.types import Box, EmotionEstimate, EmotionState, EmotionStatus, FaceObservation
from emotion_perception.visualization.overlay import EMOTION_BGR, draw, label_text


def estimate(label: int) -> EmotionEstimate:
    probabilities = np.full(8, 0.02, np.float32)
    probabilities[label] = 0.86
    return EmotionEstimate.from_probabilities(probabilities)


def face(label: int = HAPPY, box: Box | None = None) -> FaceObservation:
    return FaceObservation("f1", box or Box(100.0, 120.0, 80.0, 90.0), 0.9, 0.8, estimate(label))


def state(status: EmotionStatus, label: int = HAPPY) -> EmotionState:
    emotion = EmotionEstimate.unknown() if status == EmotionStatus.NO_EVIDENCE else estimate(label)
    return EmotionState(0, status, "", "f1", "", emotion, ())


BLANK = np.full((240, 320, 3), 60, np.uint8)


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour, np.uint8)).all(axis=2).any())


def test_the_picture_given_is_left_as_it_is():
    picture = BLANK.copy()
    picture.flags.writeable = False
    drawn = draw(picture, [face()], state(EmotionStatus.VISUAL_ONLY))
    assert (picture == BLANK).all() and drawn.shape == BLANK.shape and (drawn != BLANK).any()


def test_a_box_has_the_colour_of_its_emotion_where_the_face_is():
    drawn = draw(BLANK, [face(ANGRY)], None)
    assert tuple(drawn[165, 100]) == EMOTION_BGR[ANGRY]
    assert tuple(drawn[165, 140]) == (60, 60, 60), "the face itself stays visible"
    assert not has_colour(draw(BLANK, [], None), EMOTION_BGR[ANGRY])


def test_no_evidence_shows_no_emotions_colour():
    drawn = draw(BLANK, [], state(EmotionStatus.NO_EVIDENCE))
    assert not any(has_colour(drawn, colour) for colour in EMOTION_BGR[1:])  # grey is also the edge of white letters
    assert drawn[200:, :160].max() > 200, "but says so"


def test_bars_are_as_long_as_their_probability():
    drawn = draw(BLANK, [], state(EmotionStatus.AUDIO_VISUAL, HAPPY))
    lengths = [(drawn[:120] == np.array(colour, np.uint8)).all(axis=2).sum() for colour in EMOTION_BGR]
    assert np.argmax(lengths) == HAPPY
    assert lengths[HAPPY] > 5 * max(length for i, length in enumerate(lengths) if i != HAPPY)
    without = draw(BLANK, [], state(EmotionStatus.AUDIO_VISUAL, HAPPY), bars=False)
    assert (without[:60, :100] == 60).all()


def test_grey_pictures_become_colour():
    assert draw(BLANK[..., 0], [face()], None).shape == (240, 320, 3)


@pytest.mark.parametrize(
    "box",
    [
        Box(-50, -60, 100, 100),
        Box(300, 230, 100, 100),
        Box(1e9, -1e9, 1e9, 1e9),
        Box(float("nan"), 0, 10, float("inf")),
    ],
)
def test_boxes_over_the_edge_and_beyond_are_survived(box: Box):
    assert draw(BLANK, [face(box=box)], None).shape == BLANK.shape


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 500, 3), (500, 8, 3)])
def test_pictures_of_any_size_are_survived(shape: tuple[int, int, int]):
    picture = np.zeros(shape, np.uint8)
    assert draw(picture, [face()], state(EmotionStatus.AUDIO_VISUAL)).shape == shape


def test_labels_are_words_and_scores_can_be_left_away():
    assert label_text(estimate(HAPPY)) == "happy 86 %"
    assert label_text(estimate(HAPPY), scores=False) == "happy"


def test_colours_differ_for_people_with_any_colour_vision():
    """Viénot, Brettel & Mollon (1999): protanopia and deuteranopia as projections in linear RGB."""
    assert len(EMOTION_BGR) == len(EMOTIONS)
    linear = (np.array(EMOTION_BGR)[:, ::-1] / 255.0) ** 2.2  # RGB
    protan = np.array([(0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)])
    deutan = np.array([(0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)])
    for projection in (np.eye(3), protan, deutan):
        seen = 255 * np.clip(linear @ projection.T, 0, 1) ** (1 / 2.2)
        for a, b in itertools.combinations(range(8), 2):
            assert np.linalg.norm(seen[a] - seen[b]) > 20, (EMOTIONS[a], EMOTIONS[b])
