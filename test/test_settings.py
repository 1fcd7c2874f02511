"""Settings: one description of a value, used for its default, its check and its documentation."""

from __future__ import annotations

import doctest
from dataclasses import dataclass, field

import pytest

from emotion_perception import settings
from emotion_perception.acoustic.perception import AcousticConfig
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.interaction.conversation import ConversationConfig
from emotion_perception.settings import Setting, check_settings, setting, settings_of
from emotion_perception.visual.perception import VisualConfig

CONFIGS = (VisualConfig, AcousticConfig, FusionConfig, ConversationConfig)


@dataclass(frozen=True)
class Example:
    rate: float = setting(10.0, "Rate of the output.", 0.5, 100.0, unit="Hz", dynamic=True)
    width: int = setting(64, "Width of the image.", 32, 4096, unit="px", step=32)
    mode: str = setting("fast", "Trade-off of speed and accuracy.", choices=("fast", "exact"))
    internal: list[int] = field(default_factory=list)  # not a setting

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("item", "value", "reason"),
    [
        (Setting("p", 1.0, "", 0, 2), 3.0, "at most 2"),
        (Setting("p", 1.0, "", 0, unit="s"), -1.0, "at least 0 s"),
        (Setting("p", 1.0, ""), float("nan"), "finite"),
        (Setting("p", 1.0, ""), "fast", "must be of type double"),
        (Setting("p", 1, ""), 1.5, "must be of type int"),
        (Setting("p", 1, ""), True, "must be of type int"),
        (Setting("p", 32, "", 32, 4096, "px", step=32), 40, "multiple of 32 px"),
        (Setting("p", "a", "", choices=("a", "b")), "c", "one of 'a', 'b'"),
        (Setting("p", 1.0, "", 0, 2), 2, None),
        (Setting("p", True, ""), False, None),
        (Setting("p", "a", "", choices=("a", "b")), "b", None),
    ],
)
def test_a_value_is_refused_with_a_reason(item: Setting, value: object, reason: str | None):
    problem = item.problem(value)
    assert problem is None if reason is None else reason in problem


def test_settings_are_the_described_fields_of_a_configuration():
    assert [item.name for item in settings_of(Example)] == ["rate", "width", "mode"]
    rate = settings_of(Example)[0]
    assert rate == Setting("rate", 10.0, "Rate of the output.", 0.5, 100.0, "Hz", dynamic=True)
    assert [item.allowed for item in settings_of(Example)] == [
        "0.5 .. 100",
        "32 .. 4096, multiple of 32",
        "`fast`, `exact`",
    ]


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"rate": float("inf")}, {"width": 33}, {"mode": "slow"}])
def test_a_configuration_refuses_a_wrong_value_by_name(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Example(**wrong)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_of_a_core_configuration_is_a_described_setting(config: type):
    items = settings_of(config)
    assert [item.name for item in items] == list(config.__dataclass_fields__)
    for item in items:
        assert item.description.endswith("."), item.name
        assert item.problem(item.default) is None, item.name
        assert isinstance(item.default, (bool, str)) or None not in (item.minimum, item.maximum), item.name


@pytest.mark.parametrize("config", CONFIGS)
def test_the_core_refuses_what_ros_refuses(config: type):
    for item in settings_of(config):
        if item.maximum is not None:
            for value in (item.minimum - 1, item.maximum + 1):
                assert item.problem(type(item.default)(value)) is not None, item.name
                with pytest.raises(ValueError, match=item.name):
                    config(**{item.name: type(item.default)(value)})


def test_the_examples_in_the_documentation_run():
    assert doctest.testmod(settings).failed == 0
