"""Parameters as data: one table a node, from which declarations, checks and the reference page are made.

``python -m emotion_perception.ros.parameters > docs/parameters.md`` writes the reference page. Where a parameter is a
field of a core configuration, its default is that field's: the core stays the only source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from emotion_perception.messages.audio import DIALECTS, MAX_RATE
from emotion_perception.messages.samples import MAX_CHANNELS, SAMPLE_FORMATS
from emotion_perception.settings import Setting, Value, settings_of

Config = TypeVar("Config")


def Parameter(
    name: str,
    default: Value,
    description: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    dynamic: bool = False,
) -> Setting:
    return Setting(name, default, description, low, high, unit, choices, dynamic=dynamic)


def descriptor(setting: Setting) -> ParameterDescriptor:
    """What ``ros2 param describe`` shows. A double also takes ``10``, which ROS reads as an integer."""
    constraints = ["Takes effect at once." if setting.dynamic else "Read when the node is configured."]
    if setting.choices:
        constraints.insert(0, f"One of: {', '.join(choice or 'nothing' for choice in setting.choices)}.")
    if setting.unit:
        constraints.insert(0, f"Unit: {setting.unit}.")
    made = ParameterDescriptor(
        description=setting.description,
        additional_constraints=" ".join(constraints),
        dynamic_typing=isinstance(setting.default, float),
    )
    # ROS can only describe a range with both ends; a one-sided one is checked all the same.
    if setting.minimum is not None and setting.maximum is not None:
        low, high = setting.minimum, setting.maximum
        if isinstance(setting.default, float):
            made.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            made.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=setting.step)]
    return made


class NodeParameters:
    """A node's declared parameters: read them by name, change them only to what the table allows."""

    def __init__(self, node: Node, table: Iterable[Setting]) -> None:
        self._node = node
        self._table = {parameter.name: parameter for parameter in table}
        self.frozen = False  # while configured, parameters that are read at configure cannot change
        # Before the declarations, so that a value given at start is checked with a reason too.
        node.add_on_set_parameters_callback(self._check)
        for parameter in self._table.values():
            node.declare_parameter(parameter.name, parameter.default, descriptor(parameter))

    def __getitem__(self, name: str) -> Any:
        """The value now, of the type of its default."""
        return type(self._table[name].default)(self._node.get_parameter(name).value)

    def config(self, config_class: type[Config], **changes: Any) -> Config:
        """A core configuration from the parameters that bear its fields' names; the others keep their defaults.

        An empty text also keeps the core's default.

        Raises:
            ValueError: the core refuses the values together.
        """
        values: dict[str, Any] = {}
        for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
            if field.name in self._table and self[field.name] != "":
                values[field.name] = self[field.name]
        return config_class(**(values | changes))

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        for change in changes:
            parameter = self._table.get(change.name)
            if parameter is None:  # use_sim_time, qos_overrides.*: rclpy's own
                continue
            reason = parameter.problem(change.value)
            if reason is None and self.frozen and not parameter.dynamic:
                reason = "is read when the node is configured; deactivate and clean up the node first"
            if reason is not None:
                return SetParametersResult(successful=False, reason=f"{change.name} {reason}")
        return SetParametersResult(successful=True)


# --- the tables ---------------------------------------------------------------------------------------------------

COMMON = (
    Parameter("autostart", True, "Configure and activate the node by itself; false leaves that to a manager."),
    Parameter("diagnostics_period", 1.0, "Time between two messages on /diagnostics.", unit="s", low=0.1, high=60.0),
)


