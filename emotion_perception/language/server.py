"""The MCP server: resources and tools on what the robot knows about people. No images, no sound.

It needs the official SDK (package ``mcp``), which is imported only when a server is made.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from emotion_perception.emotions import EMOTIONS, emotion_index
from emotion_perception.language.knowledge import GraphError, signature

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

MAX_WAIT_S = 60.0
POLL_S = 0.05
INSTRUCTIONS = (
    "A robot's estimates of the emotions that people display. They are uncertain hints, not facts: never tell people "
    "what they feel, never decide about a person by them, and prefer what people say over what is estimated. Each "
    "estimate has a confidence (0..1) and an age in seconds; 'emotion unclear' means that nothing may be assumed."
)


class Robot(Protocol):
    """What the server needs of the running graph. Methods raise :class:`GraphError` with a reason."""

    def state(self) -> dict[str, Any]:
        """The emotion state of the conversation partner."""

    def people(self) -> dict[str, Any]:
        """``emotion_context``."""

    def arc(self) -> dict[str, Any]:
        """The emotional arc of the conversation."""

    def explain_face(self, face_id: str, label: int | None) -> dict[str, Any]:
        """Why the face model names an emotion, in words; ``label`` None: the most probable one. Blocks."""

    def start_conversation(self, name: str, person_id: str) -> dict[str, Any]:
        """Start a conversation. Blocks."""

    def end_conversation(self, interaction_id: str) -> dict[str, Any]:
        """End a conversation and sum it up. Blocks."""


def make_server(robot: Robot, version: str = "") -> MCPServer:
    """An MCP server about ``robot``; serve it with ``run_stdio_async`` or ``streamable_http_app``.

    Raises:
        ImportError: the SDK is not installed.
    """
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ResourceError, ToolError

    server = MCPServer(
        "emotion_perception",
        title="Emotion perception of a robot",
        instructions=INSTRUCTIONS,
        version=version,
        log_level="ERROR",
        subscriptions=False,
    )

    def resource(kind: str) -> str:
        try:
            return _compact(getattr(robot, kind)())
        except GraphError as error:
            raise ResourceError(str(error)) from error

    @server.resource("emotion://state", mime_type="application/json")
    def state() -> str:
        """Emotion of the conversation partner: label, probabilities, confidence, valence, arousal, time stamp."""
        return resource("state")

    @server.resource("emotion://people", mime_type="application/json")
    def people() -> str:
        """Everybody who is seen or heard, one English sentence each; the conversation partner comes first."""
        return resource("people")

    @server.resource("emotion://conversation/arc", mime_type="application/json")
    def arc() -> str:
        """How valence has developed during the conversation, or in the last minute if none is running."""
        return resource("arc")

    async def blocking(call: Any, *arguments: Any) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(call, *arguments)
        except GraphError as error:
            raise ToolError(str(error)) from error

    @server.tool(structured_output=True)
    async def wait_for_change(timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until somebody comes, leaves, starts or stops speaking, or changes emotion or engagement.

        Returns at once when that happens, otherwise after timeout_s seconds (0 to 60) with changed = false.
        """
        if not 0.0 <= timeout_s <= MAX_WAIT_S:
            raise ToolError(f"timeout_s must be from 0 to {MAX_WAIT_S:g}, got {timeout_s:g}")
        try:
            before, began = signature(robot.people()), time.monotonic()
            while True:
                now = robot.people()
                waited = time.monotonic() - began
                if signature(now) != before or waited >= timeout_s:
                    return {"changed": signature(now) != before, "waited_s": round(waited, 2), **now}
                await asyncio.sleep(min(POLL_S, timeout_s - waited))
        except GraphError as error:
            raise ToolError(str(error)) from error

    @server.tool(structured_output=True)
    async def explain_face(face_id: str = "", emotion: str = "") -> dict[str, Any]:
        """Say on what facial actions the estimate about one face in view is based. No image is returned.

        face_id is from emotion://people; empty means the largest face. emotion is one of the eight labels; empty means
        the most probable one.
        """
        try:
            label = emotion_index(emotion) if emotion else None
        except ValueError as error:
            raise ToolError(str(error)) from error
        return await blocking(robot.explain_face, face_id, label)

    @server.tool(structured_output=True)
    async def start_conversation(name: str = "", person_id: str = "") -> dict[str, Any]:
        """Start recording the emotional arc of a conversation. name appears in reports; both may be empty."""
        return await blocking(robot.start_conversation, name, person_id)

    @server.tool(structured_output=True)
    async def end_conversation(interaction_id: str = "") -> dict[str, Any]:
        """End a conversation (empty: the running one) and sum up how it went."""
        return await blocking(robot.end_conversation, interaction_id)

    return server


def explanation(label: int, estimate: Mapping[str, float], actions: str) -> dict[str, Any]:
    """The answer of ``explain_face`` in words.

    Args:
        label: index of the explained emotion.
        estimate: ``emotion``, ``confidence``, ``valence``, ``arousal`` of the face model for the newest image alone.
        actions: facial actions, such as "brows lowered 0.6"; empty if none was measured.
    """
    seen = f"Facial actions beyond a resting face, 0..1: {actions}." if actions else "No facial action was measured."
    return {"explained_emotion": EMOTIONS[label], "estimate": dict(estimate), "facial_actions": actions, "text": seen}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
