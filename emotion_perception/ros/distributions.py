"""What differs between ROS 2 distributions, and what rclpy has no public name for, in one place.

Written for Jazzy and Kilted; nothing here is newer than Humble.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

from emotion_perception.resources import config_path

RCLError: type[Exception] = rclpy_implementation.RCLError  # no public name in any distribution

# Fast DDS 2 (Humble, Jazzy) reads the path of its profile from the first, Fast DDS 3 (Kilted and newer) from the
# second; other middleware ignores both.
FAST_DDS_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def fast_dds_profile() -> str:
    """Path of the profile whose shared memory has space for camera images, as the default has not."""
    return str(config_path("fastdds.xml"))


def set_fast_dds_profile(environment: MutableMapping[str, str]) -> None:
    """Select :func:`fast_dds_profile` unless the user has chosen a profile."""
    for name in FAST_DDS_PROFILE_VARIABLES:
        environment.setdefault(name, fast_dds_profile())


def state_label(node: LifecycleNode) -> str:
    """``unconfigured``, ``inactive``, ``active`` or ``finalized``; rclpy offers it as a service only."""
    label: str = node._state_machine.current_state[1]
    return label


def refuse_invalid_transitions(node: LifecycleNode) -> None:
    """Make the change_state service answer invalid transitions; the handler of Jazzy's rclpy would end the process."""
    service = getattr(node, "_service_change_state", None)
    if service is None:
        return
    change = service.callback

    def guarded(request: Any, response: Any) -> Any:
        before = state_label(node)
        try:
            return change(request, response)
        except RCLError:
            if not node.context.ok() or state_label(node) != before:
                raise  # the process is shutting down, or the transition itself failed
            transition = request.transition.label or request.transition.id
            node.get_logger().warning(f"refused the transition {transition}: the node is {before}")
            response.success = False
            return response

    service.callback = guarded
