"""On a Ray cluster of several processes the data set is the one that this machine makes by itself."""

from __future__ import annotations

import importlib.util
import os

import pytest
from archive_world import FPS, analyse, files, wall
from clips import write_clip

from emotion_perception.archive.analysis import Settings
from emotion_perception.archive.campaign import Campaign, made_by
from emotion_perception.archive.jobs import Task
from emotion_perception.archive.recordings import find_recordings
from emotion_perception.archive.store import Store
from emotion_perception.archive.workers import RayWorkers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (pip install ray)"),
]


def test_a_cluster_makes_the_same_data_set_as_this_process(tmp_path, film):
    empty = write_clip(tmp_path / "empty.mp4", wall(1), fps=FPS)
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    paths = [str(film), str(empty), str(tmp_path / "broken.mp4")]
    config = Settings(part_s=4.0)
    store = Store(tmp_path / "ray")
    # Worker processes find the package where this one does.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")]))
    try:
        workers = RayWorkers(Task(str(store.folder), config, "UTC"), "", 2)
    except ConnectionError as error:
        pytest.skip(f"this machine is too busy: Ray gives its processes 15 s to start, and they did not ({error})")
    most = 0

    def watch(tally) -> None:
        nonlocal most
        most = max(most, len(workers._running))

    try:
        with store.locked():
            store.claim(made_by(config))
            tally = Campaign(store, find_recordings(paths).recordings, workers, progress=watch).run()
    finally:
        workers.close()
    here, _ = analyse(tmp_path / "here", *paths, part_s=4.0)
    assert (tally.done, tally.troubles) == (here.done, here.troubles) and here.done == 2
    ours, theirs = files(tmp_path / "here"), files(tmp_path / "ray")
    assert len(ours) == 4 + 4 + 3  # parts, arcs with their pages, markers
    assert ours == theirs
    assert most <= 4  # two jobs a processor, however many there are
