"""Messages to the values of the core and back: pure functions, one for each type and direction.

Only :class:`ConversionError` is raised, whatever a message holds; its text says what is wrong. What reads images and
audio needs no ROS and lies in :mod:`emotion_perception.messages`, so that recordings are read by the same code.
"""

from emotion_perception.messages.compressed import image_from_compressed
from emotion_perception.messages.sensors import (
    IMAGE_ENCODINGS,
    ConversionError,
    audio_from_message,
    image_from_message,
    stamp_to_ns,
)
from emotion_perception.ros.conversions.audio import audio_to_message
from emotion_perception.ros.conversions.estimates import (
    action_units_to_message,
    estimate_from_message,
    estimate_to_expression,
    estimate_to_message,
    faces_from_message,
    faces_to_message,
    landmarks_to_message,
    voice_from_message,
    voice_to_message,
)
from emotion_perception.ros.conversions.images import box_to_roi, image_to_compressed, image_to_message, roi_to_box
from emotion_perception.ros.conversions.interaction import (
    alert_to_message,
    arc_to_message,
    outcome_to_message,
    running_from_message,
)
from emotion_perception.ros.conversions.persons import (
    person_from_message,
    person_to_message,
    persons_from_message,
    persons_to_message,
)
from emotion_perception.ros.conversions.stamps import duration_to_seconds, make_header, ns_to_stamp, seconds_to_duration
from emotion_perception.ros.conversions.states import (
    evidence_to_message,
    group_from_message,
    group_to_message,
    state_from_message,
    state_to_message,
    state_to_record,
    states_to_message,
)
from emotion_perception.types import SECOND

__all__ = [
    "IMAGE_ENCODINGS",
    "SECOND",
    "ConversionError",
    "action_units_to_message",
    "alert_to_message",
    "arc_to_message",
    "audio_from_message",
    "audio_to_message",
    "box_to_roi",
    "duration_to_seconds",
    "estimate_from_message",
    "estimate_to_expression",
    "estimate_to_message",
    "evidence_to_message",
    "faces_from_message",
    "faces_to_message",
    "group_from_message",
    "group_to_message",
    "image_from_compressed",
    "image_from_message",
    "image_to_compressed",
    "image_to_message",
    "landmarks_to_message",
    "make_header",
    "ns_to_stamp",
    "outcome_to_message",
    "person_from_message",
    "person_to_message",
    "persons_from_message",
    "persons_to_message",
    "roi_to_box",
    "running_from_message",
    "seconds_to_duration",
    "stamp_to_ns",
    "state_from_message",
    "state_to_message",
    "state_to_record",
    "states_to_message",
    "voice_from_message",
    "voice_to_message",
]
