"""Message to dataclass and back: pure functions, one per type and direction, nothing else.

Only :class:`ConversionError` leaves this module, whatever the message holds; its text says what was wrong.
"""

from __future__ import annotations

import array
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from emotion_msgs.msg import (
    AudioChunk,
    EmotionArc,
    EmotionStateArray,
    FaceEmotion,
    FaceEmotionArray,
    InteractionSummary,
    ModalityEvidence,
    VoiceEmotion,
)
from emotion_msgs.msg import EmotionEstimate as EmotionEstimateMessage
from emotion_msgs.msg import EmotionState as EmotionStateMessage
from emotion_msgs.msg import GroupEmotion as GroupEmotionMessage
from emotion_perception.emotions import EMOTIONS, ROS4HRI_NAMES
from emotion_perception.messages.sensors import (
    IMAGE_ENCODINGS,
    ConversionError,
    audio_from_message,
    image_from_compressed,
    image_from_message,
    stamp_to_ns,
)
from emotion_perception.types import (
    SECOND,
    Box,
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Evidence,
    FaceObservation,
    NodeHealth,
    RunningConversation,
    VoiceObservation,
)

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticArray

    from emotion_perception.interaction.arc import Arc
    from emotion_perception.interaction.group import GroupEmotion
    from emotion_perception.interaction.sessions import Outcome

# What reads pictures and sound is next door, free of ROS, so that a recording can be read without it.
__all__ = [
    "IMAGE_ENCODINGS",
    "SECOND",
    "ConversionError",
    "audio_from_message",
    "image_from_compressed",
    "image_from_message",
    "stamp_to_ns",
]

Expression = TypeVar("Expression")

# --- time ---------------------------------------------------------------------------------------------------------


def ns_to_stamp(ns: int) -> Time:
    """The inverse of :func:`stamp_to_ns`; times outside the message's range are clipped."""
    sec, nanosec = divmod(int(ns), SECOND)
    if not -(2**31) <= sec < 2**31:
        return Time(sec=2**31 - 1) if sec > 0 else Time(sec=-(2**31))
    return Time(sec=sec, nanosec=nanosec)


def seconds_to_duration(seconds: float) -> Duration:
    """Seconds as a message; NaN and infinity become 0."""
    if not math.isfinite(seconds) or abs(seconds) >= 2**31:
        return Duration()
    sec, nanosec = divmod(round(seconds * SECOND), SECOND)
    return Duration(sec=sec, nanosec=nanosec)


def duration_to_seconds(duration: Duration) -> float:
    """The inverse of :func:`seconds_to_duration`."""
    return duration.sec + duration.nanosec / SECOND


def make_header(stamp_ns: int, frame_id: str = "") -> Header:
    """A header with a stamp in nanoseconds."""
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)


# --- pictures -----------------------------------------------------------------------------------------------------


def image_to_message(image: np.ndarray, header: Header) -> Image:
    """A uint8 picture ``(H, W, 3)`` bgr or ``(H, W)`` grey as a raw image, copied once."""
    height, width = image.shape[:2]
    data = array.array("B")
    # array.array is what the message stores: handing it over skips the per-element check of the setter.
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    encoding, step = ("mono8", width) if image.ndim == 2 else ("bgr8", 3 * width)
    return Image(header=header, height=height, width=width, encoding=encoding, step=step, data=data)


def image_to_compressed(image: np.ndarray, header: Header, quality: int = 80) -> CompressedImage:
    """A uint8 picture ``(H, W, 3)`` bgr or ``(H, W)`` grey as JPEG of a quality 1..100."""
    import cv2

    encoded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    data = array.array("B")
    data.frombytes(encoded.data.cast("B"))
    kind = "mono8" if image.ndim == 2 else "bgr8"
    return CompressedImage(header=header, format=f"{kind}; jpeg compressed {kind}", data=data)


# --- sound --------------------------------------------------------------------------------------------------------


def audio_to_message(samples: np.ndarray, sample_rate: int, header: Header) -> AudioChunk:
    """Samples int16 ``(T,)`` or ``(T, channels)`` as a message."""
    data = array.array("h")
    data.frombytes(np.ascontiguousarray(samples, dtype=np.int16).data.cast("B"))
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    return AudioChunk(header=header, sample_rate=sample_rate, channels=channels, samples=data)


