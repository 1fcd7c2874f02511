"""Which face is the conversation partner's: the most engaged, then the largest, with hysteresis."""

from __future__ import annotations

from collections.abc import Mapping

from emotion_perception.fusion.face_evidence import FaceTrack
from emotion_perception.types import Engagement, to_seconds

# Levels that are not here rank lowest, as do faces whose engagement is not known.
_RANKS = {Engagement.ENGAGED: 3, Engagement.DISENGAGING: 2, Engagement.ENGAGING: 1}


class PartnerSelection:
    """Selects the conversation partner among the faces in view.

    A person of a higher level of engagement comes before a larger face; without any known engagement the size decides.

    Args:
        switch_ratio: another face of the same level must be so many times as large to take over, >= 1.
        switch_after_s: time for which another face must be more engaged or that much larger, s.
    """

    def __init__(self, switch_ratio: float, switch_after_s: float) -> None:
        self._switch_ratio, self._switch_after_s = switch_ratio, switch_after_s
        self._partner: str | None = None  # face id
        self._challenger: tuple[str, int] | None = None  # face id of a better candidate, and since when, ns
        self.levels: Mapping[str, Engagement] = {}  # by face id, as far as known

    def forget_challenger(self) -> None:
        """After a clock jump the time since which another face is the better candidate is meaningless."""
        self._challenger = None

    def select(self, faces: list[FaceTrack]) -> FaceTrack | None:
        """The partner's face; the best candidate takes over at once if the partner's is gone. None without faces."""
        if not faces:
            self._challenger = None
            return None
        best = max(faces, key=lambda track: (self._rank(track), track.newest.size, track.face_id))
        partner = next((track for track in faces if track.face_id == self._partner), best)
        more_engaged = self._rank(best) > self._rank(partner)
        if more_engaged or best.newest.size > self._switch_ratio * partner.newest.size:
            # Measured by the challenger's frames, not by the queries: a passer-by whose track is held has not stayed.
            face_id, seen_ns = best.face_id, best.newest.stamp_ns
            if self._challenger is None or self._challenger[0] != face_id or self._challenger[1] > seen_ns:
                self._challenger = (face_id, seen_ns)
            if to_seconds(seen_ns - self._challenger[1]) >= self._switch_after_s:
                partner = best
        else:
            self._challenger = None
        if partner is best:
            self._challenger = None
        self._partner = partner.face_id
        return partner

    def _rank(self, track: FaceTrack) -> int:
        return _RANKS.get(self.levels.get(track.face_id, Engagement.UNKNOWN), 0)
