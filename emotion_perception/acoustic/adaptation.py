"""Speaker adaptation: some people always sound a little sad, so a voice is compared with its own mean."""

from __future__ import annotations

import numpy as np

from emotion_perception.acoustic.place import PlaceAdaptation

HALF = 6.0  # utterances after which half of the mean deviation is attributed to the speaker


class SpeakerBaseline:
    """Running mean of a speaker's emotion logits, subtracted from the logits of the next utterances.

    The logits are linear in the network's pooled embedding, so this is mean normalisation of the embedding by speaker.
    It cannot distinguish a voice that always sounds sad from a person who is sad all day: see docs/acoustic_model.md.

    Args:
        population: ``(8,)`` mean logits over many speakers, with all emotions equally frequent.
        strength: share 0..1 of the speaker's mean deviation from it that is subtracted after many utterances.

    Raises:
        ValueError: ``strength`` is out of range.
    """

    def __init__(self, population: np.ndarray, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {strength}")
        self._population, self._strength = np.asarray(population, np.float32), strength
        self.reset()

    def reset(self) -> None:
        """Start with another speaker."""
        self._sum = np.zeros_like(self._population)
        self._count = 0

    def add(self, logits: np.ndarray) -> None:
        """Add a finished utterance: ``(8,)`` its logits, not adapted."""
        self._sum = self._sum + logits
        self._count += 1

    def normalise(self, logits: np.ndarray) -> np.ndarray:
        """``(8,)`` logits without the speaker's mean deviation."""
        if not self._count:
            return logits
        known = self._count / (self._count + HALF)
        return logits - self._strength * known * (self._sum / self._count - self._population)


class Adaptation:
    """Place and speaker together: the speaker's baseline is relative to the place."""

    def __init__(self, place: PlaceAdaptation, speaker: SpeakerBaseline) -> None:
        self._place, self._speaker = place, speaker

    def normalise(self, logits: np.ndarray) -> np.ndarray:
        """``(8,)`` logits without the shifts of place and speaker."""
        return self._speaker.normalise(self._place.normalise(logits))
