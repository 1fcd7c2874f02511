"""Reports to take away."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from emotion_perception.dashboard.archive import Archive


@dataclass(frozen=True)
class Export:
    make: Callable[[Archive, str, str], tuple[bytes, str]]
    media_type: str
    charset: str | None = None


def _as_json(archive: Archive, kind: str, name: str) -> tuple[bytes, str]:
    return json.dumps(archive.read(name)).encode(), name


EXPORTS = {"json": Export(_as_json, "application/json")}
