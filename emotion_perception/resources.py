"""Locations of the package's own files: models, configuration, the built-in demo clip. No ROS import.

The source checkout is searched first (so that a new model file takes effect at once), then the installed share folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from emotion_perception.errors import ModelError

PACKAGE = "emotion_perception"
DEMO_CLIP = "demo_clip.mp4"


def share_directories() -> Iterator[Path]:
    """Folders that may hold ``models/`` and ``config/``, best first; they need not exist."""
    # A symlink install leads to the checkout too.
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").is_file():
        yield package.parent
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix, "share", PACKAGE)
    # <prefix>/lib/python3.X/site-packages/emotion_perception, or <prefix>/local/lib/python3.X/dist-packages on Debian.
    if package.parent.name in ("site-packages", "dist-packages"):
        for parent in list(package.parents)[3:5]:
            yield parent / "share" / PACKAGE
    yield Path(sys.prefix, "share", PACKAGE)


def find_resource(name: str) -> Path:
    """A file of the package by its path in the share folder, such as ``models/expression.onnx``.

    Raises:
        FileNotFoundError: not found; the message names every path tried.
    """
    tried: list[Path] = []
    for folder in share_directories():
        path = folder / name
        if path in tried:
            continue
        if path.is_file():
            return path
        tried.append(path)
    raise FileNotFoundError(f"{name} not found; tried {', '.join(map(str, tried))}")


def model_path(name: str) -> Path:
    """Path of a file in ``models/``; an absolute path stands for itself.

    Raises:
        FileNotFoundError: not found; the message names every path tried.
    """
    return find_resource(str(Path("models") / name))


def find_model(model: str) -> Path:
    """A model by its path or, where no such file is, by its name in ``models/``.

    Raises:
        ModelError: not found; the message names every path tried.
    """
    if Path(model).is_file():
        return Path(model)
    try:
        return model_path(model)
    except FileNotFoundError as error:
        raise ModelError(f"model not found: {error}") from None


def config_path(name: str) -> Path:
    """Path of a file in ``config/``, such as ``training/visual.yaml``; an absolute path stands for itself.

    Raises:
        FileNotFoundError: not found; the message names every path tried.
    """
    return find_resource(str(Path("config") / name))


def demo_clip_path() -> Path:
    """Path of the built-in demo clip, which ``scripts/setup.sh`` makes (:mod:`emotion_perception.media.demo_clip`).

    Raises:
        FileNotFoundError: not made yet; the message names every path tried.
    """
    return find_resource(DEMO_CLIP)
