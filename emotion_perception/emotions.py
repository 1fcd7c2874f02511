"""The vocabulary: eight emotions, their order, their place on the circumplex, their names elsewhere.

Every probability vector of the project has shape ``(8,)`` in the order of :data:`EMOTIONS`. The eight are those of
RAVDESS (Livingstone & Russo 2018). No other module maps a data set's names onto them.
"""

from __future__ import annotations

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

# A face does not tell calm from neutral; the visual model has the other seven, in the vocabulary's order.
VISUAL_INDICES: tuple[int, ...] = (NEUTRAL, HAPPY, SAD, ANGRY, FEARFUL, DISGUSTED, SURPRISED)
VISUAL_EMOTIONS: tuple[str, ...] = tuple(EMOTIONS[i] for i in VISUAL_INDICES)

# Valence and arousal in -1..1. Positions on the circumplex of affect: Russell (1980), figure 2, read off as angles and
# put at a radius that keeps strong emotions near the rim and calm between neutral and the rim.
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

# Names used by data sets, other packages and people, lower-case, to the vocabulary.
ALIASES: dict[str, int] = {
    "neutrality": NEUTRAL,
    "boredom": CALM,  # low-arousal, no display; the nearest of the eight (EmoDB)
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
# FER+ vote columns in their order; None has no place in the vocabulary.
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
# hri_msgs/Expression constants (ROS4HRI); calm has none, neutral is the nearest.
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
    """Index of an emotion by its name here or by a common alias ("anger", "joy", "scared" ...).

    Raises:
        ValueError: the name is not known; the message lists the eight.
    """
    key = name.strip().lower()
    if key in EMOTIONS:
        return EMOTIONS.index(key)
    if key in ALIASES:
        return ALIASES[key]
    raise ValueError(f"unknown emotion {name!r}; the vocabulary is {', '.join(EMOTIONS)}")


def visual_to_vocabulary(visual: np.ndarray) -> np.ndarray:
    """Spread ``(..., 7)`` visual probabilities over the vocabulary, ``(..., 8)``; calm gets 0."""
    full = np.zeros((*visual.shape[:-1], len(EMOTIONS)), dtype=np.float32)
    full[..., VISUAL_INDICES] = visual
    return full


def valence_arousal(probabilities: np.ndarray, intensities: np.ndarray | None = None) -> tuple[float, float]:
    """Expected valence and arousal, each -1..1, of a distribution ``(8,)`` over the circumplex.

    Where an intensity ``(8,)`` is known (0..1, NaN elsewhere) the emotion's point moves towards neutral, to half its
    radius at intensity 0: a faint smile is nearer the centre than a laugh.
    """
    # Python's own arithmetic is several times quicker than numpy's on eight numbers, and every face comes here.
    weight = probabilities.tolist()
    if intensities is not None:
        known = intensities.tolist()
        weight = [p if i != i else p * (0.5 + 0.5 * i) for p, i in zip(weight, known, strict=True)]
    return sum(map(mul, weight, _VALENCES)), sum(map(mul, weight, _AROUSALS))
