"""The container's health check: exit code 0 if an emotion state arrives (fusion_node publishes 10 per second).

The states of any namespace count. Usage: ``health.py [SECONDS]``, which is how long to wait (10).
"""

from __future__ import annotations

import sys
import time

import rclpy

from emotion_msgs.msg import EmotionState

TYPE = "emotion_msgs/msg/EmotionState"


def main(wait_s: float = 10.0) -> int:
    rclpy.init()
    node = rclpy.create_node("health_check")
    states: list[EmotionState] = []
    subscribed: set[str] = set()
    end = time.monotonic() + wait_s
    while not states and time.monotonic() < end:  # discovery takes up to some seconds
        for topic, types in node.get_topic_names_and_types():
            if TYPE in types and topic not in subscribed:
                # Volatile: the last state of a node that has stopped does not count.
                node.create_subscription(EmotionState, topic, states.append, 1)
                subscribed.add(topic)
        rclpy.spin_once(node, timeout_sec=0.2)
    rclpy.shutdown()
    print("healthy" if states else f"no emotion state within {wait_s:g} s")
    return 0 if states else 1


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
