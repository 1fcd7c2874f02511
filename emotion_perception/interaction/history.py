"""The stored conversations of a folder: what ``interaction_node`` wrote, as a list, one by one, by day and by week."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

MAX_LISTED = 500  # on the page, the newest; reports count all
MAX_FILE = 8_000_000  # bytes; a summary of 1200 bins has a tenth
# Made of time and chance (fusion.conversation.new_id); nothing else is looked up, so no id leads out of the folder.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class NotStored(ValueError):
    """There is no such conversation, day or week."""

    status = 404


@dataclass(frozen=True)
class Period:
    """A day or a week, in the robot's own time zone."""

    kind: str  # "day" or "week"
    name: str  # "2026-11-23" or "2026-W48"
    first: date
    days: int

    @property
    def start(self) -> float:
        """Its first moment, s since the epoch."""
        return datetime(self.first.year, self.first.month, self.first.day).timestamp()

    @property
    def end(self) -> float:
        """The first moment after it."""
        last = self.first + timedelta(days=self.days)
        return datetime(last.year, last.month, last.day).timestamp()


def period(kind: str, name: str) -> Period:
    """A day (``2026-11-23``) or an ISO week (``2026-W48``).

    Raises:
        NotStored: it is neither.
    """
    try:
        if kind == "day" and re.fullmatch(r"\d{4}-\d{2}-\d{2}", name):
            return Period(kind, name, date.fromisoformat(name), 1)
        if kind == "week" and (found := re.fullmatch(r"(\d{4})-W(\d{2})", name)):
            return Period(kind, name, date.fromisocalendar(int(found[1]), int(found[2]), 1), 7)
    except ValueError:
        pass
    raise NotStored(f"{name!r} is no {kind}; a day is 2026-11-23, a week 2026-W48")


def is_conversation_id(text: str) -> bool:
    """Whether it may be one: then it leads out of no folder."""
    return _ID.fullmatch(text) is not None


class Archive:
    """Reads a folder of conversations; each file once, and again when it changes. Safe to use from several threads.

    Args:
        folder: that of ``interaction_node``; it may not be there yet.
        warn: is told of files that cannot be read, once each.
    """

    def __init__(self, folder: Path, warn: Callable[[str], object] = lambda text: None) -> None:
        self.folder = folder
        self._warn = warn
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int], dict[str, Any] | None]] = {}  # by id: mark of the file, entry

    def listed(self, limit: int = MAX_LISTED) -> list[dict[str, Any]]:
        """A line for each conversation, newest first: what the page lists."""
        entries = self._entries()
        return [entry for entry in entries if entry is not None][:limit]

    def within(self, wanted: Period) -> list[dict[str, Any]]:
        """The lines of those that began in a period, oldest first."""
        found = [entry for entry in self._entries() if wanted.start <= entry["start"] < wanted.end]
        return found[::-1]

    def read(self, interaction_id: str) -> dict[str, Any]:
        """All that is stored of a conversation, but its samples.

        Raises:
            NotStored: there is no such conversation.
        """
        path = self.path(interaction_id, "json")
        try:
            if path.stat().st_size > MAX_FILE:
                raise NotStored(f"{path.name} is too large to be a conversation")
            fields = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(fields, dict) or not isinstance(fields["arc"], dict):
                raise TypeError
        except OSError:
            raise NotStored(f"no conversation {interaction_id!r} is stored") from None
        except (ValueError, KeyError, TypeError):
            raise NotStored(f"conversation {interaction_id!r} cannot be read: its file is damaged") from None
        return fields

    def path(self, interaction_id: str, ending: str) -> Path:
        """Where a file of a conversation lies.

        Raises:
            NotStored: that is no id.
        """
        if not is_conversation_id(interaction_id):
            raise NotStored(f"{interaction_id[:100]!r} is no conversation's id")
        return self.folder / f"{interaction_id}.{ending}"

    def _entries(self) -> list[dict[str, Any]]:
        with self._lock:
            known: dict[str, tuple[tuple[int, int], dict[str, Any] | None]] = {}
            try:
                paths = list(self.folder.glob("*.json"))
            except OSError:
                paths = []
            for path in paths:
                try:
                    told = path.stat()
                except OSError:
                    continue  # deleted meanwhile
                mark = (told.st_mtime_ns, told.st_size)
                before = self._known.get(path.stem)
                known[path.stem] = before if before and before[0] == mark else (mark, self._entry(path.stem))
            self._known = known
            entries = [entry for _, entry in known.values() if entry is not None]
        return sorted(entries, key=lambda entry: -entry["start"])

    def _entry(self, interaction_id: str) -> dict[str, Any] | None:
        try:
            fields = self.read(interaction_id)
            satisfaction, emotion = fields["satisfaction"], fields["emotion"]
            return {
                "id": interaction_id,
                "name": str(fields["name"]),
                "person_id": str(fields["person_id"]),
                "start": float(fields["start"]),
                "duration": float(fields["duration"]),
                "score": satisfaction["score"],
                "margin": satisfaction["margin"],
                "verdict": str(satisfaction["verdict"]),
                "coverage": float(fields["coverage"]["any"]),
                "label": emotion["label"],
                "valence": float(emotion["valence"]),
                "valence_change": fields["valence_change"],
                "shape": str(fields["arc"]["shape"]["text"]),
                "seconds_by_label": {str(k): float(v or 0) for k, v in fields["seconds_by_label"].items()},
                "recovered": bool(fields["recovered"]),
                "line": _line(fields["arc"]),
            }
        except (NotStored, KeyError, TypeError, ValueError, AttributeError) as error:
            self._warn(f"{self.folder / interaction_id}.json is left out: {error}")
            return None


def _line(arc: dict[str, Any], points: int = 40) -> list[float | None]:
    """The smoothed valence in a few points, for a small picture beside the line."""
    values = [None if value is None else float(value) for value in arc["valence_smoothed"]]
    if len(values) <= points:
        return values
    return [values[i * len(values) // points] for i in range(points)]
