"""The settings of each node: those that the node itself reads, and those of the core configurations it uses.

They become the node's ROS parameters (:mod:`emotion_perception.ros.parameters`), ``docs/parameters.md`` and
``config/robot.yaml`` (:mod:`emotion_perception.ros.parameter_reference`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from emotion_perception.compliance.deployment import DeploymentSettings
from emotion_perception.messages.audio import DIALECTS, MAX_RATE
from emotion_perception.messages.samples import MAX_CHANNELS, SAMPLE_FORMATS
from emotion_perception.messages.stamps import SOURCES
from emotion_perception.settings import Setting, setting, settings_of

NODES = (
    "media_source_node",
    "visual_node",
    "acoustic_node",
    "fusion_node",
    "interaction_node",
    "overlay_node",
    "dashboard_node",
    "ros4hri_node",
)
IMAGE_TRANSPORTS = ("auto", "raw", "compressed")


def node_settings(node: str) -> tuple[Setting, ...]:
    """The settings of one of :data:`NODES`, without those that all nodes have (:class:`CommonSettings`).

    Core configurations are imported here, so that a node's process loads only what its own node needs.

    Raises:
        ValueError: there is no such node.
    """
    if node == "media_source_node":
        return settings_of(MediaSourceSettings)
    if node == "visual_node":
        inputs = settings_of(ImageInputSettings) + settings_of(StampSettings)
        return inputs + settings_of(PersonIdSettings) + _visual_settings()
    if node == "acoustic_node":
        from emotion_perception.acoustic.perception import AcousticConfig

        # A robot stays in its place; files are from anywhere, so the configuration's own default is off.
        acoustic = tuple(
            replace(item, default=1.0) if item.name == "place_adaptation" else item
            for item in settings_of(AcousticConfig)
        )
        return (
            settings_of(AudioInputSettings) + settings_of(StampSettings) + settings_of(AcousticNodeSettings) + acoustic
        )
    if node == "fusion_node":
        from emotion_perception.attention.config import AttentionConfig
        from emotion_perception.compliance.notice import NoticeSettings
        from emotion_perception.fusion.config import FusionConfig

        fusion = settings_of(FusionNodeSettings) + settings_of(PersonIdSettings) + settings_of(FusionConfig)
        return fusion + settings_of(AttentionConfig) + settings_of(NoticeSettings)
    if node == "interaction_node":
        from emotion_perception.interaction.context import ContextConfig
        from emotion_perception.interaction.conversation import ConversationConfig
        from emotion_perception.interaction.webhook import WebhookConfig

        configs = (DataDirectorySettings, InteractionNodeSettings, ConversationConfig, ContextConfig, WebhookConfig)
        return tuple(item for config in configs for item in settings_of(config))
    if node == "overlay_node":
        return settings_of(ImageInputSettings) + settings_of(StampSettings) + settings_of(OverlaySettings)
    if node == "dashboard_node":
        inputs = settings_of(ImageInputSettings) + settings_of(AudioInputSettings) + settings_of(StampSettings)
        return settings_of(DataDirectorySettings) + settings_of(DashboardSettings) + inputs
    if node == "ros4hri_node":
        shared = ("emotion_prior", "expression_model", "expression_hold_s", "expression_slip")
        return tuple(item for item in _visual_settings() if item.name in shared) + settings_of(Ros4hriSettings)
    raise ValueError(f"there is no node {node!r}; there are {', '.join(NODES)}")


def _visual_settings() -> tuple[Setting, ...]:
    from emotion_perception.visual.perception import VisualConfig

    return settings_of(VisualConfig)


@dataclass(frozen=True)
class CommonSettings(DeploymentSettings):
    """What every node has."""

    autostart: bool = setting(True, "Configure and activate the node at start. false: a life-cycle manager does that.")
    diagnostics_period: float = setting(1.0, "Time between two messages on /diagnostics.", 0.1, 60.0, "s")


@dataclass(frozen=True)
class MediaSourceSettings:
    """``media_source_node``."""

    source: str = setting(
        "",
        "What to play: a video, sound or image file, a rosbag2 recording, webcam, webcam:N, or microphone. Usually "
        "given as the launch argument source.",
    )
    loop: bool = setting(False, "Repeat a file endlessly; stamps continue.")
    replay: str = setting(
        "now",
        "Time of a recording. now: as if it were captured now. recorded: with the recorded stamps, and with /clock for "
        "use_sim_time; at a repetition the clock jumps back. The launch file sets this where use_sim_time is true.",
        choices=("now", "recorded"),
    )
    rate: float = setting(
        1.0,
        "Speed of a recording relative to real time, with replay: recorded. Larger finds out what the computer can "
        "keep up with.",
        0.1,
        100.0,
    )
    recorded_image_topic: str = setting("", "Image topic of a recording. Empty: found by its type.")
    recorded_audio_topic: str = setting("", "Audio topic of a recording. Empty: found by its type.")
    duration: float = setting(
        0.0,
        "Length of media to play; a shorter file is repeated. 0: the length of the file.",
        0.0,
        1e6,
        "s",
    )
    at_end: str = setting(
        "stay",
        "What the process does at the end, or if the source cannot be read. stay: report it in the log and on "
        "/diagnostics. exit: end.",
        choices=("stay", "exit"),
    )
    wait_for_nodes: str = setting(
        "", "Names of nodes, separated by commas, that must subscribe to image_raw or audio before playing starts."
    )
    wait_at_most: float = setting(60.0, "Time to wait for these nodes; then playing starts anyway.", 0.0, 600.0, "s")
    width: int = setting(
        640,
        "Image width requested from a webcam. More pixels show more distant faces and cost copying. 0: its default.",
        0,
        8192,
        "px",
    )
    height: int = setting(480, "Image height requested from a webcam. 0: its default.", 0, 8192, "px")
    fps: float = setting(
        25.0, "Frame rate requested from a webcam, and rate at which an image file is repeated.", 0.1, 240.0, "Hz"
    )
    webcam_sound: bool = setting(True, "Open the default microphone together with a webcam.")
    camera_frame_id: str = setting("camera_optical_frame", "TF frame in the headers of images.")
    microphone_frame_id: str = setting("microphone", "TF frame in the headers of audio.")


@dataclass(frozen=True)
class ImageInputSettings:
    """How a node receives images: ``visual_node``, ``overlay_node``, ``dashboard_node``."""

    image_transport: str = setting(
        "auto",
        "How the camera publishes its images. auto: whatever is published, raw first. raw: sensor_msgs/Image on "
        "image_raw. compressed: sensor_msgs/CompressedImage on image_raw/compressed (JPEG, PNG, H.264, HEVC), "
        "FFMPEGPacket on image_raw/ffmpeg or foxglove_msgs/CompressedVideo on image_raw/foxglove; less bandwidth, more "
        "CPU. Each type is also received on image_raw itself.",
        choices=IMAGE_TRANSPORTS,
    )


@dataclass(frozen=True)
class StampSettings:
    """Which clock a stream's stamps are taken from: every node that receives images or audio."""

    stamp_source: str = setting(
        "auto",
        "Capture time of images and audio. header: as the driver stamps them. arrival: when they arrive. auto: as the "
        "driver stamps them, corrected by the offset between the clocks if they differ from this computer's clock by "
        "more than 1 s. Messages with stamp 0 are stamped on arrival.",
        choices=SOURCES,
    )


