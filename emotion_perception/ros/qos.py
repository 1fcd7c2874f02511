"""Quality of service of every topic, in one table.

Each entry can be overridden at start with ROS 2's own parameters, for instance
``-p qos_overrides./image_raw.subscription.reliability:=reliable``.
"""

from __future__ import annotations

import copy

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, reliability=reliability, durability=durability, depth=depth)


_BEST_EFFORT, _RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
_VOLATILE, _LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL

# Use, and why. A subscription that asks for less than the publisher offers always connects; the other way round never.
PROFILES: dict[str, QoSProfile] = {
    "image_in": _profile(_BEST_EFFORT, _VOLATILE, 1),  # REP-2003; the newest frame only
    "compressed_in": _profile(_RELIABLE, _VOLATILE, 30),  # where publishers are: video needs every message
    "compressed_in_best_effort": _profile(_BEST_EFFORT, _VOLATILE, 30),
    "audio_in": _profile(_BEST_EFFORT, _VOLATILE, 100),  # hears both capture nodes; a lost chunk breaks a window
    "image_out": _profile(_BEST_EFFORT, _VOLATILE, 1),  # our own source: a frame that is late is worth nothing
    "audio_out": _profile(_RELIABLE, _VOLATILE, 100),  # our own source
    "estimates": _profile(_RELIABLE, _VOLATILE, 10),  # /faces/emotions, /voices/emotions
    "state": _profile(_RELIABLE, _LATCHED, 1),  # behaviour trees ask for reliable; late joiners get the last one
    "alerts": _profile(_RELIABLE, _LATCHED, 10),  # interaction/alerts: several may be found at once
    "annotated_image": _profile(_RELIABLE, _VOLATILE, 1),  # rviz asks for reliable by default
    "markers": _profile(_RELIABLE, _VOLATILE, 10),  # /emotion/markers: a DELETE that is lost leaves a label hanging
    "tracked": _profile(_RELIABLE, _VOLATILE, 1),  # ROS4HRI's lists of ids; a lost one leaves a face without topics
    "switch": _profile(_RELIABLE, _VOLATILE, 1),  # /robot_speaking
    "clock": _profile(_RELIABLE, _VOLATILE, 10),  # /clock of a replay; hears whoever asks for best-effort, too
    "diagnostics": _profile(_RELIABLE, _VOLATILE, 10),
}


def profile(use: str) -> QoSProfile:
    """A fresh copy of the profile for ``use``: overrides are written into it.

    Raises:
        KeyError: ``use`` is not in :data:`PROFILES`.
    """
    return copy.copy(PROFILES[use])


def overrides() -> QoSOverridingOptions:
    """Lets a user override history, depth, reliability and durability of one topic by parameters."""
    return QoSOverridingOptions(
        (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    )
