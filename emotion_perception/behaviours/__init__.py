"""Behaviours for py_trees: read the emotion state, decide, react. See docs/behaviour_trees.md.

``decision`` is pure and needs neither ROS nor py_trees; the other modules need py_trees, and ROS only from
``setup(node=...)`` on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion_perception.behaviours.conditions import (
        EmotionCondition,
        EmotionTrend,
        HasEvidence,
        IsEmotion,
        IsGrowingUnhappy,
        IsNewcomer,
        IsSatisfied,
        IsUpset,
        Resting,
    )
    from emotion_perception.behaviours.empathy import ACTIONS, ChooseAction, PublishAction, create_root
    from emotion_perception.behaviours.person_conditions import (
        IsAttending,
        IsEngaged,
        IsSpeaking,
        PersonApproaches,
        PersonCondition,
    )
    from emotion_perception.behaviours.to_blackboard import PersonsToBlackboard, ToBlackboard

_HOMES = {
    "conditions": (
        "EmotionCondition",
        "EmotionTrend",
        "HasEvidence",
        "IsEmotion",
        "IsGrowingUnhappy",
        "IsNewcomer",
        "IsSatisfied",
        "IsUpset",
        "Resting",
    ),
    "person_conditions": ("IsAttending", "IsEngaged", "IsSpeaking", "PersonApproaches", "PersonCondition"),
    "to_blackboard": ("PersonsToBlackboard", "ToBlackboard"),
    "empathy": ("ACTIONS", "ChooseAction", "PublishAction", "create_root"),
}

__all__ = [
    "ACTIONS",
    "ChooseAction",
    "EmotionCondition",
    "EmotionTrend",
    "HasEvidence",
    "IsAttending",
    "IsEmotion",
    "IsEngaged",
    "IsGrowingUnhappy",
    "IsNewcomer",
    "IsSatisfied",
    "IsSpeaking",
    "IsUpset",
    "PersonApproaches",
    "PersonCondition",
    "PersonsToBlackboard",
    "PublishAction",
    "Resting",
    "ToBlackboard",
    "create_root",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``behaviours.decision`` does not need py_trees."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
