"""The live connection: every viewer gets the newest of the sections it shows, and frames while looking at them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.routes.common import error_response
from emotion_perception.dashboard.security import HEADERS

POLL_S = 0.04  # s between two checks for changes while clients are connected
IDLE_POLL_S = 0.25  # s, the same without clients
SEND_TIMEOUT_S = 10.0  # for one message; a slower viewer is disconnected
MAX_VIEWERS = 50
MAX_MESSAGE = 1024  # bytes of a message from the page


@dataclass(eq=False)
class _Viewer:
    """One live connection."""

    socket: web.WebSocketResponse
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sections: set[str] | None = None  # sections that the page shows; None: all
    outbox: dict[str, str] = field(default_factory=dict)  # newest text of each section not sent yet
    wants_video: bool = False
    frame: int = 0  # number of the last frame sent

    def shows(self, section: str) -> bool:
        """Whether the page shows a section."""
        return self.sections is None or section in self.sections


class LiveRoutes:
    """``/api/live``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._viewers: set[_Viewer] = set()

    @property
    def viewers(self) -> int:
        """Number of live connections."""
        return len(self._viewers)

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [web.get("/api/live", self._live)]

    async def close(self) -> None:
        """Disconnect all viewers."""
        for viewer in list(self._viewers):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(viewer.socket.close(code=1001, message=b"the server stops"), 0.5)

    async def publish(self) -> None:
        """Give the viewers what changed, until cancelled."""
        store, video = self._parts.store, self._parts.video
        frame, ticked = 0, 0.0
        versions: dict[str, int] = {}
        sent: dict[str, str] = {}
        while True:
            await asyncio.sleep(POLL_S if self._viewers else IDLE_POLL_S)
            now = time.monotonic()
            if now - ticked >= 1.0:
                ticked = now
                store.tick()
            before, versions = versions, store.versions()
            changed = [section for section, version in versions.items() if before.get(section) != version]
            newest = video.newest if video is not None else None
            new_frame = newest is not None and newest.number != frame
            frame = newest.number if newest is not None else frame
            if not changed and not new_frame:
                continue
            texts = {section: store.text(section) for section in changed} if self._viewers else {}
            texts = {section: text for section, text in texts.items() if sent.get(section) != text}
            sent |= texts
            for viewer in self._viewers:
                for section, text in texts.items():
                    # A whole trail that was not sent yet contains the new points.
                    if viewer.shows(section) and not (section == "trail" and section in viewer.outbox):
                        viewer.outbox[section] = text
                if viewer.outbox or (new_frame and viewer.wants_video):
                    viewer.changed.set()

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if len(self._viewers) >= MAX_VIEWERS:
            return error_response(503, f"{MAX_VIEWERS} viewers are connected already")
        # JPEG cannot be compressed further, and compression per viewer costs more than sending.
        ws = web.WebSocketResponse(heartbeat=15.0, compress=False, max_msg_size=MAX_MESSAGE)
        for name, value in HEADERS.items():
            ws.headers.setdefault(name, value)
        viewer = _Viewer(ws)
        self._viewers.add(viewer)  # before anything is awaited, so that the bound holds
        sender: asyncio.Task[None] | None = None
        try:
            await ws.prepare(request)
            viewer.sections = _names(request.query.get("sections"))
            self._give_whole(viewer, set(self._parts.store.versions()))
            sender = asyncio.create_task(self._send(viewer))
            async for message in ws:
                if message.type == WSMsgType.TEXT:
                    with contextlib.suppress(ValueError, AttributeError, TypeError, RecursionError):
                        self._read_wishes(viewer, json.loads(message.data))
                    self._count_video_viewers()
        finally:
            self._viewers.discard(viewer)
            self._count_video_viewers()
            if sender is not None:
                sender.cancel()
        return ws

    def _read_wishes(self, viewer: _Viewer, wishes: dict[str, Any]) -> None:
        """What the page wants from now on: ``video``, and ``sections`` (if given) by name."""
        viewer.wants_video = bool(wishes.get("video"))
        if "sections" in wishes:
            known = set(self._parts.store.versions())
            before = {section for section in known if viewer.shows(section)}
            viewer.sections = {str(name) for name in wishes["sections"]} & known
            self._give_whole(viewer, viewer.sections - before)
        viewer.changed.set()  # a frame that was not wanted before

    def _give_whole(self, viewer: _Viewer, sections: set[str]) -> None:
        for section in self._parts.store.versions():
            if section in sections and viewer.shows(section):
                viewer.outbox[section] = self._parts.store.text(section, whole=True)
        viewer.changed.set()

    async def _send(self, viewer: _Viewer) -> None:
        """Send only the newest state: a slow client skips some and does not delay the others."""
        video = self._parts.video
        try:
            while True:
                await viewer.changed.wait()
                viewer.changed.clear()
                while viewer.outbox:
                    section = next(iter(viewer.outbox))
                    text = viewer.outbox.pop(section)
                    await asyncio.wait_for(viewer.socket.send_str(text), SEND_TIMEOUT_S)
                frame = video.newest if video is not None and viewer.wants_video else None
                if frame is not None and frame.number != viewer.frame:
                    viewer.frame = frame.number
                    await asyncio.wait_for(viewer.socket.send_bytes(frame.data), SEND_TIMEOUT_S)
        except (ConnectionError, asyncio.TimeoutError, RuntimeError):
            await viewer.socket.close()

    def _count_video_viewers(self) -> None:
        if self._parts.video is not None:
            self._parts.video.viewers = sum(viewer.wants_video for viewer in self._viewers)


def _names(text: str | None) -> set[str] | None:
    return None if text is None else set(text.split(","))
