"""Why no data arrives on an input topic: no publisher, another message type, or QoS that does not match."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSCompatibility, ReliabilityPolicy, qos_check_compatible

if TYPE_CHECKING:
    from emotion_perception.ros.lifecycle import PerceptionNode

SILENCE = 5.0  # s without data, after activation or later, until it is reported
CHECK_PERIOD = 0.5  # s
OWN_OUTPUTS = "/emotion/"  # the annotated image is not a camera
OWN_SOURCE = "media_source_node"  # waits for nodes and may end, unlike a driver
MAX_LISTED = 6  # topics in a text


@dataclass(frozen=True)
class Wanted:
    """What an input needs.

    Example:
        >>> wanted = Wanted("image", "/typo/image", "image_topic", "sensor_msgs/Image")
        >>> no_publisher(wanted, {}).partition(":")[0]
        'no publisher on /typo/image, nor any other image topic'
    """

    noun: str  # "image" or "audio"
    topic: str  # resolved name
    argument: str  # launch argument that sets the topic
    expected: str  # message types that the input takes


def short_type(name: str) -> str:
    """``sensor_msgs/msg/Image`` as people write it: ``sensor_msgs/Image``."""
    return name.replace("/msg/", "/")


def no_publisher(wanted: Wanted, topics: Mapping[str, Iterable[str]]) -> str:
    """That nobody publishes a topic, and which one may be meant.

    Args:
        wanted: the input.
        topics: every topic of the right kind that has a publisher, with its types.
    """
    text = f"no publisher on {wanted.topic}"
    listed = [f"{name} ({', '.join(map(short_type, types))})" for name, types in sorted(topics.items())]
    if not listed:
        return f"{text}, nor any other {wanted.noun} topic: is the driver running, in the same ROS_DOMAIN_ID?"
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    close = difflib.get_close_matches(wanted.topic, list(topics), 1, 0.4) or list(topics)[:1]
    return (
        f"{text}; {wanted.noun} topics now: {', '.join(listed[:MAX_LISTED])}{more}; did you mean {close[0]}? "
        f"Set {wanted.argument}:={close[0]}"
    )


def qos_mismatch(topic: str, offered: Iterable[tuple[str, Any]], requested: Any) -> str:
    """Why no publisher of a topic can reach a subscription; empty if one can.

    Args:
        topic: its name.
        offered: name and QoS profile of each publisher.
        requested: QoS profile of the subscription.
    """
    reasons = []
    for publisher, profile in offered:
        compatible, reason = qos_check_compatible(profile, requested)
        if compatible != QoSCompatibility.ERROR:
            return ""
        reasons.append(f"{publisher} ({_one_line(reason)})")
    fix = (
        f"qos_overrides.{topic}.subscription.reliability: best_effort receives both kinds of publishers"
        if requested.reliability == ReliabilityPolicy.RELIABLE
        else f"remove the qos_overrides of {topic}"
    )
    return f"the QoS of {topic} does not match its publisher {'; '.join(reasons)}; {fix}" if reasons else ""


def _one_line(reason: str) -> str:
    return " ".join(reason.replace("ERROR: ", "").strip("; ").split())


class InputWatch:
    """Reports an input on which nothing arrives, once, and until data arrives.

    Args:
        node: logs the report.
        wanted: the input.
        types: message types of this kind of input, to list other topics.
        subscribed: topic and type of the present subscriptions.
        clock: monotonic seconds; for tests.
    """

    def __init__(
        self,
        node: PerceptionNode,
        wanted: Wanted,
        types: Collection[str],
        subscribed: Callable[[], Collection[tuple[str, str]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node, self._wanted, self._types, self._subscribed = node, wanted, set(types), subscribed
        self._clock = clock
        self._last = clock()
        self.problem = ""  # as reported; empty while data arrives
        self.reason = ""  # from the input itself, such as a message type that is not installed; explains a silence

    def arrived(self) -> None:
        """A message has arrived."""
        self._last = self._clock()

    def check(self) -> None:
        """Report a silence, or clear the report; call it every :data:`CHECK_PERIOD`."""
        silence = self._clock() - self._last
        if silence < SILENCE:
            if self.problem:
                self._node.get_logger().info(f"{self._wanted.noun} data arrives on {self._wanted.topic} now")
            self.problem = ""
        elif not self.problem:
            self.problem = self.explain()
            self._node.get_logger().warning(self.problem)
        else:
            self.problem = self.explain()

    def explain(self) -> str:
        """Why nothing arrives, and what to do about it."""
        node, wanted = self._node, self._wanted
        if self.reason:
            return self.reason
        if node.get_parameter("use_sim_time").value and node.now_ns == 0:
            return "use_sim_time is true, but no time arrives on /clock: start the simulator or `ros2 bag play --clock`"
        publishers = [
            (topic, end)
            for topic, type_name in self._subscribed()
            for end in node.get_publishers_info_by_topic(topic)
            if end.topic_type == type_name
        ]
        if not publishers:
            return self._no_publisher()
        for topic in {topic for topic, _ in publishers}:
            own = [end for end in node.get_subscriptions_info_by_topic(topic) if end.node_name == node.get_name()]
            offered = [(end.node_name, end.qos_profile) for name, end in publishers if name == topic]
            if own and (mismatch := qos_mismatch(topic, offered, own[0].qos_profile)):
                return mismatch
        topic, end = publishers[0]
        if end.node_name == OWN_SOURCE:
            return f"no {wanted.noun} data on {topic}: {OWN_SOURCE} is waiting for other nodes, or its source has ended"
        return (
            f"no {wanted.noun} data on {topic}, although {end.node_name} publishes it: is the device running "
            f"(`ros2 topic hz {topic}`)? Between containers or users, set FASTDDS_BUILTIN_TRANSPORTS=UDPv4"
        )

    def _no_publisher(self) -> str:
        node, wanted = self._node, self._wanted
        on_topic = {end.topic_type for end in node.get_publishers_info_by_topic(wanted.topic)}
        own_types = {type_name for topic, type_name in self._subscribed() if topic == wanted.topic}
        if on_topic and not on_topic & own_types:
            found = ", ".join(sorted(map(short_type, on_topic)))
            fix = "set image_transport to auto" if on_topic & self._types and wanted.noun == "image" else ""
            fix = fix or f"set {wanted.argument} to a topic of that type"
            return f"{wanted.topic} carries {found}, not {wanted.expected}: {fix}"
        topics = {
            name: [kind for kind in types if kind in self._types]
            for name, types in node.get_topic_names_and_types()
            if self._types & set(types) and OWN_OUTPUTS not in name and node.count_publishers(name)
        }
        return no_publisher(wanted, topics)
