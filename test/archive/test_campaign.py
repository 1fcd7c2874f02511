"""A run over an archive: finished work is not repeated, failures are reported, a killed process loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from archive_world import FPS, analyse, files, marker, portrait, rows, wall
from clips import write_clip

from emotion_perception.archive.analysis import Settings
from emotion_perception.archive.campaign import TRIES
from emotion_perception.archive.jobs import Item, Job, JobResult, Step, Task
from emotion_perception.archive.recordings import find_recordings
from emotion_perception.archive.store import ArchiveError, Store
from emotion_perception.archive.workers import LocalWorkers, Lost
from emotion_perception.cli import archive as cli
from emotion_perception.dashboard.archive_source import ArchiveSource
from emotion_perception.errors import ModelError
from emotion_perception.interaction.hour_sums import COLUMNS


@pytest.fixture
def small(tmp_path) -> Path:
    """A film of two seconds."""
    return write_clip(tmp_path / "films" / "small.mp4", portrait(2), fps=FPS)


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "films").mkdir()


def test_the_dashboard_counts_a_recording_as_a_conversation_of_its_place(tmp_path, small):
    analyse(tmp_path / "out", small.parent)
    ((place, table),) = ArchiveSource(tmp_path / "out").places().items()
    ((hour, sums),) = table.hourly.items()
    assert place == "films" and sums[COLUMNS.index("conversations")] == 1
    assert sums[COLUMNS.index("duration")] == pytest.approx(2.0, abs=0.3)
    assert 0 <= small.stat().st_mtime - hour < 2 * 3600, "without any other time, that of the file"


def test_a_second_run_does_nothing_again_and_takes_what_is_new(tmp_path, small):
    first, _ = analyse(tmp_path / "out", small.parent)
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in files(tmp_path / "out")}
    write_clip(small.parent / "new.mp4", wall(1), fps=FPS)
    second, workers = analyse(tmp_path / "out", small.parent)
    assert (first.done, second.done, second.done_before) == (1, 1, 1)
    assert [Path(item.recording.path).name for job in workers.jobs for item in job.items] == ["new.mp4"]
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == stamp for name, stamp in before.items())


def test_a_recording_whose_part_is_there_but_not_its_marker_is_only_finished(tmp_path, small):
    first, _ = analyse(tmp_path / "out", small)
    before = files(tmp_path / "out")
    for path in (tmp_path / "out/recordings").iterdir():
        path.unlink()
    second, _ = analyse(tmp_path / "out", small)
    assert first.media_s == pytest.approx(2.0, abs=0.1) and second.media_s == 0.0 and second.done == 1
    assert files(tmp_path / "out") == before


def test_a_changed_file_takes_the_place_of_what_it_was(tmp_path, small):
    analyse(tmp_path / "out", small)
    write_clip(small, wall(1), fps=FPS)
    tally, _ = analyse(tmp_path / "out", small)
    assert tally.done == 1 and marker(tmp_path / "out", small)["faces"] == 0
    assert [row["kind"] for row in rows(tmp_path / "out")] == ["shot"]


def test_broken_files_are_reported_with_the_reason_and_the_rest_is_analysed(tmp_path, small):
    whole = small.read_bytes()
    (small.parent / "cut_short.mp4").write_bytes(whole[: len(whole) // 2])
    (small.parent / "text.mkv").write_text("this is no film")
    (small.parent / "empty.wav").touch()
    (small.parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    twice = [*portrait(3), *(image[:, ::-1] for image in portrait(3))]  # a large picture at the beginning of each half
    torn = write_clip(small.parent / "torn.mkv", twice, fps=FPS)
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size * 6 // 10])
    tally, _ = analyse(tmp_path / "out", small.parent)
    reported = {Path(path).name: reason for path, reason in tally.troubles.items()}
    assert set(reported) == {"cut_short.mp4", "text.mkv", "empty.wav", "broken.png", "torn.mkv"}
    assert reported["empty.wav"] == "the file is empty"
    assert reported["broken.png"].startswith("not an image that can be decoded")
    assert reported["text.mkv"].startswith("not a readable media file") and "readable" in reported["cut_short.mp4"]
    assert "ends after" in reported["torn.mkv"]
    assert marker(tmp_path / "out", torn)["status"] == "damaged"
    assert {row["path"] for row in rows(tmp_path / "out", kind="face")} == {str(small), str(torn)}
    again, workers = analyse(tmp_path / "out", small.parent)
    assert again.troubles == tally.troubles and workers.jobs == []


def test_what_failed_is_tried_again_where_that_is_asked(tmp_path, small):
    broken = small.with_name("broken.mp4")
    broken.write_bytes(b"nothing")
    os.utime(broken, ns=(0, 10**18))
    analyse(tmp_path / "out", broken)
    again, workers = analyse(tmp_path / "out", broken, retry=True)
    assert len(workers.jobs) == 1 and list(again.troubles) == [str(broken)]


def test_a_recording_whose_worker_dies_is_given_up_and_its_companions_are_done(tmp_path, small):
    deadly = small.with_name("deadly.mp4")
    deadly.write_bytes(small.read_bytes() + b"!")
    lost = []

    def lose(job: Job) -> bool:
        dies = any(item.recording.path == str(deadly) for item in job.items)
        lost.append(dies)
        return dies

    tally, _ = analyse(tmp_path / "out", small.parent, lose=lose)
    assert tally.done == 1 and sum(lost) == TRIES
    assert f"{TRIES} times" in tally.troubles[str(deadly)]
    assert marker(tmp_path / "out", deadly)["status"] == "failed"


def test_a_part_whose_worker_dies_leaves_the_other_parts(tmp_path, film):
    def lose(job: Job) -> bool:
        return any(item.step is Step.PART and item.part == 1 for item in job.items)

    tally, _ = analyse(tmp_path / "out", film, lose=lose, part_s=4.0)
    assert tally.done == 1 and "part 1" in tally.troubles[str(film)]
    assert marker(tmp_path / "out", film)["status"] == "damaged"
    assert [row["part"] for row in rows(tmp_path / "out", kind="shot")] == [0, 2]


def test_a_worker_that_died_once_costs_nothing(tmp_path, film):
    deaths = []

    def lose(job: Job) -> bool:
        if len(deaths) < TRIES - 1 and job.items[0].step is Step.PART:
            deaths.append(job)
            return True
        return False

    tally, _ = analyse(tmp_path / "out", film, lose=lose, part_s=4.0)
    assert len(deaths) == TRIES - 1 and tally.done == 1 and not tally.troubles


def test_rows_of_other_settings_are_not_mixed_in(tmp_path, small):
    analyse(tmp_path / "out", small)
    with pytest.raises(ArchiveError, match="pictures_per_second 5.0 there, 2.0 here"):
        analyse(tmp_path / "out", small, pictures_per_second=2.0)


def test_a_device_that_is_not_there_ends_the_run_and_is_named(tmp_path, small):
    with pytest.raises(ModelError, match=r"no device GPU\.7 here; there are .*CPU"):
        analyse(tmp_path / "out", small, device="GPU.7")


def test_two_runs_do_not_write_one_data_set(tmp_path):
    first, second = Store(tmp_path / "out").locked(), Store(tmp_path / "out").locked()
    with first, pytest.raises(ArchiveError, match="another emotion-archive"):
        second.__enter__()


def test_a_killed_process_is_replaced_and_its_job_comes_back_as_lost(tmp_path, small):
    (recording,) = find_recordings([str(small)]).recordings
    job = Job((Item(recording, Step.OPEN),))
    workers = LocalWorkers(Task(str(tmp_path / "out"), Settings()), 1)
    try:
        before = set(psutil.Process().children(recursive=True))
        workers.submit(job)
        assert workers.busy and not workers.room
        for child in set(psutil.Process().children(recursive=True)) - before:
            child.kill()
        ((lost, result),) = workers.finished()
        assert lost is job and isinstance(result, Lost) and workers.room
        workers.submit(job)
        ((done, result),) = workers.finished()
        assert done is job and isinstance(result, JobResult) and result.outcomes[0].finished
    finally:
        workers.close()


def test_a_run_that_is_killed_goes_on_with_nothing_lost_and_nothing_done_twice(tmp_path, film):
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, "-m", "emotion_perception.cli.archive", "analyse", str(film), "--out", str(out)]
    command += ["--part", "1", "--workers", "1", "--time-zone", "UTC"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE)
    try:
        limit = time.monotonic() + 100
        while len(list(out.glob("segments/*/part-*.parquet"))) < 3 and time.monotonic() < limit and run.poll() is None:
            time.sleep(0.02)
        worker = psutil.Process(run.pid).children(recursive=True)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    _, alive = psutil.wait_procs(worker, timeout=20)
    assert not alive  # nobody goes on without the one who was killed
    there = {path: path.stat().st_mtime_ns for path in out.glob("segments/*/part-*.parquet")}
    assert 3 <= len(there) < 12 and not list(out.glob("recordings/*.json"))
    tally, workers = analyse(out, film, part_s=1.0)
    analyse(whole, film, part_s=1.0)
    assert tally.done == 1 and not tally.troubles
    done = [item.part for job in workers.jobs for item in job.items if item.step is Step.PART]
    assert len(done) == 12 - len(there)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in there.items())
    assert files(out) == files(whole)


def test_the_command_line_tells_what_it_did_and_what_failed(tmp_path, small, capsys):
    (small.parent / "broken.mp4").write_bytes(b"nothing")
    out = tmp_path / "out"
    arguments = ["analyse", str(small.parent), str(tmp_path / "nowhere*"), "--out", str(out), "--workers", "1"]
    assert cli.main([*arguments, "--profile"]) == 1
    output = capsys.readouterr()
    assert "1 recordings analysed" in output.out
    assert f"{small.parent / 'broken.mp4'}: not a readable media file" in output.out
    assert "decode frames" in output.out and "nowhere*" in output.err
    assert json.loads((out / "archive.json").read_text())["pictures_per_second"] == 5.0
    assert cli.main([*arguments, "--fps", "3"]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_arguments_that_make_no_sense_are_refused(tmp_path, capsys):
    for arguments in (["--fps", "0"], ["--workers", "0"], ["--part", "-1"], ["--time-zone", "Mars/Base"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["analyse", str(tmp_path), "--out", str(tmp_path / "out"), *arguments])
        assert stop.value.code == 2 and arguments[0] in capsys.readouterr().err
    assert cli.main(["analyse", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert cli.main(["report", str(tmp_path)]) == 2
