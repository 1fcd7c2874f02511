"""The vocabulary: eight emotions, their order, their points on the circumplex, their names in data sets and packages.

Every probability vector of the project has shape ``(8,)`` in the order of :data:`EMOTIONS`. The eight are those of
RAVDESS (Livingstone & Russo 2018). Only this module maps the names of data sets to them.
"""

from __future__ import annotations

import math
from operator import mul

import numpy as np

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgusted",
    "surprised",
)
NEUTRAL, CALM, HAPPY, SAD, ANGRY, FEARFUL, DISGUSTED, SURPRISED = range(8)

# Faces do not distinguish calm from neutral: the face model has the other seven, in the order of the vocabulary.
VISUAL_INDICES: tuple[int, ...] = (NEUTRAL, HAPPY, SAD, ANGRY, FEARFUL, DISGUSTED, SURPRISED)
VISUAL_EMOTIONS: tuple[str, ...] = tuple(EMOTIONS[i] for i in VISUAL_INDICES)

# Okabe & Ito (2008), distinguishable with any of the common colour-vision deficiencies; "#rrggbb" in the order above.
EMOTION_COLOURS: tuple[str, ...] = (
    "#c8c8c8",  # neutral, light grey
    "#56b4e9",  # calm, sky blue
    "#f0e442",  # happy, yellow
    "#0072b2",  # sad, blue
    "#d55e00",  # angry, vermilion
    "#cc79a7",  # fearful, reddish purple
    "#009e73",  # disgusted, bluish green
    "#e69f00",  # surprised, orange
)

# Valence and arousal in -1..1: points on the circumplex of affect. The angles are read from figure 2 of Russell (1980);
# the radius places strong emotions near the rim and calm between neutral and the rim.
CIRCUMPLEX = np.array(
    [
        (0.00, 0.00),  # neutral
        (0.45, -0.55),  # calm
        (0.85, 0.30),  # happy
        (-0.75, -0.45),  # sad
        (-0.55, 0.75),  # angry
        (-0.40, 0.80),  # fearful
        (-0.75, 0.30),  # disgusted
        (0.20, 0.85),  # surprised
    ],
    dtype=np.float32,
)

_VALENCES, _AROUSALS = CIRCUMPLEX.T.tolist()
# Standard deviation of valence and of arousal within one emotion, as a lower limit of any deviation. The points of the
# circumplex are themselves uncertain by about this much.
WITHIN_EMOTION = 0.1

# Other names of the emotions in data sets, packages and speech, in lower case.
ALIASES: dict[str, int] = {
    "neutrality": NEUTRAL,
    "boredom": CALM,  # low arousal, little expression: the nearest of the eight (EmoDB)
    "calmness": CALM,
    "happiness": HAPPY,
    "joy": HAPPY,
    "sadness": SAD,
    "anger": ANGRY,
    "fear": FEARFUL,
    "scared": FEARFUL,
    "disgust": DISGUSTED,
    "surprise": SURPRISED,
}
# Vote columns of FER+ in their order; None is outside the vocabulary.
FERPLUS_COLUMNS: tuple[int | None, ...] = (NEUTRAL, HAPPY, SURPRISED, SAD, ANGRY, DISGUSTED, FEARFUL, None, None, None)
FERPLUS_CONTEMPT = 7
FER2013_LABELS: tuple[int, ...] = (ANGRY, DISGUSTED, FEARFUL, HAPPY, SAD, SURPRISED, NEUTRAL)
RAVDESS_CODES: dict[str, int] = {f"{code:02d}": code - 1 for code in range(1, 9)}
EMODB_CODES: dict[str, int] = {
    "W": ANGRY,
    "L": CALM,
    "E": DISGUSTED,
    "A": FEARFUL,
    "F": HAPPY,
    "T": SAD,
    "N": NEUTRAL,
}
CREMAD_CODES: dict[str, int] = {
    "ANG": ANGRY,
    "DIS": DISGUSTED,
    "FEA": FEARFUL,
    "HAP": HAPPY,
    "NEU": NEUTRAL,
    "SAD": SAD,
}
# Constants of hri_msgs/Expression (ROS4HRI); it has no calm, and neutral is the nearest.
ROS4HRI_NAMES: tuple[str, ...] = (
    "neutral",
    "neutral",
    "happy",
    "sad",
    "angry",
    "scared",
    "disgusted",
    "surprised",
)


