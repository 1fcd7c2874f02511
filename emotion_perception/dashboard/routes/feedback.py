"""Corrections of estimates: entering, reviewing and deleting them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from aiohttp import web

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.routes.common import json_body, required
from emotion_perception.feedback.corrections import Corrections
from emotion_perception.types import SECOND

_NO_FEEDBACK = "storing faces and voices was not consented to; set store_corrections and corrections_directory"
_MAX_TIME_S = 1e10  # Unix time, s


class FeedbackRoutes:
    """``/api/corrections``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/corrections", self._list),
            web.post("/api/corrections", self._correct),
            web.delete("/api/corrections", self._delete_all),
            web.get("/api/corrections/{id}/evidence", self._evidence),
            web.post("/api/corrections/{id}/{verdict:accept|reject}", self._review),
        ]

    @property
    def _corrections(self) -> Corrections:
        return required(self._parts.corrections, _NO_FEEDBACK)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"corrections": await asyncio.to_thread(self._corrections.listed)})

    async def _correct(self, request: web.Request) -> web.Response:
        corrections, fields = self._corrections, await json_body(request)
        label = fields.get("label")
        if not isinstance(label, int) or isinstance(label, bool):
            raise ValueError(f"label must be the number of an emotion, got {label!r}")
        start_ns, end_ns = _time_ns(fields, "time"), _time_ns(fields, "until")
        annotator, comment = str(fields.get("annotator", ""))[:100], str(fields.get("comment", ""))[:1000]
        if start_ns is not None and end_ns is not None:
            kept = await asyncio.to_thread(corrections.correct_stretch, label, start_ns, end_ns, annotator, comment)
            return web.json_response({"kept": len(kept)})
        correction = await asyncio.to_thread(
            corrections.correct,
            label,
            face_id=str(fields.get("face_id", ""))[:100],
            voice_id=str(fields.get("voice_id", ""))[:100],
            stamp_ns=start_ns,
            annotator=annotator,
            comment=comment,
        )
        return web.json_response(correction)

    async def _review(self, request: web.Request) -> web.Response:
        corrections = self._corrections
        review = corrections.accept if request.match_info["verdict"] == "accept" else corrections.reject
        await asyncio.to_thread(review, request.match_info["id"])
        return web.json_response({"done": True})

    async def _evidence(self, request: web.Request) -> web.Response:
        data, media_type = await asyncio.to_thread(self._corrections.evidence, request.match_info["id"])
        return web.Response(body=data, content_type=media_type)

    async def _delete_all(self, request: web.Request) -> web.Response:
        deleted = {"deleted": await asyncio.to_thread(self._corrections.delete_all)}
        if self._parts.pictures is not None:  # "Delete everything" includes the pictures of reports
            deleted["pictures"] = await asyncio.to_thread(self._parts.pictures.delete_all)
        return web.json_response(deleted)


def _time_ns(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or abs(value) >= _MAX_TIME_S:
        raise ValueError(f"{name} must be seconds, got {str(value)[:40]}")
    return round(value * SECOND)
