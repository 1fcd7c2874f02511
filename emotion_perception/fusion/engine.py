"""From streams of evidence to one state about the person spoken with. No ROS, no torch.

Evidence is kept by its stamp, so the state at a time depends on what was captured, not on the order of arrival:

- **A face** counts from its newest picture of some quality until ``visual_max_age_s``; once a newer picture lacks it,
  only for ``face_hold_s`` after it was last seen, which bridges a missed detection and ends soon after it left. Its
  pictures come filtered over time (``hmm_filter.py``), so the newest speaks for all.
- **A voice** counts from its newest turn until ``acoustic_max_age_s``. The decisions of one utterance look back over
  the same speech, so the last stands for all; turns go through the same filter, on a voice's own time scale.
- **Words**, where they are told, count beside a face or a voice, never alone.
- **Weight** in the pool = base weight * the model's reliability at this quality or SNR (``fusion/reliability.py``) *
  how sure the detector is (speech long enough and by one voice; how likely it is this person's) * staleness (1 while
  fresh, then halved every half-life, 0 at the maximum age).
- **The person spoken with** is the largest face (most central, where the image size is told). Another takes over when
  it is ``switch_ratio`` times as large for ``switch_after_s``, or at once when the first is gone.
- **A voice is** its most likely speaker's (``fusion/active_speaker.py``). Where one voice id stands for everybody, each
  earlier turn counts for them as far as it was likely theirs.
- **Clocks.** A stamp ahead of the query has age 0 and is counted; more than ``future_limit_s`` ahead it is from before
  a clock jump and dropped. Two items in a row more than ``clock_jump_s`` older than the newest of their kind say that
  the source's clock jumped back: what was held of that kind goes.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.fusion.active_speaker import (
    Candidate,
    MouthPictures,
    bearing,
    mean_direction,
    mouths_speak,
    who_speaks,
)
from emotion_perception.fusion.pooling import half_life_decay, pool, ramp
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.hmm_filter import Sight, TemporalConfig, first_belief, reported
from emotion_perception.settings import check_settings, setting
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
MAX_VOICES = 8  # voices told apart at once
MAX_DECISIONS = 32  # held per voice
MAX_TURNS = 8  # of a voice that are still believed in
MAX_DIRECTIONS = 1024  # of sound
MAX_TEXTS = 16
MAX_MOUTHS = 1024  # pictures of one mouth
MOUTH_MARGIN_S = 0.12  # s before and after a turn of speech whose pictures are of use
MOUTH_REACH_S = 12.0  # s that mouths are kept: the longest utterance, and what it takes to hear of it
MAX_PERSONS = 1024  # face ids remembered with their person
LONGEST_TURN = 10.0  # s, the most that one turn of speech stands for
SAME_SPEECH = 0.05  # s; stretches that overlap by less follow each other
FUTURE_TOLERANCE_S = 0.05  # clocks this close are the same clock

_STATUS = {
    (True, False): EmotionStatus.VISUAL_ONLY,
    (False, True): EmotionStatus.ACOUSTIC_ONLY,
    (True, True): EmotionStatus.AUDIO_VISUAL,
}


@dataclass(frozen=True)
class FusionConfig:
    """The settings of :class:`EmotionFusion`; each is a ROS parameter of ``fusion_node`` with the same name.

    Raises:
        ValueError: a value is out of range, or a fresh time is longer than its maximum age; the message names it.
    """

    visual_weight: float = setting(
        1.0, "Factor on the weight of faces in the pool. Larger trusts faces more. 0: ignore faces.", 0.0, 4.0
    )
    acoustic_weight: float = setting(
        1.0, "Factor on the weight of voices in the pool. Larger trusts voices more. 0: ignore voices.", 0.0, 4.0
    )
    text_weight: float = setting(
        1.0, "Factor on the weight of the transcript in the pool. Larger trusts words more. 0: ignore words.", 0.0, 4.0
    )
    visual_fresh_s: float = setting(
        0.2, "Age up to which a face has full weight. Larger bridges gaps and reacts later.", 0.0, 60.0, "s"
    )
    acoustic_fresh_s: float = setting(
        1.0, "Age up to which a voice decision has full weight. Larger bridges gaps and reacts later.", 0.0, 60.0, "s"
    )
    visual_half_life_s: float = setting(
        0.5, "Time in which the weight of a face halves once it is older than visual_fresh_s.", 0.01, 600.0, "s"
    )
    acoustic_half_life_s: float = setting(
        3.0,
        "Time in which the weight of a voice decision halves once it is older than acoustic_fresh_s.",
        0.01,
        600.0,
        "s",
    )
    visual_max_age_s: float = setting(1.0, "Age from which a face is no evidence.", 0.05, 600.0, "s")
    acoustic_max_age_s: float = setting(5.0, "Age from which a voice decision is no evidence.", 0.05, 600.0, "s")
    face_hold_s: float = setting(
        0.5,
        "Time for which a face counts although newer images lack it. Larger bridges longer occlusions.",
        0.0,
        60.0,
        "s",
    )
    text_fresh_s: float = setting(2.0, "Age up to which a transcript has full weight.", 0.0, 60.0, "s")
    text_half_life_s: float = setting(
        4.0, "Time in which the weight of a transcript halves once it is older than text_fresh_s.", 0.01, 600.0, "s"
    )
    text_max_age_s: float = setting(10.0, "Age from which a transcript is no evidence.", 0.05, 600.0, "s")
    min_quality: float = setting(0.05, "A face of this quality or less is no evidence.", 0.0, 1.0)
    good_detection_score: float = setting(
        0.6, "Detection score from which a face has full weight; below, the weight is proportional.", 0.01, 1.0
    )
    min_snr_db: float = setting(
        -10.0, "A voice with this signal-to-noise ratio or less is no evidence.", -40.0, 60.0, "dB"
    )
    full_speech_s: float = setting(
        1.0, "Length of speech from which a decision has full weight; below, the weight is proportional.",
        0.01, 60.0, "s",
    )  # fmt: skip
    overlap_factor: float = setting(0.3, "Factor on the weight of a voice where several people speak.", 0.0, 1.0)
    voice_hold_s: float = setting(
        1.0,
        "Time constant of the temporal filter of the voice, in seconds of speech. Larger is steadier and slower.",
        0.01,
        60.0,
        "s",
    )
    voice_slip: float = setting(
        0.2, "Probability that an utterance does not show the emotion. Smaller lets a single utterance decide.",
        0.01, 0.9,
    )  # fmt: skip
    voice_memory_s: float = setting(
        8.0,
        "Time constant with which the belief about a voice fades between utterances. Larger remembers longer and "
        "follows a change of mood later.",
        0.1,
        600.0,
        "s",
    )
    direction_spread: float = setting(
        0.25, "Standard deviation of the direction of arrival that a microphone array measures.", 0.01, 3.0, "rad"
    )
    mouth_weight: float = setting(
        1.0, "Factor on the mouth-motion cue for active-speaker detection. 0: ignore mouths.", 0.0, 2.0
    )
    switch_ratio: float = setting(
        1.3,
        "Ratio by which another face must be larger to become the conversation partner. Larger switches less often.",
        1.0,
        100.0,
    )
    switch_after_s: float = setting(
        1.0, "Time for which another face must be larger to become the conversation partner.", 0.0, 60.0, "s"
    )
    person_hold_s: float = setting(
        5.0, "Time after a face was last seen for which a voice is still assigned to its person.", 0.0, 600.0, "s"
    )
    future_limit_s: float = setting(
        2.0, "Evidence that is ahead of the query time by more than this is dropped.", 0.0, 600.0, "s"
    )
    clock_jump_s: float = setting(
        10.0, "Evidence that is older than the newest of its kind by more than this is a clock jump.", 1.0, 3600.0, "s"
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for sense in ("visual", "acoustic", "text"):
            fresh, oldest = getattr(self, f"{sense}_fresh_s"), getattr(self, f"{sense}_max_age_s")
            if not fresh <= oldest:
                raise ValueError(f"{sense}_fresh_s must be at most {sense}_max_age_s, got {fresh:g} and {oldest:g}")


@dataclass(frozen=True, order=True)
class _Picture:
    stamp_ns: int
    face: FaceObservation = field(compare=False)
    emotion: EmotionEstimate = field(compare=False)  # as the model's reliability reads it
    size: float = field(compare=False)  # rank among faces: area, px^2, less when off-centre
    weight: float = field(compare=False)  # base * reliability, without staleness


class _FaceTrack:
    """The pictures of one face, oldest first, of which there is one at least."""

    def __init__(self, person_id: str, picture: _Picture) -> None:
        self.person_id, self.face_id = person_id, picture.face.face_id
        self.pictures, self.newest = [picture], picture

    def add(self, picture: _Picture) -> None:
        if picture.stamp_ns > self.newest.stamp_ns:
            self.pictures.append(picture)
        else:  # the same face in the same picture again: the later report stands
            self.pictures = [held for held in self.pictures if held.stamp_ns != picture.stamp_ns]
            insort(self.pictures, picture)
        del self.pictures[:-MAX_PICTURES]
        self.newest = self.pictures[-1]

    def keep(self, oldest_ns: int, newest_ns: int) -> bool:
        """Drop the pictures outside a span; whether any is left."""
        if oldest_ns <= self.pictures[0].stamp_ns and self.newest.stamp_ns <= newest_ns:
            return True
        kept = [held for held in self.pictures if oldest_ns <= held.stamp_ns <= newest_ns]
        if kept:
            self.pictures, self.newest = kept, kept[-1]
        return bool(kept)


class _Mouth:
    """How one mouth moved, oldest first."""

    def __init__(self) -> None:
        self.stamps, self.openings, self.motions = array("q"), array("d"), array("d")
        self.changes = 0  # of what was there before, by late or repeated pictures

    def add(self, stamp_ns: int, opening: float, motion: float) -> None:
        if not self.stamps or stamp_ns > self.stamps[-1]:
            self.stamps.append(stamp_ns)
            self.openings.append(opening)
            self.motions.append(motion)
            return
        at = bisect_left(self.stamps, stamp_ns)
        self.changes += 1
        if self.stamps[at] == stamp_ns:
            self.openings[at], self.motions[at] = opening, motion
            return
        self.stamps.insert(at, stamp_ns)
        self.openings.insert(at, opening)
        self.motions.insert(at, motion)

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        if self.stamps and oldest_ns <= self.stamps[0] and self.stamps[-1] <= newest_ns:
            return
        first, last = bisect_left(self.stamps, oldest_ns), bisect_right(self.stamps, newest_ns)
        first = max(first, last - MAX_MOUTHS)
        if first > 64 or last < len(self.stamps) or first == last:  # not one by one: that costs
            self.stamps = self.stamps[first:last]
            self.openings, self.motions = self.openings[first:last], self.motions[first:last]

    def around(self, start_ns: int, stop_ns: int, margin_ns: int) -> tuple[int, int]:
        """The rows of a stretch of time with a margin on both sides; after it only once the whole of that was seen."""
        first, last = bisect_left(self.stamps, start_ns - margin_ns), bisect_right(self.stamps, stop_ns + margin_ns)
        return first, (last if last < len(self.stamps) else bisect_right(self.stamps, stop_ns))


@dataclass(frozen=True)
class _Mouths:
    """Those of the faces in view, as of now."""

    seen: list[tuple[str, _Mouth]]  # face id and mouth
    same: list[tuple[str, int, int]]  # is equal as long as only later pictures come
    until_ns: int  # all were seen up to here

    @classmethod
    def of(cls, seen: list[tuple[str, _Mouth]]) -> _Mouths:
        same = [(name, mouth.changes, mouth.stamps[0]) for name, mouth in seen]
        return cls(seen, same, min((mouth.stamps[-1] for _, mouth in seen), default=0))

    def pictures(self, spans: Sequence[tuple[int, int]], start_ns: int) -> MouthPictures:
        """Of each mouth a span of rows, with the time since a start."""
        stamps, openings, motions, ends = array("q"), array("d"), array("d"), [0]
        for (_, mouth), (first, last) in zip(self.seen, spans, strict=True):
            stamps.extend(mouth.stamps[first:last])
            openings.extend(mouth.openings[first:last])
            motions.extend(mouth.motions[first:last])
            ends.append(len(stamps))
        time = (np.array(stamps) - start_ns) * 1e-9
        return MouthPictures(time, np.array(openings), np.array(motions), np.array(ends))


@dataclass(frozen=True)
class _Told:
    """What mouths told of one turn of speech, and of which pictures."""

    same: list[tuple[str, int, int]]  # those of _Mouths then
    until_ns: int
    pictures: list[tuple[str, int, int]]  # of each face how many, and its mouth's changes
    ratios: dict[str, float]  # by face id, as far as it is known


@dataclass(frozen=True)
class _Speech:
    """What is believed of a voice as of its newest turn."""

    stamp_ns: int
    voice: VoiceObservation  # the newest turn
    emotion: EmotionEstimate
    weight: float  # base * reliability, without staleness and whose it is


@dataclass(frozen=True)
class _Decision:
    """One decision about a voice."""

    voice: VoiceObservation
    weight: float  # base * reliability
    emotion: EmotionEstimate  # as evidence
    temporal: TemporalConfig

    @cached_property
    def sight(self) -> Sight:
        return Sight.of(self.emotion.probabilities, self.temporal)


class _Voice:
    """The decisions about one voice, oldest first; and what is believed by them."""

    def __init__(self, reliability: Reliability, temporal: TemporalConfig) -> None:
        self.decisions: list[_Decision] = []
        self._reliability, self._temporal = reliability, temporal
        self._turns: list[_Decision] | None = None
        self._believed: tuple[tuple[float, ...], _Speech] | None = None

    def add(self, voice: VoiceObservation, weight: float) -> None:
        decision = _Decision(voice, weight, self._reliability.as_evidence(voice.emotion), self._temporal)
        insort(self.decisions, decision, key=lambda held: (held.voice.stamp_ns, held.voice.final))
        del self.decisions[:-MAX_DECISIONS]
        self._turns = self._believed = None

    def keep_until(self, newest_ns: int) -> None:
        if self.decisions and self.decisions[-1].voice.stamp_ns > newest_ns:
            self.decisions = [held for held in self.decisions if held.voice.stamp_ns <= newest_ns]
            self._turns = self._believed = None

    @property
    def turns(self) -> list[_Decision]:
        """The last decision of each utterance; one drowned in noise does not hide the one before it."""
        if self._turns is not None:
            return self._turns
        turns: list[_Decision] = []
        for decision in self.decisions:
            if decision.weight <= 0:
                continue
            voice = decision.voice
            start_ns = voice.stamp_ns - _ns(max(0.0, voice.duration - SAME_SPEECH))
            while turns and turns[-1].voice.stamp_ns >= start_ns:
                turns.pop()
            turns.append(decision)
        self._turns = turns[-MAX_TURNS:]
        return self._turns

    def believed(self, shares: Sequence[float]) -> _Speech:
        """What the turns, of which there must be one, say of whom the newest is of.

        Args:
            shares: how likely each turn is of the same person, 0..1; the newest's is 1.
        """
        key = tuple(round(share, 2) for share in shares)  # faces move by a pixel: nothing to reckon again for
        if self._believed is None or self._believed[0] != key:
            self._believed = key, self._follow(key)
        return self._believed[1]

    def _follow(self, shares: Sequence[float]) -> _Speech:
        newest = self.turns[-1]
        stamp_ns, emotion = newest.voice.stamp_ns, newest.emotion
        if len(self.turns) == 1:
            return _Speech(stamp_ns, newest.voice, emotion, newest.weight)
        belief, trust, before_ns = None, 0.0, 0
        for turn, share in zip(self.turns, shares, strict=True):
            own = turn.weight * share
            if belief is None:
                p = turn.emotion.probabilities
                belief, trust = first_belief(share * p + (1 - share) / len(p), self._temporal), own
            else:
                elapsed = _seconds(turn.voice.stamp_ns - before_ns)
                seen = min(elapsed, turn.voice.duration * min(1.0, own))  # a doubtful turn moves it less
                belief = turn.sight.moved(belief, elapsed, self._temporal, seen)
                kept = math.exp(-seen / self._temporal.hold)
                trust = kept * trust + (1 - kept) * own
            before_ns = turn.voice.stamp_ns
        assert belief is not None
        p = reported(belief, self._temporal)
        sure = float(p.max()) * emotion.confidence / float(emotion.probabilities.max())
        filtered = EmotionEstimate.from_probabilities(p, emotion.intensities, sure)
        return _Speech(stamp_ns, newest.voice, filtered, trust)


class EmotionFusion:
    """Holds the recent evidence and gives the state at any time. Bounded memory; not thread-safe.

    ``counts`` says what was odd: ``late`` (out of order, placed by its stamp), ``ignored`` (too old to matter),
    ``invalid`` (not a distribution), ``poor`` (face pictures under the least quality), ``future`` (states that used a
    stamp ahead of the query), ``clock_jumps``.

    Args:
        config: see :class:`FusionConfig`.
        visual, acoustic: reliability of the two models; None: fully reliable.
    """

    def __init__(
        self,
        config: FusionConfig | None = None,
        visual: Reliability | None = None,
        acoustic: Reliability | None = None,
    ) -> None:
        self.config = config = config or FusionConfig()
        self._visual, self._acoustic = visual or Reliability(), acoustic or Reliability()
        self._temporal = TemporalConfig(config.voice_hold_s, config.voice_slip, LONGEST_TURN, config.voice_memory_s)
        self._camera: tuple[float, float] | None = None  # focal length and centre column, px
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all evidence and persons; the counts stay."""
        self._tracks: dict[str, _FaceTrack] = {}
        self._mouths: dict[str, _Mouth] = {}
        self._told_by_mouths: dict[tuple[int, float], _Told] = {}  # by turn, newest last
        self._voices: dict[str, _Voice] = {}
        self._texts: list[tuple[int, EmotionEstimate]] = []
        self._directions: list[tuple[int, float]] = []  # stamp, ns, and rad
        self._speakers: dict[str, dict[str, float]] = {}
        self._known: dict[str, tuple[str, str]] = {}  # person id to face id and voice id, as ROS4HRI tells them
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
            if not math.isnan(face.mouth_opening):
                self._mouths.setdefault(face.face_id, _Mouth()).add(stamp_ns, face.mouth_opening, face.mouth_motion)
            weight = self._face_weight(face)
            if weight <= 0:  # a blurred picture is no evidence, and does not end that of a sharp one just before
                self.counts["poor"] += 1
                continue
            picture = _Picture(stamp_ns, face, self._visual.as_evidence(face.emotion), _size(face, image_size), weight)
            track = self._tracks.get(face.face_id)
            if track is None:
                self._tracks[face.face_id] = _FaceTrack(self._person_of(face.face_id), picture)
            else:
                track.add(picture)
        reach = self.config.visual_max_age_s + self.config.future_limit_s  # older pictures cannot matter any more
        self._keep_faces(self._newest[EmotionModality.VISUAL] - _ns(reach))

    @property
    def in_view(self) -> frozenset[str]:
        """Ids of the faces in the newest picture; a face's state lives on a little longer, and under its old id too."""
        return self._in_view[1]

    @property
    def speakers(self) -> Mapping[str, Mapping[str, float]]:
        """For each voice that counted in the newest state: how likely it is each face's, "" being nobody in view."""
        return self._speakers

    def add_voice(self, voice: VoiceObservation) -> None:
        """One decision about a stretch of speech; its stamp is the end of the stretch."""
        if not _is_distribution(voice.emotion):
            self.counts["invalid"] += 1
            return
        if not self._accept(EmotionModality.ACOUSTIC, voice.stamp_ns):
            return
        held = self._voices.get(voice.voice_id)
        if held is None:
            held = self._voices[voice.voice_id] = _Voice(self._acoustic, self._temporal)
        held.add(voice, self._voice_weight(voice))
        if len(self._voices) > MAX_VOICES:
            del self._voices[min(self._voices, key=lambda name: self._voices[name].decisions[-1].voice.stamp_ns)]

    def add_text(self, stamp_ns: int, words: EmotionEstimate) -> None:
        """What words speak for (:func:`emotion_perception.fusion.text.text_evidence`), as of the end of saying them."""
        if not _is_distribution(words):
            self.counts["invalid"] += 1
        elif self._accept(EmotionModality.TEXT, stamp_ns):
            insort(self._texts, (stamp_ns, words), key=lambda held: held[0])
            del self._texts[:-MAX_TEXTS]

    def add_direction(self, stamp_ns: int, angle: float) -> None:
        """Where sound came from at a time, rad, 0 along the camera's axis, left positive; NaN is ignored."""
        if math.isfinite(angle):
            insort(self._directions, (stamp_ns, angle))
            del self._directions[:-MAX_DIRECTIONS]

    def set_camera(self, focal: float, centre: float) -> None:
        """Focal length and centre column of the pictures, px: without, a direction of sound cannot be compared.

        Raises:
            ValueError: the focal length is not positive, or either is not finite.
        """
        if not (0 < focal < math.inf and math.isfinite(centre)):
            raise ValueError(f"a camera needs a positive focal length and a centre, got {focal} and {centre} px")
        self._camera = focal, centre

    def set_person(self, person_id: str, face_id: str = "", voice_id: str = "") -> None:
        """Somebody knows that a face and a voice are a person's (ROS4HRI); with both empty the person is forgotten."""
        self._known.pop(person_id, None)
        if face_id or voice_id:
            self._known[person_id] = (face_id, voice_id)
            while len(self._known) > MAX_PERSONS:
                del self._known[next(iter(self._known))]

    def state(self, now_ns: int) -> EmotionState:
        """The state of the person spoken with, as of ``now_ns``; status NO_EVIDENCE and a uniform distribution where
        nothing fresh is known. With no face in view it is that of whom is heard."""
        faces = self._fresh_faces(now_ns)
        main = self._choose_main(faces)
        heard = self._heard(now_ns, faces, main)
        if main is not None:
            return self._build(main, heard.get(main.face_id), now_ns, True)
        if "" in heard:
            return self._build(None, heard[""], now_ns, True)
        unknown = EmotionEstimate.unknown()
        return EmotionState(now_ns, EmotionStatus.NO_EVIDENCE, "", "", "", unknown, ())

    def states(self, now_ns: int) -> tuple[EmotionState, ...]:
        """The states of everybody seen or heard, the person spoken with first; empty where nothing fresh is known.

        A voice is in its most likely speaker's state alone; one that is nobody's in view has a state of its own, last.
        """
        faces = self._fresh_faces(now_ns)
        main = self._choose_main(faces)
        heard = self._heard(now_ns, faces, main)
        others = sorted((face for face in faces if face is not main), key=lambda face: -face.newest.size)
        ranked = [main, *others] if main is not None else []
        states = [self._build(face, heard.get(face.face_id), now_ns, face is main) for face in ranked]
        if "" in heard:
            states.append(self._build(None, heard[""], now_ns, main is None))
        return tuple(states)

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
            self._mouths.clear()
            self._told_by_mouths.clear()
            self._challenger = None
        elif kind == EmotionModality.ACOUSTIC:
            self._voices.clear()
            self._directions.clear()
        else:
            self._texts.clear()

    def _keep_faces(self, oldest_ns: int, newest_ns: int | None = None) -> None:
        """Drop pictures outside a span, faces left without any, and the longest unseen beyond MAX_TRACKS."""
        newest_ns = self._newest[EmotionModality.VISUAL] if newest_ns is None else newest_ns
        for face_id, track in list(self._tracks.items()):
            if not track.keep(oldest_ns, newest_ns):
                del self._tracks[face_id]
        if len(self._tracks) > MAX_TRACKS:
            by_age = sorted(self._tracks, key=lambda face_id: self._tracks[face_id].newest.stamp_ns)
            for face_id in by_age[: len(by_age) - MAX_TRACKS]:
                del self._tracks[face_id]
        self._keep_mouths(newest_ns)

    def _keep_mouths(self, newest_ns: int) -> None:
        oldest_ns = self._newest[EmotionModality.VISUAL] - _ns(MOUTH_REACH_S)
        for mouth in self._mouths.values():
            mouth.keep(oldest_ns, newest_ns)
        if not all(mouth.stamps for mouth in self._mouths.values()) or len(self._mouths) > MAX_TRACKS:
            kept = sorted(self._mouths.items(), key=lambda held: held[1].stamps[-1] if held[1].stamps else 0)
            self._mouths = {face_id: mouth for face_id, mouth in kept[-MAX_TRACKS:] if mouth.stamps}

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
            for voice in self._voices.values():
                voice.keep_until(limit)
            self._voices = {name: voice for name, voice in self._voices.items() if voice.decisions}
            self._directions = [held for held in self._directions if held[0] <= limit]
            newest = [voice.decisions[-1].voice.stamp_ns for voice in self._voices.values()]
            self._set_newest(EmotionModality.ACOUSTIC, newest)
        if self._newest.get(EmotionModality.TEXT, limit) > limit:
            self._texts = [held for held in self._texts if held[0] <= limit]
            self._set_newest(EmotionModality.TEXT, [held[0] for held in self._texts])

    def _set_newest(self, kind: EmotionModality, stamps: Sequence[int]) -> None:
        if stamps:
            self._newest[kind] = max(stamps)
        else:
            self._newest.pop(kind, None)

    def _fresh_faces(self, now_ns: int) -> list[_FaceTrack]:
        """Faces that are evidence now."""
        self._drop_future(now_ns)
        seen = self._newest.get(EmotionModality.VISUAL, 0)
        return [
            track
            for track in self._tracks.values()
            if self._visual_weight(track, now_ns) > 0
            and (track.newest.stamp_ns == seen or _seconds(seen - track.newest.stamp_ns) <= self.config.face_hold_s)
        ]

    def _heard(self, now_ns: int, faces: list[_FaceTrack], main: _FaceTrack | None) -> dict[str, tuple[_Speech, float]]:
        """By face id, and by "" for nobody in view: the newest voice that is theirs, and how likely it is."""
        found: dict[str, tuple[_Speech, float]] = {}
        self._speakers = {}
        # In a fixed order: which of two as likely it is must not hang on that of arrival.
        candidates = [
            Candidate(face.face_id, face.newest.size, face is main, self._bearing(face))
            for face in sorted(faces, key=lambda face: face.face_id)
        ]
        mouths = _Mouths.of(
            [(face.face_id, self._mouths[face.face_id]) for face in candidates if face.face_id in self._mouths]
        )
        for voice in self._voices.values():
            if not voice.turns:  # no decision that can be heard at all
                continue
            newest = voice.turns[-1].voice
            if _seconds(now_ns - newest.stamp_ns) >= self.config.acoustic_max_age_s:
                continue
            chances = self._chances(newest, candidates, mouths)
            owner = max(chances, key=chances.__getitem__)
            shares = [self._chances(turn.voice, candidates, mouths)[owner] for turn in voice.turns[:-1]]
            speech = voice.believed((*shares, 1.0))
            if self._acoustic_weight(speech, now_ns) <= 0:
                continue
            self._speakers[newest.voice_id] = chances
            if owner not in found or found[owner][0].stamp_ns < speech.stamp_ns:
                found[owner] = speech, chances[owner]
        return found

    def _chances(self, voice: VoiceObservation, candidates: Sequence[Candidate], mouths: _Mouths) -> dict[str, float]:
        """How likely a turn of speech is each face's, and, under "", nobody's in view."""
        if not candidates:
            return {"": 1.0}
        chances = {**{face.face_id: 0.0 for face in candidates}, "": 0.0}
        for face_id, voice_id in self._known.values():
            if voice_id == voice.voice_id and face_id:
                chances[face_id if face_id in chances else ""] = 1.0
                return chances
        spoken = self._mouths_told(voice, mouths)
        told = who_speaks(
            candidates,
            self._direction(voice),
            self.config.direction_spread,
            [spoken.get(face.face_id, math.nan) for face in candidates] if spoken else (),
        )
        chances.update(zip((face.face_id for face in candidates), told, strict=True))
        chances[""] = max(0.0, 1.0 - sum(told))
        return chances

    def _mouths_told(self, voice: VoiceObservation, mouths: _Mouths) -> dict[str, float]:
        """By face id the log-likelihood ratio that its mouth speaks a turn; nothing where that is not known."""
        if self.config.mouth_weight <= 0 or not len(voice.level_db):
            return {}
        start_ns, margin_ns = voice.stamp_ns - _ns(voice.duration), _ns(MOUTH_MARGIN_S)
        # The same pictures of the same mouths say the same again.
        key = (voice.stamp_ns, voice.duration)
        before = self._told_by_mouths.get(key)
        complete = before is not None and min(mouths.until_ns, before.until_ns) > voice.stamp_ns + margin_ns
        if before is not None and complete and mouths.same == before.same:  # what came since is of later
            return before.ratios
        spans = [mouth.around(start_ns, voice.stamp_ns, margin_ns) for _, mouth in mouths.seen]
        pictures = [
            (name, last - first, m.changes) for (name, m), (first, last) in zip(mouths.seen, spans, strict=True)
        ]
        if before is not None and before.pictures == pictures:
            ratios = before.ratios
        else:
            told = mouths_speak(mouths.pictures(spans, start_ns), voice.duration, voice.level_db)
            ratios = {
                name: self.config.mouth_weight * ratio
                for (name, _), ratio in zip(mouths.seen, told, strict=True)
                if not math.isnan(ratio)
            }
        self._told_by_mouths[key] = _Told(mouths.same, mouths.until_ns, pictures, ratios)
        while len(self._told_by_mouths) > MAX_VOICES * MAX_DECISIONS:
            del self._told_by_mouths[next(iter(self._told_by_mouths))]
        return ratios

    def _bearing(self, face: _FaceTrack) -> float:
        if self._camera is None:
            return math.nan
        box = face.newest.face.box
        return bearing(box.x + box.width / 2, *self._camera)

    def _direction(self, voice: VoiceObservation) -> float:
        """Where sound came from while a voice spoke; NaN where nothing tells."""
        first = voice.stamp_ns - _ns(voice.duration)
        return mean_direction([angle for stamp, angle in self._directions if first <= stamp <= voice.stamp_ns])

    def _choose_main(self, faces: list[_FaceTrack]) -> _FaceTrack | None:
        if not faces:
            self._challenger = None
            return None
        largest = max(faces, key=lambda track: (track.newest.size, track.face_id))
        main = next((track for track in faces if track.face_id == self._main), largest)
        if largest.newest.size > self.config.switch_ratio * main.newest.size:
            # Time as the challenger is seen, not as it is held: someone who passed by has not stayed.
            face_id, seen_ns = largest.face_id, largest.newest.stamp_ns
            if self._challenger is None or self._challenger[0] != face_id or self._challenger[1] > seen_ns:
                self._challenger = (face_id, seen_ns)
            if _seconds(seen_ns - self._challenger[1]) >= self.config.switch_after_s:
                main = largest
        else:
            self._challenger = None
        if main is largest:
            self._challenger = None
        self._main = main.face_id
        self._last_person = (self._person_seen(main), main.newest.stamp_ns)
        return main

    def _build(
        self, track: _FaceTrack | None, heard: tuple[_Speech, float] | None, now_ns: int, partner: bool
    ) -> EmotionState:
        evidence: list[Evidence] = []
        stamps: list[int] = []
        person_id = face_id = voice_id = ""
        if track is not None:
            person_id, face_id = self._person_seen(track), track.face_id
            stamps.append(track.newest.stamp_ns)
            weight = self._visual_weight(track, now_ns)
            evidence.append(Evidence(EmotionModality.VISUAL, weight, _age(now_ns, stamps[-1]), track.newest.emotion))
        if heard is not None:
            speech, likely = heard
            voice_id = speech.voice.voice_id
            person_id = person_id or self._person_heard(voice_id, now_ns, partner)
            stamps.append(speech.stamp_ns)
            weight = self._acoustic_weight(speech, now_ns) * likely
            evidence.append(Evidence(EmotionModality.ACOUSTIC, weight, _age(now_ns, stamps[-1]), speech.emotion))
        if partner and self._texts:
            words = self._text_evidence(now_ns)
            evidence += [words] if words is not None else []
        if _seconds(max(stamps) - now_ns) > FUTURE_TOLERANCE_S:
            self.counts["future"] += 1
        emotion = pool(
            [item.emotion for item in evidence],
            [item.weight for item in evidence],
            [item.modality == EmotionModality.ACOUSTIC for item in evidence],
        )
        return EmotionState(
            stamp_ns=max(stamps),
            status=_STATUS[track is not None, heard is not None],
            person_id=person_id,
            face_id=face_id,
            voice_id=voice_id,
            emotion=emotion,
            evidence=tuple(evidence),
        )

    def _text_evidence(self, now_ns: int) -> Evidence | None:
        config = self.config
        stamp_ns, words = self._texts[-1]
        weight = config.text_weight * half_life_decay(
            _seconds(now_ns - stamp_ns), config.text_fresh_s, config.text_half_life_s, config.text_max_age_s
        )
        return Evidence(EmotionModality.TEXT, weight, _age(now_ns, stamp_ns), words) if weight > 0 else None

    def _face_weight(self, face: FaceObservation) -> float:
        """Base * reliability of one picture."""
        if not face.quality > self.config.min_quality:
            return 0.0
        detected = ramp(face.detection_score, 0.0, self.config.good_detection_score)
        return self.config.visual_weight * detected * self._visual.weight_at(face.quality)

    def _visual_weight(self, track: _FaceTrack, now_ns: int) -> float:
        config = self.config
        age = _seconds(now_ns - track.newest.stamp_ns)
        return track.newest.weight * half_life_decay(
            age, config.visual_fresh_s, config.visual_half_life_s, config.visual_max_age_s
        )

    def _voice_weight(self, voice: VoiceObservation) -> float:
        """Base * reliability of one decision."""
        config = self.config
        if voice.snr_db <= config.min_snr_db:  # not of NaN: an unknown one
            return 0.0
        spoken = ramp(voice.duration, 0.0, config.full_speech_s)
        alone = config.overlap_factor if voice.overlapped_speech else 1.0
        return config.acoustic_weight * spoken * alone * self._acoustic.weight_at(voice.snr_db)

    def _acoustic_weight(self, speech: _Speech, now_ns: int) -> float:
        config = self.config
        age = _seconds(now_ns - speech.stamp_ns)
        return speech.weight * half_life_decay(
            age, config.acoustic_fresh_s, config.acoustic_half_life_s, config.acoustic_max_age_s
        )

    def _person_seen(self, track: _FaceTrack) -> str:
        """ROS4HRI's person of a face, or our own."""
        for person_id, (face_id, _) in self._known.items():
            if face_id == track.face_id:
                return person_id
        return track.person_id

    def _person_heard(self, voice_id: str, now_ns: int, partner: bool) -> str:
        """ROS4HRI's person of a voice, or who was last spoken with where the face is out of sight for a moment."""
        for person_id, (_, known) in self._known.items():
            if known == voice_id:
                return person_id
        if partner and self._last_person is not None:
            person_id, seen_ns = self._last_person
            if abs(_seconds(now_ns - seen_ns)) <= self.config.person_hold_s:
                return person_id
        return ""

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
    told = p.tolist()  # quicker than numpy on eight numbers; NaN fails the first comparison
    return abs(sum(told) - 1.0) < 0.01 and min(told) >= 0 and 0.0 <= estimate.confidence <= 1.0


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
