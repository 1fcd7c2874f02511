"""``/notice``: the notice for people who are exposed to emotion recognition, to be printed."""

from __future__ import annotations

from aiohttp import web

from emotion_perception.compliance.notice import NOTICES
from emotion_perception.dashboard.security import REPORT_POLICY
from emotion_perception.reports.notice import render_notice

MAX_CONTACT = 200  # characters


class NoticeRoutes:
    """``/notice``; ``?languages=de,en`` chooses languages, ``&contact=...`` adds whom to ask."""

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [web.get("/notice", self._notice)]

    async def _notice(self, request: web.Request) -> web.Response:
        languages = request.query.get("languages", ",".join(NOTICES))
        page = render_notice(languages, request.query.get("contact", "")[:MAX_CONTACT])
        response = web.Response(text=page, content_type="text/html")
        response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response
