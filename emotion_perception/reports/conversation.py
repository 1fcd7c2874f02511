"""The files of a conversation: summary (JSON), samples (CSV) and a report for people (HTML)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import json_number, write_atomically
from emotion_perception.interaction.arc import Arc, ArcSample
from emotion_perception.interaction.summary import ConversationSummary
from emotion_perception.interaction.summary_check import SENSES
from emotion_perception.reports.conversation_report import conversation_document
from emotion_perception.reports.html import render_html
from emotion_perception.reports.spreadsheet import sample_lines
from emotion_perception.types import SECOND, EmotionStatus

FORMAT_VERSION = 1


def write_files(folder: Path, summary: ConversationSummary, samples: Iterable[ArcSample]) -> tuple[Path, ...]:
    """Write ``<id>.csv``, ``<id>.html`` and ``<id>.json``, each atomically, the JSON last.

    Raises:
        OSError: writing to the disk failed.
    """
    csv_path, html_path, json_path = (
        folder / f"{summary.interaction_id}.{suffix}" for suffix in ("csv", "html", "json")
    )
    write_atomically(csv_path, sample_lines(samples))
    write_atomically(html_path, [html_page(summary)])
    write_atomically(json_path, [json.dumps(summary_fields(summary), indent=1, allow_nan=False), "\n"])
    return json_path, csv_path, html_path


def html_page(summary: ConversationSummary, title: str = "", relative_time: bool = False) -> str:
    """The report of a conversation as a page.

    Args:
        summary: of the conversation.
        title: heading; made from the conversation's name if empty.
        relative_time: the start is the beginning of a recording, not a date.
    """
    fields = summary_fields(summary)
    return render_html(conversation_document(summary.interaction_id, fields, title, relative_time))


def summary_fields(summary: ConversationSummary) -> dict[str, Any]:
    """A summary as JSON-able fields; times are seconds, unknown values are null."""
    arc, satisfaction = summary.arc, summary.satisfaction
    return {
        "format": FORMAT_VERSION,
        "interaction_id": summary.interaction_id,
        "name": summary.name,
        "person_id": summary.person_id,
        "persons": {person: round(seconds, 2) for person, seconds in summary.persons.items()},
        "place": summary.place,
        "start": summary.start_ns / SECOND,
        "end": summary.end_ns / SECOND,
        "duration": round(summary.duration, 3),
        "ended_by": summary.ended_by,
        "recovered": summary.recovered,
        "text": summary.text,
        "coverage": {
            "any": round(summary.coverage, 4),
            "visual": round(summary.visual_coverage, 4),
            "acoustic": round(summary.acoustic_coverage, 4),
        },
        "satisfaction": {
            "score": satisfaction.score,
            "margin": satisfaction.margin,
            "verdict": satisfaction.verdict,
            "reason": satisfaction.reason,
            "factors": [
                {"name": item.name, "points": round(item.points, 2), "text": item.text} for item in satisfaction.factors
            ],
            "evidence_s": round(satisfaction.evidence_s, 2),
            "visual_s": round(satisfaction.visual_s, 2),
            "acoustic_s": round(satisfaction.acoustic_s, 2),
            "text_s": round(satisfaction.text_s, 2),
        },
        "emotion": {
            "label": summary.emotion.name if summary.coverage else None,
            "probabilities": dict(zip(EMOTIONS, _numbers(summary.emotion.probabilities), strict=True)),
            "confidence": round(summary.emotion.confidence, 4),
            "valence": round(summary.emotion.valence, 4),
            "arousal": round(summary.emotion.arousal, 4),
        },
        "seconds_by_label": dict(zip(EMOTIONS, _numbers(summary.seconds_by_label, 2), strict=True)),
        "label_changes": summary.label_changes,
        "best_moment": _moment(summary.best),
        "worst_moment": _moment(summary.worst),
        "valence_change": json_number(summary.valence_change),
        "arc": arc_fields(arc),
    }


def arc_fields(arc: Arc) -> dict[str, Any]:
    """An arc as JSON-able fields; element i of a list is the bin that begins ``i * step`` seconds after the start."""
    shape = arc.shape
    return {
        "step": arc.step,
        "smoothing": round(arc.smoothing, 3),
        "status": [EmotionStatus(int(status)).name for status in arc.status],
        "label": [EMOTIONS[int(label)] if known else None for label, known in zip(arc.labels, arc.known, strict=True)],
        "confidence": _numbers(arc.confidence),
        "evidence": _numbers(arc.trust),
        "valence": _numbers(arc.valence),
        "valence_sd": _numbers(arc.valence_sd),
        "valence_smoothed": _numbers(arc.smooth_valence),
        "arousal": _numbers(arc.arousal),
        "arousal_sd": _numbers(arc.arousal_sd),
        "arousal_smoothed": _numbers(arc.smooth_arousal),
        "valence_trend": json_number(arc.valence_trend),
        "arousal_trend": json_number(arc.arousal_trend),
        "senses": {
            sense: [EMOTIONS[label] if label >= 0 else None for label in labels]
            for sense, labels in zip(SENSES, arc.sense_labels.T.tolist(), strict=True)
        },
        "turning_points": [
            {
                "time": round(point.time, 2),
                "kind": "peak" if point.peak else "valley",
                "valence": round(point.valence, 4),
                "change_before": round(point.before, 4),
                "change_after": round(point.after, 4),
            }
            for point in arc.turning_points
        ],
        "shape": {
            "name": shape.shape.name,
            "text": shape.text,
            "correlation": json_number(shape.correlation),
            "correlations": {key.name: round(r, 4) for key, r in shape.correlations.items()},
            "reason": shape.reason,
        },
    }


def _numbers(values: np.ndarray, digits: int = 4) -> list[float | None]:
    return [json_number(value, digits) for value in values]


def _moment(moment: tuple[float, float] | None) -> dict[str, float] | None:
    return None if moment is None else {"time": round(moment[0], 2), "valence": round(moment[1], 4)}