MEDIA_SOURCE = (
    Parameter("source", "", "A video, audio or image file, a rosbag2 recording, webcam, webcam:N, or microphone."),
    Parameter("loop", False, "Play a file again and again; stamps go on."),
    Parameter(
        "replay",
        "now",
        "In what time a recording plays. now: as if it were captured now; recorded: under its own stamps and with "
        "/clock, for use_sim_time; a loop then sets the clock back.",
        choices=("now", "recorded"),
    ),
    Parameter("rate", 1.0, "How many times as fast as it was, with replay: recorded.", low=0.1, high=100.0),
    Parameter("recorded_image_topic", "", "Camera topic of a recording; empty: found by type."),
    Parameter("recorded_audio_topic", "", "Microphone topic of a recording; empty: found by type."),
    Parameter(
        "duration",
        0.0,
        "End after this much media, playing a file again while it is shorter; 0: at the file's end.",
        unit="s",
        low=0.0,
        high=1e6,
    ),
    Parameter(
        "at_end",
        "stay",
        "At the end, or where the source cannot be read: stay (a robot's log and diagnostics say so) or exit.",
        choices=("stay", "exit"),
    ),
    Parameter(
        "wait_for_nodes",
        "",
        "Hold the start until these nodes (names with commas between) listen to image_raw or audio; empty: do not.",
    ),
    Parameter("wait_at_most", 60.0, "Start without them after this long.", unit="s", low=0.0, high=600.0),
    Parameter("width", 640, "Picture width asked of a webcam; 0: its own.", unit="px", low=0, high=8192),
    Parameter("height", 480, "Picture height asked of a webcam; 0: its own.", unit="px", low=0, high=8192),
    Parameter("fps", 25.0, "Rate asked of a webcam, and rate at which an image file is repeated.", "Hz", 0.1, 240.0),
    Parameter("webcam_sound", True, "Open the default microphone together with a webcam."),
    Parameter("camera_frame_id", "camera_optical_frame", "TF frame written into image headers."),
    Parameter("microphone_frame_id", "microphone", "TF frame written into audio headers."),
)

OVERLAY = (
    Parameter("show_scores", True, "Write confidences beside the labels.", dynamic=True),
    Parameter("show_bars", True, "Draw the eight probabilities as bars.", dynamic=True),
    Parameter("jpeg_quality", 80, "Quality of the compressed annotated image.", low=1, high=100, dynamic=True),
    Parameter(
        "label_frame",
        "camera",
        "Where the labels on emotion/markers stand. camera: in the image's frame, at a distance told by the face's "
        "height; face: above the TF frame face_<id>, where a ROS4HRI face detector publishes those.",
        choices=("camera", "face"),
        dynamic=True,
    ),
    Parameter("label_size", 0.1, "Height of a label's letters.", unit="m", low=0.01, high=2.0, dynamic=True),
    Parameter(
        "horizontal_fov",
        60.0,
        "How wide the camera looks, for labels; used only where its camera_info tells no calibration.",
        unit="deg",
        low=5.0,
        high=170.0,
        dynamic=True,
    ),
)

ROS4HRI = (
    Parameter(
        "expression_model",
        "expression.safetensors",
        "Weights of the face-expression classifier; a path, or a name in the package.",
    ),
    Parameter(
        "expression_hold_s",
        0.35,
        "Time scale of the filter over a face's crops; larger is steadier and slower; 0: none.",
        unit="s",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "expression_slip",
        0.2,
        "Chance that a crop says nothing about the expression (a blink); smaller lets a single sure one decide.",
        low=0.01,
        high=0.9,
    ),
    Parameter("min_quality", 0.1, "Of a crop of this quality or less nothing is said.", low=0.0, high=0.49),
    Parameter("max_tracked", 30, "Only so many of the tracked faces are looked at.", low=1, high=100),
)

