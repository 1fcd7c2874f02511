"""Retention of data stored with consent: files are deleted some days after their creation time, which is in their
name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

SWEEP_EVERY_S = 60.0
_FORMAT = "%Y%m%dT%H%M%SZ"


def time_name(seconds: float) -> str:
    """Format seconds since the epoch as the beginning of a file name: ``20261123T120000Z``."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):{_FORMAT}}"


def made_at(path: Path) -> float | None:
    """Creation time of a file according to its name, s since the epoch; None if the name contains no time.

    The file's modification time is not used, because it may change when the file is copied.
    """
    try:
        made = datetime.strptime(path.name.partition("-")[0], _FORMAT)
    except ValueError:
        return None
    return made.replace(tzinfo=timezone.utc).timestamp()


class Retention:
    """Deletes files after a number of days.

    Args:
        days: how long a file is kept.
        delete: removes one file and all files that belong to it.
    """

    def __init__(self, days: float, delete: Callable[[Path], object]) -> None:
        self._days, self._delete = days, delete
        self._swept: float | None = None

    def due(self, now: float) -> bool:
        """Whether a minute has passed since this last returned True."""
        if self._swept is not None and 0 <= now - self._swept < SWEEP_EVERY_S:
            return False
        self._swept = now
        return True

    def sweep(self, paths: Iterable[Path], now: float) -> int:
        """Delete those of ``paths`` that are older than the retention allows; returns their number."""
        old = [path for path in paths if (made := made_at(path)) is not None and now - made > self._days * 86400]
        for path in old:
            self._delete(path)
        return len(old)
