"""Checks the fields of a conversation's JSON file, which another program or a fault may have written."""

from __future__ import annotations

import math
from typing import Any

from emotion_perception.emotions import EMOTIONS

MAX_BINS = 100_000  # of an arc
SENSES = ("face", "voice", "words")  # in this order in the arc
MAX_START = 32_503_680_000.0  # s since the epoch, the year 3000: the calendar knows all times before


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
    _text(fields.get("place", ""), "place")
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
    for sense, labels in (arc.get("senses") or {}).items():
        if sense not in SENSES or not isinstance(labels, list) or len(labels) != bins:
            raise ValueError(f"arc.senses is no list of {bins} for each of {', '.join(SENSES)}")
        for label in labels:
            _label_or_null(label, f"arc.senses.{sense}")
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
