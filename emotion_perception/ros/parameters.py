"""A node's settings as ROS parameters: declared with range and description, refused with a reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from emotion_perception.settings import Setting

Config = TypeVar("Config")


class NodeParameters:
    """The parameters of a node: ``parameters["rate"]`` is the value of the parameter ``rate``.

    Args:
        node: declares the parameters.
        settings: one for each parameter.
    """

    def __init__(self, node: Node, settings: Iterable[Setting]) -> None:
        self._node = node
        self._settings = {item.name: item for item in settings}
        self.frozen = False  # while the node is configured, only dynamic parameters can change
        # Before the declarations, so that a value given at start is refused with a reason as well.
        node.add_on_set_parameters_callback(self._check)
        for item in self._settings.values():
            node.declare_parameter(item.name, item.default, descriptor(item))

    def __getitem__(self, name: str) -> Any:
        """The present value, in the type of its default."""
        return type(self._settings[name].default)(self._node.get_parameter(name).value)

    def config(self, config_class: type[Config], **changes: Any) -> Config:
        """A core configuration from the parameters with the names of its fields.

        Fields without a parameter, and texts that are empty, keep their default; ``changes`` overrides both.

        Raises:
            ValueError: the configuration refuses the values, for example two that contradict each other.
        """
        values: dict[str, Any] = {}
        for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
            if field.name in self._settings and self[field.name] != "":
                values[field.name] = self[field.name]
        return config_class(**(values | changes))

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            item = self._settings.get(change.name)
            if item is None:  # use_sim_time, qos_overrides.*: checked by rclpy
                continue
            reason = item.problem(change.value)
            if reason is None and self.frozen and not item.dynamic:
                reason = "is read when the node is configured; deactivate and clean up the node first"
            if reason is not None:
                return SetParametersResult(successful=False, reason=f"{change.name} {reason}")
        return SetParametersResult(successful=True)


def descriptor(item: Setting) -> ParameterDescriptor:
    """What ``ros2 param describe`` shows. A double, and a choice such as ``90``, also take an integer."""
    constraints = [
        f"Unit: {item.unit}." if item.unit else "",
        f"One of: {', '.join(choice or 'nothing' for choice in item.choices)}." if item.choices else "",
        "Takes effect at once." if item.dynamic else "Read when the node is configured.",
    ]
    made = ParameterDescriptor(
        description=item.description,
        additional_constraints=" ".join(filter(None, constraints)),
        dynamic_typing=isinstance(item.default, float) or any(choice.isdecimal() for choice in item.choices),
    )
    # ROS can describe only a range with both ends; one with a single end is checked by NodeParameters alone.
    if item.minimum is not None and item.maximum is not None:
        if isinstance(item.default, float):
            limits = FloatingPointRange(from_value=float(item.minimum), to_value=float(item.maximum))
            made.floating_point_range = [limits]
        else:
            made.integer_range = [
                IntegerRange(from_value=int(item.minimum), to_value=int(item.maximum), step=item.step)
            ]
    return made
