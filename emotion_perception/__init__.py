"""Emotion recognition from faces and voices for service robots.

Without ROS, :class:`Recognizer` reads files (see its example); with ROS 2, ``README.md`` shows how to start the nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion_perception.recognition import Recognizer as Recognizer

__version__ = "0.1.0"
__all__ = ["Recognizer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import :class:`Recognizer` at its first use: it loads OpenVINO, OpenCV and PyAV."""
    if name == "Recognizer":
        from emotion_perception.recognition import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
