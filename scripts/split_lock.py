"""Cut the lock files of the install profiles out of requirements/dev.lock; record which wheels robot's packages have.

Part of ``scripts/lock.sh``. dev.lock is the one resolution; its ``# via`` comments say which package asks for which, so
a profile is the closure of its own requirements. No network.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import tomllib

# Files that each profile's packages are asked for in. A profile contains those before it; core is robot without ROS 2.
PROFILES = {
    "core": ("robot.in",),
    "robot": ("ros.in", "robot.in"),
    "archive": ("ros.in", "robot.in", "archive.in"),
    "learn": ("ros.in", "robot.in", "archive.in", "learn.in"),
}
# A dependency that no code of ours reaches: silero-vad's own code runs on torch (its weights are read with OpenVINO),
# noisereduce plots with matplotlib. A profile whose own requirements name one has it.
UNREACHED = {"torch", "matplotlib"}
HEADER = "# Profile {profile}, a part of dev.lock. Written by scripts/lock.sh; change the .in files instead.\n"


@dataclass(frozen=True)
class Locked:
    """One line of a lock file: a package in one version, under a marker."""

    name: str
    line: str
    via: frozenset[str]  # packages that ask for it, and files as "robot.in"


def read_lock(text: str) -> list[Locked]:
    """Entries of a lock file with ``# via`` comments, in its order."""
    entries: list[Locked] = []
    for block in re.split(r"\n(?=[a-zA-Z0-9])", text):
        line, *comments = block.strip().splitlines() or [""]
        if not line or line.startswith("#"):
            continue
        via = {re.sub(r"^\s*#\s*(via)?\s*(-r\s+)?(--override\s+)?", "", comment).strip() for comment in comments}
        entries.append(Locked(re.split(r"==", line)[0], line, frozenset(via - {""})))
    return entries


def profile_names(entries: list[Locked], profile: str) -> set[str]:
    """Names of a profile's packages: what its files ask for, and what those need."""
    files = set(PROFILES[profile])
    names = {entry.name for entry in entries if entry.via & files}
    unreached = UNREACHED - names
    while more := {entry.name for entry in entries if entry.via & names} - names - unreached:
        names |= more
    return names


def wheel_lines(pylock: Path) -> list[str]:
    """What a ``pylock.toml`` has wheels for on Linux: "name==version any", or one line per machine and tags.

    A line with a machine lists Pythons as "3.11", and "3.9+" for a stable ABI.
    """
    lines: list[str] = []
    for package in tomllib.loads(pylock.read_text())["packages"]:
        pythons: dict[str, set[str]] = {}
        for wheel in package.get("wheels", []):
            *_, python, abi, platform = wheel["url"].rsplit("/", 1)[-1].removesuffix(".whl").split("-")
            machine = re.search(r"^any$|manylinux.*_(x86_64|aarch64)$", platform)
            if machine is None or abi.endswith("t"):  # free-threaded builds end in t
                continue
            of_machine = pythons.setdefault(machine[1] or "any", set())
            if "py3" in python:
                of_machine.add("3.0+")
            elif version := re.fullmatch(r"cp3(\d+)", python):
                of_machine.add(f"3.{version[1]}" + ("+" if abi == "abi3" else ""))
        name = f"{package['name']}=={package['version']}"
        lines += [f"{name} {machine} {' '.join(sorted(found))}" for machine, found in sorted(pythons.items())]
        if not pythons:
            lines.append(f"{name} none")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of dev.lock: requirements")
    parser.add_argument("--wheels-of", type=Path, help="robot's pylock.toml; writes wheels.txt")
    arguments = parser.parse_args()
    if arguments.wheels_of:
        (arguments.folder / "wheels.txt").write_text("\n".join(wheel_lines(arguments.wheels_of)) + "\n")
        return
    entries = read_lock((arguments.folder / "dev.lock").read_text())
    for profile in PROFILES:
        names = profile_names(entries, profile)
        lines = [entry.line for entry in entries if entry.name in names and "'never'" not in entry.line]
        (arguments.folder / f"{profile}.lock").write_text(HEADER.format(profile=profile) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
