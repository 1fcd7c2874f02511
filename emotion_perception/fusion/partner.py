"""Which face is the conversation partner's: the largest, with hysteresis."""

from __future__ import annotations

from emotion_perception.fusion.face_evidence import FaceTrack
from emotion_perception.types import to_seconds


class PartnerSelection:
    """Selects the conversation partner among the faces in view.

    Args:
        switch_ratio: another face must be so many times as large to take over, >= 1.
        switch_after_s: and for this long, s.
    """

    def __init__(self, switch_ratio: float, switch_after_s: float) -> None:
        self._switch_ratio, self._switch_after_s = switch_ratio, switch_after_s
        self._partner: str | None = None  # face id
        self._challenger: tuple[str, int] | None = None  # face id of a larger face, and since when, ns

    def forget_challenger(self) -> None:
        """After a clock jump the time since which another face is larger is meaningless."""
        self._challenger = None

    def select(self, faces: list[FaceTrack]) -> FaceTrack | None:
        """The partner's face; the largest takes over at once if the partner's is gone. None without faces."""
        if not faces:
            self._challenger = None
            return None
        largest = max(faces, key=lambda track: (track.newest.size, track.face_id))
        partner = next((track for track in faces if track.face_id == self._partner), largest)
        if largest.newest.size > self._switch_ratio * partner.newest.size:
            # Measured by the challenger's frames, not by the queries: a passer-by whose track is held has not stayed.
            face_id, seen_ns = largest.face_id, largest.newest.stamp_ns
            if self._challenger is None or self._challenger[0] != face_id or self._challenger[1] > seen_ns:
                self._challenger = (face_id, seen_ns)
            if to_seconds(seen_ns - self._challenger[1]) >= self._switch_after_s:
                partner = largest
        else:
            self._challenger = None
        if partner is largest:
            self._challenger = None
        self._partner = partner.face_id
        return partner
