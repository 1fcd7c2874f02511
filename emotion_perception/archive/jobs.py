"""Jobs of the workers; they can be sent to any process on any machine with access to recordings and data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import pyarrow as pa

from emotion_perception.archive import schema
from emotion_perception.archive.analysis import Analyser, Part, Settings, count_parts
from emotion_perception.archive.arcs import arc_table, events
from emotion_perception.archive.profile import Profile
from emotion_perception.archive.recordings import ArchiveRecording, recorded_at
from emotion_perception.archive.store import ArchiveError, Store
from emotion_perception.errors import ModelError
from emotion_perception.files import printable
from emotion_perception.media.items import MediaError
from emotion_perception.media.opening import is_recording
from emotion_perception.media.source import StoredMedia
from emotion_perception.priors import parse_prior
from emotion_perception.recognition import Recognizer, RecordingArc, fuse_events
from emotion_perception.reports.conversation import html_page, summary_fields
from emotion_perception.types import SECOND

FACES_HELD = 512  # faces collected before they are classified and their rows written
ARC_STEP_S = 1.0
MIN_COMPLETE = 0.95  # least share of the stated duration, minus 1 s, of a recording that is not truncated


@dataclass(frozen=True)
class Task:
    """The settings common to all jobs of a run."""

    out: str  # the data set's folder
    settings: Settings
    time_zone: str = ""  # of times in file names; empty: this machine's


@dataclass(frozen=True)
class About:
    """What is known about a recording once it is opened."""

    duration: float | None  # s, as the container states it
    parts: int  # 1 if it can only be read from its beginning
    began_ns: int | None  # start of the recording, ns since 1970
    began_by: str  # source of that time (see recorded_at)
    note: str  # which topics of a rosbag2 or which audio track of a film are read
    audio_track: int = 0  # number of the one that is read, from 1; 0 without sound


class Step(Enum):
    """A step of the analysis of a recording."""

    OPEN = "open"  # and analyse it if it has only one part
    PART = "part"
    FINISH = "finish"


@dataclass(frozen=True)
class Item:
    """One step with one recording."""

    recording: ArchiveRecording
    step: Step
    part: int = 0  # of PART
    about: About | None = None  # after OPEN
    troubles: tuple[str, ...] = ()  # of FINISH: parts that failed, with the reason


@dataclass(frozen=True)
class Job:
    """Items that a worker processes together; their faces are classified in common batches."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Outcome:
    """The result of an item."""

    item: Item
    about: About | None = None  # of OPEN
    finished: bool = False  # the recording is complete and its marker written
    media_s: float = 0.0  # s of the recording that were analysed
    trouble: str = ""  # why it failed
    damage: str = ""  # parts of a finished recording that could not be used