# --- emotions -----------------------------------------------------------------------------------------------------


def estimate_to_message(estimate: EmotionEstimate) -> EmotionEstimateMessage:
    """A distribution as a message."""
    return EmotionEstimateMessage(
        probabilities=np.asarray(estimate.probabilities, dtype=np.float32),
        intensities=np.asarray(estimate.intensities, dtype=np.float32),
        label=estimate.label,
        confidence=float(estimate.confidence),
        valence=float(estimate.valence),
        arousal=float(estimate.arousal),
    )


def estimate_from_message(message: EmotionEstimateMessage) -> EmotionEstimate:
    """The distribution in a message, normalised.

    Raises:
        ConversionError: probabilities that are no distribution, or a confidence, valence or arousal out of range.
    """
    probabilities = np.array(message.probabilities, dtype=np.float32)
    with np.errstate(invalid="ignore"):  # both infinities in one message: the next line says so
        total = float(probabilities.sum())
    if not math.isfinite(total) or probabilities.min() < 0 or not 0.9 < total < 1.1:
        raise ConversionError(f"emotion probabilities are no distribution: {probabilities.tolist()}")
    for name, low in (("confidence", 0.0), ("valence", -1.0), ("arousal", -1.0)):
        value = getattr(message, name)
        if not low - 1e-3 <= value <= 1.001:  # also false for NaN
            raise ConversionError(f"emotion {name} is {value}, not in {low:g}..1")
    return EmotionEstimate(
        probabilities / total,
        np.array(message.intensities, dtype=np.float32),
        float(message.confidence),
        float(message.valence),
        float(message.arousal),
    )


def estimate_to_expression(estimate: EmotionEstimate, header: Header, expression_type: type[Expression]) -> Expression:
    """A distribution as an ``hri_msgs/Expression``: its label in that message's words, valence, arousal, confidence."""
    return expression_type(
        header=header,
        expression=ROS4HRI_NAMES[estimate.label],
        valence=float(np.clip(estimate.valence, -1.0, 1.0)),
        arousal=float(np.clip(estimate.arousal, -1.0, 1.0)),
        confidence=float(np.clip(estimate.confidence, 0.0, 1.0)),
    )


def box_to_roi(box: Box, width: int, height: int) -> RegionOfInterest:
    """A box clipped to the picture, in whole pixels."""
    left, top = (min(max(round(v), 0), limit) for v, limit in ((box.x, width), (box.y, height)))
    right = min(max(round(box.x + box.width), left), width)
    bottom = min(max(round(box.y + box.height), top), height)
    return RegionOfInterest(x_offset=left, y_offset=top, width=right - left, height=bottom - top)


def roi_to_box(roi: RegionOfInterest) -> Box:
    """A region of interest as a box."""
    return Box(float(roi.x_offset), float(roi.y_offset), float(roi.width), float(roi.height))


def faces_to_message(faces: Iterable[FaceObservation], header: Header, width: int, height: int) -> FaceEmotionArray:
    """The faces of one picture of ``width`` x ``height`` pixels, under the picture's own header."""
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
            )
        )
    return stamp_to_ns(message.header.stamp), tuple(faces)


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
        level_db=_floats(voice.level_db),
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


def evidence_to_message(evidence: Evidence) -> ModalityEvidence:
    """What one modality contributed, as a message."""
    return ModalityEvidence(
        modality=int(evidence.modality),
        weight=float(evidence.weight),
        age=seconds_to_duration(evidence.age),
        emotion=estimate_to_message(evidence.emotion),
    )


def state_to_message(state: EmotionState, now_ns: int, frame_id: str = "") -> EmotionStateMessage:
    """A state as published at ``now_ns``: latency runs from the newest evidence's capture to then."""
    seen = state.status != EmotionStatus.NO_EVIDENCE
    return EmotionStateMessage(
        header=make_header(state.stamp_ns, frame_id),
        person_id=state.person_id,
        face_id=state.face_id,
        voice_id=state.voice_id,
        status=int(state.status),
        emotion=estimate_to_message(state.emotion),
        evidence=[evidence_to_message(evidence) for evidence in state.evidence],
        latency=seconds_to_duration(max(0, now_ns - state.stamp_ns) / SECOND if seen else 0.0),
    )


