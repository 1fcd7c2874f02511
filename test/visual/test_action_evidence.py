"""Facial actions as evidence beside the expression network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emotion_perception.emotions import EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.types import SECOND, FaceLandmarks
from emotion_perception.visual.action_evidence import HOLD_S, PROTOTYPES, WEIGHT, action_evidence
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.facial_actions import ACTIONS
from emotion_perception.visual.landmarks import BLENDSHAPES
from emotion_perception.visual.perception import VisualPerception

HAPPY = VISUAL_EMOTIONS.index("happy")


def showing(**strengths: float) -> FaceLandmarks:
    """A face whose actions have these values, 0 at rest and 1 at full strength; spaces in the names are underscores."""
    shapes = np.zeros(len(BLENDSHAPES), np.float32)
    for action in ACTIONS:
        share = strengths.get(action.name.replace(" ", "_"), 0.0)
        shapes[action.indices] = action.rest + share * (action.full - action.rest)
    return FaceLandmarks(1.0, blendshapes=shapes)


def test_prototypes_name_emotions_and_actions_that_exist():
    assert set(PROTOTYPES) == set(VISUAL_EMOTIONS) - {"neutral"}
    assert {name for actions in PROTOTYPES.values() for name in actions} <= {action.name for action in ACTIONS}


def test_a_resting_face_is_no_evidence():
    assert np.allclose(action_evidence(showing(), 200), 0)


@pytest.mark.parametrize("emotion", PROTOTYPES)
def test_a_prototype_is_most_evidence_for_its_own_emotion(emotion: str):
    shown = {name.replace(" ", "_"): 1.0 for name in PROTOTYPES[emotion]}
    evidence = action_evidence(showing(**shown), 200)
    assert VISUAL_EMOTIONS[int(evidence.argmax())] == emotion
    assert evidence[0] == 0
    assert evidence.max() == pytest.approx(WEIGHT * sum(PROTOTYPES[emotion].values()))


def test_evidence_grows_with_the_action_and_is_bounded():
    values = [action_evidence(showing(lip_corners_up=share), 200)[HAPPY] for share in np.linspace(-0.5, 3, 20)]
    assert np.all(np.diff(values) >= 0)
    assert -0.3 * WEIGHT <= values[0] < 0 < values[-1] <= 1.2 * WEIGHT
    half = action_evidence(showing(lip_corners_up=0.5), 200)[HAPPY]
    assert half > 0.55 * action_evidence(showing(lip_corners_up=1.0), 200)[HAPPY]


def test_small_faces_and_faces_without_landmarks_give_none():
    smile = showing(lip_corners_up=1.0)
    assert not action_evidence(smile, 48).any()
    assert action_evidence(smile, 72)[HAPPY] == pytest.approx(action_evidence(smile, 96)[HAPPY] / 2)
    assert not action_evidence(replace(smile, score=0.3), 200).any()
    assert not action_evidence(FaceLandmarks(0.9), 200).any(), "no blendshapes"


def smiling(perception: VisualPerception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perception._landmarks, "measure", lambda image, frame: showing(brows_lowered=1.0))


def test_evidence_is_added_to_the_networks_log_likelihoods(astronaut, monkeypatch):
    config = VisualConfig(emotion_prior="balanced")
    perception, bare = VisualPerception(config), VisualPerception(replace(config, facial_actions=False))
    for each in (perception, bare):
        smiling(each, monkeypatch)
    (face,), (without,) = perception.still(astronaut), bare.still(astronaut)
    assert without.quality > 0.9, "not flattened"
    chosen = [EMOTIONS.index(name) for name in ("angry", "happy")]
    change = np.log(face.emotion.probabilities[chosen] / without.emotion.probabilities[chosen])
    evidence = action_evidence(showing(brows_lowered=1.0), 97)
    difference = evidence[VISUAL_EMOTIONS.index("angry")] - evidence[HAPPY]
    assert change[0] - change[1] == pytest.approx(difference, abs=0.01)
    assert perception.still(astronaut, landmarks=False)[0].emotion.probabilities == pytest.approx(
        without.emotion.probabilities
    )


def test_in_a_stream_a_measurement_counts_for_a_second(astronaut, monkeypatch):
    perception = VisualPerception(VisualConfig(landmark_rate=0.1))  # one measurement in ten seconds
    smiling(perception, monkeypatch)
    held, measured = {}, -100
    for tenth in range(25):
        faces = perception.detect(astronaut, tenth * SECOND // 10)
        if faces and faces[0].crop is not None:
            held[tenth] = faces[0].action_evidence is not None
            measured = tenth if faces[0].landmarks is not None else measured
    assert all(known == (tenth - measured <= 10 * HOLD_S) for tenth, known in held.items())
    assert set(held.values()) == {True, False}
