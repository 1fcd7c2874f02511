"""Recordings for all tests of archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archive_world import CREMAD, FPS, mono, portrait, wall
from clips import write_clip


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """12 s: a smiling woman, from 4 s on an empty wall, from 8 s on the woman again."""
    path = tmp_path_factory.mktemp("film") / "shop_a" / "2026-11-25_14-30-00.mp4"
    path.parent.mkdir()
    return write_clip(path, [*portrait(4), *wall(4), *portrait(4, shift=20)], fps=FPS)


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Somebody says a sentence, ``(T,)`` int16 at 16 kHz, with silence before and after."""
    path = CREMAD / "1002_DFA_ANG_XX.mp3"
    if not path.exists():
        pytest.skip("CREMA-D's clips are not on this machine")
    return mono(path)
