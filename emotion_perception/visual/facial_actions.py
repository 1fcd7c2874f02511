"""Facial actions from blendshapes: in words, as eye closure, and as action units of FACS.

A coefficient alone says little: faces at rest have some of "eyes narrowed" and none of "lip corners down". Each action
therefore has three reference values: the median of 102 resting faces (neutral pictures of the Face Research Lab London
Set), the 95th percentile of the same faces, below which the action is not reported, and the 99th percentile of FER+
PublicTest, which counts as full strength. ``noseSneer``, ``cheekSquint`` and ``cheekPuff`` are always 0 in this
network; ``mouthPress`` and ``mouthShrugLower`` are as strong in resting faces as in any other. They are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emotion_perception.types import FaceLandmarks
from emotion_perception.visual.landmarks import BLENDSHAPES

LEAST_STRENGTH = 0.2  # a weaker action is not reported
ACTION_UNITS = 99  # length of the arrays of hri_msgs/FacialActionUnits, which are indexed by the code of the unit
FULL_TURN = np.pi / 4  # rad, turn of head or eyes whose action unit has intensity 1


@dataclass(frozen=True)
class FacialAction:
    """One action of the face that is stronger than in resting faces."""

    name: str
    strength: float  # 0 (average resting face) .. 1 (strongest of 100 faces)


@dataclass(frozen=True)
class ActionScale:
    """The blendshapes of an action and their values at rest."""

    name: str
    shape: str  # blendshapes whose name is this, or this with Left and Right, or Lower and Upper
    rest: float  # median of resting faces
    limit: float  # 95th percentile of resting faces
    full: float  # 99th percentile of FER+ PublicTest

    @cached_property
    def indices(self) -> list[int]:
        """Of the blendshapes."""
        names = {self.shape + side for side in ("", "Left", "Right", "Lower", "Upper")}
        return [i for i, name in enumerate(BLENDSHAPES) if name in names]


ACTIONS = (
    ActionScale("brows lowered", "browDown", 0.071, 0.487, 0.798),
    ActionScale("inner brows raised", "browInnerUp", 0.020, 0.374, 0.946),
    ActionScale("outer brows raised", "browOuterUp", 0.028, 0.460, 0.934),
    ActionScale("eyes wide open", "eyeWide", 0.009, 0.025, 0.345),
    ActionScale("eyes narrowed", "eyeSquint", 0.208, 0.456, 0.705),
    ActionScale("eyes closed", "eyeBlink", 0.080, 0.184, 0.703),
    ActionScale("jaw open", "jawOpen", 0.002, 0.013, 0.732),
    ActionScale("lips stretched", "mouthStretch", 0.003, 0.056, 0.573),
    ActionScale("lip corners up", "mouthSmile", 0.002, 0.260, 0.959),
    ActionScale("lip corners down", "mouthFrown", 0.000, 0.008, 0.438),
    ActionScale("upper lip raised", "mouthUpperUp", 0.000, 0.017, 0.848),
    ActionScale("lower lip lowered", "mouthLowerDown", 0.000, 0.000, 0.897),
    ActionScale("lips puckered", "mouthPucker", 0.017, 0.642, 0.980),
    ActionScale("lips funnelled", "mouthFunnel", 0.000, 0.019, 0.218),
    ActionScale("lips rolled in", "mouthRoll", 0.004, 0.078, 0.378),
)
_BY_NAME = {action.name: action for action in ACTIONS}

# Action unit to blendshapes, as in M. Ozel, "ARKit to FACS: Blendshape Cheat Sheet": MediaPipe's coefficients have the
# names and definitions of ARKit's. Units 10, 16, 26, 28 and 43 are matched by their descriptions: ARKit's "upward
# movement of the upper lip" is FACS's upper lip raiser, and so on. Only those that this network measures.
_UNITS = {
    1: "browInnerUp",
    2: "browOuterUp",
    4: "browDown",
    5: "eyeWide",
    7: "eyeSquint",
    10: "mouthUpperUp",
    12: "mouthSmile",
    14: "mouthDimple",
    15: "mouthFrown",
    16: "mouthLowerDown",
    18: "mouthPucker",
    20: "mouthStretch",
    22: "mouthFunnel",
    26: "jawOpen",
    28: "mouthRoll",
    43: "eyeBlink",
}
# Codes of left and right, up and down turns and tilts of the head, then turns of the eyes.
_TURNS = ((51, 52), (53, 54), (55, 56), (61, 62), (63, 64))
_UNIT_INDICES = {code: ActionScale("", shape, 0, 0, 1).indices for code, shape in _UNITS.items()}


def facial_actions(blendshapes: np.ndarray) -> tuple[FacialAction, ...]:
    """The actions that are stronger than in resting faces, strongest first; of equal ones the upper face first.

    Args:
        blendshapes: ``(52,)``, as :class:`FaceMesh` has them.

    Example:
        >>> shapes = np.zeros(52)
        >>> shapes[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]] = 0.7
        >>> describe_actions(facial_actions(shapes))
        'lip corners up 0.7'
    """
    seen = []
    for action in ACTIONS:
        value = float(np.mean(blendshapes[action.indices]))
        strength = _strength(action, value)
        if value > action.limit and strength >= LEAST_STRENGTH:
            seen.append(FacialAction(action.name, strength))
    return tuple(sorted(seen, key=lambda action: -action.strength))


def describe_actions(actions: tuple[FacialAction, ...]) -> str:
    """The actions in words, such as "brows lowered 0.6, lip corners down 0.4"; empty without actions."""
    return ", ".join(f"{action.name} {action.strength:.1f}" for action in actions)


def eye_closure(blendshapes: np.ndarray) -> float:
    """Closure of the eyes, 0 (as open as in an average resting face) .. 1 (closed), the mean of both."""
    action = _BY_NAME["eyes closed"]
    return _strength(action, float(np.mean(blendshapes[action.indices])))


def jaw_opening(blendshapes: np.ndarray) -> float:
    """Opening of the jaw, 0 (closed) .. 1."""
    return float(blendshapes[BLENDSHAPES.index("jawOpen")])


def action_units(face: FaceLandmarks) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and confidences: two ``(99,)`` float32 arrays in 0..1, indexed by the code of the action unit.

    The intensity of a unit of the face is its coefficient, the mean of left and right; that of a turned head or eye (51
    to 56, 61 to 64; of the eyes relative to the head) is the angle, 1 at 45 degrees. The confidence is the landmark
    score, and 0 for units that are not measured.
    """
    intensity, confidence = np.zeros(ACTION_UNITS, np.float32), np.zeros(ACTION_UNITS, np.float32)
    for code, indices in _UNIT_INDICES.items():
        intensity[code] = np.mean(face.blendshapes[indices])
    # The person's left is the image's right, where yaw is positive.
    eye_yaw, eye_pitch = face.gaze_yaw - face.head_yaw, face.gaze_pitch - face.head_pitch
    turns = (face.head_yaw, face.head_pitch, face.head_roll, eye_yaw, eye_pitch)
    for (positive, negative), angle in zip(_TURNS, turns, strict=True):
        intensity[positive], intensity[negative] = max(angle, 0) / FULL_TURN, max(-angle, 0) / FULL_TURN
    confidence[[*_UNIT_INDICES, *np.ravel(_TURNS)]] = face.score
    return intensity.clip(0.0, 1.0), confidence


def _strength(action: ActionScale, value: float) -> float:
    return float(np.clip((value - action.rest) / (action.full - action.rest), 0.0, 1.0))
