"""What the routes share: error answers, parts that may be missing, bounded request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Part = TypeVar("Part")
Body = TypeVar("Body")

BODY_TIMEOUT_S = 10.0  # for the body of a request that is no upload


def error_response(status: int, reason: str) -> web.Response:
    """A JSON object with the reason in ``error``."""
    return web.json_response({"error": reason}, status=status)


def required(part: Part | None, reason: str) -> Part:
    """A part of the server that may be turned off.

    Raises:
        web.HTTPConflict: it is None; ``reason`` says how to turn it on.
    """
    if part is None:
        raise web.HTTPConflict(reason=reason)
    return part


async def read_body(body: Awaitable[Body]) -> Body:
    """Wait for a request body, for :data:`BODY_TIMEOUT_S` at most.

    Raises:
        web.HTTPRequestTimeout: it did not arrive in time.
    """
    try:
        return await asyncio.wait_for(body, BODY_TIMEOUT_S)
    except asyncio.TimeoutError:
        raise web.HTTPRequestTimeout(reason=f"the request took longer than {BODY_TIMEOUT_S:.0f} s") from None


async def json_body(request: web.Request) -> dict[str, Any]:
    """The JSON object that a request carries.

    Raises:
        ValueError: the body is not a JSON object.
    """
    try:
        fields = await read_body(request.json())
    except (ValueError, RecursionError):
        raise ValueError("the request is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("the request is not a JSON object")
    return fields
