"""Message to dataclass and back: pure functions, one per type and direction, nothing else.

Only :class:`ConversionError` leaves this module, whatever the message holds; its text says what was wrong.
"""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Iterable, Sequence
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
from emotion_perception.types import (
    Box,
    EmotionEstimate,
    EmotionModality,
    EmotionState,
    EmotionStatus,
    Evidence,
    FaceObservation,
    VoiceObservation,
)

if TYPE_CHECKING:
    from emotion_perception.fusion.arc import Arc
    from emotion_perception.fusion.conversation import Outcome
    from emotion_perception.fusion.group import GroupEmotion

Expression = TypeVar("Expression")

SECOND = 1_000_000_000  # ns
MAX_PIXELS = 64_000_000  # a picture larger than any camera's is a broken header, not a picture


class ConversionError(ValueError):
    """A message that cannot be used; the text says what was wrong with it."""


# --- time ---------------------------------------------------------------------------------------------------------


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds since the clock's epoch."""
    return stamp.sec * SECOND + stamp.nanosec


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

_Converter = Callable[[np.ndarray], np.ndarray]


def _keep(image: np.ndarray) -> np.ndarray:
    return image


def _recolour(code: str) -> _Converter:
    def convert(image: np.ndarray) -> np.ndarray:
        import cv2  # here, so that nodes without pictures do not carry OpenCV in their memory

        try:
            return cv2.cvtColor(image, getattr(cv2, code))
        except cv2.error as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConversionError(f"cannot convert a {image.shape} image by {code}: {reason}") from error

    return convert


# encoding: channels, and how to make bgr8 or mono8 of it. OpenCV names a Bayer pattern by its second row, ROS by its
# first: rggb is OpenCV's "BG".
_EIGHT_BIT: dict[str, tuple[int, _Converter]] = {
    "bgr8": (3, _keep),
    "8UC3": (3, _keep),
    "rgb8": (3, _recolour("COLOR_RGB2BGR")),
    "bgra8": (4, _recolour("COLOR_BGRA2BGR")),
    "8UC4": (4, _recolour("COLOR_BGRA2BGR")),
    "rgba8": (4, _recolour("COLOR_RGBA2BGR")),
    "mono8": (1, _keep),
    "8UC1": (1, _keep),
    "yuv422": (2, _recolour("COLOR_YUV2BGR_UYVY")),
    "uyvy": (2, _recolour("COLOR_YUV2BGR_UYVY")),
    "yuv422_yuy2": (2, _recolour("COLOR_YUV2BGR_YUY2")),
    "yuyv": (2, _recolour("COLOR_YUV2BGR_YUY2")),
    "bayer_rggb8": (1, _recolour("COLOR_BayerBG2BGR")),
    "bayer_bggr8": (1, _recolour("COLOR_BayerRG2BGR")),
    "bayer_gbrg8": (1, _recolour("COLOR_BayerGR2BGR")),
    "bayer_grbg8": (1, _recolour("COLOR_BayerGB2BGR")),
}
_SIXTEEN_BIT: dict[str, tuple[int, _Converter]] = {
    "mono16": (1, _keep),
    "bgr16": (3, _keep),
    "rgb16": (3, _recolour("COLOR_RGB2BGR")),
    "bayer_rggb16": (1, _recolour("COLOR_BayerBG2BGR")),
    "bayer_bggr16": (1, _recolour("COLOR_BayerRG2BGR")),
    "bayer_gbrg16": (1, _recolour("COLOR_BayerGR2BGR")),
    "bayer_grbg16": (1, _recolour("COLOR_BayerGB2BGR")),
}
IMAGE_ENCODINGS: tuple[str, ...] = (*_EIGHT_BIT, *_SIXTEEN_BIT, "nv21")


