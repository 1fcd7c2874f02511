"""The settings of the attention tracker."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_perception.attention.geometry import FACE_HEIGHT
from emotion_perception.settings import check_settings, setting


@dataclass(frozen=True)
class AttentionConfig:
    """The settings of :class:`AttentionTracker`; each is a ROS parameter of ``fusion_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    looking_angle: float = setting(
        12.0,
        "Angle between gaze and robot up to which a person looks at the robot. Larger takes more glances past the "
        "robot for looks at it.",
        2.0,
        45.0,
        "deg",
    )
    gaze_hold_s: float = setting(
        5.0,
        "Time after the last measurement of head pose and gaze from which the attention of a person is unknown. "
        "Larger bridges a low landmark_rate.",
        0.2,
        30.0,
        "s",
    )
    attention_window_s: float = setting(
        10.0, "Length of the observation window of the field attention of person_states.", 1.0, 120.0, "s"
    )
    engagement_distance: float = setting(
        3.6, "Distance up to which a look at the robot is engagement. Larger engages people further away.",
        0.5, 20.0, "m",
    )  # fmt: skip
    engage_after_s: float = setting(
        1.5, "Time from the first attention to ENGAGED. Larger engages fewer passers-by, later.", 0.5, 30.0, "s"
    )
    disengage_after_s: float = setting(
        2.0, "Time without attention from which an engaged person is DISENGAGING. Larger ignores longer glances away.",
        0.5, 30.0, "s",
    )  # fmt: skip
    face_height: float = setting(
        FACE_HEIGHT,
        "Mean height of a face as the detector boxes it, to estimate distance where there is no depth image. For "
        "children take 0.16.",
        0.1,
        0.4,
        "m",
    )

    def __post_init__(self) -> None:
        check_settings(self)