@dataclass(frozen=True)
class AudioInputSettings:
    """How a node receives audio: ``acoustic_node``, ``dashboard_node``."""

    audio_format: str = setting(
        "auto",
        "Message type of the audio topic. auto: the type that is published there; with AudioData, AudioDataStamped on "
        "<topic>_stamped is preferred. AudioStamped belongs to mgonzs13's audio_common, AudioData and AudioDataStamped "
        "to ros-drivers' (start its capture node with format:=wave). See audio.md.",
        choices=("auto", *DIALECTS),
    )
    audio_sample_rate: int = setting(
        0,
        "Sample rate of AudioData and AudioDataStamped, which do not contain it. 0: from AudioInfo on <topic>_info.",
        0,
        MAX_RATE,
        "Hz",
    )
    audio_channels: int = setting(
        0, "Number of channels of AudioData and AudioDataStamped. 0: from AudioInfo.", 0, MAX_CHANNELS
    )
    audio_sample_format: str = setting(
        "",
        "Sample format of AudioData and AudioDataStamped, as GStreamer names it. Empty: from AudioInfo.",
        choices=("", *SAMPLE_FORMATS),
    )


@dataclass(frozen=True)
class AcousticNodeSettings:
    """``acoustic_node``, beyond ``AcousticConfig``."""

    mute_while_robot_speaks: bool = setting(
        True,
        "Ignore audio while /robot_speaking (std_msgs/Bool) is true: the robot's own voice is no evidence.",
        dynamic=True,
    )
    mute_tail: float = setting(
        0.3,
        "Time for which audio is still ignored after the robot has spoken. Larger is safer in reverberant rooms and "
        "misses quick answers.",
        0.0,
        10.0,
        "s",
        dynamic=True,
    )

    place_file: str = setting(
        "",
        "File in which the adaptation to the place is kept between runs: 17 numbers, no sound. emotion-calibrate also "
        "writes such a file. Empty: it is learnt anew at each start.",
    )
    place_calibration_s: float = setting(
        45.0, "Speech that the service ~/calibrate_place waits for before it sets the place.", 10.0, 600.0, "s"
    )


