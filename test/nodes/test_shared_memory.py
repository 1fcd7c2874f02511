"""Shared memory of Fast DDS: private while the graph runs, and removed once its process is gone."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import in_time
from node_world import children

from emotion_perception.ros.distributions import set_fast_dds_profile
from emotion_perception.ros.shared_memory import _LOCK_NAME as LOCK_NAME
from emotion_perception.ros.shared_memory import SHARED_MEMORY, remove_orphaned_segments, tidy_shared_memory

ROOT = Path(__file__).parents[2]
NAME = "fastrtps_0123456789abcdef"
PATIENCE = 30.0  # s


def make_segment(folder: Path, age: float = 60.0, name: str = NAME) -> Path:
    """A segment and its lock file, as a process that was killed leaves them."""
    segment, lock = folder / name, folder / f"{name}_el"
    for path in (segment, lock):
        path.write_bytes(b"")
        os.utime(path, (time.time() - age,) * 2)
    return segment


def test_the_profile_with_space_for_images_reaches_old_and_new_fast_dds_unless_one_is_chosen():
    environment = {"FASTDDS_DEFAULT_PROFILES_FILE": "/my.xml"}
    set_fast_dds_profile(environment)
    assert environment["FASTDDS_DEFAULT_PROFILES_FILE"] == "/my.xml"
    assert "<segment_size>" in Path(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).read_text()


def test_a_segment_whose_process_is_gone_is_removed_with_its_lock(tmp_path: Path):
    make_segment(tmp_path)
    assert remove_orphaned_segments(tmp_path) == [NAME]
    assert list(tmp_path.iterdir()) == []


def test_a_segment_whose_process_lives_is_kept(tmp_path: Path):
    segment = make_segment(tmp_path)
    with (tmp_path / f"{NAME}_el").open() as held:  # another open file description: as good as another process
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove_orphaned_segments(tmp_path) == []
    assert segment.exists()


def test_a_segment_that_is_just_being_made_is_kept(tmp_path: Path):
    segment = make_segment(tmp_path, age=1.0)
    assert remove_orphaned_segments(tmp_path) == []
    assert segment.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_another_users_segment_is_kept(tmp_path: Path):
    segment = make_segment(tmp_path)
    os.chown(tmp_path / f"{NAME}_el", 12345, 12345)
    assert remove_orphaned_segments(tmp_path) == []
    assert segment.exists()


def test_other_files_and_links_are_kept(tmp_path: Path):
    shared = tmp_path / "shm"
    shared.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (shared / f"{NAME}_el").symlink_to(victim)
    for name in ("fastrtps_port7411", "fastrtps_port7411_el", "sem.fastrtps_port7411_mutex", "notes_el"):
        (shared / name).write_bytes(b"")
    names = sorted(path.name for path in shared.iterdir())
    assert remove_orphaned_segments(shared, min_age=0.0) == []
    assert sorted(path.name for path in shared.iterdir()) == names
    assert victim.read_text() == "kept"


def test_old_port_files_become_private_unless_they_are_meant_to_be_shared(tmp_path: Path):
    for name, mode in (
        ("fastrtps_port7411", 0o644),
        ("sem.fastrtps_port7411_mutex", 0o644),
        ("fastdds_port7413", 0o666),
    ):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).chmod(mode)
    (tmp_path / "psm_port").write_bytes(b"")
    (tmp_path / "psm_port").chmod(0o644)
    tidy_shared_memory(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {
        "fastrtps_port7411": 0o600,
        "sem.fastrtps_port7411_mutex": 0o600,
        "fastdds_port7413": 0o666,
        "psm_port": 0o644,
    }


def test_no_shared_memory_at_all_is_no_error(tmp_path: Path):
    tidy_shared_memory(tmp_path / "none")
    assert remove_orphaned_segments(tmp_path / "none") == []


# --- with real processes

PARTICIPANT = """
import os, pathlib, sys, time
{prepare}
import rclpy
rclpy.init()
node = rclpy.create_node("camera")
locks = [os.path.realpath(fd) for fd in pathlib.Path("/proc/self/fd").iterdir()]
owned = [lock[:-3] for lock in locks if "/fastrtps_" in lock and "port" not in lock and lock.endswith("_el")]
print(*(oct(os.stat(path).st_mode & 0o777) for path in owned))
rclpy.try_shutdown()
"""


def modes_of_a_participant(*launcher: str, prepare: str = "") -> set[str]:
    """The modes of the shared memory of a small ROS process with the usual umask."""
    command = [*launcher, sys.executable, "-c", PARTICIPANT.format(prepare=prepare)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, umask=0o022, check=True)
    return set(done.stdout.split())


def test_fast_dds_ignores_the_umask_which_is_why_there_is_a_filter():
    assert "0o644" in modes_of_a_participant(prepare="os.umask(0o077)")


def test_a_foreign_camera_driver_that_is_run_privately_has_private_shared_memory():
    launcher = (sys.executable, "-m", "emotion_perception.ros.private_files")
    assert modes_of_a_participant(*launcher) == {"0o600"}


PRIVATE = """
import os, pathlib, sys
from emotion_perception.ros.private_files import make_new_files_private
assert make_new_files_private() and make_new_files_private()
path = pathlib.Path(sys.argv[1])
path.write_text("x")
with path.open() as file:
    os.fchmod(file.fileno(), 0o644)
