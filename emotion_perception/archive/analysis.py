"""From a recording to rows: shots with their faces and utterances with their voices, by the robot's own core.

A recording is analysed in parts of ``part_s`` seconds, each by itself: nothing is carried from one to the next, so
parts can be done in any order, anywhere, again, and the rows are the same. Shots and utterances end where a part ends.
The seconds of sound before a part are heard first, as noise is known, and speech heard, by what was before.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.archive.profile import Profile
from emotion_perception.archive.shots import mark_cuts
from emotion_perception.media.items import LazyFrame, MediaAudio
from emotion_perception.media.source import StoredMedia
from emotion_perception.recognition import OFFLINE_FACES
from emotion_perception.resources import find_model
from emotion_perception.types import SECOND, EmotionEstimate, FaceObservation, VoiceObservation
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.expression_filter import ExpressionFilter
from emotion_perception.visual.face_crop import DetectedFace, is_whole_face
from emotion_perception.visual.perception import VisualPerception

BATCH = 32  # faces that the classifier reads at once; always so many, for a face's answer may depend on their number
CUT_S = 0.04  # an utterance that begins so soon after its part was cut by it: a block of sound and its rounding
LEAD_S = 5.0  # s of sound before a part that are heard first, to know the noise and whether somebody speaks

Timed = TypeVar("Timed", LazyFrame, MediaAudio)


@dataclass(frozen=True)
class Settings:
    """What the rows depend on, besides the models."""

    pictures_per_second: float = 5.0  # looked at for faces; the filter of expressions is made for this and more
    search_interval_s: float = 1.0  # between two searches of the whole picture for new faces
    part_s: float = 120.0  # length of the parts in which a recording is analysed
    decision_interval_s: float = 1.0  # speech between two decisions about one utterance
    image_topic: str = ""  # of rosbag2 recordings; empty: found by type
    audio_topic: str = ""
    device: str = "CPU"  # OpenVINO's, that reads expressions

    def __post_init__(self) -> None:
        for name in ("pictures_per_second", "search_interval_s", "part_s", "decision_interval_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass
class Shot:
    """A stretch of pictures without a cut."""

    opened_by: str
    start: float  # s
    end: float  # s
    looks: list[tuple[float, tuple[DetectedFace, ...]]] = field(
        default_factory=list
    )  # time, s, and the faces seen then


@dataclass(frozen=True)
class Part:
    """What was seen and heard in one part of a recording; the expressions are still to be read."""

    number: int
    start: float  # s
    end: float  # s, at most ``start + part_s``, but of the last part
    shots: tuple[Shot, ...]
    utterances: tuple[tuple[VoiceObservation, ...], ...]  # the decisions of each, the final one last
    errors: int  # pictures and packets that could not be used

    @property
    def faces(self) -> list[DetectedFace]:
        """Those that the classifier is to read, in the order of :meth:`Analyser.read`."""
        return [face for shot in self.shots for _, seen in shot.looks for face in seen if face.crop is not None]


class _Ahead(Generic[Timed]):
    """Items in time order, taken up to a time; the next one waits."""

    def __init__(self, items: Iterable[Timed]) -> None:
        self._items: Iterator[Timed] = iter(items)
        self._next: Timed | None = next(self._items, None)

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._next is None

    def until(self, stop: float) -> Iterator[Timed]:
        """Those of times before ``stop``, s."""
        while self._next is not None and self._next.time < stop:
            item = self._next
            self._next = next(self._items, None)
            yield item


class Analyser:
    """The models and the rules by which recordings become rows; one a process.

    Args:
        settings: see :class:`Settings`.
        profile: counts the time.

    Raises:
        ModelError: (on first use) a model is missing or not usable; names the path.
    """

    def __init__(self, settings: Settings, profile: Profile | None = None) -> None:
        self.settings = settings
        self.profile = profile if profile is not None else Profile()
        self._visual_config = VisualConfig(
            max_faces=OFFLINE_FACES,
            detection_interval=settings.search_interval_s,
            mouth_motion=False,  # is measured from one picture to the next at a robot's rate
        )

    @cached_property
    def visual(self) -> VisualPerception:
        """The visual core."""
        config = self._visual_config
        with self.profile.stage("models"):
            weights = find_model(config.expression_model)
            return VisualPerception(config, ExpressionClassifier(weights, device=self.settings.device))

    @cached_property
    def acoustic(self) -> AcousticPerception:
        """The acoustic core."""
        with self.profile.stage("models"):
            acoustic = AcousticPerception(AcousticConfig(decision_interval=self.settings.decision_interval_s))
            acoustic.warm_up()
            return acoustic

    def observe(
        self, media: StoredMedia, first: int = 0, last: int | None = None, skip: frozenset[int] = frozenset()
    ) -> Iterator[Part]:
        """The parts ``first`` to ``last`` of a recording; to its end without ``last``.

        Args:
            media: open.
            first: 0 unless it is seekable.
            last: takes all that is left where it is the recording's last one by the stated length.
            skip: parts that are not wanted; they are read over.
        """
        length = self.settings.part_s
        if media.is_image:
            yield self._still(media)
            return
        start = first * length
        frames = _Ahead(
            self.profile.through(media.frames(start, 1 / self.settings.pictures_per_second), "pictures")
            if media.has_video
            else ()
        )
        blocks = _Ahead(self.profile.through(media.sound(max(0.0, start - LEAD_S)), "sound") if media.has_audio else ())
        lead: deque[MediaAudio] = deque(blocks.until(start))
        number = first
        while True:
            errors = media.errors
            start, stop = number * length, (number + 1) * length
            if number == last and self._is_last(media, number):
                stop = math.inf
            if number in skip:
                deque(frames.until(stop), maxlen=0)
                heard: list[MediaAudio] = _newest(blocks.until(stop), stop - LEAD_S)
                utterances: tuple[tuple[VoiceObservation, ...], ...] = ()
                shots: tuple[Shot, ...] = ()
            else:
                shots = tuple(self._shots(frames, number, start, stop, media))
                heard, utterances = self._listen(lead, blocks, stop)
            seen = shots[-1].end if shots else start
            sounded = heard[-1].end if heard else start
            if number not in skip:
                yield Part(number, start, min(stop, max(seen, sounded)), shots, utterances, media.errors - errors)
            lead = deque(heard)
            if number == last or (frames.over and blocks.over):
                return
            number += 1

    def _is_last(self, media: StoredMedia, number: int) -> bool:
        return number + 1 >= count_parts(media.duration, self.settings.part_s)

    def _still(self, media: StoredMedia) -> Part:
        with self.profile.stage("pictures"):
            image = next(iter(media.frames())).image()
        visual = self.visual
        with self.profile.stage("faces"):
            seen = (visual.detect_whole(image),) if is_whole_face(image) else visual.detect_still(image)
        return Part(0, 0.0, 0.0, (Shot("start", 0.0, 0.0, [(0.0, seen)]),), (), 0)

    def _shots(
        self, frames: _Ahead[LazyFrame], number: int, start: float, stop: float, media: StoredMedia
    ) -> list[Shot]:
        shots: list[Shot] = []
        end, period = start, 1 / (media.fps or 1.0)

        def count_error() -> None:
            media.errors += 1

        for frame, cut in self.profile.through(mark_cuts(frames.until(stop), count_error), "shots"):
            if not shots or cut:
                opened_by = "cut" if cut else "part" if number else "start"
                # A part's first picture comes a little after its beginning; a film's may, where sound is first.
                begin = start if opened_by == "part" and frame.time - start < 2 * period else frame.time
                if shots:
                    shots[-1].end = frame.time
                shots.append(Shot(opened_by, begin, frame.time))
                self.visual.reset()
            end = frame.time + period
            if frame.due:
                with self.profile.stage("faces"):
                    try:
                        shots[-1].looks.append((frame.time, self.visual.detect(frame.image(), _ns(frame.time))))
                    except (ValueError, MemoryError, OSError):  # a picture that cannot be converted
                        count_error()
        if shots:
            shots[-1].end = min(stop, end) if frames.over else stop
        return shots

    def _listen(
        self, lead: Iterable[MediaAudio], blocks: _Ahead[MediaAudio], stop: float
    ) -> tuple[list[MediaAudio], tuple[tuple[VoiceObservation, ...], ...]]:
        """The newest sound before ``stop``, which leads the next part, and the utterances."""
        if blocks.over:
            return [], ()
        acoustic = self.acoustic
        acoustic.reset()
        decisions: list[VoiceObservation] = []
        newest: deque[MediaAudio] = deque()
        with self.profile.stage("voices"):
            for block in lead:
                acoustic.push(block.samples, block.sample_rate, _ns(block.time))
            acoustic.end_utterance()  # what was said before the part is the other part's
        for block in blocks.until(stop):
            newest.append(block)
            while newest[0].end < block.end - LEAD_S:
                newest.popleft()
            with self.profile.stage("voices"):
                decisions += acoustic.push(block.samples, block.sample_rate, _ns(block.time))
        with self.profile.stage("voices"):
            decisions += acoustic.flush()
        utterances: list[tuple[VoiceObservation, ...]] = []
        begun: list[VoiceObservation] = []
        for decision in decisions:
            begun.append(decision)
            if decision.final:
                utterances.append(tuple(begun))
                begun = []
        return list(newest), tuple(utterances)

    def read(self, parts: Sequence[Part]) -> list[list[FaceObservation]]:
        """What the faces of several parts, of one recording or of many, express: for each part one of each face."""
        faces = [face for part in parts for face in part.faces]
        told: list[FaceObservation] = []
        with self.profile.stage("expressions"):
            for begin in range(0, len(faces), BATCH):
                batch = faces[begin : begin + BATCH]
                crops = np.zeros((BATCH, *self.visual.classifier.crop_shape), np.uint8)
                crops[: len(batch)] = [face.crop for face in batch if face.crop is not None]
                answers = zip(batch, *self.visual.classifier.probabilities(crops), strict=False)
                told += [self.visual.observation(face, p, strength) for face, p, strength in answers]
        rest = iter(told)
        return [[next(rest) for _ in part.faces] for part in parts]

    def rows(self, part: Part, faces: Sequence[FaceObservation]) -> list[dict[str, Any]]:
        """A part's rows by :data:`~emotion_perception.archive.schema.SEGMENTS`, without what is the recording's.

        Args:
            part: of :meth:`observe`.
            faces: of :meth:`read`.
        """
        rows: list[dict[str, Any]] = []
        rest = iter(faces)
        for number, shot in enumerate(part.shots):
            common = {
                "part": part.number,
                "segment": number,
                "opened_by": shot.opened_by,
                "start_s": shot.start,
                "end_s": shot.end,
            }
            course: dict[str, list[tuple[float, FaceObservation]]] = {}
            filters: defaultdict[str, ExpressionFilter] = defaultdict(self.visual.expression_filter)
            for time, seen in shot.looks:
                for face in seen:
                    if face.crop is not None:
                        alone = next(rest)
                        emotion = filters[alone.face_id].update(alone.emotion, _ns(time))
                        told = FaceObservation(alone.face_id, alone.box, alone.detection_score, alone.quality, emotion)
                        course.setdefault(face.face_id, []).append((time, told))
            times = [time for time, _ in shot.looks]
            rows.append(
                {
                    **common,
                    "kind": "shot",
                    "first_s": times[0] if times else None,
                    "last_s": times[-1] if times else None,
                    "samples": len(times),
                    "course": [{"time_s": time} for time in times],
                }
            )
            rows += [
                {**common, "subject": f"face_{i + 1}", **_face_row(looks)} for i, looks in enumerate(course.values())
            ]
        for number, decisions in enumerate(part.utterances):
            row = _voice_row(decisions)
            cut = part.number > 0 and row["start_s"] - part.start < CUT_S
            rows.append({"part": part.number, "segment": number, "opened_by": "part" if cut else "speech", **row})
        return rows


def count_parts(duration: float | None, length: float) -> int:
    """How many parts a recording of ``duration`` seconds has; 1 where it is not known.

    The rest after the last whole part is one of its own from a tenth of a part on: what the container states is
    seldom more than that wrong.
    """
    return max(1, math.ceil((duration or 0.0) / length - 0.1))


def _face_row(looks: Sequence[tuple[float, FaceObservation]]) -> dict[str, Any]:
    observations = [face for _, face in looks]
    strengths = np.stack([face.emotion.intensities for face in observations])
    mean = EmotionEstimate.from_probabilities(
        np.mean([face.emotion.probabilities for face in observations], axis=0), strengths.mean(axis=0)
    )
    return {
        "kind": "face",
        "first_s": looks[0][0],
        "last_s": looks[-1][0],
        "samples": len(looks),
        **_emotion(mean),
        "label": mean.name,
        "confidence": mean.confidence,
        "quality": float(np.mean([face.quality for face in observations])),
        "course": [
            {
                "time_s": time,
                **_emotion(face.emotion),
                "quality": face.quality,
                "score": face.detection_score,
                "x": face.box.x,
                "y": face.box.y,
                "width": face.box.width,
                "height": face.box.height,
            }
            for time, face in looks
        ],
    }


def _voice_row(decisions: Sequence[VoiceObservation]) -> dict[str, Any]:
    final = decisions[-1]
    end = final.stamp_ns / SECOND
    start = max(0.0, end - final.duration)
    return {
        "kind": "voice",
        "subject": "voice",
        "start_s": start,
        "end_s": end,
        "first_s": start,
        "last_s": end,
        "samples": len(decisions),
        **_emotion(final.emotion),
        "label": final.emotion.name,
        "confidence": final.emotion.confidence,
        "course": [
            {
                "time_s": voice.stamp_ns / SECOND,
                **_emotion(voice.emotion),
                "duration_s": voice.duration,
                "snr_db": voice.snr_db,
                "overlapped": voice.overlapped_speech,
                "final": voice.final,
            }
            for voice in decisions
        ],
    }


def _emotion(emotion: EmotionEstimate) -> dict[str, Any]:
    return {
        "probabilities": emotion.probabilities.tolist(),
        "intensities": np.asarray(emotion.intensities, np.float32).tolist(),
        "valence": emotion.valence,
        "arousal": emotion.arousal,
    }


def _newest(blocks: Iterable[MediaAudio], begin: float) -> list[MediaAudio]:
    """The blocks that end after a time, s."""
    return [block for block in blocks if block.end > begin]


def _ns(seconds: float) -> int:
    return round(seconds * SECOND)
