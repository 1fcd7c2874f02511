"""Recognise emotions in files, without ROS: the same core as the nodes, fed from media time instead of a clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
from emotion_perception.files import write_atomically
from emotion_perception.fusion.engine import EmotionFusion, FusionConfig
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.inference.runtime import read_card
from emotion_perception.interaction.arc import ArcSample, EmotionalArc
from emotion_perception.interaction.conversation import ConversationSummary, summarize
from emotion_perception.media.files import MediaFile, MediaFrame, open_media
from emotion_perception.reports.conversation import html_page
from emotion_perception.resources import find_model
from emotion_perception.types import SECOND, EmotionState, FaceObservation, VoiceObservation
from emotion_perception.visual.explain import Explanation, explain_face
from emotion_perception.visual.perception import VisualConfig, VisualPerception, is_whole_face, whole_crop

if TYPE_CHECKING:
    from emotion_perception.media.rosbag import Recording

OFFLINE_FACES = 64  # read of a picture: files do not wait for an answer as a robot does


@dataclass(frozen=True)
class Moment:
    """What was known at one moment of a recording."""

    time: float  # s from the start of the recording
    duration: float | None  # s of the recording, None where the file does not say
    state: EmotionState
    faces: tuple[FaceObservation, ...]  # of the newest picture looked at


@dataclass(frozen=True)
class Event:
    """Something that a recording holds."""

    time: float  # s of the recording
    end: float  # s, until when it lasts
    evidence: tuple[FaceObservation, ...] | VoiceObservation | None  # the faces of a picture; None is but time


def moments(
    events: Iterable[Event], fusion: EmotionFusion, step: float, duration: float | None = None
) -> Iterator[Moment]:
    """The state every ``step`` seconds of what comes in the order of its time, and once at its end.

    Args:
        events: what the fusion is told.
        fusion: an empty one.
        duration: s, as the recording states it.
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


class Course:
    """The emotional arc of one recording, from its moments in order."""

    def __init__(self, step: float) -> None:
        self._arc = EmotionalArc(0, step=max(1.0, step), hold=1.001 * step)  # a little more, for rounding
        self._end = 0  # ns

    def add(self, moment: Moment) -> None:
        """Take the next moment: what it knows is about the time since the one before."""
        self._arc.add(ArcSample.from_state(moment.state, self._end))
        self._end = round(moment.time * SECOND)

    def summary(self, name: str) -> ConversationSummary:
        """What the recording was like."""
        return summarize(self._arc.arc(self._end), interaction_id=name)

    def write_report(self, path: Path, name: str) -> None:
        """Write it as a page for people, as a whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        page = html_page(self.summary(name), title=f"Emotional arc of {name}", relative_time=True)
        write_atomically(path, iter([page]))


class Recognizer:
    """Loads each model when it is first needed, then reads any number of files.

    Args:
        frames_per_second: pictures of a video that are looked at; the rest are decoded and dropped.
        step: seconds of media time between two moments.

    Raises:
        ModelError: (on first use) a model file is missing or corrupt.
    """

    def __init__(
        self,
        visual: VisualConfig | None = None,
        acoustic: AcousticConfig | None = None,
        fusion: FusionConfig | None = None,
        frames_per_second: float = 10.0,
        step: float = 1.0,
    ) -> None:
        if frames_per_second <= 0 or step <= 0:
            raise ValueError(f"frames per second and step must be positive, got {frames_per_second} and {step}")
        self._visual_config = visual or VisualConfig(max_faces=OFFLINE_FACES)
        self._acoustic_config = acoustic or AcousticConfig()
        self._fusion_config = fusion or FusionConfig()
        self._frame_interval = 1 / frames_per_second
        self._step = step

    @cached_property
    def visual(self) -> VisualPerception:
        """The visual core."""
        return VisualPerception(self._visual_config)

    @cached_property
    def acoustic(self) -> AcousticPerception:
        """The acoustic core."""
        return AcousticPerception(self._acoustic_config)

    @cached_property
    def _reliability(self) -> tuple[Reliability | None, ...]:
        """What the cards of the two models say."""
        models = (self._visual_config.expression_model, self._acoustic_config.model)
        return tuple(Reliability.from_card(read_card(find_model(model)), model) for model in models)

    def image(self, image: np.ndarray) -> tuple[FaceObservation, ...]:
        """The faces of one picture, uint8 ``(H, W, 3)`` bgr; a picture of 64 pixels or smaller is itself the face."""
        return (self.visual.whole_face(image),) if is_whole_face(image) else self.visual.still(image)

    def course(self) -> Course:
        """Gathers the moments of :meth:`media` into an arc."""
        return Course(self._step)

    def explain(self, image: np.ndarray, emotion: str | None = None) -> tuple[np.ndarray, Explanation] | None:
        """The largest face of a picture, uint8 ``(48, 48)``, and what in it speaks for ``emotion`` (or the likeliest).

        None where no face is found.

        Raises:
            ValueError: the emotion is unknown, or one that a face does not show.
        """
        crops = [whole_crop(image)] if is_whole_face(image) else self.visual.still_crops(image)[1]
        return (crops[0], explain_face(crops[0], self.visual.classifier.path, emotion)) if crops else None

    def media(self, path: Path, image_topic: str = "", audio_topic: str = "") -> Iterator[Moment]:
        """The state every ``step`` seconds of a video, sound file or rosbag2 recording, and once at its end.

        A recording's topics are found by their types where they are not named.

        Raises:
            MediaError: the file cannot be read.
        """
        with open_media(path, image_topic, audio_topic) as media:
            if media.has_video:
                self.visual.reset()
            if media.has_audio:
                self.acoustic.reset()
            yield from moments(self._events(media), self.fusion(), self._step, media.duration)

    def fusion(self) -> EmotionFusion:
        """An empty fusion that knows the two models' reliability."""
        return EmotionFusion(self._fusion_config, *self._reliability)

    def _events(self, media: MediaFile | Recording) -> Iterator[Event]:
        next_frame = newest = 0.0
        for item in media.read():
            stamp, newest = round(item.time * SECOND), item.time
            if isinstance(item, MediaFrame):
                faces = None
                if item.time + 1e-6 >= next_frame:
                    next_frame = max(next_frame + self._frame_interval, item.time)
                    faces = self.visual.process(item.image, stamp)
                yield Event(item.time, item.time, faces)
            else:
                yield Event(item.time, item.end, None)
                for voice in self.acoustic.push(item.samples, item.sample_rate, stamp):
                    yield Event(item.time, item.end, voice)
        if media.has_audio:
            for voice in self.acoustic.flush():
                yield Event(newest, newest, voice)