@dataclass(frozen=True)
class PersonIdSettings:
    """Whose face and voice it is: ``visual_node``, ``fusion_node``."""

    use_person_ids: bool = setting(
        True,
        "Take person ids, and the face and voice of each person, from /humans/persons if hri_msgs is installed.",
    )


@dataclass(frozen=True)
class FusionNodeSettings:
    """``fusion_node``, beyond ``FusionConfig``."""

    rate: float = setting(
        10.0,
        "Minimum rate of emotion_state, also without evidence, and the rate of emotion_states and group_emotion.",
        0.5,
        100.0,
        "Hz",
    )
    max_rate: float = setting(
        60.0,
        "Maximum rate of emotion_state, which is published at once when evidence arrives.",
        0.5,
        1000.0,
        "Hz",
        dynamic=True,
    )
    expression_model: str = setting(
        "expression.onnx",
        "Face classifier of visual_node, whose reliability fusion_model states: a path, or the name of a model in the "
        "package. Empty: assume full reliability.",
    )
    voice_model: str = setting("voice.onnx", "Voice classifier of acoustic_node; likewise.")
    fusion_model: str = setting(
        "fusion.yaml",
        "Reliability of the two classifiers, measured by `emotion-train fusion`: a path, or the name of a file in the "
        "package. Empty: assume full reliability.",
    )
    transcript_type: str = setting(
        "String",
        "Message type of the topic transcript (English speech as text): String (std_msgs), LiveSpeech (hri_msgs) or "
        "off. Needs the package vaderSentiment.",
        choices=("String", "LiveSpeech", "off"),
    )
    horizontal_fov: float = setting(
        60.0,
        "Horizontal field of view of the camera, to compare face positions with sound_direction. Used only if "
        "camera_info has no calibration.",
        5.0,
        170.0,
        "deg",
        dynamic=True,
    )

    robot_head_frame: str = setting(
        "",
        "TF frame of the robot's head, at which people look if they look at the robot. Empty: the camera, which is "
        "right for a camera in or near the head. Needs tf2_ros and a transform to the TF frame of the images.",
    )
    depth_topic: str = setting(
        "",
        "Topic of a depth image (sensor_msgs/Image, 16UC1 or 32FC1) that is registered to the images of visual_node, "
        "for the distance of people. Empty: distance from the height of faces.",
    )


@dataclass(frozen=True)
class DataDirectorySettings:
    """Where the choice made on the web page is kept: ``interaction_node``, ``dashboard_node``."""

    data_directory: str = setting(
        "~/.local/share/emotion_perception",
        "Folder, the same for interaction_node and dashboard_node, of the choice made on the web page: whether numbers "
        "about conversations are kept, and for how long. They are stored in its folder conversations. Not used where "
        "directory (of interaction_node) or conversations_directory (of dashboard_node) is set. Empty: the page offers "
        "no choice.",
    )


@dataclass(frozen=True)
class InteractionNodeSettings:
    """``interaction_node``, beyond ``ConversationConfig``."""

    arc_period: float = setting(1.0, "Time between two messages on interaction/arc.", 0.1, 60.0, "s")
    context_period: float = setting(0.5, "Time between two messages on emotion_context.", 0.1, 60.0, "s")


@dataclass(frozen=True)
class OverlaySettings:
    """``overlay_node``."""

    show_scores: bool = setting(True, "Show confidences next to the labels.", dynamic=True)
    show_bars: bool = setting(True, "Show the eight probabilities as bars.", dynamic=True)
    jpeg_quality: int = setting(
        80, "JPEG quality of emotion/image_annotated/compressed. Larger is sharper and takes more bandwidth.",
        1, 100, dynamic=True,
    )  # fmt: skip
    label_frame: str = setting(
        "camera",
        "TF frame of the labels on emotion/markers. camera: the frame of the image, at a distance estimated from the "
        "height of the face. face: the frame face_<id>, which a ROS4HRI face detector publishes.",
        choices=("camera", "face"),
        dynamic=True,
    )
    label_size: float = setting(0.1, "Height of the letters of a label.", 0.01, 2.0, "m", dynamic=True)
    horizontal_fov: float = setting(
        60.0,
        "Horizontal field of view of the camera, to place labels. Used only if camera_info has no calibration.",
        5.0,
        170.0,
        "deg",
        dynamic=True,
    )


