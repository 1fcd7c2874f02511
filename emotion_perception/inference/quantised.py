"""An int8 network beside the float network that it was made from: ``expression.int8.xml`` of ``expression.onnx``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from emotion_perception.errors import ModelError
from emotion_perception.inference.cards import load_card


def content_hash(model: Path) -> str:
    """Identifies a model file by its content.

    Raises:
        OSError: it cannot be read.
    """
    return hashlib.blake2b(model.read_bytes(), digest_size=16).hexdigest()


def int8_path(model: Path) -> Path:
    """Where the int8 network of a float network is; OpenVINO's weights file ``.bin`` and the card are next to it."""
    return model.with_name(f"{model.stem}.int8.xml")


def int8_of(model: Path) -> Path | None:
    """The int8 network made from exactly this float network; None if there is none, or it is of an older one."""
    path = int8_path(model)
    try:
        made: Any = load_card(path).details.get("quantised")
        return path if isinstance(made, dict) and made.get("of") == content_hash(model) else None
    except (ModelError, OSError):
        return None