def emotion_index(name: str) -> int:
    """Index of an emotion by its name or by a common alias ("anger", "joy", "scared" ...), in any case.

    Raises:
        ValueError: the name is unknown; the message lists the vocabulary.

    Example:
        >>> EMOTIONS[emotion_index("Joy")]
        'happy'
        >>> emotion_index("hunger")
        Traceback (most recent call last):
        ValueError: unknown emotion 'hunger'; the vocabulary is neutral, calm, happy, ...
    """
    key = name.strip().lower()
    if key in EMOTIONS:
        return EMOTIONS.index(key)
    if key in ALIASES:
        return ALIASES[key]
    raise ValueError(f"unknown emotion {name!r}; the vocabulary is {', '.join(EMOTIONS)}")


def visual_to_vocabulary(visual: np.ndarray) -> np.ndarray:
    """Probabilities ``(..., 7)`` in the order of :data:`VISUAL_EMOTIONS` as ``(..., 8)``, with 0 for calm.

    Example:
        >>> print(visual_to_vocabulary(np.array([0.3, 0.7, 0, 0, 0, 0, 0])))
        [0.3 0.  0.7 0.  0.  0.  0.  0. ]
    """
    full = np.zeros((*visual.shape[:-1], len(EMOTIONS)), dtype=np.float32)
    full[..., VISUAL_INDICES] = visual
    return full


def valence_arousal(probabilities: np.ndarray, intensities: np.ndarray | None = None) -> tuple[float, float]:
    """Expected valence and arousal, each -1..1, of a distribution over the emotions.

    Args:
        probabilities: ``(8,)``, sum 1.
        intensities: ``(8,)`` in 0..1, NaN where unknown. A known intensity scales the radius of the emotion's point
            from half (0) to full (1): a faint smile is nearer to the centre than a laugh.

    Example:
        >>> valence, arousal = valence_arousal(np.eye(8)[HAPPY])
        >>> f"{valence:.2f} {arousal:.2f}"
        '0.85 0.30'
    """
    weight = _radial_weights(probabilities, intensities)
    return sum(map(mul, weight, _VALENCES)), sum(map(mul, weight, _AROUSALS))


def valence_arousal_deviation(probabilities: np.ndarray, intensities: np.ndarray | None = None) -> tuple[float, float]:
    """Standard deviation of the errors of valence and arousal that a calibrated distribution implies, 0.1..1.

    It is the spread of the emotions' points under the distribution, and :data:`WITHIN_EMOTION`. docs/acoustic_model.md
    compares it with the errors on labelled faces and voices.

    Args:
        probabilities: ``(8,)``, sum 1.
        intensities: as for :func:`valence_arousal`.

    Example:
        >>> sure, unsure = np.eye(8)[HAPPY], (np.eye(8)[HAPPY] + np.eye(8)[SAD]) / 2
        >>> ["%.2f %.2f" % valence_arousal_deviation(p) for p in (sure, unsure)]
        ['0.10 0.10', '0.81 0.39']
    """
    weight = _radial_weights(probabilities, intensities)
    p = probabilities.tolist()
    found = []
    for values in (_VALENCES, _AROUSALS):
        # The second moment: p * (radius * value)^2, with radius = weight / p.
        square = sum(w * w * v * v / q for w, v, q in zip(weight, values, p, strict=True) if q > 0)
        found.append(math.sqrt(max(0.0, square - sum(map(mul, weight, values)) ** 2) + WITHIN_EMOTION**2))
    return found[0], found[1]


def _radial_weights(probabilities: np.ndarray, intensities: np.ndarray | None) -> list[float]:
    """Each probability times the radius that the emotion's intensity gives to its point."""
    # Called for every face: Python arithmetic is several times faster than numpy for eight numbers.
    weight: list[float] = probabilities.tolist()
    if intensities is None:
        return weight
    return [p if i != i else p * (0.5 + 0.5 * i) for p, i in zip(weight, intensities.tolist(), strict=True)]
