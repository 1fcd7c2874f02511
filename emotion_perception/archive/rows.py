"""Rows of the data set (:data:`~emotion_perception.archive.schema.SEGMENTS`) for faces and utterances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emotion_perception.types import SECOND, EmotionEstimate, FaceObservation, VoiceObservation


def face_row(looks: Sequence[tuple[float, FaceObservation]]) -> dict[str, Any]:
    """The row of one face in one shot, from its observations with their times, s; at least one."""
    observations = [face for _, face in looks]
    strengths = np.stack([face.emotion.intensities for face in observations])
    mean = EmotionEstimate.from_probabilities(
        np.mean([face.emotion.probabilities for face in observations], axis=0),
        strengths.mean(axis=0),
        prior=observations[0].emotion.prior,
    )
    return {
        "kind": "face",
        "first_s": looks[0][0],
        "last_s": looks[-1][0],
        "samples": len(looks),
        **_emotion(mean),
        "label": mean.name,
        "confidence": mean.confidence,
        "quality": float(np.mean([face.quality for face in observations])),
        "course": [
            {
                "time_s": time,
                **_emotion(face.emotion),
                "quality": face.quality,
                "score": face.detection_score,
                "x": face.box.x,
                "y": face.box.y,
                "width": face.box.width,
                "height": face.box.height,
            }
            for time, face in looks
        ],
    }


def voice_row(decisions: Sequence[VoiceObservation]) -> dict[str, Any]:
    """The row of one utterance, from its decisions, the final one last."""
    final = decisions[-1]
    end = final.stamp_ns / SECOND
    start = max(0.0, end - final.duration)
    return {
        "kind": "voice",
        "subject": "voice",
        "start_s": start,
        "end_s": end,
        "first_s": start,
        "last_s": end,
        "samples": len(decisions),
        **_emotion(final.emotion),
        "label": final.emotion.name,
        "confidence": final.emotion.confidence,
        "course": [
            {
                "time_s": voice.stamp_ns / SECOND,
                **_emotion(voice.emotion),
                "duration_s": voice.duration,
                "snr_db": voice.snr_db,
                "overlapped": voice.overlapped_speech,
                "final": voice.final,
            }
            for voice in decisions
        ],
    }


def _emotion(emotion: EmotionEstimate) -> dict[str, Any]:
    return {
        "probabilities": emotion.probabilities.tolist(),
        "intensities": np.asarray(emotion.intensities, np.float32).tolist(),
        "valence": emotion.valence,
        "arousal": emotion.arousal,
    }