_DASHBOARD = (
    Parameter("address", "127.0.0.1", "Address to listen on; anything but loopback needs a token."),
    Parameter("port", 8080, "Port to listen on; 0: any that is free.", low=0, high=65535),
    Parameter("token", "", "Secret that visitors must know, 16 characters or more; empty: none, on loopback alone."),
    Parameter(
        "allowed_hosts", "", "More names by which browsers reach this machine, with commas between; others are refused."
    ),
    Parameter("video", True, "Show the camera's picture to whoever watches."),
    Parameter("video_fps", 12.0, "Pictures shown per second, at most.", unit="Hz", low=0.5, high=30.0),
    Parameter("video_width", 640, "Larger pictures are made smaller.", unit="px", low=64, high=1920),
    Parameter("video_quality", 70, "JPEG quality of the pictures.", low=1, high=100),
    Parameter(
        "max_mbit",
        20.0,
        "Bandwidth of the pictures for all viewers together; with more viewers each gets fewer.",
        unit="Mbit/s",
        low=0.1,
        high=1000.0,
    ),
    Parameter(
        "conversations_directory", "", "Folder of interaction_node's directory, to list and export; empty: none."
    ),
    Parameter("uploads", True, "Let visitors try a picture, clip or sound of their own; nothing of it is kept."),
    Parameter("max_upload_mb", 50.0, "Largest file that is taken.", unit="MB", low=1.0, high=500.0),
    Parameter(
        "store_corrections",
        False,
        "People in view consented that faces and voices are stored where somebody corrects an emotion.",
    ),
    Parameter("corrections_directory", "", "Where corrections are stored; needed with store_corrections."),
    Parameter(
        "corrections_retention_days", 90.0, "Corrections are deleted after this.", unit="days", low=0.04, high=3650.0
    ),
    Parameter("corrections_max_mb", 500.0, "No more corrections are taken beyond.", unit="MB", low=1.0, high=1e6),
    Parameter(
        "store_pictures",
        False,
        "People in view consented that small pictures of their face are stored during conversations, for reports.",
    ),
    Parameter("pictures_directory", "", "Where these pictures are stored; needed with store_pictures."),
    Parameter("pictures_retention_days", 30.0, "Pictures are deleted after this.", unit="days", low=0.04, high=3650.0),
    Parameter("pictures_max_mb", 200.0, "No more pictures are taken beyond.", unit="MB", low=1.0, high=1e6),
)

_VISUAL = (
    Parameter(
        "image_transport",
        "raw",
        "raw: sensor_msgs/Image on image_raw; compressed: sensor_msgs/CompressedImage on image_raw/compressed.",
        choices=("raw", "compressed"),
    ),
)

_ACOUSTIC = (
    Parameter(
        "audio_format",
        "auto",
        "The message that carries the sound. auto takes what is published on the topic, as soon as it is, and with "
        "AudioData prefers AudioDataStamped on <topic>_stamped. AudioStamped is mgonzs13's audio_common, AudioData and "
        "AudioDataStamped are ros-drivers'. See audio.md.",
        choices=("auto", *DIALECTS),
    ),
    Parameter(
        "audio_sample_rate",
        0,
        "Rate of AudioData and AudioDataStamped, which do not tell it; 0: as AudioInfo on <topic>_info says.",
        unit="Hz",
        low=0,
        high=MAX_RATE,
    ),
    Parameter("audio_channels", 0, "Channels of the same; 0: as AudioInfo says.", low=0, high=MAX_CHANNELS),
    Parameter(
        "audio_sample_format",
        "",
        "Sample format of the same, in GStreamer's words; empty: as AudioInfo says.",
        choices=("", *SAMPLE_FORMATS),
    ),
    Parameter(
        "mute_while_robot_speaks",
        True,
        "Do not listen while /robot_speaking (std_msgs/Bool) is true: the robot's own voice is no evidence.",
        dynamic=True,
    ),
    Parameter(
        "mute_tail", 0.3, "Stay deaf this long after the robot's last word.", unit="s", low=0.0, high=10.0, dynamic=True
    ),
)

