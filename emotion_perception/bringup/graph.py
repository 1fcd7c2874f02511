"""The graph: nodes with their names, remappings and parameters.

``launch/robot.launch.py`` and ``emotion-bringup`` both start the nodes listed here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emotion_perception.compliance.deployment import DEPLOYMENT_CONTEXTS, check_deployment
from emotion_perception.priors import parse_prior
from emotion_perception.ros.node_settings import IMAGE_TRANSPORTS
from emotion_perception.visual.config import ROTATIONS


@dataclass(frozen=True)
class Argument:
    """An argument of both launch and ``emotion-bringup``."""

    default: str
    description: str
    choices: tuple[str, ...] = ()


TRUE_FALSE = ("true", "false")
CONTAINER = "node_container"  # the executable that runs several nodes
ARGUMENTS: dict[str, Argument] = {
    "source": Argument(
        "",
        "Source for media_source_node: a video, audio or image file, a rosbag2 recording (with use_sim_time: in "
        "recorded time, with /clock), webcam, webcam:N or microphone. "
        "Empty: the robot's own drivers publish images and audio, and media_source_node is not started.",
    ),
    "loop": Argument("false", "Repeat a file or recording until stopped.", TRUE_FALSE),
    "image_topic": Argument("image_raw", "Camera topic, as its raw images have it; see image_transport."),
    "image_transport": Argument(
        "",
        "raw: sensor_msgs/Image. compressed: JPEG, PNG or video, on <image_topic>/compressed, /ffmpeg, /foxglove or on "
        "image_topic itself. auto: whatever is published. Empty: as the parameter file says, auto by default.",
        ("", *IMAGE_TRANSPORTS),
    ),
    "image_rotation": Argument(
        "",
        "Rotation in degrees clockwise that makes the camera's images upright. auto: found from faces. Empty: as the "
        "parameter file says, 0 by default.",
        ("", *ROTATIONS),
    ),
    "image_mirror": Argument(
        "", "The camera's images are mirrored. Empty: as the parameter file says, false by default.", ("", *TRUE_FALSE)
    ),
    "audio_topic": Argument(
        "audio", "Audio topic: emotion_msgs/AudioChunk, either audio_common_msgs package, or foxglove_msgs/RawAudio."
    ),
    "depth_topic": Argument(
        "", "Topic of a depth image registered to the camera's, for the distance of people. Empty: from face size."
    ),
    "robot_head_frame": Argument(
        "", "TF frame of the robot's head, if it is not near the camera: people who look there look at the robot."
    ),
    "namespace": Argument("", "Namespace of all nodes and topics, for several robots or people on one network."),
    "config": Argument("", "Parameter file. Empty: config/robot.yaml of the package."),
    "emotion_prior": Argument(
        "",
        "How often each emotion is assumed to occur: balanced, service, web, or eight numbers such as "
        "neutral=0.3,calm=0.1,...; see docs/fusion.md. Empty: the parameter file's.",
    ),
    "deployment_context": Argument(
        "",
        "Where the robot is used; workplace (emotions of staff) and education (of pupils) are refused unless "
        "deployment_reason is given (docs/compliance.md). Empty: as the parameter file says.",
        ("", *DEPLOYMENT_CONTEXTS),
    ),
    "deployment_reason": Argument(
        "", "Medical or safety reason, in words, for deployment_context workplace or education; it is logged."
    ),
    "audit_log": Argument("", "File of the audit log. Empty: as the parameter file says, none by default."),
    "overlay": Argument("true", "Start overlay_node; it draws only while its topics have subscribers.", TRUE_FALSE),
    "interaction": Argument("false", "Start interaction_node: conversations, arcs and reports.", TRUE_FALSE),
    "dashboard": Argument("false", "Start dashboard_node: web page at http://127.0.0.1:8080.", TRUE_FALSE),
    "port": Argument("", "Port of the web page. Empty: as the parameter file says, 8080 by default."),
    "ros4hri": Argument(
        "false",
        "Start ros4hri_node: expressions of faces tracked by a ROS4HRI detector. Requires hri_msgs.",
        TRUE_FALSE,
    ),
    "composed": Argument(
        "false",
        "Run all nodes in one process: uses half the memory, but a crash stops all nodes.",
        TRUE_FALSE,
    ),
    "lifecycle": Argument(
        "self",
        "What configures and activates the nodes. self: each node itself. launch: robot.launch.py, with life-cycle "
        "events. manager: an external life-cycle manager.",
        ("self", "launch", "manager"),
    ),
    "enclave": Argument(
        "",
        "SROS2 enclave; each process uses its own sub-enclave (<enclave>/visual_node ...). See docs/security.md.",
    ),
    "use_sim_time": Argument("false", "Use simulated time from /clock, for simulators and recordings.", TRUE_FALSE),
    "log_level": Argument("info", "Minimum severity of log messages.", ("debug", "info", "warn", "error", "fatal")),
}


@dataclass(frozen=True)
class GraphNode:
    """One node of the graph: an executable of this package and how it is started."""

    executable: str
    namespace: str = ""
    remappings: tuple[tuple[str, str], ...] = ()
    parameter_file: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    log_level: str = "info"
    enclave: str = ""  # SROS2 enclave of the graph; the node uses a sub-enclave

    @property
    def name(self) -> str:
        """Name of the node: that of its executable."""
        return self.executable

    def command(self) -> list[str]:
        """Command line that runs it in its own process, without launch."""
        return [
            sys.executable,
            "-m",
            f"emotion_perception.nodes.{self.executable}",
            *self.ros_arguments(),
            *self.process_arguments(),
        ]

    def ros_arguments(self) -> list[str]:
        """``--ros-args`` with the node's namespace, remappings and parameters."""
        words = ["--ros-args"]
        if self.namespace:
            words += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for old, new in self.remappings:
            words += ["-r", f"{old}:={new}"]
        if self.parameter_file:
            words += ["--params-file", self.parameter_file]
        for name, value in self.parameters.items():
            words += ["-p", f"{name}:={json.dumps(value)}"]  # JSON is YAML: quotes keep "1001" a string
        return words

    def process_arguments(self) -> list[str]:
        """Arguments of the whole process, after ``--ros-args``: log level and enclave."""
        level = ["--log-level", f"{self.logger}:={self.log_level}"]
        return [*level, "--enclave", f"{self.enclave}/{self.executable}"] if self.enclave else level

    @property
    def logger(self) -> str:
        """Name of the node's logger; setting only its level suppresses debug output of the middleware."""
        return ".".join([*self.namespace.strip("/").split("/"), self.name]).lstrip(".")


