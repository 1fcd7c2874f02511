"""Ids of stored conversations, and the calendar days and weeks that reports cover."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

# An id is part of file names: with nothing else allowed, none leads out of the folder.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class NotStored(ValueError):
    """No such conversation, day or week exists, or its file is damaged."""

    status = 404


@dataclass(frozen=True)
class Period:
    """A day or a week in the robot's own time zone."""

    kind: str  # "day" or "week"
    name: str  # "2026-11-23" or "2026-W48"
    first: date
    days: int

    @property
    def start(self) -> datetime:
        """Its first moment, in local time with its offset from UTC."""
        return local_midnight(self.first)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return local_midnight(self.first + timedelta(days=self.days))


def local_midnight(day: date) -> datetime:
    """The first moment of a day in the robot's time zone, with its offset from UTC."""
    return datetime(day.year, day.month, day.day).astimezone()


def period(kind: str, name: str) -> Period:
    """A day (``2026-11-23``) or an ISO week (``2026-W48``).

    Raises:
        NotStored: it is neither.
    """
    try:
        if not 1970 <= int(name[:4]) < 3000:  # what every clock and calendar function knows
            raise ValueError
        if kind == "day" and re.fullmatch(r"\d{4}-\d{2}-\d{2}", name):
            return Period(kind, name, date.fromisoformat(name), 1)
        if kind == "week" and (found := re.fullmatch(r"(\d{4})-W(\d{2})", name)):
            return Period(kind, name, date.fromisocalendar(int(found[1]), int(found[2]), 1), 7)
    except ValueError:
        pass
    raise NotStored(f"{name!r} is no {kind}; a day is 2026-11-23, a week 2026-W48")


def is_conversation_id(text: str) -> bool:
    """Whether a text has the form of an id. Such a text is safe as part of a path."""
    return _ID.fullmatch(text) is not None