_FUSION = (
    Parameter(
        "rate", 10.0, "Least rate of emotion_state, and the rate of emotion_states and group_emotion.", "Hz", 0.5, 100.0
    ),
    Parameter(
        "max_rate", 60.0, "Greatest rate at which new evidence is published at once.", "Hz", 0.5, 1000.0, dynamic=True
    ),
    Parameter(
        "expression_model",
        "expression.safetensors",
        "Face classifier of visual_node, whose reliability fusion_model states: a path, or the name of a model in the "
        "package. Empty: assume full reliability.",
    ),
    Parameter("voice_model", "voice.safetensors", "Voice classifier of acoustic_node; likewise."),
    Parameter(
        "fusion_model",
        "fusion.yaml",
        "Reliability of the two classifiers, measured by `emotion-train fusion`: a path, or the name of a file in the "
        "package. Empty: assume full reliability.",
    ),
    Parameter(
        "transcript_type",
        "String",
        "Message on the topic transcript, what people say in English: String (std_msgs), LiveSpeech (hri_msgs) or off. "
        "It needs the package vaderSentiment.",
        choices=("String", "LiveSpeech", "off"),
    ),
    Parameter(
        "use_person_ids",
        True,
        "Take persons' ids, and which face and voice are theirs, from /humans/persons where hri_msgs is installed.",
    ),
    Parameter(
        "horizontal_fov",
        60.0,
        "How wide the camera looks, to compare faces with sound_direction; for a camera_info without calibration.",
        unit="deg",
        low=5.0,
        high=170.0,
        dynamic=True,
    ),
)


_INTERACTION = (
    Parameter("arc_period", 1.0, "Time between two messages on interaction/arc.", unit="s", low=0.1, high=60.0),
)


def visual_parameters() -> tuple[Setting, ...]:
    """Those of ``visual_node``."""
    from emotion_perception.visual.perception import VisualConfig

    return _VISUAL + settings_of(VisualConfig)


def acoustic_parameters() -> tuple[Setting, ...]:
    """Those of ``acoustic_node``."""
    from emotion_perception.acoustic.perception import AcousticConfig

    return _ACOUSTIC + settings_of(AcousticConfig)


def fusion_parameters() -> tuple[Setting, ...]:
    """Those of ``fusion_node``."""
    from emotion_perception.fusion.engine import FusionConfig

    return _FUSION + settings_of(FusionConfig)


def interaction_parameters() -> tuple[Setting, ...]:
    """Those of ``interaction_node``."""
    from emotion_perception.interaction.conversation import ConversationConfig

    return _INTERACTION + settings_of(ConversationConfig)


def dashboard_parameters() -> tuple[Setting, ...]:
    """Those of ``dashboard_node``; sound is heard as by ``acoustic_node``."""
    return _DASHBOARD + tuple(parameter for parameter in _ACOUSTIC if parameter.name.startswith("audio_"))


def tables() -> dict[str, tuple[Setting, ...]]:
    """Every node's own parameters, by executable."""
    return {
        "media_source_node": MEDIA_SOURCE,
        "visual_node": visual_parameters(),
        "acoustic_node": acoustic_parameters(),
        "fusion_node": fusion_parameters(),
        "interaction_node": interaction_parameters(),
        "overlay_node": OVERLAY,
        "dashboard_node": dashboard_parameters(),
        "ros4hri_node": ROS4HRI,
    }


def reference_page() -> str:
    """All parameters as a Markdown page."""
    lines = [
        "# Parameters",
        "",
        "Made by `python -m emotion_perception.ros.parameters > docs/parameters.md`; do not edit by hand.",
        "",
        "Set them in the parameter file of your robot (`config/robot.yaml` is the commented example) or with",
        "`--ros-args -p name:=value`. *At once*: a change takes effect in the running node. Otherwise it is read when",
        "the node is configured, and a change is refused, with this reason, while the node is configured. Quality of",
        "service: `qos_overrides.<topic>.<publisher|subscription>.<history|depth|reliability|durability>`.",
    ]
    for node, table in {"All nodes": COMMON, **tables()}.items():
        lines += ["", f"## {node}", "", "| name | type | default | allowed | unit | at once | what it does |"]
        lines.append("|---|---|---|---|---|---|---|")
        for item in table:
            default = f"`{str(item.default).lower() if isinstance(item.default, bool) else item.default}`"
            cells = (
                f"`{item.name}`",
                item.type_name,
                default if item.default != "" else "",
                item.allowed,
                item.unit,
                "yes" if item.dynamic else "",
                item.description,
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference_page(), end="")
