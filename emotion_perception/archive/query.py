"""Queries of an archive's data set, in SQL with DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from emotion_perception.archive.store import ArchiveError, Store
from emotion_perception.emotions import EMOTIONS

SURE = 0.5  # minimum peak probability of an emotion in the search
LASTING_S = 0.4  # minimum duration of an emotion in the search, s
QUARTER_S = 900  # offsets of time zones are multiples of it

# Each sample of a face counts for the time to the next one, the final decision about a voice for its utterance.
_POINTS = """
    with looks as (
        select recording, place, part, segment, subject, kind,
               epoch_ms(began_at) / 1000.0 - start_s as began, unnest(course) as look
        from segments where kind <> 'shot'
    ), points as (
        select recording, place, part, segment, subject, kind, began, look.time_s as time,
               look.probabilities::float[] as p,
               if(kind = 'face', $interval, look.duration_s)::double as seconds
        from looks where kind = 'face' or look.final
    )
"""
_SHARES = (
    _POINTS
    + """
    select place, floor((began + time) / $quarter)::bigint as quarter, kind, sum(seconds) as seconds,
           [{sums}] as mass
    from points group by all order by all
""".replace("{sums}", ", ".join(f"sum(p[{i + 1}] * seconds)" for i in range(len(EMOTIONS))))
)
# A face is tracked within its shot, a voice within its recording. Consecutive samples with one label form a spell;
# spells that are too short or too uncertain are removed before each is compared with the one before it.
_TURNS = (
    _POINTS
    + """
    , labelled as (
        select *, list_position(p, list_max(p)) - 1 as label, list_max(p) as confidence,
               if(kind = 'voice', recording, concat_ws('/', recording, part, segment, subject)) as who
        from points
    ), marked as (
        select *, coalesce(label <> lag(label) over (partition by who order by time), true)::int as changes
        from labelled
    ), numbered as (
        select *, sum(changes) over (partition by who order by time) as spell from marked
    ), spells as (
        select recording, kind, subject, who, spell, label, max(confidence) as confidence,
               min(if(kind = 'voice', time - seconds, time)) as start,
               max(if(kind = 'voice', time, time + seconds)) as stop
        from numbered group by all having confidence >= $sure and stop - start >= $lasting
    ), turns as (
        select *, lag(label) over (partition by who order by spell) as before from spells
    )
    select recording, kind, subject, start, stop, label, before, confidence from turns
    where before is distinct from label
    order by recording, start, kind, subject
"""
)


@dataclass(frozen=True)
class Share:
    """Duration of faces or voices and of each emotion, at one place in one quarter of an hour."""

    place: str
    begin: datetime | None  # of the quarter, UTC; None if unknown
    kind: str  # face or voice
    seconds: float
    by_emotion: np.ndarray  # (8,) s, sums to ``seconds``


@dataclass(frozen=True)
class Turn:
    """The onset of an emotion of a face or a voice."""

    recording: str
    kind: str  # face or voice
    subject: str  # face_1 ... in its shot; voice
    start: float  # s of the recording
    stop: float  # s
    label: int  # of the vocabulary
    before: int | None  # the emotion before it; None for the first of the face or voice
    confidence: float  # at its peak, 0..1


class ArchiveQueries:
    """An open data set.

    Args:
        folder: of ``emotion-archive analyse``.

    Raises:
        ArchiveError: it contains no data set.
    """

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.markers = list(self.store.markers())
        if not self.markers:
            raise ArchiveError(f"{folder}: no data set of emotion-archive analyse, or an empty one")
        self.settings = self.store.settings()
        self._interval = 1 / float(self.settings["pictures_per_second"])
        # Damaged recordings have rows, failed ones have none.
        self._connection = duckdb.connect()
        self._has_rows = any(self.store.segments.glob("*/*.parquet"))
        if self._has_rows:
            self._view("segments", self.store.segments / "*" / "*.parquet")
            self._view("arcs", self.store.arcs / "*" / "*.parquet")

    def _view(self, name: str, files: Path) -> None:
        # A prepared statement cannot create a view; in a path, only the quote is special in SQL.
        source = str(files).replace("'", "''")
        self._connection.execute(
            f"create view {name} as select * from read_parquet('{source}', "
            "hive_partitioning = true, hive_types = {recording: varchar})"
        )

    def _rows(self, sql: str, **parameters: Any) -> Sequence[tuple[Any, ...]]:
        if not self._has_rows:
            return []
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except duckdb.Error as error:
            raise ArchiveError(f"{self.store.folder}: the data set cannot be read ({error})") from error

    def shares(self) -> list[Share]:
        """Duration of each emotion by place and quarter of an hour.

        Raises:
            ArchiveError: a file is damaged.
        """
        found = self._rows(_SHARES, interval=self._interval, quarter=QUARTER_S)
        return [
            Share(place, _time(quarter), kind, seconds, np.array(mass)) for place, quarter, kind, seconds, mass in found
        ]

    def turns(self) -> list[Turn]:
        """Onsets of emotions, ordered by recording and time.

        Raises:
            ArchiveError: a file is damaged.
        """
        return [Turn(*row) for row in self._rows(_TURNS, interval=self._interval, sure=SURE, lasting=LASTING_S)]

    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The arc of each recording: middle of each bin, s, and smoothed valence ``(N,)``, NaN without evidence.

        Raises:
            ArchiveError: a file is damaged.
        """
        found = self._rows(
            "select recording, list(time_s order by time_s), list(smooth_valence order by time_s) from arcs group by 1"
        )
        return {
            recording: (np.array(times, float), np.array([np.nan if v is None else v for v in valence], float))
            for recording, times, valence in found
        }


def by_hour(shares: Sequence[Share], zone: tzinfo | None) -> dict[int, np.ndarray]:
    """Seconds of each emotion ``(8,)`` by hour of the day, 0..23, in a time zone; None: that of this machine."""
    hours: dict[int, np.ndarray] = {}
    for share in shares:
        if share.begin is not None:
            hour = share.begin.astimezone(zone).hour
            hours[hour] = hours.get(hour, np.zeros(len(EMOTIONS))) + share.by_emotion
    return dict(sorted(hours.items()))


def by_place(shares: Sequence[Share]) -> Mapping[str, np.ndarray]:
    """Seconds of each emotion ``(8,)`` by place, largest sum first."""
    places: dict[str, np.ndarray] = {}
    for share in shares:
        places[share.place] = places.get(share.place, np.zeros(len(EMOTIONS))) + share.by_emotion
    return dict(sorted(places.items(), key=lambda item: -item[1].sum()))


def _time(quarter: int | None) -> datetime | None:
    if quarter is None:
        return None
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=quarter * QUARTER_S)
