"""Attention and engagement of persons to messages and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emotion_msgs.msg import PersonState as PersonStateMessage
from emotion_msgs.msg import PersonStateArray
from emotion_perception.messages.sensors import ConversionError, stamp_to_ns
from emotion_perception.ros.conversions.stamps import make_header
from emotion_perception.types import DistanceZone, Engagement, PersonState


def person_to_message(state: PersonState, frame_id: str = "") -> PersonStateMessage:
    """The attention of one person as a message."""
    return PersonStateMessage(
        header=make_header(state.stamp_ns, frame_id),
        person_id=state.person_id,
        face_id=state.face_id,
        is_partner=state.is_partner,
        engagement=int(state.engagement),
        looking=float(state.looking),
        attention=float(state.attention),
        looking_duration=float(state.looking_duration),
        distance=float(state.distance),
        zone=int(state.zone),
        approach_speed=float(state.approach_speed),
        speaking=float(state.speaking),
    )


def persons_to_message(states: Sequence[PersonState], now_ns: int, frame_id: str = "") -> PersonStateArray:
    """Everybody's attention; the array's stamp is the newest of theirs, or ``now_ns`` where there is none."""
    newest = max((state.stamp_ns for state in states), default=now_ns)
    return PersonStateArray(
        header=make_header(newest, frame_id), states=[person_to_message(state, frame_id) for state in states]
    )


def person_from_message(message: PersonStateMessage) -> PersonState:
    """The attention in a message.

    Raises:
        ConversionError: a level or zone that does not exist, or a value out of its range.
    """
    try:
        engagement, zone = Engagement(message.engagement), DistanceZone(message.zone)
    except ValueError as error:
        raise ConversionError(str(error)) from error
    for name in ("looking", "attention", "speaking"):
        value = getattr(message, name)
        if not (math.isnan(value) or 0 <= value <= 1):
            raise ConversionError(f"{name} is {value}, not in 0..1")
    for name in ("looking_duration", "distance", "approach_speed"):
        value = getattr(message, name)
        if math.isinf(value) or (value < 0 and name != "approach_speed"):
            raise ConversionError(f"{name} is {value}")
    if math.isnan(message.looking_duration):
        raise ConversionError("looking_duration is nan")
    return PersonState(
        stamp_to_ns(message.header.stamp),
        message.person_id,
        message.face_id,
        bool(message.is_partner),
        engagement,
        float(message.looking),
        float(message.attention),
        float(message.looking_duration),
        float(message.distance),
        zone,
        float(message.approach_speed),
        float(message.speaking),
    )


def persons_from_message(message: PersonStateArray) -> tuple[PersonState, ...]:
    """Everybody's attention.

    Raises:
        ConversionError: see :func:`person_from_message`.
    """
    return tuple(person_from_message(state) for state in message.states)
