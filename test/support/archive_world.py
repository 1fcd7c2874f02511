"""Recordings that the tests make, and data sets of them, made in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import dataset
from skimage import data

from emotion_perception.acoustic.ring_buffer import resample
from emotion_perception.archive.analysis import Settings
from emotion_perception.archive.campaign import Campaign, Tally, made_by
from emotion_perception.archive.jobs import Job, JobResult, Task, run_job
from emotion_perception.archive.recordings import find_recordings
from emotion_perception.archive.store import Store
from emotion_perception.archive.workers import Lost
from emotion_perception.media.files import read_audio
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media

HIVE = dataset.partitioning(pa.schema([("recording", pa.string())]), flavor="hive")
CREMAD = Path(__file__).resolve().parents[3] / "shared" / "data" / "cremad_clips"
FPS = 10
SIZE = (240, 320)  # height and width, px: small, so that tests are quick


def portrait(seconds: float, shift: int = 0) -> list[np.ndarray]:
    """A smiling woman who sways, BGR."""
    picture = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    frames = []
    for i in range(round(seconds * FPS)):
        left = 60 + shift + round(6 * np.sin(i / 5))
        frames.append(np.ascontiguousarray(picture[0 : SIZE[0], left : left + SIZE[1]]))
    return frames


def wall(seconds: float, level: int = 60) -> list[np.ndarray]:
    """Nobody, before a wall of some grey."""
    return [np.full((*SIZE, 3), level, np.uint8)] * round(seconds * FPS)


def actor(name: str) -> list[np.ndarray]:
    """The pictures, about 30 a second, of one of CREMA-D's clips of actor 1001."""
    with open_media(CREMAD / f"1001_DFA_{name}_XX.flv") as media:
        return [item.image for item in media.read() if isinstance(item, MediaFrame)]


def mono(path: Path) -> np.ndarray:
    """A file's sound, ``(T,)`` int16 at 16 kHz."""
    return (np.clip(resample(*read_audio(path)), -1, 1) * 32767).astype(np.int16)


class Here:
    """Workers that are this process: nothing is started. ``lose`` says which jobs are lost."""

    def __init__(self, task: Task, lose: Callable[[Job], bool]) -> None:
        self.task, self.lose = task, lose
        self.jobs: list[Job] = []
        self._job: Job | None = None

    @property
    def room(self) -> bool:
        return self._job is None

    @property
    def busy(self) -> bool:
        return self._job is not None

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self._job = job

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        job, self._job = self._job, None
        assert job is not None
        return [(job, Lost("it died") if self.lose(job) else run_job(self.task, job))]

    def close(self) -> None:
        pass


def analyse(
    out: Path, *paths: Path, retry: bool = False, lose: Callable[[Job], bool] = lambda job: False, **settings: Any
) -> tuple[Tally, Here]:
    """A data set of some recordings."""
    config = Settings(**settings)
    store = Store(out)
    workers = Here(Task(str(out), config, "UTC"), lose)
    with store.locked():
        store.claim(made_by(config))
        recordings = find_recordings([str(path) for path in paths]).recordings
        return Campaign(store, recordings, workers, retry).run(), workers


def rows(out: Path, **wanted: Any) -> list[dict[str, Any]]:
    """The data set's rows in the order of recordings and time, those with the wanted values."""
    table = dataset.dataset(out / "segments", format="parquet", partitioning=HIVE).to_table().to_pylist()
    found = [row for row in table if all(row[name] == value for name, value in wanted.items())]
    return sorted(found, key=lambda row: (row["path"], row["start_s"], row["kind"], row["subject"] or ""))


def marker(out: Path, path: Path) -> dict[str, Any]:
    """What the data set says of a recording."""
    (told,) = [told for told in Store(out).markers() if told["path"] == str(path)]
    return told


def files(out: Path) -> dict[str, bytes]:
    """What the data set holds of parts, arcs and markers, by name."""
    found = [*out.glob("segments/**/*.parquet"), *out.glob("arcs/**/arc.*"), *out.glob("recordings/*.json")]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}
