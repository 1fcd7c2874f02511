"""A recording's emotional arc from its rows: the fusion that the robot runs, fed with what the parts have found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from emotion_perception.archive import schema
from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import Arc
from emotion_perception.recognition import Event
from emotion_perception.types import SECOND, Box, EmotionEstimate, EmotionStatus, FaceObservation, VoiceObservation


def events(parts: Iterable[tuple[float, pa.Table]]) -> Iterator[Event]:
    """What a recording's rows tell, in the order of time: the faces of each picture, each decision about a voice.

    Args:
        parts: end, s, and rows of each part, in order.
    """
    for end, rows in parts:
        pictures: dict[float, list[FaceObservation]] = {}
        told: list[Event] = []
        for row in rows.to_pylist():
            if row["kind"] == "shot":
                for look in row["course"]:
                    pictures.setdefault(look["time_s"], [])
            elif row["kind"] == "face":
                name = f"{row['part']}-{row['segment']}-{row['subject']}"
                for look in row["course"]:
                    pictures.setdefault(look["time_s"], []).append(_face(name, look))
            else:
                told += [Event(look["time_s"], look["time_s"], _voice(look)) for look in row["course"]]
        told += [Event(time, time, tuple(faces)) for time, faces in pictures.items()]
        yield from sorted(told, key=lambda event: event.time)
        yield Event(max((event.time for event in told), default=0.0), end, None)


def _estimate(look: dict[str, Any]) -> EmotionEstimate:
    return EmotionEstimate.from_probabilities(
        np.array(look["probabilities"], np.float32), np.array(look["intensities"], np.float32)
    )


def _face(name: str, look: dict[str, Any]) -> FaceObservation:
    box = Box(look["x"], look["y"], look["width"], look["height"])
    return FaceObservation(name, box, look["score"], look["quality"], _estimate(look))


def _voice(look: dict[str, Any]) -> VoiceObservation:
    return VoiceObservation(
        stamp_ns=round(look["time_s"] * SECOND),
        duration=look["duration_s"],
        voice_id="voice",
        snr_db=look["snr_db"],
        overlapped_speech=look["overlapped"],
        final=look["final"],
        emotion=_estimate(look),
    )


def arc_table(arc: Arc) -> pa.Table:
    """An arc's bins by :data:`~emotion_perception.archive.schema.ARCS`."""
    rows = []
    for i, known in enumerate(arc.known):
        row: dict[str, Any] = {
            "time_s": float(arc.times[i]),
            "seconds": float(arc.seconds[i]),
            "status": EmotionStatus(int(arc.status[i])).name,
            "trust": float(arc.trust[i]),
        }
        if known:
            row["label"] = EMOTIONS[int(arc.labels[i])]
            row["probabilities"] = arc.probabilities[i].tolist()
            for name in ("confidence", "valence", "valence_sd", "smooth_valence", "arousal", "arousal_sd"):
                row[name] = float(getattr(arc, name)[i])
        rows.append(row)
    return schema.table(schema.ARCS, rows)
