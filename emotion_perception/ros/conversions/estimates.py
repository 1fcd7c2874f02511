"""Distributions over emotions, and the faces and voices that they are about, to messages and back."""

from __future__ import annotations

import array
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from std_msgs.msg import Header

from emotion_msgs.msg import EmotionEstimate as EmotionEstimateMessage
from emotion_msgs.msg import FaceEmotion, FaceEmotionArray, VoiceEmotion
from emotion_perception.emotions import ROS4HRI_NAMES
from emotion_perception.messages.sensors import ConversionError, stamp_to_ns
from emotion_perception.priors import UNKNOWN
from emotion_perception.ros.conversions.images import box_to_roi, roi_to_box
from emotion_perception.ros.conversions.stamps import duration_to_seconds, make_header, seconds_to_duration
from emotion_perception.types import EmotionEstimate, FaceLandmarks, FaceObservation, VoiceObservation

Expression = Any  # messages of hri_msgs, which need not be installed
FacialLandmarks = Any
FacialActionUnits = Any
LANDMARKS, BLENDSHAPES = 70, 52  # number of each in a message
# Fields that FaceEmotion and FaceLandmarks share.
LANDMARK_MEASURES = (
    "head_yaw",
    "head_pitch",
    "head_roll",
    "gaze_yaw",
    "gaze_pitch",
    "eye_closure",
    "jaw_opening",
)


def estimate_to_message(estimate: EmotionEstimate) -> EmotionEstimateMessage:
    """A distribution as a message."""
    valence_deviation, arousal_deviation = estimate.deviations
    return EmotionEstimateMessage(
        probabilities=np.asarray(estimate.probabilities, dtype=np.float32),
        prior=np.asarray(estimate.prior, dtype=np.float32),
        intensities=np.asarray(estimate.intensities, dtype=np.float32),
        label=estimate.label,
        confidence=float(estimate.confidence),
        valence=float(estimate.valence),
        arousal=float(estimate.arousal),
        valence_deviation=valence_deviation,
        arousal_deviation=arousal_deviation,
    )


def estimate_from_message(message: EmotionEstimateMessage) -> EmotionEstimate:
    """The distribution in a message, normalised, with the prior that it contains; all 0 where that is not known.

    Raises:
        ConversionError: probabilities or a prior that are no distribution, or a confidence, valence or arousal out of
            range.
    """
    probabilities = _distribution(message.probabilities, "probabilities")
    prior = np.array(message.prior, dtype=np.float32)
    prior = _distribution(prior, "prior") if prior.any() else UNKNOWN
    for name, low in (("confidence", 0.0), ("valence", -1.0), ("arousal", -1.0)):
        value = getattr(message, name)
        if not low - 1e-3 <= value <= 1.001:  # also false for NaN
            raise ConversionError(f"emotion {name} is {value}, not in {low:g}..1")
    return EmotionEstimate(
        probabilities,
        np.array(message.intensities, dtype=np.float32),
        float(message.confidence),
        float(message.valence),
        float(message.arousal),
        prior,
    )


def _distribution(values: Any, name: str) -> np.ndarray:
    """``(8,)`` float32 with sum 1 of a message's field.

    Raises:
        ConversionError: a value is negative or not finite, or the sum is far from 1.
    """
    p = np.array(values, dtype=np.float32)
    with np.errstate(invalid="ignore"):  # both infinities in one message: the next line says so
        total = float(p.sum())
    if not math.isfinite(total) or p.min() < 0 or not 0.9 < total < 1.1:
        raise ConversionError(f"emotion {name} are no distribution: {p.tolist()}")
    return np.asarray(p / total)


def estimate_to_expression(estimate: EmotionEstimate, header: Header, expression_type: type[Expression]) -> Expression:
    """A distribution as an ``hri_msgs/Expression``: its label in that message's words, valence, arousal, confidence."""
    return expression_type(
        header=header,
        expression=ROS4HRI_NAMES[estimate.label],
        valence=float(np.clip(estimate.valence, -1.0, 1.0)),
        arousal=float(np.clip(estimate.arousal, -1.0, 1.0)),
        confidence=float(np.clip(estimate.confidence, 0.0, 1.0)),
    )


def landmarks_to_message(
    landmarks: FaceLandmarks,
    header: Header,
    width: int,
    height: int,
    message_type: type[FacialLandmarks],
    point_type: type[Any],
) -> FacialLandmarks:
    """Found landmarks as an ``hri_msgs/FacialLandmarks``: 0..1 of an image of ``width`` x ``height`` pixels.

    The confidence of each point is the landmark score. A point outside the image lies on its edge, with confidence 0.
    """
    points = landmarks.points / [width, height]
    inside = np.asarray(((points >= 0) & (points <= 1)).all(axis=1))
    return message_type(
        header=header,
        landmarks=[
            point_type(x=float(x), y=float(y), c=landmarks.score if seen else 0.0)
            for (x, y), seen in zip(points.clip(0.0, 1.0), inside, strict=True)
        ],
        height=height,
        width=width,
    )


