"""A copy of the package in which changes of a page can be tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from markdown_page import ROOT, CodeBlock

PARTS = ("emotion_perception", "emotion_msgs", "models", "config", "launch", "package.xml")


class PackageCopy:
    """Copies the package to ``folder``; its networks are links."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(
                    ROOT / part, folder / part, copy_function=_copy, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / part, folder / part)

    def apply(self, block: CodeBlock) -> None:
        """Apply a ``diff`` block. Only lines count: where a hunk belongs is found by its context.

        Raises:
            ValueError: a hunk's lines are not in the file, or more than once; names page line and file.
        """
        path, old, new, hunks = Path(), [], [], []
        for number, line in enumerate([*block.text.splitlines(), "@@"], start=block.line):
            if line.startswith(("@@", "--- ")):
                if old:
                    hunks.append((path, number, old, new))
                old, new = [], []
            elif line.startswith("+++ b/"):
                path = self.folder / line.removeprefix("+++ b/")
            else:
                old += [line[1:]] if line[:1] != "+" else []
                new += [line[1:]] if line[:1] != "-" else []
        for path, number, before, after in hunks:
            text = path.read_text()
            wanted = "\n" + "\n".join(before) + "\n"
            if text.count(wanted) != 1:
                raise ValueError(f"hunk before line {number} fits {text.count(wanted)} places of {path.name}: {wanted}")
            path.write_text(text.replace(wanted, "\n" + "\n".join(after) + "\n"))

    def run(self, code: str) -> str:
        """What a Python program prints that imports the copy.

        Raises:
            AssertionError: it failed; with its output.
        """
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _copy(source: str, target: str) -> None:
    if source.endswith((".onnx", ".safetensors")):
        os.symlink(source, target)
    else:
        shutil.copy(source, target)
