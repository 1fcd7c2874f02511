"""Parameters: declared from the tables, refused with a reason, documented from the same source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from node_world import World, set_parameter

from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.nodes.media_source_node import MediaSourceNode
from emotion_perception.nodes.visual_node import VisualNode
from emotion_perception.ros.node_settings import CommonSettings, node_settings
from emotion_perception.ros.parameter_reference import (
    COMMAND,
    PAGE,
    PROFILE,
    all_settings,
    reference_page,
    robot_profile,
)
from emotion_perception.settings import settings_of

ROOT = Path(__file__).parents[2]


def test_a_running_node_refuses_what_is_out_of_range_and_keeps_the_old_value(ros: World):
    node = ros.add(FusionNode)
    taken, reason = set_parameter(node, "rate", 1000.0)
    assert not taken and "rate" in reason
    assert node.parameters["rate"] == 10.0
    assert set_parameter(node, "rate", 20) == (True, ""), "a whole number is a rate, too"
    assert node.parameters["rate"] == 20.0 and isinstance(node.parameters["rate"], float)


def test_a_choice_that_does_not_exist_is_refused_by_naming_those_that_do(ros: World):
    taken, reason = set_parameter(ros.add(MediaSourceNode), "at_end", "explode")
    assert not taken and "'stay', 'exit'" in reason


def test_a_value_out_of_range_at_the_start_is_refused(ros: World):
    from rclpy.exceptions import InvalidParameterValueException

    with pytest.raises(InvalidParameterValueException, match="at_end must be one of"):
        ros.add(MediaSourceNode, at_end="explode")


def test_what_is_read_at_configure_cannot_change_while_configured(ros: World):
    node = ros.add(FusionNode)
    node.trigger_configure()
    taken, reason = set_parameter(node, "visual_weight", 2.0)
    assert not taken and "clean up the node first" in reason
    assert set_parameter(node, "max_rate", 30.0)[0], "max_rate takes effect at once"
    node.trigger_cleanup()
    assert set_parameter(node, "visual_weight", 2.0)[0]


def test_values_that_the_core_refuses_together_fail_the_configure_with_its_reason(ros: World):
    node = ros.add(FusionNode, visual_fresh_s=3.0, visual_max_age_s=2.0)
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert "visual_fresh_s must be at most visual_max_age_s" in node.problem


def test_every_parameter_is_described_and_its_default_is_allowed():
    for node, settings in {"all": settings_of(CommonSettings), **all_settings()}.items():
        for item in settings:
            assert len(item.description) > 10, f"{node}.{item.name}"
            assert item.problem(item.default) is None, f"{node}.{item.name}"


def test_ros_describes_unit_range_and_moment_of_a_parameter(ros: World):
    node = ros.add(FusionNode)
    described = node.describe_parameter("mouth_weight")
    (limits,) = described.floating_point_range
    assert (limits.from_value, limits.to_value) == (0.0, 2.0)
    assert "mouth-motion" in described.description
    assert node.describe_parameter("max_rate").additional_constraints == "Unit: Hz. Takes effect at once."
    assert "One of: String, LiveSpeech, off." in node.describe_parameter("transcript_type").additional_constraints


def test_a_width_that_the_detector_cannot_search_is_refused(ros: World):
    taken, reason = set_parameter(ros.add(VisualNode), "detection_width", 333)
    assert not taken
    assert "detection_width" in reason


def test_no_parameter_is_there_twice():
    for settings in all_settings().values():
        names = [item.name for item in (*settings_of(CommonSettings), *settings)]
        assert len(names) == len(set(names))


def test_a_node_that_does_not_exist_has_no_settings():
    with pytest.raises(ValueError, match="no node 'ear_node'"):
        node_settings("ear_node")


@pytest.mark.parametrize(("path", "generated"), [(PAGE, reference_page), (PROFILE, robot_profile)])
def test_the_generated_files_are_those_in_the_repository(path: Path, generated: Callable[[], str]):
    assert (ROOT / path).read_text() == generated(), f"run: {COMMAND}"


def test_the_robot_profile_holds_every_parameter_at_its_default():
    profile = yaml.safe_load((ROOT / PROFILE).read_text())
    assert profile == {
        f"/**/{node}": {"ros__parameters": {item.name: item.default for item in settings}}
        for node, settings in all_settings().items()
    }