@dataclass
class JobResult:
    """The result of a job."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)  # CPU time by stage


class Worker:
    """Runs jobs and holds the models."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._store = Store(Path(task.out))
        self._profile = Profile()
        self._analyser = Analyser(task.settings, self._profile)
        self._zone = ZoneInfo(task.time_zone) if task.time_zone else None
        cv2.setNumThreads(1)  # there is one worker per core

    @cached_property
    def _recognizer(self) -> Recognizer:
        settings = self._task.settings
        return Recognizer(settings.visual, step=ARC_STEP_S, prior=settings.emotion_prior)

    def run(self, job: Job) -> JobResult:
        """Run a job; errors of a recording are part of the result, errors of the data set or a model are raised.

        Raises:
            ArchiveError: the data set cannot be written.
            ModelError: a model is missing or not usable.
        """
        self._profile.take()
        result = JobResult()
        held: list[tuple[Item, About, Part]] = []
        for item in job.items:
            try:
                result.outcomes.append(self._do(item, held))
            except (ArchiveError, ModelError):
                raise
            except MediaError as error:
                result.outcomes.append(Outcome(item, trouble=_without_path(error, item)))
            except Exception as error:  # a damaged file may raise anything, and must not affect the others
                result.outcomes.append(Outcome(item, trouble=printable(f"{type(error).__name__}: {error}")))
        self._write(held)
        result.outcomes = [self._end(outcome) for outcome in result.outcomes]
        result.seconds = self._profile.take()
        return result

    def _do(self, item: Item, held: list[tuple[Item, About, Part]]) -> Outcome:
        if item.step is Step.FINISH:
            return Outcome(item, item.about, finished=True)
        with self._profile.stage("probe"):
            track = item.about.audio_track if item.about else 0
            media = self._recognizer.open(item.recording.path, *self._topics(item.recording), track)
        with media:
            about = item.about or self._about(item.recording, media)
            if item.step is Step.OPEN and about.parts > 1:
                return Outcome(item, about)
            first = item.part
            # A recording that can only be read from its beginning is one job, which skips the parts that exist already.
            last = first if item.step is Step.PART or media.seekable else None
            done = self._store.parts_done(item.recording.id) if item.step is Step.OPEN else frozenset[int]()
            seconds = 0.0
            whole = media.is_image or last is not None  # one part, which may exist already
            for part in () if whole and first in done else self._analyser.observe(media, first, last, done):
                seconds += part.end - part.start
                held.append((item, about, part))
                if sum(len(waiting.faces) for _, _, waiting in held) >= FACES_HELD or part.number != first:
                    self._write(held)
            return Outcome(item, about, item.step is Step.OPEN, seconds)

    def _end(self, outcome: Outcome) -> Outcome:
        """The outcome, after the recording was finished if it is complete."""
        item, about = outcome.item, outcome.about
        if not outcome.finished or outcome.trouble or about is None:
            return outcome
        try:
            with self._profile.stage("arcs"):
                damage = self._finish(item.recording, about, item.troubles)
        except (ValueError, TypeError, KeyError) as error:
            return replace(
                outcome,
                finished=False,
                trouble=f"no arc can be computed from its rows ({type(error).__name__}: {error})",
            )
        return replace(outcome, damage=damage)

    def _topics(self, recording: ArchiveRecording) -> tuple[str, str]:
        settings = self._task.settings
        return (settings.image_topic, settings.audio_topic) if is_recording(recording.path) else ("", "")

    def _about(self, recording: ArchiveRecording, media: StoredMedia) -> About:
        began_ns, began_by = recorded_at(recording, media, self._zone)
        parts = count_parts(media.duration, self._task.settings.part_s) if media.seekable else 1
        return About(media.duration, parts, began_ns, began_by, media.note, media.audio_track)

    def _write(self, held: list[tuple[Item, About, Part]]) -> None:
        """Classify the faces held, and write their rows."""
        if not held:
            return
        faces = self._analyser.read([part for _, _, part in held])
        for (item, about, part), observations in zip(held, faces, strict=True):
            with self._profile.stage("rows"):
                rows = self._analyser.rows(part, observations)
                for row in rows:
                    row.update(path=item.recording.shown_path, place=item.recording.place)
                    if about.began_ns is not None:
                        row["began_at"] = _moment(about.began_ns + round(row["start_s"] * SECOND))
                self._store.write_part(
                    item.recording.id, part.number, part.end, part.errors, schema.table(schema.SEGMENTS, rows)
                )
        held.clear()

    def _finish(self, recording: ArchiveRecording, about: About, troubles: Sequence[str]) -> str:
        """Write the arc and the marker of a recording; returns a description of what could not be used."""
        counts: Counter[str] = Counter()
        end = 0.0

        def counted() -> Iterator[tuple[float, pa.Table]]:
            nonlocal end
            for end, errors, rows in self._store.read_parts(recording.id):
                counts["errors"] += errors
                counts.update(rows.column("kind").to_pylist())
                yield end, rows

        arc = RecordingArc(ARC_STEP_S)
        evidence = events(counted(), parse_prior(self._task.settings.emotion_prior))
        for moment in fuse_events(evidence, self._recognizer.fusion(), ARC_STEP_S, about.duration):
            arc.add(moment)
        name = Path(recording.shown_path).name
        summary = arc.summary(recording.id)
        page = html_page(summary, title=f"Emotional arc of {name}", relative_time=True)
        self._store.write_arc(recording.id, arc_table(summary.arc), page)
        fields = summary_fields(summary)
        arc_fields = fields.pop("arc")
        damage = list(troubles)
        if counts["errors"]:
            damage.append(f"{counts['errors']} frames or packets could not be decoded")
        if about.duration is not None and end < MIN_COMPLETE * about.duration - 1.0:
            damage.append(f"it ends after {end:.0f} of {about.duration:.0f} s")
        self._store.write_marker(
            recording.id,
            {
                **marker(recording, "damaged" if damage else "done", "; ".join(damage)),
                "duration_s": round(end, 3),
                "stated_duration_s": about.duration,
                "began_at": about.began_ns and _moment(about.began_ns).isoformat(),
                "began_by": about.began_by,
                "note": about.note,
                "shots": counts["shot"],
                "faces": counts["face"],
                "voices": counts["voice"],
                "summary": fields | {name: arc_fields[name] for name in ("shape", "turning_points")},
            },
        )
        return "; ".join(damage)


def marker(recording: ArchiveRecording, status: str, reason: str) -> dict[str, Any]:
    """The common fields of every recording's marker."""
    return {
        "recording": recording.id,
        "path": recording.shown_path,
        "place": recording.place,
        "size": recording.size,
        "status": status,
        "reason": reason,
    }


@cache
def worker(task: Task) -> Worker:
    """The worker of this process, which loads the models once."""
    return Worker(task)


def run_job(task: Task, job: Job) -> JobResult:
    """Run a job in this process; see :meth:`Worker.run`."""
    return worker(task).run(job)


def _without_path(error: MediaError, item: Item) -> str:
    return printable(str(error).removeprefix(f"{item.recording.path}: "))


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / SECOND, timezone.utc)
