"""From streams of evidence to one state per person: late fusion of faces, voices and text.

Evidence is kept by its stamp, so the state at a time depends on what was captured, not on the order of arrival.

- **Priors.** Each estimate is freed of the prior that it states (none stated: taken as balanced), the pool works on
  likelihood ratios, and the state and its evidence are under the one configured prior.
- **Weight** in the pool = base weight * reliability of the model at this quality or SNR (``reliability.py``)
  * certainty of the detection (length of speech, overlap, probability of the speaker) * staleness (1 while fresh, then
  halved every half-life, 0 from the maximum age on).
- **The conversation partner** is the most engaged person, then the largest face, with hysteresis (``partner.py``).
  ``image_size``, where given, makes central faces larger.
- **A voice** is assigned to its most probable speaker (``active_speaker.py``). If one voice id stands for everybody, an
  earlier utterance counts by its probability to be the same person's.
- **Text**, if there is any, adds to the face or the voice of the conversation partner; without either it is no
  evidence. The same holds for any further modality (:meth:`EmotionFusion.add_estimate`).
- **Clocks.** A stamp ahead of the query has age 0 and counts; one more than ``future_limit_s`` ahead is from before a
  clock jump and is dropped. Two items in a row that are more than ``clock_jump_s`` older than the newest of their
  modality mean that the source's clock jumped back; the evidence held of that modality is dropped.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence

from emotion_perception.emotions import EMOTIONS
from emotion_perception.fusion.active_speaker import (
    Candidate,
    SoundDirections,
    bearing,
    out_of_view_rate,
    speaker_posterior,
    with_out_of_view_rate,
)
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.face_evidence import MAX_FACES, FaceTrack, FaceTracks
from emotion_perception.fusion.mouth_motion import HISTORY_S, SILENCE_S, MouthHistory, MouthTracks
from emotion_perception.fusion.partner import PartnerSelection
from emotion_perception.fusion.persons import Persons
from emotion_perception.fusion.pooling import pool
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.fusion.voice_evidence import VoiceBelief, VoiceTracks
from emotion_perception.priors import BALANCED, parse_prior
from emotion_perception.types import (
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Engagement,
    Evidence,
    FaceObservation,
    VoiceObservation,
    to_nanoseconds,
    to_seconds,
)

MAX_ESTIMATES = 16  # of each modality without tracks
FUTURE_TOLERANCE_S = 0.05  # stamps this little ahead of the query are not reported: the clocks are synchronised

_STATUS = {
    (True, False): EmotionStatus.VISUAL_ONLY,
    (False, True): EmotionStatus.ACOUSTIC_ONLY,
    (True, True): EmotionStatus.AUDIO_VISUAL,
}


class EmotionFusion:
    """Holds the recent evidence and computes the state at any time. Bounded memory; not thread-safe.

    ``counts`` has the irregularities so far: ``late`` (out of order, placed by its stamp), ``ignored`` (too old),
    ``invalid`` (not a distribution), ``poor`` (faces below the least quality), ``future`` (states that used a stamp
    ahead of the query), ``clock_jumps``.

    Args:
        config: see :class:`FusionConfig`.
        visual, acoustic: reliability of the two models; None: fully reliable.

    Example:
        >>> import numpy as np
        >>> from emotion_perception.emotions import EMOTIONS
        >>> from emotion_perception.types import Box, EmotionEstimate, FaceObservation
        >>> p = np.where(np.array(EMOTIONS) == "happy", 0.9, 0.1 / 7)
        >>> emotion = EmotionEstimate.from_probabilities(p)
        >>> fusion = EmotionFusion()
        >>> fusion.add_faces(0, [FaceObservation("face_1", Box(0, 0, 90, 90), 0.9, 0.8, emotion)])
        >>> state = fusion.state(100_000_000)  # 0.1 s later
        >>> state.emotion.name, state.status.name, state.person_id
        ('happy', 'VISUAL_ONLY', 'person_1')
    """

    def __init__(
        self,
        config: FusionConfig | None = None,
        visual: Reliability | None = None,
        acoustic: Reliability | None = None,
    ) -> None:
        self.config = config or FusionConfig()
        self._prior = parse_prior(self.config.emotion_prior)
        self._visual, self._acoustic = visual or Reliability(), acoustic or Reliability()
        self._camera: tuple[float, float] | None = None  # focal length and centre column, px
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Drop all evidence and persons; the counts stay."""
        config = self.config
        self._persons = Persons(config.person_hold_s)
        self._faces = FaceTracks(config, self._visual, self._persons)
        self._voices = VoiceTracks(config, self._acoustic)
        self._mouths = MouthHistory(config.mouth_weight)
        self._directions = SoundDirections()
        self._partner = PartnerSelection(config.switch_ratio, config.switch_after_s)
        # Stamp, ns, and estimate of each modality without tracks, oldest first.
        self._estimates: dict[EmotionModality, list[tuple[int, EmotionEstimate]]] = {}
        self._speakers: dict[str, dict[str, float]] = {}
        self._newest: dict[EmotionModality, int] = {}  # newest stamp of each modality, ns
        self._in_view: tuple[int, frozenset[str]] = (0, frozenset())  # stamp of the newest image, ns, and its faces
        self._suspect: set[EmotionModality] = set()  # modalities whose last item was far too old

    def add_faces(
        self, stamp_ns: int, faces: Sequence[FaceObservation], image_size: tuple[int, int] | None = None
    ) -> None:
        """All faces of one image; empty if there are none.

        Args:
            stamp_ns: capture of the image, ns.
            faces: in any order; the ``MAX_FACES`` largest are used.
            image_size: width and height, px; if given, a face at the border counts as smaller than one in the middle.
        """
        if not self._accept(EmotionModality.VISUAL, stamp_ns):
            return
        newest_ns = self._newest[EmotionModality.VISUAL]
        in_view = frozenset(face.face_id for face in faces)
        if stamp_ns == newest_ns:
            before = self._in_view[1] if stamp_ns == self._in_view[0] else frozenset()
            self._in_view = (stamp_ns, before | in_view)
        for face in sorted(faces, key=lambda face: -face.box.width * face.box.height)[:MAX_FACES]:
            if not _is_distribution(face.emotion):
                self.counts["invalid"] += 1
                continue
            self._mouths.add(stamp_ns, face)
            if not self._faces.add(stamp_ns, face, image_size, in_view):
                self.counts["poor"] += 1
        oldest_ns = newest_ns - to_nanoseconds(self.config.visual_max_age_s + self.config.future_limit_s)
        self._keep_faces(oldest_ns, newest_ns)

    @property
    def in_view(self) -> frozenset[str]:
        """Ids of the faces in the newest image; the states of faces that left remain a little longer."""
        return self._in_view[1]

    @property
    def speakers(self) -> Mapping[str, Mapping[str, float]]:
        """By voice id, for the voices in the newest state: the probability of each face id; "": out of view."""
        return self._speakers

    def add_voice(self, voice: VoiceObservation) -> None:
        """One decision about a voice; its stamp is the end of the segment."""
        if not _is_distribution(voice.emotion):
            self.counts["invalid"] += 1
        elif self._accept(EmotionModality.ACOUSTIC, voice.stamp_ns):
            self._voices.add(voice)

    def add_text(self, stamp_ns: int, text: EmotionEstimate) -> None:
        """The estimate of a transcript (:func:`~emotion_perception.fusion.text.text_evidence`) as of its end."""
        self.add_estimate(EmotionModality.TEXT, stamp_ns, text)

    def add_estimate(self, modality: EmotionModality, stamp_ns: int, estimate: EmotionEstimate) -> None:
        """An estimate about the conversation partner from a modality without tracks; the newest one counts.

        Its weight follows the settings ``<modality>_weight``, ``_fresh_s``, ``_half_life_s`` and ``_max_age_s``.
        """
        if not _is_distribution(estimate):
            self.counts["invalid"] += 1
        elif self._accept(modality, stamp_ns):
            estimates = self._estimates.setdefault(modality, [])
            insort(estimates, (stamp_ns, estimate.with_prior(BALANCED)), key=lambda held: held[0])
            del estimates[:-MAX_ESTIMATES]

    def add_direction(self, stamp_ns: int, angle: float) -> None:
        """Direction of arrival of sound, rad, 0 along the camera's axis, left positive; NaN is ignored."""
        self._directions.add(stamp_ns, angle)

    def set_camera(self, focal: float, centre: float) -> None:
        """Focal length and centre column of the images, px; without them directions of arrival are not used.

        Raises:
            ValueError: the focal length is not positive, or either is not finite.
        """
        if not (0 < focal < math.inf and math.isfinite(centre)):
            raise ValueError(f"a camera needs a positive focal length and a centre, got {focal} and {centre} px")
        self._camera = focal, centre

    def set_person(self, person_id: str, face_id: str = "", voice_id: str = "") -> None:
        """Associate a face and a voice with a person (ROS4HRI); with both empty the person is forgotten."""
        self._persons.associate(person_id, face_id, voice_id)

    def set_engagement(self, levels: Mapping[str, Engagement]) -> None:
        """Engagement by face id, by which the conversation partner is chosen; without it the largest face is."""
        self._partner.levels = levels

    def person_of(self, face_id: str) -> str:
        """The person of a face that was evidence; empty if unknown."""
        return self._persons.of_face(face_id, self._persons.numbered.get(face_id, ""))

    def state(self, now_ns: int) -> EmotionState:
        """The state of the conversation partner at ``now_ns``.

        Without a face it is that of a voice out of view; without fresh evidence it has status NO_EVIDENCE and a uniform
        distribution.
        """
        faces, partner = self._faces_and_partner(now_ns)
        voices = self._assign_voices(now_ns, faces, partner)
        if partner is not None:
            return self._build(partner, voices.get(partner.face_id), now_ns, True)
        if "" in voices:
            return self._build(None, voices[""], now_ns, True)
        unknown = EmotionEstimate.unknown()
        return EmotionState(now_ns, EmotionStatus.NO_EVIDENCE, "", "", "", unknown, ())

    def states(self, now_ns: int) -> tuple[EmotionState, ...]:
        """The states of all persons with fresh evidence, the conversation partner first.

        A voice is in the state of its most probable speaker only; one out of view has a state of its own, at the end.
        """
        faces, partner = self._faces_and_partner(now_ns)
        voices = self._assign_voices(now_ns, faces, partner)
        others = sorted((face for face in faces if face is not partner), key=lambda face: -face.newest.size)
        ranked = [partner, *others] if partner is not None else []
        states = [self._build(face, voices.get(face.face_id), now_ns, face is partner) for face in ranked]
        if "" in voices:
            states.append(self._build(None, voices[""], now_ns, partner is None))
        return tuple(states)

    # --- clocks and bounds

    def _accept(self, modality: EmotionModality, stamp_ns: int) -> bool:
        """Whether an item's stamp can be used; records the newest stamp and detects a clock that jumped back."""
        newest = self._newest.get(modality)
        if newest is not None and stamp_ns < newest:
            if stamp_ns < newest - to_nanoseconds(self.config.clock_jump_s):
                if modality not in self._suspect:  # a single wrong stamp must not drop good evidence
                    self._suspect.add(modality)
                    self.counts["ignored"] += 1
                    return False
                self.counts["clock_jumps"] += 1
                self._drop(modality)
                newest = None
            else:
                self.counts["late"] += 1
        self._suspect.discard(modality)
        self._newest[modality] = stamp_ns if newest is None else max(newest, stamp_ns)
        return True

    def _drop(self, modality: EmotionModality) -> None:
        if modality == EmotionModality.VISUAL:
            self._faces.clear()
            self._mouths.clear()
            self._partner.forget_challenger()
        elif modality == EmotionModality.ACOUSTIC:
            self._voices.tracks.clear()
            self._directions.clear()
        else:
            self._estimates.pop(modality, None)

    def _keep_faces(self, oldest_ns: int, newest_ns: int) -> None:
        self._faces.keep(oldest_ns, newest_ns)
        self._mouths.keep(self._newest[EmotionModality.VISUAL] - to_nanoseconds(HISTORY_S), newest_ns)

    def _drop_future(self, now_ns: int) -> None:
        """Drop evidence too far ahead of the query: it is from before the clock jumped back."""
        limit = now_ns + to_nanoseconds(self.config.future_limit_s)
        if all(stamp <= limit for stamp in self._newest.values()):
            return
        self.counts["clock_jumps"] += 1
        self._partner.forget_challenger()
        if self._newest.get(EmotionModality.VISUAL, limit) > limit:
            tracks = self._faces.tracks
            oldest = min((track.observations[0].stamp_ns for track in tracks.values()), default=limit)
            self._keep_faces(oldest, limit)
            self._set_newest(EmotionModality.VISUAL, [track.newest.stamp_ns for track in tracks.values()])
        if self._newest.get(EmotionModality.ACOUSTIC, limit) > limit:
            self._voices.keep_until(limit)
            self._directions.keep_until(limit)
            stamps = [track.newest_ns for track in self._voices.tracks.values()]
            self._set_newest(EmotionModality.ACOUSTIC, stamps)
        for modality, estimates in self._estimates.items():
            if self._newest.get(modality, limit) > limit:
                estimates[:] = [held for held in estimates if held[0] <= limit]
                self._set_newest(modality, [stamp for stamp, _ in estimates])

    def _set_newest(self, modality: EmotionModality, stamps: Sequence[int]) -> None:
        if stamps:
            self._newest[modality] = max(stamps)
        else:
            self._newest.pop(modality, None)

    # --- assignment

    def _faces_and_partner(self, now_ns: int) -> tuple[list[FaceTrack], FaceTrack | None]:
        """The faces that are evidence now, and the conversation partner's among them."""
        self._drop_future(now_ns)
        faces = self._faces.fresh(now_ns, self._newest.get(EmotionModality.VISUAL, 0))
        partner = self._partner.select(faces)
        if partner is not None:
            self._persons.partner_seen(self._person_of(partner), partner.newest.stamp_ns)
        return faces, partner

    def _assign_voices(
        self, now_ns: int, faces: list[FaceTrack], partner: FaceTrack | None
    ) -> dict[str, tuple[VoiceBelief, float]]:
        """By face id ("": out of view): the newest voice assigned to it, and the probability of that assignment."""
        assigned: dict[str, tuple[VoiceBelief, float]] = {}
        self._speakers = {}
        # In a fixed order: between equally probable faces the order of arrival must not decide.
        candidates = [
            Candidate(face.face_id, face.newest.size, face is partner, self._bearing(face))
            for face in sorted(faces, key=lambda face: face.face_id)
        ]
        mouths = self._mouths.of([candidate.face_id for candidate in candidates])
        tracks = list(self._voices.fresh(now_ns))
        posteriors = [
            [
                self._posterior(utterance.voice, candidates, mouths, after_silence)
                for utterance, after_silence in zip(track.utterances, track.after_silence(SILENCE_S), strict=True)
            ]
            for track in tracks
        ]
        spoken = [
            (utterance.voice, posterior[""])
            for track, found in zip(tracks, posteriors, strict=True)
            for utterance, posterior in zip(track.utterances, found, strict=True)
        ]
        for track, (*earlier, posterior) in zip(tracks, posteriors, strict=True):
            newest = track.utterances[-1].voice
            probabilities = with_out_of_view_rate(posterior, out_of_view_rate(newest, spoken))
            speaker = max(probabilities, key=probabilities.__getitem__)
            belief = track.belief((*(probability[speaker] for probability in earlier), 1.0))
            if self._voices.weight_at(belief, now_ns) <= 0:
                continue
            self._speakers[newest.voice_id] = probabilities
            if speaker not in assigned or assigned[speaker][0].stamp_ns < belief.stamp_ns:
                assigned[speaker] = belief, probabilities[speaker]
        return assigned

    def _posterior(
        self, voice: VoiceObservation, candidates: Sequence[Candidate], mouths: MouthTracks, after_silence: bool
    ) -> dict[str, float]:
        """By face id ("": out of view): the probability to be the speaker of an utterance, without the others."""
        if not candidates:
            return {"": 1.0}
        found = {**{candidate.face_id: 0.0 for candidate in candidates}, "": 0.0}
        face_id = self._persons.face_of_voice(voice.voice_id)
        if face_id is not None:
            found[face_id if face_id in found else ""] = 1.0
            return found
        ratios = self._mouths.log_likelihood_ratios(voice, mouths, after_silence)
        probabilities = speaker_posterior(
            candidates,
            self._directions.mean_during(voice),
            self.config.direction_spread,
            [ratios.get(candidate.face_id, math.nan) for candidate in candidates] if ratios else (),
        )
        found.update(zip((candidate.face_id for candidate in candidates), probabilities, strict=True))
        found[""] = max(0.0, 1.0 - sum(probabilities))
        return found

    def _bearing(self, face: FaceTrack) -> float:
        if self._camera is None:
            return math.nan
        box = face.newest.face.box
        return bearing(box.x + box.width / 2, *self._camera)

    def _person_of(self, track: FaceTrack) -> str:
        return self._persons.of_face(track.face_id, track.person_id)

    # --- the state

    def _build(
        self, track: FaceTrack | None, assigned: tuple[VoiceBelief, float] | None, now_ns: int, is_partner: bool
    ) -> EmotionState:
        evidence: list[Evidence] = []
        stamps: list[int] = []
        person_id = face_id = voice_id = ""
        if track is not None:
            person_id, face_id = self._person_of(track), track.face_id
            stamps.append(track.newest.stamp_ns)
            weight = self._faces.weight_at(track, now_ns)
            evidence.append(Evidence(EmotionModality.VISUAL, weight, _age(now_ns, stamps[-1]), track.newest.emotion))
        if assigned is not None:
            belief, probability = assigned
            voice_id = belief.voice.voice_id
            person_id = person_id or self._persons.of_voice(voice_id, now_ns, is_partner)
            stamps.append(belief.stamp_ns)
            weight = self._voices.weight_at(belief, now_ns) * probability
            evidence.append(Evidence(EmotionModality.ACOUSTIC, weight, _age(now_ns, stamps[-1]), belief.emotion))
        if is_partner:
            evidence += self._further_evidence(now_ns)
        if to_seconds(max(stamps) - now_ns) > FUTURE_TOLERANCE_S:
            self.counts["future"] += 1
        emotion = pool(
            [item.emotion for item in evidence],
            [item.weight for item in evidence],
            [item.modality == EmotionModality.ACOUSTIC for item in evidence],
        ).with_prior(self._prior)
        return EmotionState(
            stamp_ns=max(stamps),
            status=_STATUS[track is not None, assigned is not None],
            person_id=person_id,
            face_id=face_id,
            voice_id=voice_id,
            emotion=emotion,
            evidence=tuple(
                Evidence(item.modality, item.weight, item.age, item.emotion.with_prior(self._prior))
                for item in evidence
            ),
        )

    def _further_evidence(self, now_ns: int) -> list[Evidence]:
        """Fresh evidence of the modalities without tracks."""
        evidence = []
        for modality, estimates in sorted(self._estimates.items()):
            if not estimates:
                continue
            stamp_ns, emotion = estimates[-1]
            weight = self.config.weight_at(modality, to_seconds(now_ns - stamp_ns))
            if weight > 0:
                evidence.append(Evidence(modality, weight, _age(now_ns, stamp_ns), emotion))
        return evidence


def _age(now_ns: int, stamp_ns: int) -> float:
    return max(0.0, to_seconds(now_ns - stamp_ns))


def _is_distribution(estimate: EmotionEstimate) -> bool:
    p = estimate.probabilities
    if p.shape != (len(EMOTIONS),) or not estimate.intensities.shape == estimate.prior.shape == p.shape:
        return False
    values = p.tolist()  # faster than numpy on eight numbers; NaN fails the first comparison
    return abs(sum(values) - 1.0) < 0.01 and min(values) >= 0 and 0.0 <= estimate.confidence <= 1.0
