"""Access to the MCP server over HTTP: every request needs the bearer token, and must be meant for this machine.

The decisions are those of the web page (:class:`emotion_perception.dashboard.security.Gate`): tokens in constant time,
foreign host names and pages of other sites refused, wrong tokens answered late.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from emotion_perception.dashboard.security import Credential, Gate, check_listening, read_token
from emotion_perception.dashboard.token_limit import DELAY_S, LIMITED_DELAY_S, TokenLimiter

TOKEN_VARIABLE = "EMOTION_MCP_TOKEN"  # environment variable
MAX_CLIENTS = 1000  # whose first access is remembered

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_gate(address: str, token_file: str) -> Gate:
    """Access control for a server that listens on ``address``; a token is needed on loopback, too.

    Args:
        address: to listen on.
        token_file: file of the token; empty: the environment variable :data:`TOKEN_VARIABLE`.

    Raises:
        ValueError: there is no token, it is weak, or others can read its file.
    """
    token = read_token(Path(token_file).expanduser()) if token_file else os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise ValueError(
            "HTTP needs a token, because every program on this machine can connect: --token-file FILE (mode 0600), or "
            f"the environment variable {TOKEN_VARIABLE}; "
            "python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    check_listening(address, token)
    return Gate(address, token)


class TokenGuard:
    """ASGI middleware that passes on only requests with the token.

    Args:
        app: what to protect.
        gate: decides about hosts, origins and tokens.
        limiter: counts wrong tokens.
        granted: called with a client's address at its first request with the token.
    """

    def __init__(
        self,
        app: Application,
        gate: Gate,
        limiter: TokenLimiter,
        granted: Callable[[str], object] = lambda client: None,
    ) -> None:
        self._app, self._gate, self._limiter, self._granted = app, gate, limiter, granted
        self._known: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets
        headers = {name.decode("latin-1").title(): value.decode("latin-1") for name, value in scope["headers"]}
        client = (scope.get("client") or ("",))[0]
        problem = self._gate.host_problem(headers.get("Host"))
        if problem is not None:
            await _refuse(send, 421, problem)
            return
        problem = self._gate.origin_problem(headers)
        if problem is not None:
            await _refuse(send, 403, problem)
            return
        credential = self._gate.credential(None, headers.get("Authorization"))
        if credential is not Credential.RIGHT:
            if credential is Credential.WRONG:
                limited = self._limiter.count_wrong(client, "MCP")
                await asyncio.sleep(LIMITED_DELAY_S if limited else DELAY_S)
            await _refuse(send, 401, "the header 'Authorization: Bearer <token>' is missing or wrong")
            return
        if client not in self._known and len(self._known) < MAX_CLIENTS:
            self._known.add(client)
            self._granted(client)
        await self._app(scope, receive, send)


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
