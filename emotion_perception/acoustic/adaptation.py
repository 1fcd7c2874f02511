"""A voice's own baseline: some people always sound a little sad, and what tells is how they differ from themselves."""

from __future__ import annotations

import numpy as np

HALF = 6.0  # utterances after which half of a voice's deviation is believed to be its own


class SpeakerBaseline:
    """Running mean of the emotion logits of the utterances heard so far, taken off those of the next ones.

    The logits are linear in the network's pooled embedding, so that this is the embedding's mean normalised to the
    speaker. It cannot tell a voice that always sounds sad from a person who is sad all day: see docs/acoustic_model.md.

    Args:
        population: ``(8,)`` mean logits of many voices, every emotion alike.
        strength: share 0..1 of the deviation from it that is taken off once a voice is well known.
    """

    def __init__(self, population: np.ndarray, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {strength}")
        self._population, self._strength = np.asarray(population, np.float32), strength
        self.reset()

    def reset(self) -> None:
        """Another voice."""
        self._sum = np.zeros_like(self._population)
        self._heard = 0

    def add(self, logits: np.ndarray) -> None:
        """An utterance has ended; ``(8,)`` its logits as the network gave them."""
        self._sum = self._sum + logits
        self._heard += 1

    def normalise(self, logits: np.ndarray) -> np.ndarray:
        """``(8,)`` logits less what is this voice's own."""
        if not self._heard:
            return logits
        known = self._heard / (self._heard + HALF)
        return logits - self._strength * known * (self._sum / self._heard - self._population)
