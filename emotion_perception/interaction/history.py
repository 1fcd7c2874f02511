"""The stored conversations of a folder: what ``interaction_node`` wrote, listed, one by one, by day and by week.

Damaged or foreign files are reported and skipped; the others are still read.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import read_json

MAX_LISTED = 500  # on the page, the newest; reports count all
MAX_BINS = 100_000  # of an arc
MAX_START = 32_503_680_000.0  # s since the epoch, the year 3000: the calendar knows all times before
# Nothing else is looked up, so no id leads out of the folder.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class NotStored(ValueError):
    """There is no such conversation, day or week, or its file is damaged."""

    status = 404


@dataclass(frozen=True)
class Period:
    """A day or a week in the robot's own time zone."""

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
    """Whether a text can be the id of a conversation; such a text leads out of no folder."""
    return _ID.fullmatch(text) is not None


class Archive:
    """Reads a folder of conversations; each file once, and again when it changes. Safe to use from several threads.

    Args:
        folder: that of ``interaction_node``; it may not exist yet.
        warn: called with each file that cannot be read, once per file.
    """

    def __init__(self, folder: Path, warn: Callable[[str], object] = lambda text: None) -> None:
        self.folder = folder
        self._warn = warn
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int], dict[str, Any] | None]] = {}  # by id: version of the file, entry

    def listed(self, limit: int = MAX_LISTED) -> list[dict[str, Any]]:
        """A line for each conversation, newest first: the list on the page."""
        return self._entries()[:limit]

    def within(self, wanted: Period) -> list[dict[str, Any]]:
        """The lines of the conversations that began in a period, oldest first."""
        found = [entry for entry in self._entries() if wanted.start <= entry["start"] < wanted.end]
        return found[::-1]

    def read(self, interaction_id: str) -> dict[str, Any]:
        """All that is stored of a conversation except its samples; checked: numbers are finite, lists equally long.

        Raises:
            NotStored: there is no such conversation, or its file is damaged.
        """
        path = self.path(interaction_id, "json")
        try:
            fields = read_json(path)
            check_summary(fields)
        except OSError:
            raise NotStored(f"no conversation {interaction_id!r} is stored") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else f"{error}"[:200]
            raise NotStored(f"conversation {interaction_id!r} cannot be read: its file is damaged ({reason})") from None
        return fields

    def path(self, interaction_id: str, suffix: str) -> Path:
        """The path of a file of a conversation.

        Raises:
            NotStored: that is no id.
        """
        if not is_conversation_id(interaction_id):
            raise NotStored(f"{interaction_id[:100]!r} is no conversation's id")
        return self.folder / f"{interaction_id}.{suffix}"

    def _entries(self) -> list[dict[str, Any]]:
        with self._lock:
            known: dict[str, tuple[tuple[int, int], dict[str, Any] | None]] = {}
            try:
                paths = list(self.folder.glob("*.json"))
            except OSError:
                paths = []
            for path in paths:
                try:
                    status = path.stat()
                except OSError:
                    continue  # deleted meanwhile
                version = (status.st_mtime_ns, status.st_size)
                before = self._known.get(path.stem)
                known[path.stem] = before if before and before[0] == version else (version, self._entry(path.stem))
            self._known = known
            entries = [entry for _, entry in known.values() if entry is not None]
        return sorted(entries, key=lambda entry: -entry["start"])

    def _entry(self, interaction_id: str) -> dict[str, Any] | None:
        try:
            fields = self.read(interaction_id)
        except NotStored as error:
            self._warn(f"{self.folder / interaction_id}.json is skipped: {error}")
            return None
        satisfaction, emotion = fields["satisfaction"], fields["emotion"]
        return {
            "id": interaction_id,
            "name": fields["name"],
            "person_id": fields["person_id"],
            "start": float(fields["start"]),
            "duration": float(fields["duration"]),
            "score": satisfaction["score"],
            "margin": satisfaction["margin"],
            "verdict": satisfaction["verdict"],
            "coverage": float(fields["coverage"]["any"]),
            "label": emotion["label"],
            "valence": float(emotion["valence"]),
            "valence_change": fields["valence_change"],
            "shape": fields["arc"]["shape"]["text"],
            "seconds_by_label": {label: float(s or 0) for label, s in fields["seconds_by_label"].items()},
            "recovered": bool(fields["recovered"]),
            "line": _line(fields["arc"]),
        }


