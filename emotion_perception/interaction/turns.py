"""When and why a stored conversation turned, what its score rests on, and which conversations resemble it.

Pure: from the fields of a stored conversation (checked by :mod:`~emotion_perception.interaction.summary_check`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.summary_check import SENSES

AROUND_S = 4.0  # before and after a turning point, over which its emotions are counted
MIN_POINTS = 1.0  # of the score, worth naming as a reason
MAX_REASONS = 2  # named for each direction
LINE_POINTS = 20  # at which the courses of two conversations are compared
OTHER_EMOTION = 0.15  # added to the distance (valence, root mean square) if another emotion dominates
MIN_SHARED = LINE_POINTS // 2  # points known in both for a comparison


@dataclass(frozen=True)
class Turn:
    """A turning point of a conversation."""

    time: float  # s from its start
    better: bool  # from fall to rise
    before: str | None  # emotion shown longest around it; None without evidence
    after: str | None  # the same around the next turning point, or at the end
    senses: dict[str, str]  # emotion that each sense alone showed longest around it


def find_turns(arc: Mapping[str, Any]) -> list[Turn]:
    """The turning points of an arc with the emotions around them.

    Args:
        arc: ``arc`` of a stored conversation; those of earlier versions have no ``senses``.
    """
    step, points = float(arc["step"]), arc["turning_points"]
    around = max(1, round(AROUND_S / step))

    def shown(labels: Sequence[str | None], time: float) -> str | None:
        middle = int(time / step)
        return _commonest(labels[max(0, middle - around) : middle + around + 1])

    turns = []
    ends = [*(float(point["time"]) for point in points), (len(arc["label"]) - around) * step]
    for point, next_end in zip(points, ends[1:], strict=True):
        time = float(point["time"])
        by_sense = {sense: shown((arc.get("senses") or {}).get(sense, []), time) for sense in SENSES}
        turns.append(
            Turn(
                time=time,
                better=point["kind"] == "valley",
                before=shown(arc["label"], time),
                after=shown(arc["label"], next_end),
                senses={sense: label for sense, label in by_sense.items() if label is not None},
            )
        )
    return turns


def reasons(satisfaction: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The largest contributions to a score in each direction, relative to 50: ``raised`` and ``lowered``.

    Each has the ``name`` of a factor (an emotion, ``end``, ``peak`` or ``trend``) and whole ``points``, at least 1.
    """
    known = [
        (str(factor.get("name", "")), float(factor["points"]))
        for factor in satisfaction["factors"]
        if abs(float(factor["points"])) >= MIN_POINTS and factor.get("name") in (*EMOTIONS, "end", "peak", "trend")
    ]
    known.sort(key=lambda item: -abs(item[1]))
    return {
        direction: [{"name": name, "points": round(abs(points))} for name, points in known if sign * points > 0][
            :MAX_REASONS
        ]
        for direction, sign in (("raised", 1), ("lowered", -1))
    }


def most_similar(
    chosen: Mapping[str, Any], others: Iterable[Mapping[str, Any]], count: int = 5
) -> list[dict[str, Any]]:
    """The conversations whose course of valence and dominant emotion are most similar, nearest first.

    Courses are compared at :data:`LINE_POINTS` points, each conversation scaled to the same length.

    Args:
        chosen: entry of a conversation (``id``, ``label``, ``line``), as the store lists it.
        others: entries; that of ``chosen`` itself is skipped.
        count: most that are returned.
    """
    line = resample(chosen["line"])
    found = []
    for other in others:
        if other["id"] == chosen["id"]:
            continue
        difference = resample(other["line"]) - line
        known = ~np.isnan(difference)
        if known.sum() < MIN_SHARED:
            continue
        distance = float(np.sqrt(np.mean(difference[known] ** 2)))
        found.append((distance + OTHER_EMOTION * (other["label"] != chosen["label"]), other))
    found.sort(key=lambda item: item[0])
    return [
        {key: other[key] for key in ("id", "start", "duration", "score", "label", "line")}
        | {"distance": round(distance, 3)}
        for distance, other in found[:count]
    ]


def resample(line: Sequence[float | None]) -> np.ndarray:
    """A course at ``(LINE_POINTS,)`` points, the nearest value each; NaN where nothing is known."""
    if not line:
        return np.full(LINE_POINTS, np.nan)
    values = np.array([np.nan if value is None else value for value in line])
    return values[np.minimum(len(values) - 1, (np.arange(LINE_POINTS) * len(values)) // LINE_POINTS)]


def why_fields(fields: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], line: Sequence[float | None]) -> dict:
    """All of the above as JSON fields.

    Args:
        fields: of the stored conversation.
        entries: conversations to compare with, as the store lists them.
        line: course of the conversation itself, smoothed valence.
    """
    chosen = {"id": fields["interaction_id"], "label": fields["emotion"]["label"], "line": line}
    return {
        "turns": [asdict(turn) for turn in find_turns(fields["arc"])],
        **reasons(fields["satisfaction"]),
        "similar": most_similar(chosen, entries),
    }


def _commonest(labels: Iterable[str | None]) -> str | None:
    counted = Counter(label for label in labels if label is not None)
    return counted.most_common(1)[0][0] if counted else None