print(oct(path.stat().st_mode & 0o777))
with path.open() as file:
    os.fchmod(file.fileno(), 0o400)
print(oct(path.stat().st_mode & 0o777))
path.chmod(0o644)
print(oct(path.stat().st_mode & 0o777))
print(open("/proc/self/status").read().split("Seccomp_filters:")[1].split()[0])
"""


def test_only_a_widening_of_open_files_is_ignored(tmp_path: Path):
    command = [sys.executable, "-c", PRIVATE, str(tmp_path / "file")]
    before = int(Path("/proc/self/status").read_text().split("Seccomp_filters:")[1].split()[0])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0o600", "0o400", "0o644", str(before + 1)]


def test_a_command_that_does_not_exist_is_named():
    command = [sys.executable, "-m", "emotion_perception.ros.private_files", "/no/such/driver"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 127
    assert "/no/such/driver" in done.stderr


def created_by(pids: set[int]) -> set[Path]:
    """The shared-memory files that these processes own: those whose lock they hold, lock files included."""
    found: set[Path] = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            lock = Path(os.path.realpath(descriptor))
            if lock.parent != SHARED_MEMORY or not re.fullmatch(r"fast\w+_[es]l", lock.name):
                continue
            # Fast DDS also opens the lock files of others for a moment, to see whether they are alive.
            if "FLOCK" in Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text():
                owned = lock.name[:-3]
                found |= {lock, SHARED_MEMORY / owned, SHARED_MEMORY / f"sem.{owned}_mutex"}
    return {path for path in found if path.exists()}


def segments_of(pids: set[int]) -> set[str]:
    """Names of the segments whose lock these processes hold."""
    return {path.name.removesuffix("_el") for path in created_by(pids) if LOCK_NAME.fullmatch(path.name)}


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen]:
    """``emotion-bringup`` on an image, started with the usual umask."""
    import cv2
    import numpy as np

    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 127, np.uint8))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    command = [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(picture)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, umask=0o022)
    yield process
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def running(graph: subprocess.Popen) -> dict[str, int]:
    """The nodes of a graph that have a segment."""
    return {name: pid for name, pid in children(graph).items() if _has_segment(pid)}


def _has_segment(pid: int) -> bool:
    try:
        return bool(segments_of({pid}))
    except OSError:  # it ended meanwhile, or closed the file
        return False


@pytest.mark.timeout(200)
def test_nobody_else_can_read_the_images_and_logs_of_a_running_graph(graph: subprocess.Popen, tmp_path: Path):
    assert in_time(lambda: len(running(graph)) == 5, PATIENCE)
    files = created_by(set(running(graph).values()))
    for kind in ("fastrtps_[0-9a-f]{16}", "fastrtps_port.*", "sem.*"):
        assert len([path for path in files if re.fullmatch(kind, path.name)]) >= 5, kind
    logs = [path for path in (tmp_path / "log").rglob("*.log")]
    assert len(logs) >= 5
    readable = [path for path in (*files, *logs, tmp_path / "log") if path.stat().st_mode & 0o077]
    assert [oct(p.stat().st_mode)[-3:] + " " + p.name for p in readable] == []


@pytest.mark.timeout(300)
def test_a_killed_node_leaves_no_segment_behind(graph: subprocess.Popen):
    assert in_time(lambda: len(running(graph)) == 5, PATIENCE)
    time.sleep(6.0)  # a younger segment is never removed, and by then each process has made all of its own
    before = segments_of(set(running(graph).values()))
    dead = running(graph)["overlay_node"]
    left_behind = segments_of({dead})
    os.kill(dead, signal.SIGKILL)
    assert in_time(lambda: running(graph).get("overlay_node", dead) != dead, PATIENCE), "it is restarted"
    for name in left_behind:
        assert not (SHARED_MEMORY / name).exists()
        assert not (SHARED_MEMORY / f"{name}_el").exists()
    others = before - left_behind
    assert others <= segments_of(set(running(graph).values())), "the living keep theirs"

    def as_many_as_before() -> bool:
        return len(segments_of(set(running(graph).values()))) == len(before)

    assert in_time(as_many_as_before, PATIENCE), "the new process has as many as the one before it"


@pytest.mark.timeout(300)
def test_a_whole_graph_that_is_killed_is_cleaned_up_by_the_next_one(graph: subprocess.Popen):
    assert in_time(lambda: len(running(graph)) == 5, PATIENCE)
    time.sleep(6.0)
    pids = set(running(graph).values())
    left_behind = segments_of(pids)
    for pid in (graph.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    graph.wait(5)
    assert any((SHARED_MEMORY / name).exists() for name in left_behind), "a kill leaves the segments"

    def gone() -> bool:
        remove_orphaned_segments()
        return not any((SHARED_MEMORY / name).exists() for name in left_behind)

    assert in_time(gone, 10.0), "once the kernel has ended the processes"
