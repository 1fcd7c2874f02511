"""Several robots or places side by side; their export and import."""

from __future__ import annotations

import asyncio
import time
from datetime import date, datetime
from typing import Any

from aiohttp import web

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.place_file import MAX_BYTES
from emotion_perception.dashboard.routes.common import error_response, required
from emotion_perception.dashboard.routes.today import NO_PLACES, requested_span
from emotion_perception.dashboard.routes.uploads import MIN_RATE, TRANSFER_S
from emotion_perception.dashboard.sources import Places, Source
from emotion_perception.dashboard.today import (
    Span,
    compare,
    figures,
    fill,
    part_name,
    references,
    worst_part,
)
from emotion_perception.interaction.store_records import ConversationStatistics

CHUNK = 65_536


class SourceRoutes:
    """``/api/sources`` and ``/api/export``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._importing = False

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/sources", self._compare),
            web.post("/api/sources", self._import),
            web.delete("/api/sources/{id}", self._remove),
            web.get("/api/export", self._export),
        ]

    @property
    def _places(self) -> Places:
        return required(self._parts.places, NO_PLACES)

    async def _compare(self, request: web.Request) -> web.Response:
        span = requested_span(request)
        return web.json_response(await asyncio.to_thread(comparison, self._places, span, time.time()))

    async def _import(self, request: web.Request) -> web.Response:
        places = self._places
        if (request.content_length or 0) > MAX_BYTES:
            raise _too_large()
        if self._importing:  # one at a time: bounded memory
            return error_response(503, "another file is being imported; try again in a moment")
        self._importing = True
        try:
            data = await asyncio.wait_for(_receive(request), TRANSFER_S + MAX_BYTES / MIN_RATE)
            source = await asyncio.to_thread(places.add, data)
        finally:
            self._importing = False
        return web.json_response({"id": source.id, "name": source.name})

    async def _remove(self, request: web.Request) -> web.Response:
        await asyncio.to_thread(self._places.remove, request.match_info["id"])
        return web.json_response({"done": True})

    async def _export(self, request: web.Request) -> web.Response:
        with_conversations = request.query.get("conversations", "0") not in ("0", "false", "no")
        data = await asyncio.to_thread(self._places.export, with_conversations)
        response = web.Response(body=data, content_type="application/json", charset="utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="place-{date.today()}.json"'
        return response


def comparison(places: Places, span: Span, now: float) -> dict[str, Any]:
    """The figures of all places in a span, as JSON fields."""
    return {
        "kind": span.kind,
        "first": str(span.first),
        "last": str(span.after.fromordinal(span.after.toordinal() - 1)),
        "current": span.start <= now < span.end,
        "imports": places.imports is not None,
        "sources": [_line(source, span, now) for source in places.sources()],
    }


def _line(source: Source, span: Span, now: float) -> dict[str, Any]:
    fields = {"id": source.id, "name": source.name, "kind": source.kind, "made": source.made}
    try:
        return {**fields, "problem": source.problem, **_figures(source, span, now)}
    except OSError as error:  # one place that cannot be read does not hide the others
        return {**fields, "problem": str(error), "total": figures(None), "change": None, "worst": None}


def _figures(source: Source, span: Span, now: float) -> dict[str, Any]:
    def statistics(start: float, end: float) -> ConversationStatistics:
        return source.statistics.period(_moment(start), _moment(end))

    total, reference = statistics(span.start, span.end), references(span, now)[0]
    then = statistics(reference.start, reference.end)
    verdict = compare(total, then)
    parts: list[ConversationStatistics | None]
    if span.kind == "day":
        parts = fill(span.parts, source.statistics.hours(_moment(span.start), _moment(span.end)))
    else:
        parts = [found if (found := statistics(*part)).conversations else None for part in span.parts]
    index = worst_part(parts, total)
    worst = None if index is None else {"name": part_name(span.kind, span.parts[index][0]), **figures(parts[index])}
    points = None
    if total.satisfaction_mean is not None and then.satisfaction_mean is not None:
        points = round(total.satisfaction_mean - then.satisfaction_mean)
    change = {"verdict": verdict, "points": points, "conversations": then.conversations}
    return {"total": figures(total), "change": change, "worst": worst}


async def _receive(request: web.Request) -> bytes:
    data = bytearray()
    async for chunk in request.content.iter_chunked(CHUNK):
        data += chunk
        if len(data) > MAX_BYTES:
            raise _too_large()
    return bytes(data)


def _too_large() -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(MAX_BYTES, MAX_BYTES, reason=f"at most {MAX_BYTES / 1e6:g} MB are taken")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
