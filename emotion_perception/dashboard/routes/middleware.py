"""What every request passes: host, origin and token are checked, errors become answers, headers are added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from emotion_perception.dashboard.connections import ConnectionGuard
from emotion_perception.dashboard.routes.common import Handler, error_response
from emotion_perception.dashboard.security import COOKIE, HEADERS, OWN_REQUEST, Credential, Gate
from emotion_perception.dashboard.token_limit import (
    DELAY_S,
    LIMITED_DELAY_S,
    MAX_CLIENTS,
    WINDOW_S,
    TokenLimiter,
)
from emotion_perception.dashboard.uploads import UploadError
from emotion_perception.feedback.corrections import CorrectionError


class WrongTokenError(Exception):
    """A request carried a wrong token; ``way`` names where, for the log, and ``response`` is the answer."""

    def __init__(self, way: str, response: web.Response) -> None:
        super().__init__(way)
        self.way, self.response = way, response


class RequestGuard:
    """The middleware.

    Args:
        gate: decides about hosts, origins and tokens.
        limiter: counts wrong tokens.
        connections: knows which connections handle a request.
        granted: called with the address of each client at its first request with a bearer token.
    """

    def __init__(
        self,
        gate: Gate,
        limiter: TokenLimiter,
        connections: ConnectionGuard,
        granted: Callable[[str], object] = lambda client: None,
    ) -> None:
        self._gate, self._limiter, self._connections = gate, limiter, connections
        self._granted = granted
        self._known: set[str] = set()  # clients that sent the token in a header

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """For ``web.Application(middlewares=[...])``."""
        with self._connections.request(request.protocol) as release:
            response = await self._respond(request, handler, release)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    async def _respond(self, request: web.Request, handler: Handler, release: Callable[[], None]) -> web.StreamResponse:
        try:
            return self._refusal(request) or await handler(request)
        except WrongTokenError as wrong:
            release()  # a connection that only waits for its delayed refusal may be closed to make room
            return await self._refuse_token(request, wrong)
        except web.HTTPException as error:
            if request.path.startswith("/api/"):
                return error_response(error.status, error.reason)
            return web.Response(status=error.status, text=error.reason)
        except (UploadError, CorrectionError, ValueError) as error:
            return error_response(getattr(error, "status", 400), str(error))
        except ConnectionError:
            raise
        except (OSError, asyncio.TimeoutError) as error:
            return error_response(503, str(error) or "timed out")

    async def _refuse_token(self, request: web.Request, wrong: WrongTokenError) -> web.Response:
        client = self._gate.client_address(request.remote or "", request.headers)
        limited = self._limiter.count_wrong(client, wrong.way)
        await asyncio.sleep(LIMITED_DELAY_S if limited else DELAY_S)
        if not limited:
            return wrong.response
        response = error_response(429, "too many wrong tokens; wait a minute")
        response.headers["Retry-After"] = str(round(WINDOW_S))
        response.force_close()
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        """The refusal of a request; None if it may be handled.

        Raises:
            WrongTokenError: it carries a wrong token or session.
        """
        headers, api = request.headers, request.path.startswith("/api/")
        problem = self._gate.host_problem(headers.get("Host"))
        if problem is not None:
            return error_response(421, problem)
        changes = request.method not in ("GET", "HEAD")
        if changes or api:
            problem = self._gate.origin_problem(headers)
            if problem is None and changes and api and OWN_REQUEST not in headers:
                problem = f"a change must carry the header {OWN_REQUEST}"
            if problem is not None:
                return error_response(403, problem)
        if request.path == "/login" or request.path.startswith("/static/"):
            return None
        credential = self._gate.credential(request.cookies.get(COOKIE), headers.get("Authorization"))
        if credential is Credential.RIGHT:
            if self._gate.token and "Authorization" in headers:
                self._report_access(self._gate.client_address(request.remote or "", headers))
            return None
        if api:
            refusal = error_response(401, "log in with the token first")
        else:
            refusal = web.Response(status=303, headers={"Location": "/login"})
        if credential is Credential.WRONG:
            refusal.del_cookie(COOKIE)  # a session of an earlier token is not sent again
            raise WrongTokenError("bearer token" if "Authorization" in headers else "session cookie", refusal)
        return refusal

    def _report_access(self, client: str) -> None:
        if client not in self._known and len(self._known) < MAX_CLIENTS:
            self._known.add(client)
            self._granted(client)
