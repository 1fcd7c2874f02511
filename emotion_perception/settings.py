"""Configuration fields that describe themselves: default, range, unit and meaning in one place.

A configuration is a frozen dataclass whose fields are made by :func:`setting` and whose ``__post_init__`` calls
:func:`check_settings`. The nodes declare a ROS parameter for each of these fields, ``docs/parameters.md`` and
``config/robot.yaml`` are generated from them, and both the core and ROS refuse the same values with the same reason.

>>> @dataclass(frozen=True)
... class PlayerConfig:
...     rate: float = setting(10.0, "Playback rate. Higher is smoother and costs CPU.", 0.5, 100.0, unit="Hz")
...
...     def __post_init__(self) -> None:
...         check_settings(self)
>>> settings_of(PlayerConfig)[0].allowed
'0.5 .. 100'
>>> PlayerConfig(rate=0.0)
Traceback (most recent call last):
ValueError: rate must be at least 0.5 Hz, got 0
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, cast

Value = bool | int | float | str
_TYPE_NAMES = {bool: "bool", int: "int", float: "double", str: "string"}


@dataclass(frozen=True)
class Setting:
    """One configuration value that a user may set."""

    name: str
    default: Value
    description: str  # plain English: meaning, and what a larger or smaller value does
    minimum: float | None = None  # smallest value allowed, inclusive
    maximum: float | None = None  # largest value allowed, inclusive
    unit: str = ""  # SI symbol, "px", "dB" ...; empty for a ratio, a count or a text
    choices: tuple[str, ...] = ()  # the only texts allowed
    step: int = 1  # an integer must be a multiple of this
    dynamic: bool = False  # True: a running node takes a change at once; False: read when the node is configured

    @property
    def type_name(self) -> str:
        """``bool``, ``int``, ``double`` or ``string``, as ROS names the type."""
        return _TYPE_NAMES[type(self.default)]

    @property
    def allowed(self) -> str:
        """The range or the choices in Markdown; empty if every value is allowed."""
        if self.choices:
            return ", ".join(f"`{choice}`" if choice else "empty" for choice in self.choices)
        if self.minimum is None and self.maximum is None:
            return ""
        minimum = "" if self.minimum is None else f"{self.minimum:g}"
        maximum = "" if self.maximum is None else f"{self.maximum:g}"
        multiple = f", multiple of {self.step}" if self.step > 1 else ""
        return f"{minimum} .. {maximum}".strip() + multiple

    def type_problem(self, value: Any) -> str | None:
        """Why the type of ``value`` is wrong, None if it is right. A whole number is also a double, and a choice."""
        wanted = type(self.default)
        if type(value) is wanted or (wanted is float and type(value) is int):
            return None
        if type(value) is int and str(value) in self.choices:  # 90 without quotes in YAML
            return None
        return f"must be of type {self.type_name}, got {value!r}"

    def range_problem(self, value: Any) -> str | None:
        """Why ``value`` is not allowed, None if it is. A value of another type is not judged by its range."""
        if self.choices and str(value) not in self.choices:
            return f"must be one of {', '.join(map(repr, self.choices))}, got {value!r}"
        if isinstance(self.default, (bool, str)):
            return None
        unit = f" {self.unit}" if self.unit else ""
        if not math.isfinite(value):
            return f"must be finite, got {value}"
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}{unit}, got {value:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}{unit}, got {value:g}"
        if self.step > 1 and value % self.step:
            return f"must be a multiple of {self.step}{unit}, got {value:g}"
        return None

    def problem(self, value: Any) -> str | None:
        """Why this setting cannot have ``value``, None if it can: type, range, choices."""
        return self.type_problem(value) or self.range_problem(value)


def setting(
    default: Value,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
    step: int = 1,
    dynamic: bool = False,
) -> Any:
    """A dataclass field that users may set; for the arguments see :class:`Setting`."""
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "unit": unit,
        "choices": choices,
        "step": step,
        "dynamic": dynamic,
    }
    return field(default=default, metadata=metadata)


def settings_of(config_class: type) -> tuple[Setting, ...]:
    """The settings of a configuration dataclass, in the order of its fields; other fields are left out."""
    return tuple(
        Setting(item.name, cast(Value, item.default), **item.metadata)
        for item in fields(config_class)
        if "description" in item.metadata
    )


def check_settings(config: Any) -> None:
    """Check the values of a configuration against its settings; call it in ``__post_init__``.

    Raises:
        ValueError: a value is out of range; the message names the field, the range and the value.
    """
    for item in settings_of(type(config)):
        problem = item.range_problem(getattr(config, item.name))
        if problem is not None:
            raise ValueError(f"{item.name} {problem}")
