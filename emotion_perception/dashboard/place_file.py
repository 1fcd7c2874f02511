"""The file in which a robot's page hands its statistics to the page of another robot, and its checks.

JSON: sums by hour (:mod:`emotion_perception.interaction.hour_sums`) and, if its maker chose so, a line per
conversation. No picture, no sound, no text that was spoken, no id and no name of a person or conversation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import parse_json
from emotion_perception.interaction.hour_sums import COLUMNS, COUNTS, HOUR_S, HourTable
from emotion_perception.interaction.store_records import VERDICTS

FORMAT, VERSION = "emotion_perception place", 1
MAX_BYTES = 8_000_000
MAX_HOURS = 90_000  # ten years
MAX_CONVERSATIONS = 20_000  # the newest are exported
MAX_NAME = 60  # characters
EARLIEST, LATEST = 31_536_000, 32_472_144_000  # s since the epoch: 1971 to 2998
_MAX_SUM = 1e12
_SLACK = 1e-6  # relative, of sums that were rounded
LINE = ("start", "duration", "wait", "score", "margin", "verdict", "label", "valence", "valence_change")


class PlaceFileError(ValueError):
    """A file is no export of this format, or damaged; the message gives the reason."""

    status = 422


@dataclass(frozen=True)
class PlaceFile:
    """An export."""

    name: str  # of the robot or place
    made: float  # s since the epoch
    table: HourTable
    conversations: tuple[Mapping[str, Any], ...] = ()  # keys: LINE; oldest first


def check_name(name: Any) -> str:
    """The name of a place.

    Raises:
        PlaceFileError: empty, too long, or not printable.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise PlaceFileError(f"name must have 1 to {MAX_NAME} printable characters")
    return name.strip()


def write_place(name: str, made: float, table: HourTable, conversations: Iterable[Mapping[str, Any]] = ()) -> bytes:
    """The bytes of an export; of each conversation only the keys of :data:`LINE` are taken."""
    hours = [[hour, *(_short(value) for value in sums)] for hour, sums in sorted(table.hourly.items())[-MAX_HOURS:]]
    lines = [[_short(one[key]) for key in LINE] for one in conversations]
    fields = {"format": FORMAT, "version": VERSION, "name": check_name(name), "made": round(made, 3)}
    fields |= {"hour_columns": ["hour", *COLUMNS], "hours": hours}
    fields |= {"conversation_columns": list(LINE), "conversations": lines}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def read_place(data: bytes) -> PlaceFile:
    """Check and read an export, which may come from anybody.

    Raises:
        PlaceFileError: see there.
    """
    if len(data) > MAX_BYTES:
        raise PlaceFileError(f"the file has more than {MAX_BYTES / 1e6:g} MB")
    try:
        fields = parse_json(data)
    except ValueError:
        raise PlaceFileError("the file is no export of a robot's page: it is not JSON") from None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise PlaceFileError("the file is no export of a robot's page")
    if fields.get("version") != VERSION:
        raise PlaceFileError(f"version {str(fields.get('version'))[:20]} of exports is unknown; known is {VERSION}")
    if fields.get("hour_columns") != ["hour", *COLUMNS] or fields.get("conversation_columns") != list(LINE):
        raise PlaceFileError("its columns are not those of this version")
    hours, lines = (_list(fields, *limit) for limit in (("hours", MAX_HOURS), ("conversations", MAX_CONVERSATIONS)))
    made = _number(fields.get("made"), "made", EARLIEST, LATEST)
    table = dict(_hour(row) for row in hours)
    if len(table) != len(hours):
        raise PlaceFileError("an hour occurs twice")
    return PlaceFile(check_name(fields.get("name")), made, HourTable(table), tuple(map(_line, lines)))


def _list(fields: Mapping[str, Any], name: str, most: int) -> list[Any]:
    found = fields.get(name)
    if not isinstance(found, list) or len(found) > most:
        raise PlaceFileError(f"{name} must be a list of at most {most}")
    return found


def _hour(row: Any) -> tuple[int, list[float]]:
    if not isinstance(row, list) or len(row) != 1 + len(COLUMNS):
        raise PlaceFileError(f"a row of hours must have {1 + len(COLUMNS)} numbers")
    hour = _number(row[0], "hour", EARLIEST, LATEST)
    if hour % (HOUR_S / 4):  # offsets of time zones are multiples of a quarter of an hour
        raise PlaceFileError(f"{hour:g} is no start of an hour")
    signed = COLUMNS.index("valence_seconds")
    sums = [_number(v, COLUMNS[i], -_MAX_SUM if i == signed else 0.0) for i, v in enumerate(row[1:])]
    value = dict(zip(COLUMNS, sums, strict=True))
    counted = (*COUNTS, *(name for name in COLUMNS if name.startswith(("verdict_", "emotion_"))))
    if any(value[name] != int(value[name]) for name in counted):
        raise PlaceFileError("a number of conversations is no whole number")
    most = value["conversations"]
    if not (
        most >= 1
        and max(value[name] for name in counted) <= most
        and sum(value[f"verdict_{verdict}"] for verdict in VERDICTS) <= value["scored"]
        and sum(value[f"emotion_{label}"] for label in EMOTIONS) <= most
        and value["improved"] <= value["valence_changes"]
        and value["score"] <= 100 * value["scored"] * (1 + _SLACK)
        and value["score"] ** 2 <= value["score_squares"] * value["scored"] * (1 + _SLACK)
        and abs(value["valence_seconds"]) <= value["evidence_seconds"] * (1 + _SLACK)
    ):
        raise PlaceFileError("the sums of an hour contradict each other")
    return round(hour), sums


def _line(row: Any) -> dict[str, Any]:
    if not isinstance(row, list) or len(row) != len(LINE):
        raise PlaceFileError(f"a conversation must have {len(LINE)} values")
    one = dict(zip(LINE, row, strict=True))
    if one["verdict"] not in (*VERDICTS, "unknown") or one["label"] not in (None, *EMOTIONS):
        raise PlaceFileError("the verdict or emotion of a conversation is unknown")
    limits: Sequence[tuple[str, float, float]] = (
        ("start", EARLIEST, LATEST),
        ("duration", 0.0, _MAX_SUM),
        ("wait", 0.0, _MAX_SUM),
        ("score", 0.0, 100.0),
        ("margin", 0.0, 100.0),
        ("valence", -1.0, 1.0),
        ("valence_change", -2.0, 2.0),
    )
    for name, low, high in limits:
        if one[name] is not None or name in ("start", "duration", "valence"):
            _number(one[name], name, low, high)
    return one


def _number(value: Any, name: str, low: float = 0.0, high: float = _MAX_SUM) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise PlaceFileError(f"{name} must be a number from {low:g} to {high:g}")
    return value


def _short(value: Any) -> Any:
    """A number with the digits that matter; whole numbers without a decimal point."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return value if isinstance(value, str) else None
    return int(value) if value == int(value) else round(value, 6)
