"""The Dockerfile names what is there: paths, the install profile, Debian's packages, a user. Nothing is built here."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ros_fixtures import domain, ros  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
HOME = "/opt/emotion_perception"
MADE_BY_SETUP = (".venv", "install", "build")


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The Dockerfile as the chroot script reads it."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from dockerfile_in_chroot import instructions
    finally:
        sys.path.pop(0)
    return instructions((ROOT / "Dockerfile").read_text())


def stage(steps: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    """The steps after the FROM of a stage, -1 the last."""
    starts = [i for i, (step, _) in enumerate(steps) if step == "FROM"] + [len(steps)]
    number %= len(starts) - 1
    return steps[starts[number] + 1 : starts[number + 1]]


def installed(steps: list[tuple[str, str]]) -> set[str]:
    """Debian packages that the steps install."""
    lists = re.findall(r"apt-get install((?: -\S+)*)((?: [a-z0-9.+-]+)+)", " ".join(text for _, text in steps))
    return {name for _, names in lists for name in names.split()}


def test_every_path_is_there_and_the_entry_point_is_executable(steps):
    text = " ".join(arguments for _, arguments in steps)
    named = set(re.findall(rf"{HOME}/([\w./-]+)", text)) | set(re.findall(r"\b(scripts/[\w.-]+)", text))
    assert {"docker/entrypoint.sh", "docker/health.py", "scripts/setup.sh"} <= named
    for name in named:
        assert (ROOT / name).is_file() or name.startswith(MADE_BY_SETUP), name
    assert (ROOT / "docker/entrypoint.sh").stat().st_mode & 0o111 == 0o111
    assert HOME in (ROOT / "docker/entrypoint.sh").read_text()


def test_profile_is_robot_and_a_command_is_installed(steps):
    assert [line for _, line in steps if "setup.sh" in line and "scripts/setup.sh robot" in line]
    (command,) = (arguments for step, arguments in stage(steps, -1) if step == "CMD")
    assert f'"{command.strip("[]").strip(chr(34))} = ' in (ROOT / "setup.py").read_text()


def test_image_runs_as_a_user_that_it_makes(steps):
    last = stage(steps, -1)
    (user,) = (arguments for step, arguments in last if step == "USER")
    assert user not in ("root", "0")
    assert re.search(rf"useradd .*\b{user}\b", " ".join(arguments for step, arguments in last if step == "RUN"))
    after = [step for step, _ in last[[step for step, _ in last].index("USER") :]]
    assert "RUN" not in after
    assert {"HEALTHCHECK", "ENTRYPOINT", "CMD"} <= set(after)


def test_every_debian_package_that_setup_asks_for_is_installed(steps):
    script = (ROOT / "scripts/setup.sh").read_text()
    asked = set(re.findall(r'\black "[^"]*" ([a-z][a-z0-9.+-]+)', script)) | {"libportaudio2"}
    assert {"cmake", "libgl1", "python3-venv"} <= asked
    assert asked - {"lack"} <= installed(stage(steps, 0))
    assert {name for name in asked if name.startswith("lib")} | {"python3"} <= installed(stage(steps, -1))


def test_what_is_ignored_is_not_needed_by_the_set_up():
    patterns = (ROOT / ".dockerignore").read_text().split()
    needed = subprocess.run(
        ["git", "ls-files", "emotion_*", "scripts", "requirements", "launch", "config", "models", "docker", "*.xml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(needed) > 100
    for name in (*needed, "setup.py", "setup.cfg", "resource", "colcon_defaults.yaml"):
        assert not any(fnmatch.fnmatch(name.split("/")[0], pattern) for pattern in patterns), name


@pytest.mark.parametrize(("topic", "code"), [("/robot1/emotion_state", 0), (None, 1)])
def test_health_check_succeeds_while_states_arrive(ros, topic, code):  # noqa: F811
    from emotion_msgs.msg import EmotionState

    if topic:
        publisher = ros.node.create_publisher(EmotionState, topic, 1)
        ros.node.create_timer(0.1, lambda: publisher.publish(EmotionState()))
    check = subprocess.Popen(
        [sys.executable, str(ROOT / "docker/health.py"), "20" if topic else "1"], stdout=subprocess.PIPE, text=True
    )
    ros.until(lambda: check.poll() is not None, 60)
    assert check.returncode == code
    assert (check.communicate()[0] == "healthy\n") is (code == 0)