@dataclass(frozen=True)
class DashboardSettings:
    """``dashboard_node``."""

    address: str = setting(
        "127.0.0.1",
        "Address to listen on. The default serves this machine only; 0.0.0.0 serves every network. Anything but "
        "loopback needs a token.",
    )
    port: int = setting(8080, "Port to listen on. 0: any free port.", 0, 65535)
    token_file: str = setting(
        "",
        "Text file, readable for the robot's user only (mode 0600), with the secret of at least 16 characters that "
        "visitors must know: python3 -c 'import secrets; print(secrets.token_urlsafe())'. Empty: token, or the "
        "environment variable EMOTION_DASHBOARD_TOKEN; without any of them only loopback is served.",
    )
    token: str = setting("", "The secret itself. Other users can read parameters and command lines: use token_file.")
    tls_certificate: str = setting("", "PEM file of the certificate for https. Empty: plain http.")
    tls_key: str = setting("", "PEM file of the private key. Empty: the key is in tls_certificate.")
    trusted_proxies: str = setting(
        "",
        "Addresses of reverse proxies, separated by commas. X-Forwarded-For and X-Forwarded-Proto are believed only "
        "from these.",
    )
    allowed_hosts: str = setting(
        "", "Further host names of this machine, separated by commas. Requests for other host names are refused."
    )
    video: bool = setting(True, "Show the camera image on the page.")
    video_fps: float = setting(12.0, "Maximum frame rate on the page.", 0.5, 30.0, "Hz")
    video_width: int = setting(640, "Wider images are scaled down to this width.", 64, 1920, "px")
    video_quality: int = setting(70, "JPEG quality of the images on the page.", 1, 100)
    max_mbit: float = setting(
        20.0,
        "Bandwidth of the video for all viewers together; with more viewers the frame rate of each falls.",
        0.1,
        1000.0,
        "Mbit/s",
    )
    conversations_directory: str = setting(
        "", "Folder of interaction_node's parameter directory, to list conversations and export reports. Empty: none."
    )
    place_name: str = setting(
        "", "Name of this robot or its place in the file that the page exports for others. Empty: the host's name."
    )
    other_places: str = setting(
        "",
        "Further places on the page, as name=folder, separated by commas: folders of conversations on this machine, or "
        "data sets of emotion-archive.",
    )
    imported_places_directory: str = setting(
        "", "Folder for files that other robots' pages exported and visitors import here. Empty: no imports."
    )
    uploads: bool = setting(True, "Let visitors analyse their own images, videos and sound files; nothing is kept.")
    max_upload_mb: float = setting(50.0, "Maximum size of such a file.", 1.0, 500.0, "MB")
    store_corrections: bool = setting(
        False,
        "true: the people in view consented that their face or voice is stored when somebody corrects an emotion.",
    )
    corrections_directory: str = setting("", "Folder of the corrections; required with store_corrections.")
    corrections_retention_days: float = setting(90.0, "Age at which corrections are deleted.", 0.04, 3650.0, "days")
    corrections_max_mb: float = setting(500.0, "Size of the folder from which no more are stored.", 1.0, 1e6, "MB")
    learning_data_directory: str = setting(
        "",
        "Folder of the base data that a training started on the page rehearses: ferplus.npz for faces, speech corpora "
        "for voices. Empty: the page cannot start one.",
    )
    store_pictures: bool = setting(
        False,
        "true: the people in view consented that small images of their face are stored during conversations, for "
        "reports.",
    )
    pictures_directory: str = setting("", "Folder of these images; required with store_pictures.")
    pictures_retention_days: float = setting(30.0, "Age at which these images are deleted.", 0.04, 3650.0, "days")
    pictures_max_mb: float = setting(200.0, "Size of the folder from which no more are stored.", 1.0, 1e6, "MB")


@dataclass(frozen=True)
class Ros4hriSettings:
    """``ros4hri_node``, beyond what it shares with ``VisualConfig``."""

    min_quality: float = setting(
        0.1, "A face crop of this quality or less (small, blurred, dark) is not classified.", 0.0, 0.49
    )
    max_tracked: int = setting(30, "Maximum number of tracked faces that are classified.", 1, 100)
    publish_engagement: bool = setting(
        True,
        "Publish fusion_node's person_states on /humans/persons/<id>/engagement_status and "
        "/humans/interactions/gazing. false: another node does, such as hri_engagement.",
    )
