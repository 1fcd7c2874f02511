"""The page, logging in and out."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from emotion_perception.dashboard.routes.common import Handler, read_body
from emotion_perception.dashboard.routes.middleware import WrongTokenError
from emotion_perception.dashboard.security import COOKIE, Gate
from emotion_perception.dashboard.static_files import StaticFiles

SESSION_S = 30 * 86400  # life of the session cookie


class LoginRoutes:
    """``/``, ``/login`` and ``/logout``; ``granted`` is called with the client of each log-in."""

    def __init__(self, gate: Gate, granted: Callable[[str], object], files: StaticFiles) -> None:
        self._gate, self._granted, self._files = gate, granted, files

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [
            web.get("/", self._page("index.html")),
            web.get("/login", self._page("login.html")),
            web.post("/login", self._log_in),
            web.post("/logout", self._log_out),
        ]

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        # The token is judged, and a wrong one counted, only after the whole body has arrived.
        token = (await read_body(request.post())).get("token", "")
        if not isinstance(token, str) or not self._gate.is_token(token.strip()):
            refusal = web.Response(status=303, headers={"Location": "/login?wrong"})
            raise WrongTokenError("log-in form", refusal)
        self._granted(self._gate.client_address(request.remote or "", request.headers))
        response = web.Response(status=303, headers={"Location": "/"})
        https = self._gate.is_https(request.secure, request.remote or "", request.headers)
        response.set_cookie(
            COOKIE, self._gate.cookie, httponly=True, samesite="Strict", secure=https, max_age=SESSION_S
        )
        return response

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(COOKIE)
        return response

    def _page(self, name: str) -> Handler:
        async def page(request: web.Request) -> web.StreamResponse:
            return self._files.page(name, request)

        return page
