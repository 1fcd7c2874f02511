"""The emotional arc of a recording from its rows, by the fusion engine of the robot."""

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


def events(parts: Iterable[tuple[float, pa.Table]], prior: np.ndarray) -> Iterator[Event]:
    """Evidence in the rows of a recording, in order of time: the faces of each frame, each decision about a voice.

    Args:
        parts: end, s, and rows of each part, in order.
        prior: ``(8,)``, class prior of the rows.
    """
    for end, rows in parts:
        frames: dict[float, list[FaceObservation]] = {}
        found: list[Event] = []
        for row in rows.to_pylist():
            if row["kind"] == "shot":
                for look in row["course"]:
                    frames.setdefault(look["time_s"], [])
            elif row["kind"] == "face":
                name = f"{row['part']}-{row['segment']}-{row['subject']}"
                for look in row["course"]:
                    frames.setdefault(look["time_s"], []).append(_face(name, look, prior))
            else:
                found += [Event(look["time_s"], look["time_s"], _voice(look, prior)) for look in row["course"]]
        found += [Event(time, time, tuple(faces)) for time, faces in frames.items()]
        yield from sorted(found, key=lambda event: event.time)
        yield Event(max((event.time for event in found), default=0.0), end, None)


def _estimate(look: dict[str, Any], prior: np.ndarray) -> EmotionEstimate:
    return EmotionEstimate.from_probabilities(
        np.array(look["probabilities"], np.float32), np.array(look["intensities"], np.float32), prior=prior
    )


def _face(name: str, look: dict[str, Any], prior: np.ndarray) -> FaceObservation:
    box = Box(look["x"], look["y"], look["width"], look["height"])
    return FaceObservation(name, box, look["score"], look["quality"], _estimate(look, prior))


def _voice(look: dict[str, Any], prior: np.ndarray) -> VoiceObservation:
    return VoiceObservation(
        stamp_ns=round(look["time_s"] * SECOND),
        duration=look["duration_s"],
        voice_id="voice",
        snr_db=look["snr_db"],
        overlapped_speech=look["overlapped"],
        final=look["final"],
        emotion=_estimate(look, prior),
    )


def arc_table(arc: Arc) -> pa.Table:
    """The bins of an arc, with the columns of :data:`~emotion_perception.archive.schema.ARCS`."""
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