def image_from_message(message: Image) -> np.ndarray:
    """Pixels of a raw image: uint8 ``(H, W, 3)`` bgr, or ``(H, W)`` grey for the mono encodings.

    bgr8 and mono8 are returned as a read-only view of the message's own memory: nothing is copied.

    Raises:
        ConversionError: unknown encoding, no pixels, a step shorter than a row, or fewer bytes than the header says.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if height == 0 or width == 0:
        raise ConversionError(f"image has no pixels ({width}x{height})")
    if height * width > MAX_PIXELS:
        raise ConversionError(f"image is said to be {width}x{height} pixels, more than any camera gives")
    if encoding in _EIGHT_BIT:
        (channels, convert), size = _EIGHT_BIT[encoding], 1
    elif encoding in _SIXTEEN_BIT:
        (channels, convert), size = _SIXTEEN_BIT[encoding], 2
    elif encoding == "nv21":
        return _nv21(message)
    else:
        raise ConversionError(f"unknown image encoding {encoding!r}; known: {', '.join(IMAGE_ENCODINGS)}")
    rows = _rows(message, height, width * channels * size)
    if size == 2:
        wide = np.ascontiguousarray(rows).view(">u2" if message.is_bigendian else "<u2")
        rows = (wide >> 8).astype(np.uint8)
    image = rows.reshape(height, width) if channels == 1 else rows.reshape(height, width, channels)
    return convert(image)


def _rows(message: Image, height: int, row_bytes: int) -> np.ndarray:
    """The image's rows without their padding, uint8 ``(height, row_bytes)``."""
    step = message.step
    if step < row_bytes:
        raise ConversionError(
            f"image step is {step} bytes, a row of {message.width} {message.encoding} pixels needs {row_bytes}"
        )
    needed = (height - 1) * step + row_bytes
    data = np.frombuffer(message.data, dtype=np.uint8)
    data.flags.writeable = False
    if data.size < needed:
        raise ConversionError(
            f"image data is {data.size} bytes, {message.width}x{height} {message.encoding} needs {needed}"
        )
    if step == row_bytes:
        return data[:needed].reshape(height, row_bytes)
    return np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1), writeable=False)


def _nv21(message: Image) -> np.ndarray:
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise ConversionError(f"nv21 needs an even size, got {width}x{height}")
    return _recolour("COLOR_YUV2BGR_NV21")(_rows(message, height * 3 // 2, width))


def image_from_compressed(message: CompressedImage) -> np.ndarray:
    """Pixels of a JPEG or PNG image, uint8 ``(H, W, 3)`` bgr.

    Raises:
        ConversionError: the bytes are no picture that OpenCV can read.
    """
    import cv2

    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size == 0:
        raise ConversionError("compressed image is empty")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ConversionError(f"compressed image ({message.format!r}) cannot be decoded: {error}") from error
    if image is None:
        raise ConversionError(f"compressed image ({message.format!r}, {data.size} bytes) cannot be decoded")
    return image


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


def audio_from_message(message: AudioChunk) -> tuple[np.ndarray, int, int]:
    """Samples int16 ``(T, channels)``, sample rate in Hz, and the stamp of the first sample in ns.

    Raises:
        ConversionError: no channels, no rate, no samples, or samples that do not fill the channels evenly.
    """
    channels, rate = message.channels, message.sample_rate
    samples = np.frombuffer(message.samples, dtype=np.int16)
    if channels == 0:
        raise ConversionError("audio chunk says it has 0 channels")
    if not 1000 <= rate <= 768_000:
        raise ConversionError(f"audio chunk has a sample rate of {rate} Hz")
    if samples.size == 0:
        raise ConversionError("audio chunk is empty")
    if samples.size % channels:
        raise ConversionError(f"audio chunk has {samples.size} samples for {channels} channels")
    return samples.reshape(-1, channels), int(rate), stamp_to_ns(message.header.stamp)


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
    return VoiceObservation(
        stamp_to_ns(message.header.stamp),
        duration,
        message.voice_id,
        float(message.snr_db),
        bool(message.overlapped_speech),
        bool(message.final),
        estimate_from_message(message.emotion),
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


def state_to_record(message: EmotionStateMessage) -> dict[str, object]:
    """A state as a JSON-ready record, numbers rounded to what they are worth.

    Keys: ``stamp`` (s), ``status`` ("AUDIO_VISUAL" ...), ``label`` (lower-case name; empty with
    NO_EVIDENCE), ``confidence``,
    ``probabilities`` (8 numbers in the order of :data:`emotion_perception.emotions.EMOTIONS`), ``valence``,
    ``arousal``, ``latency_ms``, ``face_id``.
    """
    emotion = message.emotion
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


def _floats(values: np.ndarray) -> array.array[float]:
    return array.array("f", values.astype(np.float32).tobytes())
