"""From a recording to rows: shots with their faces and utterances with their voices, by the robot's own pipelines.

A recording is analysed in parts of ``part_s`` seconds that are independent of each other: parts can be analysed in any
order, on any machine, and repeatedly, with the same rows. Shots and utterances end at the end of a part. The sound just
before a part is processed first, because the noise estimate and the start of an utterance depend on it.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.acoustic.recording_place import learn_place
from emotion_perception.archive.profile import Profile
from emotion_perception.archive.rows import face_row, voice_row
from emotion_perception.archive.shots import mark_cuts
from emotion_perception.media.items import LazyFrame, MediaAudio
from emotion_perception.media.source import StoredMedia
from emotion_perception.priors import DEFAULT_PRIOR, parse_prior
from emotion_perception.recognition import OFFLINE_FACES
from emotion_perception.resources import find_model
from emotion_perception.types import SECOND, FaceObservation, VoiceObservation
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.expression import ExpressionClassifier
from emotion_perception.visual.expression_filter import FaceFilter
from emotion_perception.visual.face_crop import DetectedFace
from emotion_perception.visual.perception import VisualPerception

BATCH = 32  # batch size of the face classifier; constant, because the output for a face may depend on it
CUT_S = 0.04  # an utterance that starts this soon after its part was cut: one audio block and rounding
LEAD_S = 5.0  # s of sound before a part that are processed first, for noise estimate and voice activity

Timed = TypeVar("Timed", LazyFrame, MediaAudio)


@dataclass(frozen=True)
class Settings:
    """The settings, besides the models, that the rows depend on."""

    pictures_per_second: float = 5.0  # frames analysed for faces; the temporal filter needs this rate or more
    search_interval_s: float = 1.0  # between two detections in the whole image
    part_s: float = 120.0  # length of the parts in which a recording is analysed
    decision_interval_s: float = 1.0  # speech between two decisions about one utterance
    image_topic: str = ""  # of rosbag2 recordings; found by message type where empty
    audio_topic: str = ""
    device: str = "CPU"  # OpenVINO device of the face classifier
    emotion_prior: str = DEFAULT_PRIOR  # class prior of all probabilities (emotion_perception.priors)
    adapt: bool = False  # adapt voices to the place of each recording (emotion_perception.acoustic.recording_place)
    image_rotation: str = "0"  # degrees clockwise that make all images upright: 0, 90, 180 or 270
    image_mirror: bool = False  # flip all images horizontally after the rotation
    face_model: str = ""  # file with a model card, or name in models/; the published model where empty

    def __post_init__(self) -> None:
        for name in ("pictures_per_second", "search_interval_s", "part_s", "decision_interval_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        parse_prior(self.emotion_prior)

    @property
    def visual(self) -> VisualConfig:
        """The settings of the visual pipeline."""
        return VisualConfig(
            emotion_prior=self.emotion_prior,
            expression_model=self.face_model or VisualConfig().expression_model,
            max_faces=OFFLINE_FACES,
            detection_interval=self.search_interval_s,
            image_rotation=self.image_rotation,
            image_mirror=self.image_mirror,
        )


@dataclass
class Shot:
    """A time range without a cut."""

    opened_by: str
    start: float  # s
    end: float  # s
    looks: list[tuple[float, tuple[DetectedFace, ...]]] = field(
        default_factory=list
    )  # time, s, and the faces detected then


@dataclass(frozen=True)
class Part:
    """The faces and utterances in one part of a recording, before the faces are classified."""

    number: int
    start: float  # s
    end: float  # s, at most ``start + part_s`` except for the last part
    shots: tuple[Shot, ...]
    utterances: tuple[tuple[VoiceObservation, ...], ...]  # the decisions of each, the final one last
    errors: int  # frames and packets that could not be decoded

    @property
    def faces(self) -> list[DetectedFace]:
        """The faces to classify, in the order of :meth:`Analyser.read`."""
        return [face for shot in self.shots for _, seen in shot.looks for face in seen if face.crop is not None]


class _Ahead(Generic[Timed]):
    """An iterator over items in the order of time that stops before a given time."""

    def __init__(self, items: Iterable[Timed]) -> None:
        self._items: Iterator[Timed] = iter(items)
        self._next: Timed | None = next(self._items, None)

    @property
    def over(self) -> bool:
        """Whether no item is left."""
        return self._next is None

    def until(self, stop: float) -> Iterator[Timed]:
        """The next items with times before ``stop``, s."""
        while self._next is not None and self._next.time < stop:
            item = self._next
            self._next = next(self._items, None)
            yield item


class Analyser:
    """Analyses recordings into rows; one per process.

    Args:
        settings: see :class:`Settings`.
        profile: measures the time per stage.

    Raises:
        ModelError: (on first use) a model is missing or not usable; names the path.
    """

    def __init__(self, settings: Settings, profile: Profile | None = None) -> None:
        self.settings = settings
        self.profile = profile if profile is not None else Profile()
        self._place_of: Path | None = None  # recording whose place was learnt last

    @cached_property
    def visual(self) -> VisualPerception:
        """The visual pipeline."""
        config = self.settings.visual
        with self.profile.stage("models"):
            weights = find_model(config.expression_model)
            return VisualPerception(config, ExpressionClassifier(weights, device=self.settings.device))

    @cached_property
    def acoustic(self) -> AcousticPerception:
        """The acoustic pipeline."""
        with self.profile.stage("models"):
            config = AcousticConfig(
                emotion_prior=self.settings.emotion_prior,
                decision_interval=self.settings.decision_interval_s,
                place_adaptation=float(self.settings.adapt),
            )
            acoustic = AcousticPerception(config)
            acoustic.warm_up()
            return acoustic

    def observe(
        self, media: StoredMedia, first: int = 0, last: int | None = None, skip: frozenset[int] = frozenset()
    ) -> Iterator[Part]:
        """The parts ``first`` to ``last`` of a recording, or to its end.

        Args:
            media: open.
            first: 0 unless it is seekable.
            last: None: to the end. If it is the last part by the stated duration, it includes all that is left.
            skip: parts that are left out.
        """
        length = self.settings.part_s
        if media.is_image:
            yield self._still(media)
            return
        if self.settings.adapt and media.path != self._place_of:
            # Each process learns the same from the beginning of a recording, whichever of its parts it analyses.
            self._place_of = media.path
            with self.profile.stage("voices"):
                learn_place(self.acoustic, [media])
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
            seen = visual.detect_still(image)
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
                # The first frame of a part comes slightly after its start; that of a video may come after its sound.
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
                    except (ValueError, MemoryError, OSError):  # a frame that cannot be converted
                        count_error()
        if shots:
            shots[-1].end = min(stop, end) if frames.over else stop
        return shots

    def _listen(
        self, lead: Iterable[MediaAudio], blocks: _Ahead[MediaAudio], stop: float
    ) -> tuple[list[MediaAudio], tuple[tuple[VoiceObservation, ...], ...]]:
        """The last sound before ``stop``, for the next part, and the utterances of this part."""
        if blocks.over:
            return [], ()
        acoustic = self.acoustic
        acoustic.reset()
        decisions: list[VoiceObservation] = []
        newest: deque[MediaAudio] = deque()
        with self.profile.stage("voices"):
            for block in lead:
                acoustic.push(block.samples, block.sample_rate, _ns(block.time))
            acoustic.end_utterance()  # speech before the part belongs to the part before
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
        """The observations of the faces of several parts, of one recording or of many: one list per part."""
        faces = [face for part in parts for face in part.faces]
        observations: list[FaceObservation] = []
        with self.profile.stage("expressions"):
            for begin in range(0, len(faces), BATCH):
                batch = faces[begin : begin + BATCH]
                crops = np.zeros((BATCH, *self.visual.classifier.crop_shape), np.uint8)
                crops[: len(batch)] = [face.crop for face in batch if face.crop is not None]
                observations += self.visual.observations(batch, self.visual.classifier.estimates(crops))
        rest = iter(observations)
        return [[next(rest) for _ in part.faces] for part in parts]

    def rows(self, part: Part, faces: Sequence[FaceObservation]) -> list[dict[str, Any]]:
        """The rows of a part (:data:`~emotion_perception.archive.schema.SEGMENTS`) without the recording's own fields.

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
            filters: defaultdict[str, FaceFilter] = defaultdict(self.visual.face_filter)
            for time, seen in shot.looks:
                for face in seen:
                    if face.crop is not None:
                        alone = next(rest)
                        filtered = filters[alone.face_id].update(alone, _ns(time))
                        course.setdefault(face.face_id, []).append((time, filtered))
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
                {**common, "subject": f"face_{i + 1}", **face_row(looks)} for i, looks in enumerate(course.values())
            ]
        for number, decisions in enumerate(part.utterances):
            row = voice_row(decisions)
            cut = part.number > 0 and row["start_s"] - part.start < CUT_S
            rows.append({"part": part.number, "segment": number, "opened_by": "part" if cut else "speech", **row})
        return rows


def count_parts(duration: float | None, length: float) -> int:
    """Number of parts of a recording with a duration in s; 1 where it is not known.

    A rest of less than a tenth of a part belongs to the last whole part: the stated duration is rarely wrong by more.
    """
    return max(1, math.ceil((duration or 0.0) / length - 0.1))


def _newest(blocks: Iterable[MediaAudio], begin: float) -> list[MediaAudio]:
    """The blocks that end after a time, s."""
    return [block for block in blocks if block.end > begin]


def _ns(seconds: float) -> int:
    return round(seconds * SECOND)
