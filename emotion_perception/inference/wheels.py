"""Files of networks inside installed wheels, whose code is not imported."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from emotion_perception.errors import ModelError


def file_in_wheel(package: str, name: str) -> Path:
    """Path of the file ``name`` in an installed wheel; the package is not imported.

    Raises:
        ModelError: the wheel is not installed, or has no such file; names both.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise ModelError(f"{name} not found: the Python package `{package}`, which contains it, is not installed")
