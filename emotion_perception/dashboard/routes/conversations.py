"""What the page can do here, stored conversations with their reports, starting and stopping a conversation."""

from __future__ import annotations

import asyncio

from aiohttp import web

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.routes.common import error_response, json_body, required
from emotion_perception.dashboard.security import REPORT_POLICY
from emotion_perception.dashboard.uploads import MAX_SECONDS
from emotion_perception.emotions import CIRCUMPLEX, EMOTION_COLOURS, EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.feedback.corrections import STRETCH_S
from emotion_perception.feedback.pictures import CONSENT
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.media.formats import AUDIO_FORMATS, IMAGE_FORMATS, VIDEO_FORMATS
from emotion_perception.reports.exports import EXPORTS, Export


class ConversationRoutes:
    """``/api/config``, ``/api/conversations``, ``/api/reports``, ``/api/pictures`` and ``/api/conversation``."""

    def __init__(self, config: ServerConfig, parts: Parts) -> None:
        self._config, self._parts = config, parts

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/api/config", self._settings),
            web.get("/api/conversations/{id}", self._conversation),
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
