"""Run the steps of the Dockerfile in Debian chroots, where there is no Docker: ``scripts/dockerfile_in_chroot.py DIR``.

Needs root and debootstrap. DIR gets one folder per stage (about 4 GB in all). FROM makes a Debian root, COPY copies the
tracked files, RUN runs in a chroot as the USER in force. Afterwards the image is used: its entry point recognizes the
built-in clip, then starts the graph with this clip, until the health check reports that states arrive. The Docker
engine, its layers and its isolation are not tested.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from chroots import make_root, require, run_in

ROOT = Path(__file__).resolve().parents[1]
CLIP = "/opt/emotion_perception/.venv/share/emotion_perception/demo_clip.mp4"
# As Docker does: the health check runs while the main process does.
DEMO = """
"$@" emotion-bringup --source {clip} --loop >/tmp/graph.log 2>&1 &
graph=$!
for attempt in 1 2 3; do
    if {health}; then healthy=yes; break; fi
done
kill "$graph"; wait "$graph" || true
[ "${{healthy:-}}" ] || {{ cat /tmp/graph.log; exit 1; }}
if {health}; then echo "healthy without a graph"; exit 1; fi
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile; continued lines are joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


def words(arguments: str) -> list[str]:
    """The words of an instruction's JSON form, ``["a", "b"]``."""
    return re.findall(r'"([^"]+)"', arguments)


def copy(arguments: str, stages: dict[str, Path], into: Path) -> None:
    """COPY, of the checkout's tracked files or of another stage."""
    source, target = arguments.split()[-2:]
    place = into / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if stage := re.search(r"--from=(\S+)", arguments):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(stages[stage[1]] / source.lstrip("/"), place, symlinks=True)
        return
    if source != ".":
        raise ValueError(f"COPY {arguments}: only the whole checkout can be copied")
    subprocess.run(["git", "checkout-index", "--all", "--force", f"--prefix={place}/"], cwd=ROOT, check=True)
    for pattern in (ROOT / ".dockerignore").read_text().split():
        for ignored in place.glob(pattern):
            shutil.rmtree(ignored) if ignored.is_dir() else ignored.unlink()


def build(folder: Path, suite: str) -> tuple[Path, str, str, dict[str, list[str]]]:
    """Run all steps; returns the last stage's root folder, user, current folder, and the commands that it names."""
    stages: dict[str, Path] = {}
    stage, user, place = folder, "root", "/"
    commands: dict[str, list[str]] = {}
    make_root(folder / "base", suite)
    for step, arguments in instructions((ROOT / "Dockerfile").read_text()):
        print(f"== {step} {arguments}", flush=True)
        if step == "FROM":
            name = arguments.partition(" AS ")[2] or "final"
            stage, user, place = folder / name, "root", "/"
            stages[name] = stage
            if not stage.exists():
                subprocess.run(["cp", "--archive", str(folder / "base"), str(stage)], check=True)
        elif step == "RUN":
            run_in(stage, ["sh", "-ec", arguments], user, place)
        elif step == "COPY":
            copy(arguments, stages, stage)
        elif step == "WORKDIR":
            place = arguments
        elif step == "USER":
            user = arguments
        elif step in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
            commands[step] = words(arguments)
        elif step != "ARG":
            raise ValueError(f"{step}: this instruction is not handled here")
    return stage, user, place, commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the stages are made; those that exist are continued")
    parser.add_argument("--suite", default="bookworm", help="Debian release in place of the base image [%(default)s]")
    options = parser.parse_args()
    require("debootstrap")
    stage, user, place, commands = build(options.folder.resolve(), options.suite)
    entry = commands["ENTRYPOINT"]
    run_in(stage, [*entry, "sh", "-c", "id; du -sm /opt/emotion_perception"], user, place)
    run_in(stage, [*entry, "emotion-recognize", CLIP], user, place)
    demo = DEMO.format(clip=CLIP, health=shlex.join(commands["HEALTHCHECK"]))
    run_in(stage, ["sh", "-ec", demo, "sh", *entry], user, place)


if __name__ == "__main__":
    sys.exit(main())
