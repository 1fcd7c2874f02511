"""``emotion-mcp`` beside the whole graph on a real clip, asked by the SDK's own client over stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import elapsed, slowness

from emotion_perception.resources import demo_clip_path

pytest.importorskip("rclpy", reason="needs ROS 2: . scripts/env.sh")
pytest.importorskip("emotion_msgs", reason="needs emotion_msgs: scripts/setup.sh")
pytest.importorskip("mcp", reason="needs the package mcp (requirements.in)")

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

ANSWER_S = 0.05  # of an idle machine
SERVER = [sys.executable, "-m", "emotion_perception.cli.mcp"]
TOKEN = "end-to-end-Secret-42"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def environment(domain: int) -> dict[str, str]:
    here = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "EMOTION_MCP_TOKEN": TOKEN}
    return {**os.environ, **here}


@pytest.fixture(scope="module")
def graph() -> Iterator[dict[str, str]]:
    """The environment of a running graph that plays the demo clip again and again."""
    elapsed(time.monotonic())  # the machine is measured from here on
    settings = environment(102 + os.getpid() % 50)
    command = [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(demo_clip_path()), "--loop"]
    process = subprocess.Popen([*command, "--interaction", "true", "--overlay", "false"], env=settings)
    yield settings
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


async def until_somebody(client: Client) -> dict[str, Any]:
    """The people, once somebody is in view with a clear emotion."""
    began = time.monotonic()
    while True:
        try:
            found = json.loads((await client.read_resource("emotion://people")).contents[0].text)
            if any("emotion" in person for person in found["people"]):
                return found
        except MCPError:
            pass  # the nodes are still being started
        assert elapsed(began) < 60, "nobody was seen"
        await asyncio.sleep(0.2)


async def timed(question: Any) -> tuple[Any, float]:
    began = time.monotonic()
    answer = await question
    return answer, (time.monotonic() - began) / slowness(began)


async def read(client: Client, uri: str) -> dict[str, Any]:
    return json.loads((await client.read_resource(uri)).contents[0].text)


async def until(question: Callable[[], Awaitable[Any]], answered: Callable[[Any], bool]) -> Any:
    """The first answer that fits: the clip has moments without a face and without a voice."""
    began = time.monotonic()
    while not answered(answer := await question()):
        assert elapsed(began) < 60, answer
        await asyncio.sleep(0.2)
    return answer


def test_without_a_graph_every_answer_says_how_to_start_it() -> None:
    async def talk() -> None:
        alone = environment(154 + os.getpid() % 50)
        async with Client(StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=alone)) as client:
            with pytest.raises(MCPError, match="ros2 launch emotion_perception robot.launch.py interaction:=true"):
                await client.read_resource("emotion://people")
            for tool in ("explain_face", "end_conversation"):
                answer = await client.call_tool(tool, {})
                assert answer.is_error and "does not run" in answer.content[0].text

    asyncio.run(talk())


def test_http_without_a_token_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = {name: value for name, value in os.environ.items() if name != "EMOTION_MCP_TOKEN"}
    result = subprocess.run([*SERVER, "--http"], env=settings, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2 and "EMOTION_MCP_TOKEN" in result.stderr and "Traceback" not in result.stderr


def test_a_language_model_asks_over_stdio(graph: dict[str, str]) -> None:
    async def talk() -> None:
        async with Client(StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=graph)) as client:
            people = await until_somebody(client)
            assert people["people"][0]["sentence"].startswith("The person in view")
            state = await until(lambda: read(client, "emotion://state"), lambda found: found["status"] != "NO_EVIDENCE")
            assert state["label"] and abs(state["stamp"] - time.time()) < 30
            started = await client.call_tool("start_conversation", {"name": "desk 3"})
            assert not started.is_error, started.content
            again = await client.call_tool("start_conversation", {})
            assert again.is_error and "already running" in again.content[0].text
            why = await until(lambda: client.call_tool("explain_face", {}), lambda answer: not answer.is_error)
            assert why.structured_content["text"] and why.structured_content["estimate"]["emotion"]
            assert not any(item.type == "image" for item in why.content)
            refused = await client.call_tool("explain_face", {"emotion": "calm"})
            assert refused.is_error and "calm" in refused.content[0].text
            changed = await client.call_tool("wait_for_change", {"timeout_s": 5})
            assert not changed.is_error and "people" in changed.structured_content
            times = []
            for uri in ["emotion://state", "emotion://people", "emotion://conversation/arc"] * 20:
                _, seconds = await timed(client.read_resource(uri))
                times.append(seconds)
            assert statistics.median(times) < ANSWER_S, f"median {1000 * statistics.median(times):.1f} ms"
            arc = await read(client, "emotion://conversation/arc")
            assert arc["running"] and arc["interaction_id"] == started.structured_content["interaction_id"]
            ended, seconds = await timed(client.call_tool("end_conversation", {}))
            assert not ended.is_error and ended.structured_content["duration_s"] > 0
            assert seconds < 10 * ANSWER_S, f"{1000 * seconds:.0f} ms"
            print(f"answers: median {1000 * statistics.median(times):.1f} ms; end: {1000 * seconds:.1f} ms")

    asyncio.run(talk())


def test_http_answers_only_with_the_token(graph: dict[str, str]) -> None:
    server = subprocess.Popen([*SERVER, "--http", "--port", "0"], env=graph, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        url = re.search(r"http://127\.0\.0\.1:\d+/mcp", server.stderr.readline())
        assert url is not None

        async def talk() -> None:
            async with httpx2.AsyncClient() as stranger:
                for headers in ({}, {"Authorization": "Bearer wrong-token-of-sixteen"}):
                    assert (await stranger.post(url[0], json={}, headers=headers)).status_code == 401
            bearer = httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
            async with bearer, Client(streamable_http_client(url[0], http_client=bearer)) as client:
                assert (await until_somebody(client))["people"]
                times = [(await timed(client.read_resource("emotion://people")))[1] for _ in range(20)]
                assert statistics.median(times) < ANSWER_S, f"median {1000 * statistics.median(times):.1f} ms"
                print(f"HTTP: median {1000 * statistics.median(times):.1f} ms")

        asyncio.run(talk())
    finally:
        server.terminate()
        assert server.wait(20) == 0
