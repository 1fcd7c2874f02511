"""What runs with which install profile: a hidden package stands for one that is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emotion_perception.errors import PROFILE_OF_PACKAGE, explains_missing_packages, missing_package
from scripts.setup_helpers import requirement_names

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = {"sklearn": "scikit-learn", "vaderSentiment": "vadersentiment"}
HIDE = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""


def run_without(packages: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which the packages cannot be imported."""
    script = f"HIDDEN = {packages!r}\n{HIDE}\n{code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=110)


@pytest.mark.parametrize("package", sorted(PROFILE_OF_PACKAGE))
def test_the_profile_named_for_a_package_is_the_smallest_that_has_it(package):
    profiles = ["robot", "archive", "learn", "dev"]
    name = DISTRIBUTIONS.get(package, package)
    having = [p for p in profiles if name in requirement_names(ROOT / f"requirements/{p}.lock")]
    assert having[0] == PROFILE_OF_PACKAGE[package]


def test_robot_imports_nothing_of_a_larger_profile():
    hidden = {*PROFILE_OF_PACKAGE, "pandas", "tensorflow", "networkx", "skimage"}
    done = run_without(
        hidden,
        """
import importlib, pkgutil
import numpy as np
from emotion_perception import bringup, dashboard, nodes, ros
from emotion_perception.dashboard import routes
for package in (nodes, bringup, dashboard, routes, ros):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
from emotion_perception.acoustic.noise import NoiseReducer
from emotion_perception.behaviours import emotion_tree
from emotion_perception.cli import bench, calibrate, recognize
from emotion_perception.recognition import Recognizer
from emotion_perception.reports import html, pdf
from emotion_perception.reports.document import Document
NoiseReducer()(np.zeros(16000, np.float32), np.zeros(8000, np.float32))
""",
    )
    assert done.returncode == 0, done.stderr


def test_robot_writes_a_pdf_without_matplotlib():
    done = run_without(
        {"matplotlib"},
        """
from emotion_perception.reports.document import Document, Paragraph
from emotion_perception.reports.pdf import render_pdf
document = Document("report", "Title", "subtitle", (Paragraph("Ελληνικά, кириллица"),))
assert render_pdf(document).startswith(b"%PDF")
""",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("hidden", "command", "arguments", "profile"),
    [
        ("torch", "train", ["visual", "--data", "."], "learn"),
        ("matplotlib", "evaluate", ["visual", "--data", ".", "--out", "out"], "learn"),
        ("pyarrow", "archive", ["report", "."], "archive"),
        ("duckdb", "archive", ["report", "."], "archive"),
    ],
)
def test_command_names_the_profile_it_needs_in_one_line(hidden, command, arguments, profile):
    code = f"from emotion_perception.cli.{command} import main; sys.exit(main({arguments!r}))"
    done = run_without({hidden}, code)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("emotion-")
    assert f"needs the package {hidden} of the install profile {profile}" in line
    assert f"scripts/setup.sh {profile}" in line


def test_a_missing_module_of_ours_is_not_explained_away():
    @explains_missing_packages
    def main(argv):
        raise ModuleNotFoundError("No module named 'emotion_perception.nowhere'", name="emotion_perception.nowhere")

    with pytest.raises(ModuleNotFoundError):
        main()


def test_an_unknown_package_is_named():
    assert missing_package(ModuleNotFoundError("x", name="foo.bar")) == "needs the package foo, which is not installed"
