"""Examples of docstrings and pages run as they are printed.

A Python block of a page runs if its fence says ``run`` (as in ``python run``). A block with ``file=NAME`` is written to
that file first. Blocks of a page share one namespace and run in their order, in a folder with the sample files below.
"""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import cv2
import pytest
from markdown_page import ROOT, CodeBlock, MarkdownPage, all_pages

from emotion_perception.messages import audio
from emotion_perception.resources import demo_clip_path

PAGES = [page for page in all_pages() if any("run" in block.words for block in page.blocks)]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "emotion_perception").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.fixture
def sample_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that examples name: ``talk.mp4`` and ``portrait.jpg``."""
    (tmp_path / "talk.mp4").symlink_to(demo_clip_path())
    clip = cv2.VideoCapture(str(demo_clip_path()))
    found, image = clip.read()
    clip.release()
    assert found
    cv2.imwrite(str(tmp_path / "portrait.jpg"), image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(page: MarkdownPage, block: CodeBlock, names: dict[str, Any]) -> None:
    """Execute a block; a traceback names line and page."""
    code = "\n" * (block.line - 1) + block.text
    exec(compile(code, str(page.path), "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_of_the_page_run(page: MarkdownPage, sample_files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audio, "DIALECTS", dict(audio.DIALECTS))  # an example may add to it
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in page.blocks:
        if block.file:
            (sample_files / block.file).write_text(block.text)
        elif "run" in block.words:
            run_block(page, block, names)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str, sample_files: Path):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failures, tried = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert tried > 0 and failures == 0


def test_the_readme_has_an_example_that_runs():
    assert "README.md" in {page.name for page in PAGES}
