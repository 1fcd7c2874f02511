"""Fused emotion states, of persons and of the group, to messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emotion_msgs.msg import EmotionState as EmotionStateMessage
from emotion_msgs.msg import EmotionStateArray, ModalityEvidence
from emotion_msgs.msg import GroupEmotion as GroupEmotionMessage
from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import json_number
from emotion_perception.messages.sensors import ConversionError, stamp_to_ns
from emotion_perception.ros.conversions.estimates import estimate_from_message, estimate_to_message
from emotion_perception.ros.conversions.stamps import duration_to_seconds, make_header, seconds_to_duration
from emotion_perception.types import SECOND, EmotionModality, EmotionState, EmotionStatus, Evidence

if TYPE_CHECKING:
    from emotion_perception.interaction.group import GroupEmotion


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
    ``arousal``, ``valence_deviation``, ``arousal_deviation`` (null where unknown), ``latency_ms``, ``face_id``.

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
        "valence_deviation": json_number(emotion.valence_deviation),
        "arousal_deviation": json_number(emotion.arousal_deviation),
        "latency_ms": round(1000 * duration_to_seconds(message.latency), 2),
        "face_id": message.face_id,
    }
