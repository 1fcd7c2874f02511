"""Builds message packages for a test: those that a robot may have and a development machine has not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VENV = Path(sys.prefix)

PACKAGE_XML = """<package format="3">
  <name>{name}</name><version>2.0.0</version><description>For a test.</description>
  <maintainer email="test@example.com">test</maintainer><license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend><buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>std_msgs</depend><member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""
CMAKE = """cmake_minimum_required(VERSION 3.8)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces(${{PROJECT_NAME}} {files} DEPENDENCIES std_msgs)
ament_package()
"""


def why_not() -> str:
    """What this machine lacks for a build; empty if nothing."""
    if not (VENV / "share" / "rosidl_default_generators").is_dir():
        return "message generators are not in this Python environment"
    lacking = [tool for tool in ("cmake", "c++", "make") if shutil.which(tool) is None]
    return f"cannot build messages here: no {', '.join(lacking)}" if lacking else ""


def build(workspace: Path, packages: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Build message packages, ``{package: {message: definition}}``; the environment in which they can be imported.

    Raises:
        subprocess.CalledProcessError: the build failed; its output is in ``stdout``.
    """
    for name, messages in packages.items():
        folder = workspace / "src" / name
        (folder / "msg").mkdir(parents=True)
        for message, definition in messages.items():
            (folder / "msg" / f"{message}.msg").write_text(definition)
        files = " ".join(f'"msg/{message}.msg"' for message in messages)
        (folder / "package.xml").write_text(PACKAGE_XML.format(name=name))
        (folder / "CMakeLists.txt").write_text(CMAKE.format(name=name, files=files))
    environment = dict(os.environ, AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV))
    for name in ("COLCON_DEFAULTS_FILE", "COLCON_PREFIX_PATH", "PYTHONPATH"):
        environment.pop(name, None)
    python = VENV / "bin" / "python"
    arguments = [f"-DPython3_EXECUTABLE={python}", "-DBUILD_TESTING=OFF"]
    subprocess.run(
        [python, "-m", "colcon", "build", "--merge-install", "--cmake-args", *arguments],
        cwd=workspace,
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    installed = workspace / "install"
    found = {
        "AMENT_PREFIX_PATH": [installed],
        "LD_LIBRARY_PATH": [installed / "lib"],
        "PYTHONPATH": list(installed.glob("lib/python3*/site-packages")),
    }
    made = dict(os.environ)
    for name, paths in found.items():
        made[name] = os.pathsep.join([*map(str, paths), *filter(None, [made.get(name)])])
    return made
