"""Learning from accepted corrections: what would be learnt, start, progress, cancel, roll back."""

from __future__ import annotations

import asyncio

from aiohttp import web

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.learning_job import LearningJob
from emotion_perception.dashboard.routes.common import required

_OFF = "nothing can be learnt: set store_corrections and corrections_directory"


class LearningRoutes:
    """``/api/learning``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/learning", self._state),
            web.get("/api/learning/running", self._running),
            web.post("/api/learning/cancel", self._cancel),
            web.post("/api/learning/{kind:face|voice}/start", self._start),
            web.post("/api/learning/{kind:face|voice}/roll-back", self._roll_back),
        ]

    @property
    def _job(self) -> LearningJob:
        return required(self._parts.learning, _OFF)

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._job.state))

    async def _running(self, request: web.Request) -> web.Response:
        return web.json_response({"running": self._job.running()})

    async def _start(self, request: web.Request) -> web.Response:
        await self._job.start(request.match_info["kind"])
        return web.json_response({"running": self._job.running()}, status=202)

    async def _cancel(self, request: web.Request) -> web.Response:
        await self._job.cancel()
        return web.json_response({"done": True})

    async def _roll_back(self, request: web.Request) -> web.Response:
        return web.json_response({"version": await self._job.roll_back(request.match_info["kind"])})
