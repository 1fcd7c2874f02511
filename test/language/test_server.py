"""Resources and tools, asked by the SDK's own client in the same process."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from emotion_perception.language.knowledge import GraphError, Knowledge
from emotion_perception.language.server import make_server

pytest.importorskip("mcp", reason="needs the package mcp (requirements.in)")
from mcp.client import Client
from mcp.shared.exceptions import MCPError

HAPPY = {"people": [{"face_id": "f1", "emotion": "happy", "sentence": "The person in view seems happy → hm."}]}
SAD = {"people": [{"face_id": "f1", "emotion": "sad"}]}


class FakeRobot(Knowledge):
    """A graph whose answers are set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Any, ...]] = []
        self.problem = ""

    def _answer(self, *asked: Any) -> dict[str, Any]:
        if self.problem:
            raise GraphError(self.problem)
        self.asked.append(asked)
        return {"done": asked[0]}

    def explain_face(self, face_id: str, label: int | None) -> dict[str, Any]:
        return self._answer("explain", face_id, label)

    def start_conversation(self, name: str, person_id: str) -> dict[str, Any]:
        return self._answer("start", name, person_id)

    def end_conversation(self, interaction_id: str) -> dict[str, Any]:
        return self._answer("end", interaction_id)


@pytest.fixture
def robot() -> FakeRobot:
    return FakeRobot()


def ask(robot: FakeRobot, questions: Callable[[Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with Client(make_server(robot, "1.2.3")) as client:
            return await questions(client)

    return asyncio.run(run())


def test_resources_and_tools_are_listed_with_descriptions(robot: FakeRobot) -> None:
    async def questions(client: Client) -> Any:
        return (await client.list_resources()).resources, (await client.list_tools()).tools

    resources, tools = ask(robot, questions)
    assert [str(one.uri) for one in resources] == ["emotion://state", "emotion://people", "emotion://conversation/arc"]
    assert [one.name for one in tools] == ["wait_for_change", "explain_face", "start_conversation", "end_conversation"]
    assert all(one.description for one in (*resources, *tools))


def test_a_resource_is_the_newest_json(robot: FakeRobot) -> None:
    robot.put("people", SAD)
    robot.put("people", HAPPY)
    answer = ask(robot, lambda client: client.read_resource("emotion://people"))
    assert json.loads(answer.contents[0].text) == HAPPY
    assert "→" in answer.contents[0].text, "readable without decoding escapes"


def test_without_the_graph_a_resource_says_how_to_start_it(robot: FakeRobot) -> None:
    async def question(client: Client) -> None:
        with pytest.raises(MCPError, match="is not running.*ros2 launch"):
            await client.read_resource("emotion://state")

    ask(robot, question)


@pytest.mark.parametrize(
    ("tool", "arguments"), [("wait_for_change", {}), ("explain_face", {}), ("start_conversation", {})]
)
def test_without_the_graph_a_tool_says_why(robot: FakeRobot, tool: str, arguments: dict[str, Any]) -> None:
    robot.problem = "visual_node does not run"
    answer = ask(robot, lambda client: client.call_tool(tool, arguments))
    assert answer.is_error and "not run" in answer.content[0].text


def test_wait_for_change_returns_when_an_emotion_changes(robot: FakeRobot) -> None:
    robot.put("people", HAPPY)
    threading.Timer(0.3, robot.put, ("people", SAD)).start()
    began = time.monotonic()
    answer = ask(robot, lambda client: client.call_tool("wait_for_change", {"timeout_s": 20.0}))
    assert answer.structured_content["changed"] and answer.structured_content["people"] == SAD["people"]
    assert time.monotonic() - began < 15


def test_wait_for_change_ends_without_one(robot: FakeRobot) -> None:
    robot.put("people", HAPPY)
    answer = ask(robot, lambda client: client.call_tool("wait_for_change", {"timeout_s": 0.1}))
    assert answer.structured_content["changed"] is False


@pytest.mark.parametrize("seconds", [-1.0, 61.0, 1e300])
def test_endless_waits_are_refused(robot: FakeRobot, seconds: float) -> None:
    robot.put("people", HAPPY)
    answer = ask(robot, lambda client: client.call_tool("wait_for_change", {"timeout_s": seconds}))
    assert answer.is_error and "from 0 to 60" in answer.content[0].text


def test_tools_reach_the_robot_with_their_arguments(robot: FakeRobot) -> None:
    async def questions(client: Client) -> None:
        for tool, arguments in (
            ("explain_face", {"face_id": "f1", "emotion": "anger"}),
            ("explain_face", {}),
            ("start_conversation", {"name": "desk 3"}),
            ("end_conversation", {"interaction_id": "i1"}),
        ):
            answer = await client.call_tool(tool, arguments)
            assert not answer.is_error and answer.structured_content

    ask(robot, questions)
    assert robot.asked == [("explain", "f1", 4), ("explain", "", None), ("start", "desk 3", ""), ("end", "i1")]


def test_unknown_emotion_is_refused_with_the_vocabulary(robot: FakeRobot) -> None:
    answer = ask(robot, lambda client: client.call_tool("explain_face", {"emotion": "hunger"}))
    assert answer.is_error and "the vocabulary is neutral" in answer.content[0].text and not robot.asked
