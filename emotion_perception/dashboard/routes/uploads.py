"""Try it: analysis of a file of the visitor's own."""

from __future__ import annotations

import asyncio

from aiohttp import web

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.routes.common import required
from emotion_perception.dashboard.uploads import MemoryFile, UploadError

_OFF = "uploads are turned off"
TRANSFER_S = 30.0  # to send a file, plus its size at MIN_RATE
MIN_RATE = 500_000  # bytes/s


class UploadRoutes:
    """``/api/try``."""

    def __init__(self, config: ServerConfig, parts: Parts) -> None:
        self._parts = parts
        self._max_bytes = round(config.max_upload_mb * 1e6)

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [web.post("/api/try/prepare", self._prepare), web.post("/api/try", self._analyze)]

    async def _prepare(self, request: web.Request) -> web.Response:
        await required(self._parts.analyzer, _OFF).prepare()
        return web.json_response({"ready": True})

    async def _analyze(self, request: web.Request) -> web.Response:
        analyzer = required(self._parts.analyzer, _OFF)
        if request.content_length is not None and request.content_length > self._max_bytes:
            raise self._too_large(request.content_length)
        # A place is taken before the first byte of the body is read: who gets none costs no memory.
        with analyzer.reserve(), MemoryFile() as file:
            seconds = TRANSFER_S + (request.content_length or self._max_bytes) / MIN_RATE
            try:
                await asyncio.wait_for(self._receive(request, file), seconds)
            except asyncio.TimeoutError:
                raise UploadError(f"the file did not arrive within {seconds:.0f} s", 408) from None
            return web.Response(text=await analyzer.analyze(file), content_type="application/json")

    async def _receive(self, request: web.Request, file: MemoryFile) -> None:
        async for chunk in request.content.iter_any():
            file.write(chunk)
            if file.size > self._max_bytes:
                raise self._too_large(file.size)

    def _too_large(self, size: int) -> UploadError:
        limit = self._max_bytes
        return UploadError(f"the file has {size / 1e6:.1f} MB or more; at most {limit / 1e6:g} MB are taken", 413)
