"""Presence: who engages with the robot and who has left."""

from __future__ import annotations

from emotion_perception.interaction.arc import ArcSample
from emotion_perception.interaction.conversation import ConversationConfig
from emotion_perception.types import SECOND, EmotionStatus

PRESENCE_GAP_S = 1.0  # an absence shorter than this (s) is ignored


class Presence:
    """Tracks whether a person is present. Short absences are bridged; a voice can continue what a face began."""

    def __init__(self, config: ConversationConfig) -> None:
        self._face_only = config.engage_on == "face"
        self._start_ns, self._stop_ns = (round(s * SECOND) for s in (config.start_after_s, config.stop_after_s))
        self._gap_ns = round(PRESENCE_GAP_S * SECOND)
        self.forget()

    def forget(self) -> None:
        """Start again, as if nobody had been present."""
        self._since: int | None = None
        self._last: int | None = None

    def add(self, sample: ArcSample) -> None:
        """Take the next sample."""
        now = sample.time_ns
        if self._last is not None and now - self._last > self._gap_ns:
            self._since = None  # the person left; `_last` is kept for `gone`
        if not sample.has_evidence:
            return
        begins = not self._face_only or sample.status in (EmotionStatus.VISUAL_ONLY, EmotionStatus.AUDIO_VISUAL)
        if self._since is None and begins:
            self._since = now
        if self._since is not None or self._last is not None:
            self._last = now

    def engaged_since(self) -> int | None:
        """Time of arrival of a person who has been present long enough, ns; None if there is none."""
        if self._since is None or self._last is None or self._last - self._since < self._start_ns:
            return None
        return self._since

    def gone(self, now_ns: int) -> bool:
        """Whether nobody has been present for ``stop_after_s``."""
        return self._last is None or now_ns - self._last >= self._stop_ns
