"""Fifty viewers at once are served, more are refused, and a slow one delays nobody."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest
from page_world import Clock, a_state

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.routes.live import MAX_VIEWERS
from emotion_perception.dashboard.store import Store

S = 1_000_000_000


@pytest.mark.timeout(180)
def test_fifty_concurrent_viewers_get_every_change_and_the_page_still_answers(serve):
    store = Store()
    client = serve(Parts(store))
    url = f"http://127.0.0.1:{client.server.port}"

    async def watch() -> list[float]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            sockets = [await session.ws_connect(f"{url}/api/live") for _ in range(MAX_VIEWERS)]
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await session.ws_connect(f"{url}/api/live")
            delays = []
            for number in range(1, 6):
                stamp = number * 100 * S
                store.add_state(a_state(stamp), stamp)
                published = time.monotonic()
                # The first viewer reads nothing: that must not keep the others waiting.
                await asyncio.gather(*(until_state(ws, number * 100) for ws in sockets[1:]))
                delays.append(time.monotonic() - published)
                start = time.monotonic()
                async with session.get(f"{url}/api/config") as answer:
                    assert answer.status == 200
                delays.append(time.monotonic() - start)
                await asyncio.sleep(0.25)
            for ws in sockets:
                await ws.close()
        return delays

    delays = asyncio.run(watch())
    assert max(delays) < 2.0, delays
    end = time.monotonic() + 10
    while client.server.viewers and time.monotonic() < end:
        time.sleep(0.05)
    assert client.server.viewers == 0


async def until_state(ws: aiohttp.ClientWebSocketResponse, seconds: float) -> None:
    """Read until the state of that time has come."""
    while True:
        fields = json.loads((await ws.receive(timeout=20)).data)
        if fields["type"] == "state" and fields.get("time") == seconds:
            return


def test_a_message_of_a_viewer_is_bounded_and_nonsense_is_ignored(serve):
    client = serve(Parts(Store(Clock())))
    url = f"http://127.0.0.1:{client.server.port}/api/live"

    async def attack() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            for nonsense in ("", "[]", "null", "[" * 500, "\x00", '{"video": {}}'):
                await ws.send_str(nonsense)
            await ws.send_bytes(b"\xff" * 100)
            assert (await ws.receive(timeout=10)).type == aiohttp.WSMsgType.TEXT, "it is still served"
            await ws.send_str("x" * 2000)
            kinds = set()
            while not ws.closed:
                kinds.add((await ws.receive(timeout=10)).type)
            assert kinds & {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}

    asyncio.run(attack())