def states_to_message(states: Sequence[EmotionState], now_ns: int, frame_id: str = "") -> EmotionStateArray:
    """Every person's state; the array's stamp is the newest of theirs, or ``now_ns`` where there is none."""
    newest = max((state.stamp_ns for state in states), default=now_ns)
    return EmotionStateArray(
        header=make_header(newest, frame_id), states=[state_to_message(state, now_ns, frame_id) for state in states]
    )


def group_to_message(group: GroupEmotion, frame_id: str = "") -> GroupEmotionMessage:
    """The mood of everyone in view as a message."""
    return GroupEmotionMessage(
        header=make_header(group.stamp_ns, frame_id),
        faces_counted=group.faces_counted,
        emotion=estimate_to_message(group.emotion),
        valence_spread=float(group.valence_spread),
        agreement=float(group.agreement),
        differing_face_ids=list(group.differing),
    )


def state_from_message(message: EmotionStateMessage) -> EmotionState:
    """The state in a message.

    Raises:
        ConversionError: a status or modality that does not exist, or an estimate that is none.
    """
    try:
        status = EmotionStatus(message.status)
        evidence = tuple(
            Evidence(
                EmotionModality(item.modality),
                float(item.weight),
                duration_to_seconds(item.age),
                estimate_from_message(item.emotion),
            )
            for item in message.evidence
        )
    except ConversionError:
        raise
    except ValueError as error:
        raise ConversionError(str(error)) from error
    return EmotionState(
        stamp_to_ns(message.header.stamp),
        status,
        message.person_id,
        message.face_id,
        message.voice_id,
        estimate_from_message(message.emotion),
        evidence,
    )


def group_from_message(message: GroupEmotionMessage) -> GroupEmotion:
    """The mood of everyone in view.

    Raises:
        ConversionError: an estimate that is none.
    """
    from emotion_perception.interaction.group import GroupEmotion

    return GroupEmotion(
        stamp_to_ns(message.header.stamp),
        message.faces_counted,
        estimate_from_message(message.emotion),
        float(message.valence_spread),
        float(message.agreement),
        tuple(message.differing_face_ids),
    )


def state_to_record(message: EmotionStateMessage) -> dict[str, object]:
    """A state as a JSON-ready record, numbers rounded to what they are worth.

    Keys: ``stamp`` (s), ``status`` ("AUDIO_VISUAL" ...), ``label`` (lower-case name; empty with
    NO_EVIDENCE), ``confidence``,
    ``probabilities`` (8 numbers in the order of :data:`emotion_perception.emotions.EMOTIONS`), ``valence``,
    ``arousal``, ``latency_ms``, ``face_id``.

    Raises:
        ConversionError: a status or a label that does not exist.
    """
    emotion = message.emotion
    if message.status not in iter(EmotionStatus) or emotion.label >= len(EMOTIONS):
        raise ConversionError(f"there is no status {message.status} or no label {emotion.label}")
    return {
        "stamp": round(message.header.stamp.sec + message.header.stamp.nanosec / SECOND, 6),
        "status": EmotionStatus(message.status).name,
        "label": EMOTIONS[emotion.label] if message.status != EmotionStateMessage.NO_EVIDENCE else "",
        "confidence": round(float(emotion.confidence), 4),
        "probabilities": [round(float(p), 4) for p in emotion.probabilities],
        "valence": round(float(emotion.valence), 4),
        "arousal": round(float(emotion.arousal), 4),
        "latency_ms": round(1000 * duration_to_seconds(message.latency), 2),
        "face_id": message.face_id,
    }


# --- conversations ------------------------------------------------------------------------------------------------


