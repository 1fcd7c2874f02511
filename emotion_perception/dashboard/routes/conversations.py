"""What the page can do here, stored conversations with their reports, starting and stopping a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

from aiohttp import web

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.routes.common import error_response, json_body, required
from emotion_perception.dashboard.security import REPORT_POLICY
from emotion_perception.dashboard.uploads import MAX_SECONDS
from emotion_perception.emotions import CIRCUMPLEX, EMOTION_COLOURS, EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.feedback.corrections import STRETCH_S
from emotion_perception.feedback.pictures import CONSENT
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import NotStored, local_midnight
from emotion_perception.interaction.store_records import ConversationQuery, Deletion
from emotion_perception.media.formats import AUDIO_FORMATS, IMAGE_FORMATS, VIDEO_FORMATS
from emotion_perception.reports.exports import EXPORTS, Export

_DELETABLE = ("from", "to", "person")


class ConversationRoutes:
    """``/api/config``, ``/api/conversations``, ``/api/reports``, ``/api/pictures`` and ``/api/conversation``."""

    def __init__(self, config: ServerConfig, parts: Parts) -> None:
        self._config, self._parts = config, parts

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/config", self._settings),
            web.get("/api/conversations", self._list),
            web.delete("/api/conversations", self._delete_matching),
            web.get("/api/conversations/{id}", self._conversation),
            web.delete("/api/conversations/{id}", self._delete_one),
            web.get("/api/reports/{kind:conversation|day|week}/{id}.{ending:html|pdf|csv|json}", self._report),
            web.delete("/api/pictures", self._delete_pictures),
            web.post("/api/conversation/{what:start|stop}", self._start_or_stop),
        ]

    async def _settings(self, request: web.Request) -> web.Response:
        parts, corrections, pictures = self._parts, self._parts.corrections, self._parts.pictures
        return web.json_response(
            {
                "emotions": list(EMOTIONS),
                "face_emotions": list(VISUAL_EMOTIONS),
                "colours": list(EMOTION_COLOURS),
                "circumplex": [[round(float(v), 3) for v in place] for place in CIRCUMPLEX],
                "video": parts.video is not None,
                "stored": parts.archive is not None,
                "places": parts.places is not None and parts.places.several,
                "steer": parts.start_conversation is not None,
                "try": None
                if parts.analyzer is None
                else {
                    "max_mb": self._config.max_upload_mb,
                    "max_seconds": MAX_SECONDS,
                    "formats": f"{IMAGE_FORMATS}; {VIDEO_FORMATS}; {AUDIO_FORMATS}",
                },
                "feedback": None
                if corrections is None
                else {
                    "retention_days": corrections.config.retention_days,
                    "reach_s": corrections.reach_s,
                    "stretch_s": STRETCH_S,
                    "learning": parts.learning is not None,
                },
                "pictures": None
                if pictures is None or not pictures.config.consented
                else {"retention_days": pictures.config.retention_days},
                "token": bool(self._config.token),
            }
        )

    @property
    def _archive(self) -> ConversationStore:
        return required(self._parts.archive, "conversations are not stored; set conversations_directory")

    async def _list(self, request: web.Request) -> web.Response:
        archive, query = self._archive, conversation_query(request.query)
        page = await asyncio.to_thread(archive.page, query)
        return web.json_response(asdict(page) | {"importing": archive.importing})

    async def _delete_one(self, request: web.Request) -> web.Response:
        interaction_id = request.match_info["id"]
        self._archive.path(interaction_id, "json")  # raises NotStored if that is no id
        done = await self._delete(ConversationQuery(interaction_id=interaction_id))
        if not done.conversations and not done.running:
            raise NotStored(f"no conversation {interaction_id!r} is stored")
        return web.json_response(_deletion_fields(done))

    async def _delete_matching(self, request: web.Request) -> web.Response:
        query = conversation_query(request.query)
        # A condition that was misspelt must not delete everything.
        if unknown := request.query.keys() - {*_DELETABLE, "everything"}:
            raise ValueError(f"deletion knows no {sorted(unknown)[0][:50]!r}, only {', '.join(_DELETABLE)}, everything")
        if (query.subject == "everything") != (request.query.get("everything") == "1"):
            raise ValueError("name a day, a period or a person to delete, or everything=1")
        return web.json_response(_deletion_fields(await self._delete(query)))

    async def _delete(self, query: ConversationQuery) -> Deletion:
        pictures = self._parts.pictures
        delete_pictures = None if pictures is None else pictures.delete_of
        done = await asyncio.to_thread(self._archive.delete, query, "page", delete_pictures)
        if done.conversations:
            self._parts.deletion_done(done)
        return done

    async def _conversation(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._archive.read, request.match_info["id"]))

    async def _report(self, request: web.Request) -> web.Response:
        archive, match = self._archive, request.match_info
        export: Export = EXPORTS[match["ending"]]
        with_pictures = request.query.get("pictures", "0") not in ("0", "false", "no")
        data, name = await asyncio.to_thread(
            export.make, archive, match["kind"], match["id"], with_pictures, self._parts.pictures
        )
        response = web.Response(body=data, content_type=export.media_type, charset=export.charset)
        inline = match["ending"] == "html" and "download" not in request.query
        disposition = "inline" if inline else "attachment"
        response.headers["Content-Disposition"] = f'{disposition}; filename="{name}.{match["ending"]}"'
        if match["ending"] == "html":
            response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response

    async def _delete_pictures(self, request: web.Request) -> web.Response:
        pictures = required(self._parts.pictures, CONSENT)
        return web.json_response({"deleted": await asyncio.to_thread(pictures.delete_all)})

    async def _start_or_stop(self, request: web.Request) -> web.Response:
        start = required(self._parts.start_conversation, "this server cannot start conversations")
        stop = required(self._parts.stop_conversation, "this server cannot stop conversations")
        if request.match_info["what"] == "start":
            name = str((await json_body(request)).get("name", ""))[:100]
            problem = await asyncio.to_thread(start, name)
        else:
            problem = await asyncio.to_thread(stop)
        return error_response(409, problem) if problem else web.json_response({"done": True})


def conversation_query(fields: Mapping[str, str]) -> ConversationQuery:
    """The query in the address of a request.

    Args:
        fields: ``from`` and ``to`` (days, both included: 2026-11-23), ``min_s``, ``max_s`` (length), ``emotion``,
            ``hour`` (of day, 0 to 23), ``place``, ``text``, ``person``, ``sort``, ``limit``, ``offset``.

    Raises:
        ValueError: a value is of the wrong type or out of range; the message names it.
    """

    def number(name: str, kind: type[int] | type[float]) -> Any:
        try:
            return kind(fields[name]) if fields.get(name) else None
        except ValueError:
            raise ValueError(f"{name} must be a number, got {fields[name][:20]!r}") from None

    def midnight(name: str, days_later: int = 0) -> datetime | None:
        if not fields.get(name):
            return None
        try:
            return local_midnight(date.fromisoformat(fields[name]) + timedelta(days=days_later))
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"{name} must be a day such as 2026-11-23, got {fields[name][:20]!r}") from None

    hour = number("hour", int)
    return ConversationQuery(
        start=midnight("from"),
        end=midnight("to", 1),
        min_length_s=number("min_s", float),
        max_length_s=number("max_s", float),
        emotion=fields.get("emotion", ""),
        hours=None if hour is None else (hour, hour + 1),
        place=fields.get("place", ""),
        text=fields.get("text", ""),
        person=fields.get("person", ""),
        sort=fields.get("sort") or "newest",
        limit=number("limit", int) or 50,
        offset=number("offset", int) or 0,
    )


def _deletion_fields(done: Deletion) -> dict[str, int]:
    return {"conversations": done.conversations, "pictures": done.pictures, "running": done.running}
