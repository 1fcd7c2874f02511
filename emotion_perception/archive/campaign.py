"""One run over an archive: its jobs, their order and their outcomes. A run can be killed and resumed at any time."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emotion_perception.acoustic.perception import AcousticConfig
from emotion_perception.archive import schema
from emotion_perception.archive.analysis import Settings
from emotion_perception.archive.jobs import Item, Job, JobResult, Outcome, Step, marker
from emotion_perception.archive.recordings import ArchiveRecording, batches
from emotion_perception.archive.store import Store, removed_before
from emotion_perception.archive.workers import Lost, Workers
from emotion_perception.inference.cards import load_card
from emotion_perception.resources import find_model

TRIES = 3  # attempts at an item whose worker died
TOGETHER = 64  # maximum number of recordings in one job
TOGETHER_BYTES = 16_000_000  # maximum size of these recordings


@dataclass
class Tally:
    """Progress of a run."""

    recordings: int = 0
    bytes: int = 0  # of all recordings
    bytes_done: float = 0.0
    media_s: float = 0.0  # analysed in this run
    done_before: int = 0  # recordings of earlier runs
    done: int = 0  # in this run
    troubles: dict[str, str] = field(default_factory=dict)  # path to reason, including earlier runs
    seconds: Counter[str] = field(default_factory=Counter)  # CPU time by stage


def made_by(settings: Settings) -> dict[str, Any]:
    """What the rows depend on, for ``archive.json``: settings, format and hashes of the models.

    The face model is known by its hash, so that its file may have another path; the hash covers a card that the file
    lacks.

    Raises:
        ModelError: a model or its card is missing.
    """
    models = {"expression_model": settings.visual.expression_model, "voice_model": AcousticConfig().model}
    hashes = {name: _hash(find_model(model)) for name, model in models.items()}
    # Data sets of earlier releases lack these and can be continued with their defaults.
    added = {name: getattr(Settings(), name) for name in ("adapt", "image_rotation", "image_mirror")}
    fields = {
        name: value
        for name, value in asdict(settings).items()
        if name != "face_model" and not (name in added and value == added[name])
    }
    return {"format": schema.FORMAT_VERSION, **fields, **hashes}


def _hash(model: Path) -> str:
    digest = hashlib.sha256(model.read_bytes())
    if model.suffix.lower() != ".onnx":
        digest.update(load_card(model).to_yaml().encode())
    return digest.hexdigest()[:16]


class Campaign:
    """Analyses recordings into a data set.

    Args:
        store: the data set, locked.
        recordings: to analyse.
        workers: that run the jobs.
        retry: repeat recordings that failed or were damaged in an earlier run.
        progress: called after every job.
    """

    def __init__(
        self,
        store: Store,
        recordings: tuple[ArchiveRecording, ...],
        workers: Workers,
        retry: bool = False,
        progress: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._store, self._workers, self._progress = store, workers, progress
        self.tally = Tally(len(recordings), sum(r.size for r in recordings))
        removed_before(store, [(r.shown_path, r.id) for r in recordings])
        new = self._without_done(recordings, retry)
        self._new = self._open_jobs(new)
        self._ready: deque[Job] = deque()  # jobs of opened recordings, which come first
        self._left: dict[str, set[int]] = {}  # unfinished parts of opened recordings
        self._part_troubles: dict[str, list[str]] = {}
        self._tries: Counter[Item] = Counter()

    def run(self) -> Tally:
        """Run all jobs.

        Raises:
            ArchiveError: the data set cannot be written.
            ModelError: a model is missing or not usable.
        """
        self._progress(self.tally)
        while True:
            while self._workers.room and (job := self._next()) is not None:
                self._workers.submit(job)
            if not self._workers.busy:
                return self.tally
            for job, result in self._workers.finished():
                self._take(job, result)
            self._progress(self.tally)

    def _without_done(self, recordings: tuple[ArchiveRecording, ...], retry: bool) -> list[ArchiveRecording]:
        markers = {marker["recording"]: marker for marker in self._store.markers()}
        new = []
        for recording in recordings:
            found = markers.get(recording.id)
            if found is None or (retry and found["status"] != "done"):
                if found is not None:
                    self._store.marker_path(recording.id).unlink()
                new.append(recording)
                continue
            self.tally.done_before += 1
            self.tally.bytes_done += recording.size
            if found["status"] != "done":
                self.tally.troubles[recording.shown_path] = found["reason"]
        return new

    def _open_jobs(self, recordings: list[ArchiveRecording]) -> Iterator[Job]:
        for batch in batches(recordings, TOGETHER, TOGETHER_BYTES):
            yield Job(tuple(Item(recording, Step.OPEN) for recording in batch))

    def _next(self) -> Job | None:
        return self._ready.popleft() if self._ready else next(self._new, None)

    def _take(self, job: Job, result: JobResult | Lost) -> None:
        if isinstance(result, Lost):
            self._take_lost(job, result)
            return
        self.tally.seconds.update(result.seconds)
        for outcome in result.outcomes:
            self._take_outcome(outcome)

    def _take_lost(self, job: Job, lost: Lost) -> None:
        """Repeat each item as a job of its own, because any of them may be the cause."""
        for item in job.items:
            self._tries[item] += 1
            if self._tries[item] < TRIES:
                self._ready.append(Job((item,)))
            else:
                self._take_outcome(Outcome(item, item.about, trouble=f"{lost}, {TRIES} times"))

    def _take_outcome(self, outcome: Outcome) -> None:
        item, recording = outcome.item, outcome.item.recording
        self.tally.media_s += outcome.media_s
        if item.step is Step.PART:
            if outcome.trouble:
                self._part_troubles.setdefault(recording.id, []).append(f"part {item.part}: {outcome.trouble}")
            self._part_over(item)
        elif outcome.trouble:
            self._store.remove(recording.id)
            self._store.write_marker(recording.id, marker(recording, "failed", outcome.trouble))
            self.tally.troubles[recording.shown_path] = outcome.trouble
            self.tally.bytes_done += recording.size if item.step is Step.OPEN else 0
        elif outcome.finished:
            self.tally.done += 1
            self.tally.bytes_done += recording.size if item.step is Step.OPEN else 0
            if outcome.damage:
                self.tally.troubles[recording.shown_path] = outcome.damage
        else:
            self._plan(outcome)

    def _plan(self, outcome: Outcome) -> None:
        """A recording of several parts was opened."""
        recording, about = outcome.item.recording, outcome.about
        assert about is not None  # it was opened
        finished = self._store.parts_done(recording.id)
        parts = [number for number in range(about.parts) if number not in finished]
        self.tally.bytes_done += recording.size * (about.parts - len(parts)) / about.parts
        self._left[recording.id] = set(parts)
        self._ready.extend(Job((Item(recording, Step.PART, number, about),)) for number in parts)
        if not parts:
            self._ready.append(Job((Item(recording, Step.FINISH, about=about),)))

    def _part_over(self, item: Item) -> None:
        recording, about = item.recording, item.about
        assert about is not None  # parts are of opened recordings
        left = self._left[recording.id]
        left.discard(item.part)
        self.tally.bytes_done += recording.size / about.parts
        if not left:
            del self._left[recording.id]
            troubles = tuple(self._part_troubles.pop(recording.id, ()))
            self._ready.append(Job((Item(recording, Step.FINISH, about=about, troubles=troubles),)))
