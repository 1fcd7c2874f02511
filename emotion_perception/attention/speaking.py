"""Who is speaking at this moment, from the voice decisions and their speaker posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping

from emotion_perception.types import SECOND, VoiceObservation

SPEAKING_FOR = 1.2  # s after a decision that is not the last of its utterance: decisions come every half second
MAX_VOICES = 64


class SpeakingNow:
    """The utterances that are going on."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, bool]] = {}  # by voice id: stamp, ns, and whether the utterance has ended

    def add(self, voice: VoiceObservation) -> None:
        """One decision about a voice."""
        held = self._newest.pop(voice.voice_id, None)
        newest = (voice.stamp_ns, voice.final)
        self._newest[voice.voice_id] = newest if held is None or held[0] <= voice.stamp_ns else held
        if len(self._newest) > MAX_VOICES:
            del self._newest[next(iter(self._newest))]

    def reset(self) -> None:
        """Forget all voices."""
        self._newest.clear()

    @property
    def heard(self) -> bool:
        """Whether there was any voice; without one, it is not known whether the robot can hear."""
        return bool(self._newest)

    def probabilities(self, speakers: Mapping[str, Mapping[str, float]], now_ns: int) -> dict[str, float]:
        """By face id ("": out of view): the probability of speaking now; faces that are left out have 0.

        Args:
            speakers: by voice id, the probability of each face id (:attr:`EmotionFusion.speakers`).
            now_ns: time of the query.
        """
        found: dict[str, float] = {}
        for voice_id, (stamp_ns, ended) in self._newest.items():
            if ended or not abs(now_ns - stamp_ns) <= SPEAKING_FOR * SECOND:
                continue
            for face_id, probability in speakers.get(voice_id, {}).items():
                if math.isfinite(probability):
                    found[face_id] = 1 - (1 - found.get(face_id, 0.0)) * (1 - min(1.0, probability))
        return found
