"""Who is who: the person of each face and voice, as ROS4HRI knows it or as numbered here."""

from __future__ import annotations

from collections.abc import Collection

from emotion_perception.types import to_seconds

MAX_PERSONS = 1024


class Persons:
    """Persons of faces and voices.

    Args:
        hold_s: time after its face was last seen for which a voice is still the last conversation partner's, s.
    """

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._associated: dict[str, tuple[str, str]] = {}  # person id to face id and voice id, from ROS4HRI
        self.numbered: dict[str, str] = {}  # face id to person id, least recently used first
        self._count = 0
        self._partner: tuple[str, int] | None = None  # the last conversation partner, and when last seen, ns

    def associate(self, person_id: str, face_id: str, voice_id: str) -> None:
        """ROS4HRI: a face and a voice are a person's; with both empty the person is forgotten."""
        self._associated.pop(person_id, None)
        if face_id or voice_id:
            self._associated[person_id] = (face_id, voice_id)
            while len(self._associated) > MAX_PERSONS:
                del self._associated[next(iter(self._associated))]

    def number(self, face_id: str, predecessor: str | None, present: Collection[str]) -> str:
        """The person of a face without ROS4HRI, the same again when the face returns.

        Args:
            face_id: of a face that appears.
            predecessor: the person who was last seen where the face appears; None: nobody.
            present: the persons whose faces are in the same image; none of them is this face's.
        """
        person = self.numbered.pop(face_id, predecessor)
        if person is None or person in present:
            self._count += 1
            person = f"person_{self._count}"
        self.numbered[face_id] = person
        if len(self.numbered) > MAX_PERSONS:
            del self.numbered[next(iter(self.numbered))]
        return person

    def face_of_voice(self, voice_id: str) -> str | None:
        """The face that ROS4HRI associates with a voice; None where it does not."""
        for face_id, associated_voice in self._associated.values():
            if associated_voice == voice_id and face_id:
                return face_id
        return None

    def of_face(self, face_id: str, numbered: str) -> str:
        """ROS4HRI's person of a face, else the one numbered here."""
        for person_id, (associated_face, _) in self._associated.items():
            if associated_face == face_id:
                return person_id
        return numbered

    def of_voice(self, voice_id: str, now_ns: int, partner: bool) -> str:
        """ROS4HRI's person of a voice, else the last conversation partner if recently seen; empty: unknown.

        Args:
            voice_id: of the voice.
            now_ns: time of the query.
            partner: the voice belongs to the conversation partner's state.
        """
        for person_id, (_, associated_voice) in self._associated.items():
            if associated_voice == voice_id:
                return person_id
        if partner and self._partner is not None:
            person_id, seen_ns = self._partner
            if abs(to_seconds(now_ns - seen_ns)) <= self._hold_s:
                return person_id
        return ""

    def partner_seen(self, person_id: str, stamp_ns: int) -> None:
        """The conversation partner and the stamp of the newest image of the face."""
        self._partner = (person_id, stamp_ns)
