"""Evidence of the facial actions for each emotion, beside the expression network.

The network reads a small crop and has learnt from photographs of strong expressions; the blendshapes are measured at
the full resolution of the face and also show slight and posed ones. Each emotion has a prototype: the actions that
EMFACS lists for it (Ekman, Friesen, Hager 2002), as far as the blendshape network measures them. The strengths of these
actions, weighted, are added to the network's log likelihoods. Nothing in it is trained; :data:`WEIGHT` and the scale of
the strengths were chosen on validation data (docs/visual_model.md, "Facial actions as evidence").
"""

from __future__ import annotations

import numpy as np

from emotion_perception.emotions import VISUAL_EMOTIONS
from emotion_perception.types import FaceLandmarks
from emotion_perception.visual.facial_actions import ACTIONS

WEIGHT = 1.5  # nats for a prototype at full strength
HOLD_S = 1.0  # time for which a measurement counts in a stream
SIDES = (48.0, 96.0)  # px: blendshapes of smaller faces mean nothing, those of larger ones count fully
LEAST_SCORE = 0.5  # of the landmarks
LEAST, MOST = -0.3, 1.2  # limits of a strength, 0 at rest, 1 for the strongest of 100 faces
LEAST_KNEE = 0.1  # of the logarithmic scale of an action that resting faces never show

PROTOTYPES = {
    "happy": {"lip corners up": 1.0},
    "sad": {"lip corners down": 0.5, "inner brows raised": 0.3, "brows lowered": 0.2},
    "angry": {"brows lowered": 0.7},
    "fearful": {"lips stretched": 0.5, "inner brows raised": 0.3, "eyes wide open": 0.3},
    "disgusted": {"upper lip raised": 0.7, "brows lowered": 0.5},
    "surprised": {"jaw open": 0.5, "outer brows raised": 0.5},
}
_MATRIX = np.array(
    [[PROTOTYPES.get(emotion, {}).get(action.name, 0.0) for action in ACTIONS] for emotion in VISUAL_EMOTIONS]
)  # (7, actions)
_RANGE = np.array([action.full - action.rest for action in ACTIONS])
_KNEE = np.array([max(action.limit - action.rest, LEAST_KNEE) for action in ACTIONS])
_REST = np.array([action.rest for action in ACTIONS])


def action_evidence(landmarks: FaceLandmarks, side: float) -> np.ndarray:
    """Log-likelihood ratio of each of :data:`~emotion_perception.emotions.VISUAL_EMOTIONS` against neutral, ``(7,)``.

    Args:
        landmarks: of the face.
        side: of the face, px.

    Example:
        >>> from emotion_perception.visual.landmarks import BLENDSHAPES
        >>> shapes = np.zeros(len(BLENDSHAPES), np.float32)
        >>> shapes[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]] = 0.5
        >>> action_evidence(FaceLandmarks(1.0, blendshapes=shapes), side=200).round(1).tolist()[:2]
        [0.0, 1.0]
    """
    share = (side - SIDES[0]) / (SIDES[1] - SIDES[0])
    if landmarks.score < LEAST_SCORE or not len(landmarks.blendshapes) or share <= 0:
        return np.zeros(len(VISUAL_EMOTIONS))
    above = np.array([np.mean(landmarks.blendshapes[action.indices]) for action in ACTIONS]) - _REST
    # Logarithmic above rest: the first half of a smile says more than the second.
    strengths = np.where(
        above > 0, np.log1p(np.maximum(above, 0) / _KNEE) / np.log1p(_RANGE / _KNEE), above / _RANGE
    ).clip(LEAST, MOST)
    return np.asarray(min(share, 1.0) * WEIGHT * (_MATRIX @ strengths))
