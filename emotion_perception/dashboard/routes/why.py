"""When and why one stored conversation turned: turning points, reasons, similar ones, and face images with consent."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.routes.common import required
from emotion_perception.feedback.pictures import CONSENT, Pictures
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import NotStored
from emotion_perception.interaction.store_records import MAX_PAGE, ConversationQuery
from emotion_perception.interaction.turns import why_fields
from emotion_perception.types import SECOND

NOT_STORED = "conversations are not stored"


class WhyRoutes:
    """``/api/conversations/{id}/why`` and ``/api/conversations/{id}/pictures/{stamp_ns}.jpg``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/conversations/{id}/why", self._why),
            web.get(r"/api/conversations/{id}/pictures/{stamp:\d{1,19}}.jpg", self._picture),
        ]

    async def _why(self, request: web.Request) -> web.Response:
        store = required(self._parts.archive, NOT_STORED)
        return web.json_response(await asyncio.to_thread(_why, store, self._parts.pictures, request.match_info["id"]))

    async def _picture(self, request: web.Request) -> web.Response:
        pictures = required(self._parts.pictures, CONSENT)
        data = await asyncio.to_thread(_jpeg, pictures, request.match_info["id"], int(request.match_info["stamp"]))
        return web.Response(body=data, content_type="image/jpeg")


def _why(store: ConversationStore, pictures: Pictures | None, interaction_id: str) -> dict[str, Any]:
    fields = store.read(interaction_id)
    entries = store.page(ConversationQuery(limit=MAX_PAGE)).conversations
    shown = pictures.of(interaction_id) if pictures is not None and pictures.config.consented else []
    return {
        **why_fields(fields | {"interaction_id": interaction_id}, entries, fields["arc"]["valence_smoothed"]),
        "pictures": [
            {
                "time": round(picture.stamp_ns / SECOND - fields["start"], 2),
                "label": picture.label,
                "stamp": str(picture.stamp_ns),  # JavaScript's numbers have 53 bits
            }
            for picture in shown
        ],
    }


def _jpeg(pictures: Pictures, interaction_id: str, stamp_ns: int) -> bytes:
    for picture in pictures.of(interaction_id):
        if picture.stamp_ns == stamp_ns:
            return picture.path.read_bytes()
    raise NotStored(f"conversation {interaction_id[:100]!r} has no picture {stamp_ns}")
