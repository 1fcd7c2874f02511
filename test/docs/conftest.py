"""What tests of the documentation share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from markdown_page import ROOT, CodeBlock, MarkdownPage
from stand_in_networks import FACE_NETWORKS, write_face_network

from emotion_perception.messages import audio
from emotion_perception.resources import demo_clip_path


@pytest.fixture
def sample_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that examples name: ``talk.mp4``, ``portrait.jpg`` and two networks."""
    (tmp_path / "talk.mp4").symlink_to(demo_clip_path())
    clip = cv2.VideoCapture(str(demo_clip_path()))
    found, image = clip.read()
    clip.release()
    assert found
    cv2.imwrite(str(tmp_path / "portrait.jpg"), image)
    for name in FACE_NETWORKS:
        write_face_network(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_page(sample_files: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the examples of a page, or of one of its sections, and returns the names that they define."""
    monkeypatch.setattr(audio, "DIALECTS", dict(audio.DIALECTS))  # an example may add to it

    def run(page: MarkdownPage | str, section: str = "") -> dict[str, Any]:
        page = MarkdownPage(ROOT / page) if isinstance(page, str) else page
        names: dict[str, Any] = {"__name__": "__main__"}
        for block in page.section_blocks(section) if section else page.blocks:
            if block.file:
                (sample_files / block.file).write_text(block.text)
            elif "run" in block.words:
                _run_block(page, block, names)
        return names

    return run


def _run_block(page: MarkdownPage, block: CodeBlock, names: dict[str, Any]) -> None:
    """Execute a block; a traceback names line and page."""
    code = "\n" * (block.line - 1) + block.text
    exec(compile(code, str(page.path), "exec", dont_inherit=True), names)
