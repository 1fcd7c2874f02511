"""From two streams of evidence to one state about the person spoken with. No ROS, no torch.

Evidence is kept by its stamp, so the state at a time depends on what was captured, not on the order of arrival:

- **A face** counts from its newest picture of some quality until ``visual_max_age_s``; once a newer picture lacks it,
  only for ``face_hold_s`` after it was last seen, which bridges a missed detection and ends soon after it left. Its
  pictures come filtered over time (``fusion/temporal.py``), so the newest speaks for all; for a source without a
  filter, ``visual_smoothing_s`` averages them backwards from the newest with that half-life.
- **A voice** counts by its newest decision until ``acoustic_max_age_s``, as a decision speaks for the last utterance.
- **Weight** of either in the pool = base weight * reliability (how sure the detector is; speech long enough and by one
  voice) * quality (of the picture; SNR) * staleness (1 while fresh, then halved every half-life, 0 at the maximum age).
- **The person spoken with** is the largest face (most central, where the image size is told). Another takes over when
  it is ``switch_ratio`` times as large for ``switch_after_s``, or at once when the first is gone. The voice is that
  person's.
- **Clocks.** A stamp ahead of the query has age 0 and is counted; more than ``future_limit_s`` ahead it is from before
  a clock jump and dropped. Two items in a row more than ``clock_jump_s`` older than the newest of their kind say that
  the source's clock jumped back: what was held of that kind goes.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.fusion.pooling import estimate_row, half_life_decay, pool, pool_rows, ramp
from emotion_perception.types import (
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Evidence,
    FaceObservation,
    VoiceObservation,
)

MAX_FACES = 64  # per picture; the largest are kept
MAX_PICTURES = 32  # per face
MAX_TRACKS = 256  # faces held at once
MAX_VOICES = 32  # decisions held
MAX_PERSONS = 1024  # face ids remembered with their person
FUTURE_TOLERANCE_S = 0.05  # clocks this close are the same clock

_STATUS = {
    (True, False): EmotionStatus.VISUAL_ONLY,
    (False, True): EmotionStatus.ACOUSTIC_ONLY,
    (True, True): EmotionStatus.AUDIO_VISUAL,
}


def _number(default: float, low: float, high: float, description: str) -> Any:
    """A field that can serve as a ROS parameter: its range and its description are in the metadata."""
    return field(default=default, metadata={"min": low, "max": high, "description": description})


@dataclass(frozen=True)
class FusionConfig:
    """What can be set. ``dataclasses.fields`` gives name and default and, in ``metadata``, min, max and description.

    Raises:
        ValueError: a value is out of range; the message names field, value and range.
    """

    visual_weight: float = _number(1.0, 0.0, 4.0, "Exponent of the face in the pool; 0 ignores faces.")
    acoustic_weight: float = _number(1.0, 0.0, 4.0, "Exponent of the voice in the pool; 0 ignores voices.")
    visual_fresh_s: float = _number(0.2, 0.0, 60.0, "A face this young (s) has its full weight.")
    acoustic_fresh_s: float = _number(1.0, 0.0, 60.0, "A voice decision this young (s) has its full weight.")
    visual_half_life_s: float = _number(
        0.5, 0.01, 600.0, "After the fresh time a face's weight halves every so many s."
    )
    acoustic_half_life_s: float = _number(
        3.0, 0.01, 600.0, "After the fresh time a voice's weight halves every so many s."
    )
    visual_max_age_s: float = _number(1.0, 0.05, 600.0, "A face older than this (s) is no evidence.")
    acoustic_max_age_s: float = _number(5.0, 0.05, 600.0, "A voice decision older than this (s) is no evidence.")
    face_hold_s: float = _number(
        0.5, 0.0, 60.0, "A face missing in newer pictures counts so long (s) after it was last seen."
    )
    visual_smoothing_s: float = _number(
        0.0, 0.0, 60.0, "Half-life (s) of averaging over a face's pictures, where they are not filtered; 0: none."
    )
    min_quality: float = _number(0.1, 0.0, 1.0, "A face picture of this quality or less is no evidence.")
    good_quality: float = _number(0.5, 0.0, 1.0, "A face picture of this quality or more has its full weight.")
    good_detection_score: float = _number(
        0.6, 0.01, 1.0, "A face detected with this score or more has its full weight."
    )
    min_snr_db: float = _number(-5.0, -40.0, 60.0, "A voice at this SNR (dB) or less is no evidence.")
    good_snr_db: float = _number(15.0, -40.0, 60.0, "A voice at this SNR (dB) or more has its full weight.")
    unknown_snr_factor: float = _number(0.7, 0.0, 1.0, "Weight factor of a voice whose SNR is not known (NaN).")
    full_speech_s: float = _number(1.0, 0.01, 60.0, "Speech this long (s) has its full weight, shorter its share.")
    overlap_factor: float = _number(0.3, 0.0, 1.0, "Weight factor where several voices overlap.")
    switch_ratio: float = _number(1.3, 1.0, 100.0, "Another face must be so many times as large to be the person.")
    switch_after_s: float = _number(1.0, 0.0, 60.0, "Another face must be larger for so long (s) to be the person.")
    person_hold_s: float = _number(
        5.0, 0.0, 600.0, "A voice without a face is the last person's for so long (s) after the face was seen."
    )
    future_limit_s: float = _number(2.0, 0.0, 600.0, "Evidence further ahead of the query (s) is dropped.")
    clock_jump_s: float = _number(
        10.0, 1.0, 3600.0, "Evidence so far (s) behind the newest of its kind is a clock jump."
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["min"], item.metadata["max"]
            if not low <= value <= high:
                raise ValueError(f"{item.name} must be {low:g} to {high:g}, got {value}")
        for low_name, high_name in (("min_quality", "good_quality"), ("min_snr_db", "good_snr_db")):
            if not getattr(self, low_name) < getattr(self, high_name):
                raise ValueError(f"{low_name} must be less than {high_name}")


@dataclass(frozen=True, order=True)
class _Picture:
    stamp_ns: int
    face: FaceObservation = field(compare=False)
    row: np.ndarray = field(compare=False)  # (17,) its emotion, ready to be pooled
    size: float = field(compare=False)  # rank among faces: area, px^2, less when off-centre
    weight: float = field(compare=False)  # base * reliability * quality, without staleness


class _FaceTrack:
    """The pictures of one face, oldest first, and their average as of the newest."""

    def __init__(self, person_id: str) -> None:
        self.person_id = person_id
        self.pictures: list[_Picture] = []
        self._average: EmotionEstimate | None = None

    @property
    def newest(self) -> _Picture:
        return self.pictures[-1]

    def add(self, picture: _Picture) -> None:
        # The same face in the same picture again: the later report stands.
        self.pictures = [held for held in self.pictures if held.stamp_ns != picture.stamp_ns]
        insort(self.pictures, picture)
        del self.pictures[:-MAX_PICTURES]
        self._average = None

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        if self.pictures and not (oldest_ns <= self.pictures[0].stamp_ns and self.newest.stamp_ns <= newest_ns):
            self.pictures = [held for held in self.pictures if oldest_ns <= held.stamp_ns <= newest_ns]
            self._average = None

    def average(self, half_life: float) -> EmotionEstimate:
        """Log-linear mean over the pictures, weighted by their own weight and their distance to the newest."""
        if self._average is None:
            used = self.pictures if half_life else self.pictures[-1:]
            if len(used) == 1:  # its own average; without smoothing that is every time
                self._average = self.newest.face.emotion
                return self._average
            ages = [_seconds(self.newest.stamp_ns - picture.stamp_ns) for picture in used]
            weights = [
                picture.weight * 0.5 ** (age / (half_life or 1)) for picture, age in zip(used, ages, strict=True)
            ]
            total = sum(weights)
            shares = [weight / total for weight in weights]
            self._average = pool_rows([picture.row for picture in used], shares, [False] * len(used))
        return self._average


class EmotionFusion:
    """Holds the recent evidence and gives the state at any time. Bounded memory; not thread-safe.

    ``counts`` says what was odd: ``late`` (out of order, placed by its stamp), ``ignored`` (too old to matter),
    ``invalid`` (not a distribution), ``poor`` (face pictures under the least quality), ``future`` (states that used a
    stamp ahead of the query), ``clock_jumps``.
    """

    def __init__(self, config: FusionConfig | None = None) -> None:
        self.config = config or FusionConfig()
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all evidence and persons; the counts stay."""
        self._tracks: dict[str, _FaceTrack] = {}
        self._voices: list[VoiceObservation] = []
        self._persons: dict[str, str] = {}  # face id to person id, oldest first
        self._persons_named = 0
        self._newest: dict[EmotionModality, int] = {}  # newest stamp seen of a kind, ns
        self._in_view: tuple[int, frozenset[str]] = (0, frozenset())  # newest picture's stamp, ns, and its faces
        self._suspect: set[EmotionModality] = set()  # kinds whose last item was far behind
        self._main: str | None = None  # face id of the person spoken with
        self._last_person: tuple[str, int] | None = None  # who that was, and when the face was last seen, ns
        self._challenger: tuple[str, int] | None = None  # a larger face, and since when, ns

    def add_faces(
        self, stamp_ns: int, faces: Sequence[FaceObservation], image_size: tuple[int, int] | None = None
    ) -> None:
        """All faces of one picture; an empty list says that there was none.

        Args:
            stamp_ns: capture of the picture, ns.
            faces: may be in any order.
            image_size: width and height, px; where given, a face at the rim counts for less than one in the middle.
        """
        if not self._accept(EmotionModality.VISUAL, stamp_ns):
            return
        if stamp_ns == self._newest[EmotionModality.VISUAL]:
            before = self._in_view[1] if stamp_ns == self._in_view[0] else frozenset()
            self._in_view = (stamp_ns, before | {face.face_id for face in faces})
        for face in sorted(faces, key=lambda face: -face.box.width * face.box.height)[:MAX_FACES]:
            if not _is_distribution(face.emotion):
                self.counts["invalid"] += 1
                continue
            weight = self._face_weight(face)
            if weight <= 0:  # a blurred picture is no evidence, and does not end that of a sharp one just before
                self.counts["poor"] += 1
                continue
            track = self._tracks.get(face.face_id)
            if track is None:
                track = self._tracks[face.face_id] = _FaceTrack(self._person_of(face.face_id))
            track.add(_Picture(stamp_ns, face, estimate_row(face.emotion), _size(face, image_size), weight))
        # An average reaches back through a few half-lives; older pictures cannot matter any more.
        reach = self.config.visual_max_age_s + 3 * self.config.visual_smoothing_s + self.config.future_limit_s
        self._keep_faces(self._newest[EmotionModality.VISUAL] - _ns(reach))

    @property
    def in_view(self) -> frozenset[str]:
        """Ids of the faces in the newest picture; a face's state lives on a little longer, and under its old id too."""
        return self._in_view[1]

    def add_voice(self, voice: VoiceObservation) -> None:
        """One decision about a stretch of speech; its stamp is the end of the stretch."""
        if not _is_distribution(voice.emotion):
            self.counts["invalid"] += 1
            return
        if not self._accept(EmotionModality.ACOUSTIC, voice.stamp_ns):
            return
        insort(self._voices, voice, key=lambda held: (held.stamp_ns, held.final))
        del self._voices[:-MAX_VOICES]

    def state(self, now_ns: int) -> EmotionState:
        """The state of the person spoken with, as of ``now_ns``; status NO_EVIDENCE and a uniform distribution where
        nothing fresh is known."""
        faces, voice = self._fresh(now_ns)
        main = self._choose_main(faces)
        if main is None and voice is None:
            unknown = EmotionEstimate.unknown()
            return EmotionState(now_ns, EmotionStatus.NO_EVIDENCE, "", "", "", unknown, ())
        return self._build(main, voice, now_ns)

    def states(self, now_ns: int) -> tuple[EmotionState, ...]:
        """The states of everybody seen or heard, the person spoken with first; empty where nothing fresh is known.

        The voice is in the first alone: nobody else is known to be speaking.
        """
        faces, voice = self._fresh(now_ns)
        main = self._choose_main(faces)
        if main is None:
            return () if voice is None else (self._build(None, voice, now_ns),)
        others = sorted((face for face in faces if face is not main), key=lambda face: -face.newest.size)
        return (self._build(main, voice, now_ns), *(self._build(face, None, now_ns) for face in others))

    def _accept(self, kind: EmotionModality, stamp_ns: int) -> bool:
        """Whether an item's stamp can be used; keeps the newest stamp and notices a clock that jumped back."""
        newest = self._newest.get(kind)
        if newest is not None and stamp_ns < newest:
            if stamp_ns < newest - _ns(self.config.clock_jump_s):
                if kind not in self._suspect:  # one stray stamp must not wipe out good evidence
                    self._suspect.add(kind)
                    self.counts["ignored"] += 1
                    return False
                self.counts["clock_jumps"] += 1
                self._forget(kind)
                newest = None
            else:
                self.counts["late"] += 1
        self._suspect.discard(kind)
        self._newest[kind] = stamp_ns if newest is None else max(newest, stamp_ns)
        return True

    def _forget(self, kind: EmotionModality) -> None:
        if kind == EmotionModality.VISUAL:
            self._tracks.clear()
            self._challenger = None
        else:
            self._voices.clear()

    def _keep_faces(self, oldest_ns: int, newest_ns: int | None = None) -> None:
        """Drop pictures outside a span, faces left without any, and the longest unseen beyond MAX_TRACKS."""
        newest_ns = self._newest[EmotionModality.VISUAL] if newest_ns is None else newest_ns
        for face_id, track in list(self._tracks.items()):
            track.keep(oldest_ns, newest_ns)
            if not track.pictures:
                del self._tracks[face_id]
        if len(self._tracks) > MAX_TRACKS:
            by_age = sorted(self._tracks, key=lambda face_id: self._tracks[face_id].newest.stamp_ns)
            for face_id in by_age[: len(by_age) - MAX_TRACKS]:
                del self._tracks[face_id]

    def _drop_future(self, now_ns: int) -> None:
        """Evidence too far ahead of the query is from before the clock jumped back."""
        limit = now_ns + _ns(self.config.future_limit_s)
        if all(stamp <= limit for stamp in self._newest.values()):
            return
        self.counts["clock_jumps"] += 1
        self._challenger = None
        if self._newest.get(EmotionModality.VISUAL, limit) > limit:
            oldest = min((track.pictures[0].stamp_ns for track in self._tracks.values()), default=limit)
            self._keep_faces(oldest, limit)
            held = [track.newest.stamp_ns for track in self._tracks.values()]
            self._set_newest(EmotionModality.VISUAL, held)
        if self._newest.get(EmotionModality.ACOUSTIC, limit) > limit:
            self._voices = [voice for voice in self._voices if voice.stamp_ns <= limit]
            self._set_newest(EmotionModality.ACOUSTIC, [voice.stamp_ns for voice in self._voices])

    def _set_newest(self, kind: EmotionModality, stamps: Sequence[int]) -> None:
        if stamps:
            self._newest[kind] = max(stamps)
        else:
            self._newest.pop(kind, None)

    def _fresh(self, now_ns: int) -> tuple[list[_FaceTrack], VoiceObservation | None]:
        """Faces and the voice that are evidence now."""
        self._drop_future(now_ns)
        config = self.config
        seen = self._newest.get(EmotionModality.VISUAL, 0)
        faces = [
            track
            for track in self._tracks.values()
            if self._visual_weight(track, now_ns) > 0
            and (track.newest.stamp_ns == seen or _seconds(seen - track.newest.stamp_ns) <= config.face_hold_s)
        ]
        # The newest decision that can be heard at all: one drowned in noise does not hide the one before it.
        voice = next((held for held in reversed(self._voices) if self._acoustic_weight(held, now_ns) > 0), None)
        return faces, voice

    def _choose_main(self, faces: list[_FaceTrack]) -> _FaceTrack | None:
        if not faces:
            self._challenger = None
            return None
        largest = max(faces, key=lambda track: (track.newest.size, track.newest.face.face_id))
        main = next((track for track in faces if track.newest.face.face_id == self._main), largest)
        if largest.newest.size > self.config.switch_ratio * main.newest.size:
            # Time as the challenger is seen, not as it is held: someone who passed by has not stayed.
            face_id, seen_ns = largest.newest.face.face_id, largest.newest.stamp_ns
            if self._challenger is None or self._challenger[0] != face_id or self._challenger[1] > seen_ns:
                self._challenger = (face_id, seen_ns)
            if _seconds(seen_ns - self._challenger[1]) >= self.config.switch_after_s:
                main = largest
        else:
            self._challenger = None
        if main is largest:
            self._challenger = None
        self._main = main.newest.face.face_id
        self._last_person = (main.person_id, main.newest.stamp_ns)
        return main

    def _build(self, track: _FaceTrack | None, voice: VoiceObservation | None, now_ns: int) -> EmotionState:
        evidence: list[Evidence] = []
        stamps: list[int] = []
        person_id = face_id = ""
        if track is not None:
            person_id, face_id = track.person_id, track.newest.face.face_id
            stamps.append(track.newest.stamp_ns)
            average = track.average(self.config.visual_smoothing_s)
            weight = self._visual_weight(track, now_ns)
            evidence.append(Evidence(EmotionModality.VISUAL, weight, _age(now_ns, stamps[-1]), average))
        elif (
            self._last_person is not None and abs(_seconds(now_ns - self._last_person[1])) <= self.config.person_hold_s
        ):
            person_id = self._last_person[0]
        if voice is not None:
            stamps.append(voice.stamp_ns)
            weight = self._acoustic_weight(voice, now_ns)
            evidence.append(Evidence(EmotionModality.ACOUSTIC, weight, _age(now_ns, stamps[-1]), voice.emotion))
        if _seconds(max(stamps) - now_ns) > FUTURE_TOLERANCE_S:
            self.counts["future"] += 1
        emotion = pool(
            [item.emotion for item in evidence],
            [item.weight for item in evidence],
            [item.modality == EmotionModality.ACOUSTIC for item in evidence],
        )
        return EmotionState(
            stamp_ns=max(stamps),
            status=_STATUS[track is not None, voice is not None],
            person_id=person_id,
            face_id=face_id,
            voice_id="" if voice is None else voice.voice_id,
            emotion=emotion,
            evidence=tuple(evidence),
        )

    def _face_weight(self, face: FaceObservation) -> float:
        """Base * reliability * quality of one picture."""
        reliability = ramp(face.detection_score, 0.0, self.config.good_detection_score)
        return (
            self.config.visual_weight
            * reliability
            * ramp(face.quality, self.config.min_quality, self.config.good_quality)
        )

    def _visual_weight(self, track: _FaceTrack, now_ns: int) -> float:
        config = self.config
        age = _seconds(now_ns - track.newest.stamp_ns)
        return track.newest.weight * half_life_decay(
            age, config.visual_fresh_s, config.visual_half_life_s, config.visual_max_age_s
        )

    def _acoustic_weight(self, voice: VoiceObservation, now_ns: int) -> float:
        config = self.config
        reliability = ramp(voice.duration, 0.0, config.full_speech_s)
        if voice.overlapped_speech:
            reliability *= config.overlap_factor
        unknown = math.isnan(voice.snr_db)
        quality = config.unknown_snr_factor if unknown else ramp(voice.snr_db, config.min_snr_db, config.good_snr_db)
        age = _seconds(now_ns - voice.stamp_ns)
        staleness = half_life_decay(
            age, config.acoustic_fresh_s, config.acoustic_half_life_s, config.acoustic_max_age_s
        )
        return config.acoustic_weight * reliability * quality * staleness

    def _person_of(self, face_id: str) -> str:
        """The person of a face: one each until something tells that two faces are the same person."""
        person = self._persons.pop(face_id, None)
        if person is None:
            self._persons_named += 1
            person = f"person_{self._persons_named}"
        self._persons[face_id] = person  # at the end: last used
        if len(self._persons) > MAX_PERSONS:
            del self._persons[next(iter(self._persons))]
        return person


def _seconds(nanoseconds: int) -> float:
    return nanoseconds * 1e-9


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _age(now_ns: int, stamp_ns: int) -> float:
    return max(0.0, _seconds(now_ns - stamp_ns))


def _is_distribution(estimate: EmotionEstimate) -> bool:
    p = estimate.probabilities
    if p.shape != (len(EMOTIONS),) or estimate.intensities.shape != p.shape:
        return False
    # NaN fails every comparison.
    return abs(float(p.sum()) - 1.0) < 0.01 and float(p.min()) >= 0 and 0.0 <= estimate.confidence <= 1.0


def _size(face: FaceObservation, image_size: tuple[int, int] | None) -> float:
    """Area of the box, px^2; towards the rim of the picture down to half of it."""
    box = face.box
    area = max(0.0, box.width) * max(0.0, box.height)
    if image_size is None or min(image_size) <= 0:
        return area
    off = max(
        abs((box.x + box.width / 2) / image_size[0] - 0.5), abs((box.y + box.height / 2) / image_size[1] - 0.5)
    )  # 0 in the middle, 0.5 at the rim
    return area * (1.0 - float(np.clip(off, 0.0, 0.5)))