def check_summary(fields: Any) -> None:
    """Check the fields of a conversation's file, as far as anything here and in the reports relies on them.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: a field is missing, or not what it must be; the text names it.
    """
    satisfaction, emotion, arc = fields["satisfaction"], fields["emotion"], fields["arc"]
    for name in ("name", "person_id", "ended_by"):
        _text(fields[name], name)
    for name in ("verdict", "reason"):
        _text(satisfaction[name], name)
    _number(fields["start"], "start", 0.0, MAX_START)
    _number(fields["duration"], "duration", 0.0, MAX_START)
    for name in ("any", "visual", "acoustic"):
        _number(fields["coverage"][name], f"coverage.{name}", 0.0, 1.0)
    _number_or_null(fields["valence_change"], "valence_change")
    for name in ("score", "margin"):
        _number_or_null(satisfaction[name], name)
    if (satisfaction["score"] is None) != (satisfaction["margin"] is None):
        raise ValueError("satisfaction has a score or a margin, but not both")
    for factor in satisfaction["factors"]:
        _text(factor["text"], "factor")
        _number(factor["points"], "points")
    _label_or_null(emotion["label"], "emotion.label")
    _number(emotion["valence"], "emotion.valence", -1.0, 1.0)
    for values, name in ((emotion["probabilities"], "probabilities"), (fields["seconds_by_label"], "seconds_by_label")):
        for label, value in values.items():
            _label_or_null(label, name)
            _number_or_null(value, name)
    for name in ("best_moment", "worst_moment"):
        if fields.get(name) is not None:
            for value in (fields[name]["time"], fields[name]["valence"]):
                _number(value, name)
    for person, seconds in (fields.get("persons") or {}).items():
        _text(person, "persons")
        _number(seconds, "persons", 0.0)
    _check_arc(arc)


def _check_arc(arc: dict[str, Any]) -> None:
    _number(arc["step"], "arc.step", 1e-3)
    _number_or_null(arc.get("smoothing"), "arc.smoothing")
    for name in ("text", "reason"):
        _text(arc["shape"].get(name, ""), f"shape.{name}")
    bins = len(arc["label"])
    if bins > MAX_BINS:
        raise ValueError(f"the arc has {bins} bins, more than {MAX_BINS}")
    for label in arc["label"]:
        _label_or_null(label, "arc.label")
    numbers = ["confidence", "evidence", "valence", "valence_sd", "valence_smoothed", "arousal", "arousal_sd"]
    for name in [*numbers, "status", *(["arousal_smoothed"] if arc.get("arousal_smoothed") else [])]:
        values = arc[name]
        if not isinstance(values, list) or len(values) != bins:
            raise ValueError(f"arc.{name} is not a list of {bins}")
        for value in values:
            if name == "status":
                _text(value, "arc.status")
            else:
                _number_or_null(value, f"arc.{name}")
    for point in arc["turning_points"]:
        _text(point["kind"], "turning point")
        for name in ("time", "valence", "change_before"):
            _number(point[name], f"turning point {name}")


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")


def _label_or_null(value: Any, name: str) -> None:
    if value is not None and value not in EMOTIONS:
        raise ValueError(f"{name} is no emotion")


def _number(value: Any, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} is no number within its range")


def _number_or_null(value: Any, name: str) -> None:
    if value is not None:
        _number(value, name)


def _line(arc: dict[str, Any], points: int = 40) -> list[float | None]:
    """The smoothed valence at a few points, for the small chart in the list."""
    values = [None if value is None else float(value) for value in arc["valence_smoothed"]]
    if len(values) <= points:
        return values
    return [values[i * len(values) // points] for i in range(points)]
