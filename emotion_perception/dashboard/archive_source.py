"""The recordings of an archive's data set (``emotion-archive``) as conversations of places.

Only the markers are read, which are JSON: the page needs no Parquet. Each recording whose start is known counts as one
conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from emotion_perception.files import read_json
from emotion_perception.interaction.hour_sums import HourTable, from_conversations
from emotion_perception.interaction.summary_check import MAX_START

MARKERS = "recordings"  # folder in a data set
SETTINGS = "archive.json"
MAX_RECORDINGS = 200_000


def is_archive(folder: Path) -> bool:
    """Whether a folder is the output of ``emotion-archive analyse``."""
    return (folder / SETTINGS).is_file()


class ArchiveSource:
    """The places of a data set, read again when a recording is added or removed.

    Args:
        folder: of the data set.
        warn: called with each marker that cannot be used.
    """

    def __init__(self, folder: Path, warn: Callable[[str], object] = lambda text: None) -> None:
        self.folder, self._warn = folder, warn
        self._changed: int | None = None
        self._tables: dict[str, HourTable] = {}

    def places(self) -> dict[str, HourTable]:
        """Table by place; a recording counts in the hour in which it begins.

        Raises:
            OSError: the folder cannot be read.
        """
        changed = (self.folder / MARKERS).stat().st_mtime_ns
        if changed != self._changed:
            self._tables, self._changed = self._read(), changed
        return self._tables

    def _read(self) -> dict[str, HourTable]:
        by_place: dict[str, list[dict[str, Any]]] = {}
        for path in sorted((self.folder / MARKERS).glob("*.json"))[:MAX_RECORDINGS]:
            try:
                fields = read_json(path)
                if fields["status"] == "failed" or not fields.get("began_at"):
                    continue
                place, found = str(fields["place"]), conversation(fields)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._warn(f"{path} is skipped: {type(error).__name__}: {str(error)[:200]}")
                continue
            by_place.setdefault(place, []).append(found)
        return {place: from_conversations(those) for place, those in sorted(by_place.items())}


def conversation(marker: dict[str, Any]) -> dict[str, Any]:
    """A recording's marker as a conversation for :func:`~emotion_perception.interaction.hour_sums.from_conversations`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the marker is damaged.
    """
    summary = marker["summary"]
    satisfaction, emotion = summary["satisfaction"], summary["emotion"]
    start, duration = datetime.fromisoformat(marker["began_at"]).timestamp(), float(summary["duration"])
    if not (0 <= start < MAX_START and 0 <= duration < MAX_START):
        raise ValueError("its time is out of range")
    return {
        "start": start,
        "duration": duration,
        "wait": None,
        "score": _number(satisfaction["score"]),
        "margin": _number(satisfaction["margin"]),
        "verdict": satisfaction["verdict"],
        "label": emotion["label"],
        "valence": float(emotion["valence"]),
        "valence_change": _number(summary["valence_change"]),
        "coverage": float(summary["coverage"]["any"]),
        "seconds_by_label": {name: _number(value) for name, value in summary["seconds_by_label"].items()},
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
