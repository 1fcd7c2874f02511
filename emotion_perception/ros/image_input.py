"""Subscribe to a camera, whichever way it publishes its images: raw, JPEG, PNG or video."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from emotion_perception.messages.compressed import CompressedDecoder, DecodedImage, message_stamp, video_codec
from emotion_perception.messages.sensors import image_from_message, stamp_to_ns
from emotion_perception.messages.stamps import StampCorrection
from emotion_perception.ros.conversions.stamps import make_header
from emotion_perception.ros.distributions import RCLError
from emotion_perception.ros.input_watch import CHECK_PERIOD, InputWatch, Wanted, short_type
from emotion_perception.ros.lifecycle import PerceptionNode

DISCOVERY_PERIOD = 0.25  # s between two looks at what is published
RAW = "sensor_msgs/msg/Image"
# Message types of images, best first, and what image_transport appends to the topic for each.
IMAGE_TYPES = {
    RAW: "",
    "sensor_msgs/msg/CompressedImage": "/compressed",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": "/ffmpeg",
    "foxglove_msgs/msg/CompressedVideo": "/foxglove",
}


@dataclass(frozen=True)
class ReceivedImage:
    """An image as received; its pixels are decoded on demand."""

    header: Header  # with the corrected stamp
    stamp_ns: int  # of capture
    size: int  # bytes of the message
    arrival_ns: int  # ROS time
    decode: Callable[[], DecodedImage]  # raises ConversionError


class ImageInput:
    """The image subscription of an active node.

    Video is decoded here, because no message of a stream may be left out; a still image by whoever uses it.

    Args:
        node: has the parameters ``image_transport`` and ``stamp_source``.
        topic: image topic before remapping, as the raw image has it.
        submit: called with each :class:`ReceivedImage`.
        min_side: px; larger compressed images may be decoded at a fraction of their size, see
            :class:`~emotion_perception.messages.compressed.CompressedDecoder`.
    """

    def __init__(
        self, node: PerceptionNode, topic: str, submit: Callable[[ReceivedImage], None], min_side: int = 0
    ) -> None:
        self._node, self._submit, self._min_side = node, submit, min_side
        self._topic = node.resolve_topic_name(topic)
        self._transport = node.parameters["image_transport"]
        self._stamps = StampCorrection("camera", node.parameters["stamp_source"])
        self._decoder = CompressedDecoder(min_side)
        self._subscribed: tuple[str, str] | None = None  # topic and type
        self._subscription: Any = None
        self._wanted = False  # see set_wanted
        self._warned_unstamped = False
        expected = " or ".join(dict.fromkeys(short_type(type_name) for _, type_name in self._candidates()))
        wanted = Wanted("image", self._topic, "image_topic", expected)
        self.watch = InputWatch(node, wanted, IMAGE_TYPES, self._subscriptions)

    def open(self, report_silence: bool = False) -> None:
        """Subscribe, and follow what is published until :meth:`close` or the node is deactivated."""
        if self._transport == "compressed":
            self._subscribe(f"{self._topic}/compressed", "sensor_msgs/msg/CompressedImage")
        else:
            self._subscribe(self._topic, RAW)
        self.check()
        if report_silence:
            self._node.every(DISCOVERY_PERIOD, self.check, steady=True)
            self._node.every(CHECK_PERIOD, self.watch.check, steady=True)

    def set_wanted(self, wanted: bool) -> None:
        """Subscribe only while images are wanted; call it every :data:`DISCOVERY_PERIOD`, as :meth:`check`."""
        if wanted and self._wanted:
            self.check()
        elif wanted:
            self.open()
        elif self._wanted:
            self.close()
        self._wanted = wanted

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.unsubscribe(self._subscription)
        self._subscription = self._subscribed = None
        self._decoder = CompressedDecoder(self._min_side)

    @property
    def status(self) -> dict[str, str]:
        """Topic and type for /diagnostics."""
        topic, type_name = self._subscribed or (self._topic, "none yet")
        return {"image topic": topic, "image type": short_type(type_name)}

    @property
    def problem(self) -> str:
        """What is wrong although images arrive."""
        return self._stamps.problem

    def check(self) -> None:
        """Subscribe to the best of what is published; call it every :data:`DISCOVERY_PERIOD`."""
        reasons = []
        for topic, type_name in self._candidates():
            if not self._publishers(topic, type_name):
                continue
            if (topic, type_name) == self._subscribed:
                break
            problem = self._subscribe(topic, type_name)
            if not problem:
                break
            reasons.append(problem)
        self.watch.reason = "; ".join(reasons)

    def _candidates(self) -> list[tuple[str, str]]:
        """Topics and types on which the image may be, best first."""
        found = []
        for type_name, suffix in IMAGE_TYPES.items():
            if self._transport == "auto" or (self._transport == "raw") == (type_name == RAW):
                found += [(f"{self._topic}{suffix}", type_name)] + ([(self._topic, type_name)] if suffix else [])
        return found

    def _publishers(self, topic: str, type_name: str) -> list[Any]:
        return [end for end in self._node.get_publishers_info_by_topic(topic) if end.topic_type == type_name]

    def _subscriptions(self) -> list[tuple[str, str]]:
        return [self._subscribed] if self._subscribed else []

    def _subscribe(self, topic: str, type_name: str) -> str:
        """Replace the subscription; returns why that is impossible, or nothing."""
        try:
            message_class = image_class(type_name)
        except ImportError as error:
            return str(error)
        had_one = self._subscribed is not None
        self.close()
        use = "image_in" if type_name == RAW else self._compressed_use(topic, type_name)
        try:
            self._subscription = self._node.subscribe_to(message_class, topic, self._on_message, use)
        except RCLError as error:
            return f"{topic} cannot be subscribed to as {short_type(type_name)} ({error})"
        self._subscribed = (topic, type_name)
        if had_one or type_name != RAW:
            self._node.get_logger().info(f"images from {topic} ({short_type(type_name)})")
        return ""

    def _compressed_use(self, topic: str, type_name: str) -> str:
        """QoS: a message of a video stream must not be lost, so reliable if every publisher is."""
        ends = self._publishers(topic, type_name)
        reliable = bool(ends) and all(end.qos_profile.reliability == ReliabilityPolicy.RELIABLE for end in ends)
        return "compressed_in" if reliable else "compressed_in_best_effort"

    def _on_message(self, message: Any) -> None:
        self.watch.arrived()
        arrival_ns = self._node.now_ns
        if isinstance(message, Image):
            self._deliver(message, stamp_to_ns(message.header.stamp), arrival_ns, lambda: _raw(message))
        elif video_codec(message):
            for decoded in self._decoder.decode(message):
                self._deliver(message, decoded.stamp_ns, arrival_ns, partial(_same, decoded))
        else:
            decoder = self._decoder
            self._deliver(message, message_stamp(message), arrival_ns, lambda: decoder.decode(message)[0])

    def _deliver(self, message: Any, stamp_ns: int, arrival_ns: int, decode: Callable[[], DecodedImage]) -> None:
        corrected = self._stamps.stamp(stamp_ns, arrival_ns)
        if self._stamps.unstamped and not self._warned_unstamped:
            self._warned_unstamped = True
            self._node.get_logger().warning("the camera's images have no stamp (0); using the time of arrival")
        if self._stamps.problem:
            self._node.reporter.report(self._stamps.problem, "camera stamps")
        frame_id = message.header.frame_id if hasattr(message, "header") else message.frame_id
        header = make_header(corrected, frame_id)
        self._submit(ReceivedImage(header, corrected, len(message.data), arrival_ns, decode))


def _same(decoded: DecodedImage) -> DecodedImage:
    return decoded


def _raw(message: Image) -> DecodedImage:
    image = image_from_message(message)
    return DecodedImage(image, 0, image.shape[1], image.shape[0])


def image_class(type_name: str) -> type:
    """The class of one of :data:`IMAGE_TYPES`.

    Raises:
        ImportError: its package is not installed or not sourced; the text names the Debian package.
    """
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        debian = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
        raise ImportError(
            f"{short_type(type_name)} is published, but cannot be received: install {debian} ({error})"
        ) from error
