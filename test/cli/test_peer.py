"""``emotion-bench --peer``: the package fer on the same images; here a stand-in for it in a made-up environment."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from emotion_perception.cli import bench, bench_peer

STAND_IN = """
import time
class Network:
    input_shape = (None, 64, 64, 1)
class FER:
    def __init__(self, cascade_file):
        self.__emotion_classifier = Network()
    def detect_emotions(self, frame):
        assert frame.shape == (480, 640, 3)
        time.sleep(0.02)
        return [{}]
    def _classify_emotions(self, faces):
        assert faces.shape == (1, 64, 64, 1) and -1 <= faces.min() and faces.max() <= 1
        time.sleep(0.01)
"""


def environment(folder: Path, path: Path | None = None) -> Path:
    """A folder like a virtual environment, whose Python finds what lies in ``path``."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    found = "" if path is None else f"PYTHONPATH='{path}' "
    python.write_text(f'#!/bin/sh\n{found}exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder


@pytest.fixture
def images():
    return [np.zeros((480, 640, 3), np.uint8)] * 6, [np.full((48, 48), 200, np.uint8)] * 6


def test_peer_is_timed_on_the_same_images_and_compared(tmp_path, images):
    (tmp_path / "site/fer").mkdir(parents=True)
    (tmp_path / "site/fer/__init__.py").touch()
    (tmp_path / "site/fer/fer.py").write_text(STAND_IN)
    (tmp_path / "site/fer-25.10.0.dist-info").mkdir()
    (tmp_path / "site/fer-25.10.0.dist-info/METADATA").write_text("Name: fer\nVersion: 25.10.0\n")
    own = {"visual_ms_p50": 10.0, "classify_ms_per_face": 1.0}
    found = bench_peer.compare_with_peer(environment(tmp_path / "env", tmp_path / "site"), *images, own)
    assert found["peer"] == "fer 25.10.0" and found["peer_faces_found"] == 1
    assert found["peer_visual_ms_p50"] >= 20 and found["peer_classify_ms_per_face"] >= 10
    assert found["visual_to_peer"] == pytest.approx(10 / found["peer_visual_ms_p50"], rel=0.05)
    assert found["classify_to_peer"] == pytest.approx(1 / found["peer_classify_ms_per_face"], rel=0.05)


def test_an_environment_without_fer_is_named_with_the_remedy(tmp_path, images):
    reason = r"env cannot run the package fer \(No module named '(fer|tensorflow)'.*pip install fer"
    with pytest.raises(RuntimeError, match=reason):
        bench_peer.compare_with_peer(environment(tmp_path / "env"), *images, {})


def test_folder_that_is_not_an_environment_is_named_before_anything_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_visual", lambda frames: pytest.fail("measured"))
    assert bench.main(["--json", "--parts", "core", "--peer", str(tmp_path / "nowhere")]) == 1
    assert str(tmp_path / "nowhere" / "bin" / "python") in capsys.readouterr().err


def test_the_graph_alone_has_nothing_to_compare(tmp_path, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--parts", "graph", "--peer", str(tmp_path)])
    assert "--parts" in capsys.readouterr().err
