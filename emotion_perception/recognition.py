"""Recognise emotions in files, without ROS: the same core as the nodes, on media time instead of a clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.acoustic.audio_tracks import speech_track
from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.acoustic.recording_place import learn_place
from emotion_perception.files import write_atomically
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import Reliability, reliability_of
from emotion_perception.interaction.arc import ArcSample, EmotionalArc
from emotion_perception.interaction.summary import ConversationSummary, summarize
from emotion_perception.media.images import read_image
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media
from emotion_perception.media.source import StoredMedia
from emotion_perception.reports.conversation import html_page
from emotion_perception.types import SECOND, EmotionState, FaceObservation, VoiceObservation
from emotion_perception.visual.config import VisualConfig
from emotion_perception.visual.explain import Explanation, explain_face
from emotion_perception.visual.perception import VisualPerception

OFFLINE_FACES = 64  # faces classified per image; files have no deadline, so more than on a robot


@dataclass(frozen=True)
class Moment:
    """The state at one time of a media file."""

    time: float  # s from the start of the file
    duration: float | None  # s of the whole file, None where its container does not state it
    state: EmotionState  # of the conversation partner
    faces: tuple[FaceObservation, ...]  # in the newest image that was analysed


@dataclass(frozen=True)
class Event:
    """Evidence of one time of a media file."""

    time: float  # s from the start of the file
    end: float  # s, end of the frame or audio block
    evidence: tuple[FaceObservation, ...] | VoiceObservation | None  # the faces of an image; None: time passes


def fuse_events(
    events: Iterable[Event], fusion: EmotionFusion, step: float, duration: float | None = None
) -> Iterator[Moment]:
    """The state every ``step`` seconds of media time, and once at the end.

    Args:
        events: in the order of their time.
        fusion: without evidence so far.
        step: s, > 0.
        duration: s, as the file states it.
    """
    faces: tuple[FaceObservation, ...] = ()
    end, due = 0.0, step
    for event in events:
        while event.time >= due:
            yield Moment(due, duration, fusion.state(round(due * SECOND)), faces)
            due += step
        end = max(end, event.end)
        if isinstance(event.evidence, VoiceObservation):
            fusion.add_voice(event.evidence)
        elif event.evidence is not None:
            faces = event.evidence
            fusion.add_faces(round(event.time * SECOND), faces)
    yield Moment(end, duration, fusion.state(round(end * SECOND)), faces)


class RecordingArc:
    """The emotional arc of one media file, built from its moments in order.

    Args:
        step: s between two moments.
    """

    def __init__(self, step: float) -> None:
        self._arc = EmotionalArc(0, step=max(1.0, step), hold=1.001 * step)  # 0.1 % more, for rounding
        self._end = 0  # ns

    def add(self, moment: Moment) -> None:
        """Add the next moment; its state stands for the time since the moment before it."""
        self._arc.add(ArcSample.from_state(moment.state, self._end))
        self._end = round(moment.time * SECOND)

    def summary(self, name: str) -> ConversationSummary:
        """Summary of the conversation in the file; ``name`` becomes its id."""
        return summarize(self._arc.arc(self._end), interaction_id=name)

    def write_report(self, path: Path, name: str) -> None:
        """Write the arc and its summary as an HTML page, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        page = html_page(self.summary(name), title=f"Emotional arc of {name}", relative_time=True)
        write_atomically(path, iter([page]))


