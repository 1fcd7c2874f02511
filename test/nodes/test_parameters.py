"""Parameters: declared from the tables, refused with a reason, documented from the same source."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from node_world import World, set_parameter

from emotion_perception.fusion.engine import FusionConfig
from emotion_perception.nodes.fusion_node import FusionNode
from emotion_perception.nodes.media_source_node import MediaSourceNode
from emotion_perception.ros import parameters
from emotion_perception.ros.parameters import COMMON, reference_page, tables

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
    for node, table in {"all": COMMON, **tables()}.items():
        for parameter in table:
            assert len(parameter.description) > 10, f"{node}.{parameter.name}"
            assert parameter.problem(parameter.default) is None, f"{node}.{parameter.name}"


def test_defaults_are_those_of_the_core():
    table = {parameter.name: parameter for parameter in parameters.fusion_parameters()}
    for field in dataclasses.fields(FusionConfig):
        assert table[field.name].default == field.default


def test_no_parameter_is_there_twice():
    for table in tables().values():
        names = [parameter.name for parameter in (*COMMON, *table)]
        assert len(names) == len(set(names))


def test_the_reference_page_is_the_one_in_docs():
    assert (ROOT / "docs" / "parameters.md").read_text() == reference_page(), (
        "run: python -m emotion_perception.ros.parameters > docs/parameters.md"
    )


def test_the_robot_profile_holds_existing_parameters_at_their_defaults():
    profile = yaml.safe_load((ROOT / "config" / "robot.yaml").read_text())
    assert set(profile) <= {f"/**/{node}" for node in tables()}
    for node, table in tables().items():
        defaults = {parameter.name: parameter.default for parameter in table}
        for name, value in profile.get(f"/**/{node}", {"ros__parameters": {}})["ros__parameters"].items():
            assert value == defaults[name], f"{node}.{name}"