def arc_to_message(arc: Arc, interaction_id: str = "", person_id: str = "") -> EmotionArc:
    """An arc; what is not known is NaN, as in the arc."""
    return EmotionArc(
        header=make_header(arc.end_ns),
        interaction_id=interaction_id,
        person_id=person_id,
        start=ns_to_stamp(arc.start_ns),
        step=seconds_to_duration(arc.step),
        status=array.array("B", arc.status.tobytes()),
        labels=array.array("B", arc.labels.tobytes()),
        confidence=_floats(arc.confidence),
        valence=_floats(arc.valence),
        arousal=_floats(arc.arousal),
        valence_deviation=_floats(arc.valence_sd),
        arousal_deviation=_floats(arc.arousal_sd),
        smooth_valence=_floats(arc.smooth_valence),
        turning_points=[point.index for point in arc.turning_points],
        shape=int(arc.shape.shape),
        shape_correlation=arc.shape.correlation,
        valence_trend=arc.valence_trend,
        arousal_trend=arc.arousal_trend,
    )


def outcome_to_message(outcome: Outcome) -> InteractionSummary:
    """The summary of an interaction that has ended, and where it is stored."""
    summary = outcome.summary
    satisfaction = summary.satisfaction

    def moment(found: tuple[float, float] | None) -> tuple[Time, float]:
        if found is None:
            return Time(), math.nan
        return ns_to_stamp(summary.start_ns + round(found[0] * SECOND)), found[1]

    best_moment, best_valence = moment(summary.best)
    worst_moment, worst_valence = moment(summary.worst)
    return InteractionSummary(
        header=make_header(summary.end_ns),
        interaction_id=summary.interaction_id,
        name=summary.name,
        person_id=summary.person_id,
        start=ns_to_stamp(summary.start_ns),
        duration=seconds_to_duration(summary.duration),
        ended_by=summary.ended_by,
        recovered=summary.recovered,
        coverage=summary.coverage,
        visual_coverage=summary.visual_coverage,
        acoustic_coverage=summary.acoustic_coverage,
        emotion=estimate_to_message(summary.emotion),
        seconds_by_label=summary.seconds_by_label.astype(np.float32),
        label_changes=summary.label_changes,
        best_moment=best_moment,
        best_valence=best_valence,
        worst_moment=worst_moment,
        worst_valence=worst_valence,
        valence_change=summary.valence_change,
        satisfaction=math.nan if satisfaction.score is None else float(satisfaction.score),
        satisfaction_margin=math.nan if satisfaction.margin is None else float(satisfaction.margin),
        satisfaction_factors=[f"{item.points:+.1f} {item.text}" for item in satisfaction.factors],
        satisfaction_reason=satisfaction.reason,
        arc=arc_to_message(summary.arc, summary.interaction_id, summary.person_id),
        text=summary.text,
        files=[str(path) for path in outcome.files],
    )


def running_from_message(message: EmotionArc) -> RunningConversation:
    """What the dashboard tells of a conversation that goes on."""
    from emotion_perception.interaction.arc_shape import SHAPE_TEXT, ArcShape

    known = np.asarray(message.valence, np.float32)
    known = known[np.isfinite(known)]
    shapes = {int(shape): text for shape, text in SHAPE_TEXT.items()}
    return RunningConversation(
        message.interaction_id,
        message.person_id,
        stamp_to_ns(message.start),
        stamp_to_ns(message.header.stamp),
        shapes.get(message.shape, SHAPE_TEXT[ArcShape.NONE]),
        float(message.valence_trend),
        len(message.turning_points),
        float(known.mean()) if known.size else math.nan,
    )


def health_from_message(message: DiagnosticArray, namespace: str = "/") -> tuple[NodeHealth, ...]:
    """What the nodes of this package in a namespace say about themselves; others' reports are left out."""
    levels = {b"\x00": "ok", b"\x01": "warn", b"\x02": "error", b"\x03": "stale"}
    ours = f"{namespace.strip('/')}/".lstrip("/")
    found = []
    for status in message.status:
        name, _, task = status.name.partition(": ")
        node = name.lstrip("/").removeprefix(ours)
        if task == "emotion_perception" and name.lstrip("/").startswith(ours) and "/" not in node:
            values = {item.key: item.value for item in status.values}
            found.append(NodeHealth(node, levels.get(status.level, "error"), status.message, values))
    return tuple(found)


def _known(value: float) -> float:
    """A measure that cannot be negative; NaN where it makes no sense."""
    return float(value) if 0 <= value < math.inf else math.nan


def _floats(values: np.ndarray) -> array.array[float]:
    return array.array("f", values.astype(np.float32).tobytes())