class Recognizer:
    """Emotions in images, videos, sound files and rosbag2 recordings.

    Each model is loaded at its first use and then serves any number of files. Not thread-safe.

    Args:
        visual, acoustic, fusion: settings; the defaults are those of the nodes, without the limit on faces.
        frames_per_second: frames of a video that are analysed; the others are decoded and dropped.
        step: s of media time between two moments.
        prior: class prior of all results, as the setting ``emotion_prior``; None: that of each configuration.
        adapt: remove what :meth:`adapt_to` learns about a place from its voices.

    Raises:
        ValueError: ``frames_per_second`` or ``step`` is not positive, or the prior is invalid.
        ModelError: (at the first use) a model file is missing or corrupt.

    Example:
        >>> from emotion_perception import Recognizer
        >>> from emotion_perception.resources import demo_clip_path
        >>> for moment in Recognizer(step=4.0).moments(demo_clip_path()):
        ...     state = moment.state
        ...     print(f"{moment.time:.1f} s: {state.emotion.name} ({state.status.name})")
        4.0 s: happy (VISUAL_ONLY)
        8.0 s: happy (VISUAL_ONLY)
        12.0 s: happy (VISUAL_ONLY)
    """

    def __init__(
        self,
        visual: VisualConfig | None = None,
        acoustic: AcousticConfig | None = None,
        fusion: FusionConfig | None = None,
        frames_per_second: float = 10.0,
        step: float = 1.0,
        prior: str | None = None,
        adapt: bool = False,
    ) -> None:
        if frames_per_second <= 0 or step <= 0:
            raise ValueError(f"frames_per_second and step must be positive, got {frames_per_second} and {step}")
        chosen: dict[str, Any] = {} if prior is None else {"emotion_prior": prior}
        self._visual_config = replace(visual or VisualConfig(max_faces=OFFLINE_FACES), **chosen)
        place: dict[str, Any] = {"place_adaptation": 1.0} if adapt else {}
        self._acoustic_config = replace(acoustic or AcousticConfig(), **chosen, **place)
        self._fusion_config = replace(fusion or FusionConfig(), **chosen)
        self._frame_interval = 1 / frames_per_second
        self._step = step

    @cached_property
    def visual(self) -> VisualPerception:
        """The visual pipeline."""
        return VisualPerception(self._visual_config)

    @cached_property
    def acoustic(self) -> AcousticPerception:
        """The acoustic pipeline."""
        return AcousticPerception(self._acoustic_config)

    @cached_property
    def _reliability(self) -> tuple[Reliability | None, ...]:
        """Reliability of the face and the voice model."""
        models = (self._visual_config.expression_model, self._acoustic_config.model)
        return tuple(map(reliability_of, models))

    def open(self, path: Path | str, image_topic: str = "", audio_topic: str = "", audio_track: int = 0) -> StoredMedia:
        """Open a file or recording; of several audio tracks the one with the speech, and say so in its ``note``.

        Args:
            path, image_topic, audio_topic, audio_track: see :meth:`moments`.

        Raises:
            MediaError: the file cannot be read.
        """
        media = open_media(Path(path), image_topic, audio_topic, audio_track)
        if media.audio_tracks < 2:
            return media
        if not audio_track and (best := speech_track(media)) != media.audio_track:
            media.close()
            media = open_media(path, audio_track=best)
        how = "as requested" if audio_track else "chosen by its speech"
        media.note = f"audio track {media.audio_track} of {media.audio_tracks}, {how}"
        return media

    def moments(
        self, path: Path | str, image_topic: str = "", audio_topic: str = "", audio_track: int = 0
    ) -> Iterator[Moment]:
        """The state every ``step`` seconds of a video, sound file or rosbag2 recording, and once at its end.

        The landmarks of a face are its newest, which may be of an earlier frame.

        An image has one moment, at time 0.

        Args:
            path: the media file, or the folder of a recording.
            image_topic, audio_topic: of a recording; found by message type where empty.
            audio_track: of a film, from 1; 0: the one with most speech.

        Raises:
            MediaError: the file cannot be read.
        """
        with self.open(path, image_topic, audio_topic, audio_track) as media:
            if media.is_image:
                events = iter([Event(0.0, 0.0, self.faces(read_image(media.path)))])
            else:
                if media.has_video:
                    self.visual.reset()
                if media.has_audio:
                    self.acoustic.reset()
                events = self._events(media)
            yield from fuse_events(events, self.fusion(), self._step, media.duration)

    def adapt_to(
        self, paths: Sequence[Path | str], image_topic: str = "", audio_topic: str = "", audio_track: int = 0
    ) -> int:
        """Learn what microphone, room and language do to the voices of recordings made in one place.

        The following results are adapted to it, until the next call. See ``docs/acoustic_model.md``.

        Args:
            paths: recordings; those without sound are passed over.
            image_topic, audio_topic, audio_track: see :meth:`moments`.

        Returns:
            The number of utterances found; with fewer than :data:`~emotion_perception.acoustic.recording_place.ENOUGH`
            nothing is adapted.

        Raises:
            MediaError: a file cannot be read.
        """
        with ExitStack() as opened:
            topics = (image_topic, audio_topic, audio_track)
            return learn_place(self.acoustic, (opened.enter_context(self.open(path, *topics)) for path in paths))

    @property
    def turned_by(self) -> int:
        """Value of ``image_rotation`` by which the faces of the last film are upright; 0 if that is its value."""
        found, used = self.visual.found_rotation, self.visual.mounting.rotation
        return found if found is not None and found != used else 0

    def faces(self, image: np.ndarray) -> tuple[FaceObservation, ...]:
        """The faces of one image, uint8 ``(H, W, 3)`` BGR, largest first."""
        return self.visual.still(image, landmarks=True)

    def explain(self, image: np.ndarray, emotion: str | None = None) -> tuple[np.ndarray, Explanation] | None:
        """Which regions of the largest face support an emotion.

        Args:
            image: uint8 ``(H, W, 3)`` BGR.
            emotion: the emotion to explain; None: the most probable one.

        Returns:
            The face crop, uint8 ``(48, 48)``, and the explanation; None where no face is found.

        Raises:
            ValueError: the emotion is unknown, or not one of the face classifier's.
        """
        faces = self.visual.detect_still(image, landmarks=True)
        if not faces or faces[0].crop is None:
            return None
        return faces[0].crop, explain_face(faces[0].crop, self.visual.classifier, emotion, faces[0].landmarks)

    def recording_arc(self) -> RecordingArc:
        """An empty arc for the moments of one file."""
        return RecordingArc(self._step)

    def fusion(self) -> EmotionFusion:
        """A fusion engine without evidence, with the reliability of the two models."""
        return EmotionFusion(self._fusion_config, *self._reliability)

    def _with_newest_landmarks(self, face: FaceObservation) -> FaceObservation:
        return face if face.landmarks else replace(face, landmarks=self.visual.newest_landmarks(face.face_id))

    def _events(self, media: StoredMedia) -> Iterator[Event]:
        next_frame = newest = 0.0
        for item in media.read():
            stamp, newest = round(item.time * SECOND), item.time
            if isinstance(item, MediaFrame):
                faces = None
                if item.time + 1e-6 >= next_frame:
                    next_frame = max(next_frame + self._frame_interval, item.time)
                    faces = tuple(map(self._with_newest_landmarks, self.visual.process(item.image, stamp)))
                yield Event(item.time, item.time, faces)
            else:
                yield Event(item.time, item.end, None)
                for voice in self.acoustic.push(item.samples, item.sample_rate, stamp):
                    yield Event(item.time, item.end, voice)
        if media.has_audio:
            for voice in self.acoustic.flush():
                yield Event(newest, newest, voice)