def action_units_to_message(
    intensity: np.ndarray, confidence: np.ndarray, header: Header, message_type: type[FacialActionUnits]
) -> FacialActionUnits:
    """Two ``(99,)`` arrays in 0..1, indexed by the FACS code, as an ``hri_msgs/FacialActionUnits``."""
    return message_type(header=header, intensity=intensity.tolist(), confidence=confidence.tolist())


def faces_to_message(faces: Iterable[FaceObservation], header: Header, width: int, height: int) -> FaceEmotionArray:
    """The faces of one image of ``width`` x ``height`` pixels, with the header of the image."""
    return FaceEmotionArray(
        header=header,
        faces=[
            FaceEmotion(
                face_id=face.face_id,
                roi=box_to_roi(face.box, width, height),
                detection_score=float(face.detection_score),
                quality=float(face.quality),
                emotion=estimate_to_message(face.emotion),
                mouth_opening=float(face.mouth_opening),
                mouth_motion=float(face.mouth_motion),
                baseline_weight=float(face.baseline_weight),
                **_landmark_fields(face.landmarks or FaceLandmarks(math.nan)),
            )
            for face in faces
        ],
    )


def faces_from_message(message: FaceEmotionArray) -> tuple[int, tuple[FaceObservation, ...]]:
    """Stamp in ns and the faces.

    Raises:
        ConversionError: a face without an id or with an estimate that is none.
    """
    faces = []
    for face in message.faces:
        if not face.face_id:
            raise ConversionError("face without an id")
        faces.append(
            FaceObservation(
                face.face_id,
                roi_to_box(face.roi),
                float(face.detection_score),
                float(face.quality),
                estimate_from_message(face.emotion),
                _known(face.mouth_opening),
                _known(face.mouth_motion),
                min(1.0, max(0.0, _known(face.baseline_weight))),
                _landmarks_from_fields(face),
            )
        )
    return stamp_to_ns(message.header.stamp), tuple(faces)


def _landmark_fields(landmarks: FaceLandmarks) -> dict[str, Any]:
    return {
        "landmark_score": float(landmarks.score),
        **{name: float(getattr(landmarks, name)) for name in LANDMARK_MEASURES},
        "landmarks": float_array(landmarks.points.ravel()),
        "blendshapes": float_array(landmarks.blendshapes),
        "facial_actions": landmarks.facial_actions,
    }


def _landmarks_from_fields(face: FaceEmotion) -> FaceLandmarks | None:
    """None where landmarks were not measured; only the score where they are incomplete or not finite."""
    if not 0 <= face.landmark_score <= 1:
        return None
    score = float(face.landmark_score)
    measures = {name: float(getattr(face, name)) for name in LANDMARK_MEASURES}
    points = np.array(face.landmarks, np.float32)
    blendshapes = np.array(face.blendshapes, np.float32)
    if (len(points), len(blendshapes)) != (2 * LANDMARKS, BLENDSHAPES):
        return FaceLandmarks(score)
    if not all(np.isfinite(values).all() for values in (list(measures.values()), points, blendshapes)):
        return FaceLandmarks(score)
    return FaceLandmarks(
        score,
        points=points.reshape(-1, 2),
        blendshapes=blendshapes,
        facial_actions=face.facial_actions,
        **measures,
    )


def voice_to_message(voice: VoiceObservation, frame_id: str = "") -> VoiceEmotion:
    """One decision about a voice as a message."""
    return VoiceEmotion(
        header=make_header(voice.stamp_ns, frame_id),
        voice_id=voice.voice_id,
        duration=seconds_to_duration(voice.duration),
        snr_db=float(voice.snr_db),
        overlapped_speech=bool(voice.overlapped_speech),
        final=bool(voice.final),
        emotion=estimate_to_message(voice.emotion),
        level_db=float_array(voice.level_db),
    )


def voice_from_message(message: VoiceEmotion) -> VoiceObservation:
    """The decision in a message.

    Raises:
        ConversionError: no id, a negative duration, or an estimate that is none.
    """
    duration = duration_to_seconds(message.duration)
    if not message.voice_id:
        raise ConversionError("voice without an id")
    if duration < 0:
        raise ConversionError(f"voice with a duration of {duration:g} s")
    level = np.array(message.level_db, np.float32)
    return VoiceObservation(
        stamp_to_ns(message.header.stamp),
        duration,
        message.voice_id,
        float(message.snr_db),
        bool(message.overlapped_speech),
        bool(message.final),
        estimate_from_message(message.emotion),
        level if np.isfinite(level).all() else level[:0],
    )


def _known(value: float) -> float:
    """A measure that cannot be negative; NaN where it makes no sense."""
    return float(value) if 0 <= value < math.inf else math.nan


def float_array(values: np.ndarray) -> array.array[float]:
    """Numbers as a ``float32[]`` field stores them, which skips the check of each element."""
    return array.array("f", values.astype(np.float32).tobytes())