def container_arguments(nodes: Iterable[GraphNode]) -> list[str]:
    """Arguments of ``node_container``: one JSON argument per node, and the log levels."""
    nodes = tuple(nodes)
    words = [json.dumps({"node": node.executable, "arguments": node.ros_arguments()}) for node in nodes]
    return [*words, "--ros-args", *(word for node in nodes for word in node.process_arguments())]


def container_command(nodes: Iterable[GraphNode]) -> list[str]:
    """Command line that runs these nodes in one process, without launch."""
    return [sys.executable, "-m", f"emotion_perception.bringup.{CONTAINER}", *container_arguments(nodes)]


def graph_nodes(
    arguments: Mapping[str, str] | None = None, source_parameters: Mapping[str, Any] | None = None
) -> tuple[GraphNode, ...]:
    """The nodes to start for these values of :data:`ARGUMENTS`; missing ones have their default.

    Args:
        arguments: values as text, as in launch.
        source_parameters: additional parameters of ``media_source_node``.

    Raises:
        ValueError: an unknown argument, an invalid value, or two values that exclude each other.
        FileNotFoundError: the parameter file does not exist.
    """
    values = {name: argument.default for name, argument in ARGUMENTS.items()} | dict(arguments or {})
    for name, value in values.items():
        if name not in ARGUMENTS:
            raise ValueError(f"unknown argument {name!r}; arguments are {', '.join(ARGUMENTS)}")
        if ARGUMENTS[name].choices and value not in ARGUMENTS[name].choices:
            raise ValueError(f"{name} must be one of {', '.join(ARGUMENTS[name].choices)}, got {value!r}")
    if values["composed"] == "true" and values["enclave"]:
        raise ValueError("an enclave belongs to one process; with composed:=true set ROS_SECURITY_ENCLAVE_OVERRIDE")
    if values["composed"] == "true" and values["lifecycle"] == "launch":
        raise ValueError("lifecycle:=launch needs one process per node; with composed:=true use self or manager")
    if values["port"] and not (values["port"].isdecimal() and int(values["port"]) < 1 << 16):
        raise ValueError(f"port must be a number from 0 to 65535, got {values['port']!r}")
    if values["emotion_prior"]:
        parse_prior(values["emotion_prior"])
    check_deployment(values["deployment_context"], values["deployment_reason"])
    prior: dict[str, Any] = {"emotion_prior": values["emotion_prior"]} if values["emotion_prior"] else {}
    config = values["config"] or str(_default_config())
    common: dict[str, Any] = {"use_sim_time": True} if values["use_sim_time"] == "true" else {}
    common |= {name: values[name] for name in ("deployment_context", "deployment_reason", "audit_log") if values[name]}
    if values["lifecycle"] != "self":
        common["autostart"] = False

    def node(executable: str, *topics: str, **parameters: Any) -> GraphNode:
        remappings = tuple(
            (default, chosen) for topic in topics if (default := ARGUMENTS[topic].default) != (chosen := values[topic])
        )
        return GraphNode(
            executable,
            values["namespace"],
            remappings,
            config,
            {**common, **parameters},
            values["log_level"],
            values["enclave"].rstrip("/"),
        )

    attention = {name: values[name] for name in ("depth_topic", "robot_head_frame") if values[name]}
    images = {"image_transport": values["image_transport"]} if values["image_transport"] else {}
    mounting: dict[str, Any] = {"image_rotation": values["image_rotation"]} if values["image_rotation"] else {}
    if values["image_mirror"]:
        mounting["image_mirror"] = values["image_mirror"] == "true"
    nodes = [
        node("visual_node", "image_topic", **images, **mounting, **prior),
        node("acoustic_node", "audio_topic", **prior),
        node("fusion_node", **prior, **attention),
    ]
    if values["interaction"] == "true":
        nodes.append(node("interaction_node"))
    if values["dashboard"] == "true":
        port = {"port": int(values["port"])} if values["port"] else {}
        nodes.append(node("dashboard_node", "image_topic", "audio_topic", **images, **port))
    if values["ros4hri"] == "true":
        nodes.append(node("ros4hri_node", **prior))
    if values["overlay"] == "true":
        nodes.append(node("overlay_node", "image_topic", **images))
    if values["source"]:
        extra = {"source": values["source"], "wait_for_nodes": "visual_node,acoustic_node", **(source_parameters or {})}
        if values["loop"] == "true":
            extra["loop"] = True
        if values["use_sim_time"] == "true" and _is_recording(values["source"]):
            extra.setdefault("replay", "recorded")
        nodes.insert(0, node("media_source_node", "image_topic", "audio_topic", **extra))
    return tuple(nodes)


def check_parameter_file(path: str) -> None:
    """Check that nodes can read a parameter file, so that a wrong one is one error and not one of every node.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a ROS 2 parameter file; the message has the line.
    """
    import yaml

    if not Path(path).is_file():
        raise FileNotFoundError(f"config:={path}: no such file; start from a copy of config/robot.yaml")
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"config:={path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not all(
        isinstance(node, dict) and isinstance(node.get("ros__parameters", node), dict) for node in content.values()
    ):
        raise ValueError(f"config:={path}: not a ROS 2 parameter file (NODE: ros__parameters: NAME: VALUE)")


def _is_recording(source: str) -> bool:
    from emotion_perception.media.opening import is_recording  # imported here: it loads OpenCV and PyAV

    return is_recording(source)


def _default_config() -> Any:
    from emotion_perception.resources import config_path

    return config_path("robot.yaml")
