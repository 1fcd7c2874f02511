"""Who may use the MCP server over HTTP: nobody without the token, and no page of another site with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from emotion_perception.dashboard.security import Gate
from emotion_perception.dashboard.token_limit import TokenLimiter
from emotion_perception.language.access import TOKEN_VARIABLE, TokenGuard, make_gate

TOKEN = "a-long-enough-Secret-1"


class Served:
    """A guarded application that counts what reaches it."""

    def __init__(self) -> None:
        self.reached = 0
        self.granted: list[str] = []
        self.warned: list[str] = []
        limiter = TokenLimiter(self.warned.append)
        self.guard = TokenGuard(self._app, Gate("127.0.0.1", TOKEN), limiter, self.granted.append)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def request(self, **headers: str) -> int:
        """The status of a request with these headers."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("the body of a refused request is not read")

        named = {"host": "127.0.0.1:8765"} | {name.replace("_", "-"): value for name, value in headers.items()}
        raw = [(name.encode(), value.encode()) for name, value in named.items()]
        scope = {"type": "http", "headers": raw, "client": ("127.0.0.1", 5000)}
        asyncio.run(self.guard(scope, receive, send))
        return sent[0]["status"]


@pytest.fixture
def served() -> Served:
    return Served()


def test_token_opens_the_server(served: Served) -> None:
    assert served.request(authorization=f"Bearer {TOKEN}") == 200 and served.reached == 1


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_anything_else_does_not(served: Served, value: str | None) -> None:
    headers = {} if value is None else {"authorization": value}
    assert served.request(**headers) == 401 and served.reached == 0


def test_foreign_host_name_is_refused_even_with_the_token(served: Served) -> None:
    assert served.request(authorization=f"Bearer {TOKEN}", host="evil.example") == 421 and served.reached == 0


def test_page_of_another_site_is_refused_even_with_the_token(served: Served) -> None:
    assert served.request(authorization=f"Bearer {TOKEN}", origin="http://evil.example") == 403
    assert served.request(authorization=f"Bearer {TOKEN}", sec_fetch_site="cross-site") == 403
    assert served.reached == 0


def test_wrong_tokens_are_logged_and_first_access_is_reported_once(served: Served) -> None:
    served.request(authorization="Bearer wrong")
    assert served.warned == ["wrong token from 127.0.0.1 (MCP)"] and served.granted == []
    for _ in range(3):
        served.request(authorization=f"Bearer {TOKEN}")
    assert served.granted == ["127.0.0.1"]


def test_web_sockets_do_not_pass(served: Served) -> None:
    asyncio.run(served.guard({"type": "websocket", "headers": []}, None, None))  # type: ignore[arg-type]
    assert served.reached == 0


def test_http_needs_a_token_on_loopback_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=TOKEN_VARIABLE):
        make_gate("127.0.0.1", "")
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert make_gate("127.0.0.1", "").is_token(TOKEN)
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(ValueError, match="16 printable"):
        make_gate("127.0.0.1", "")


def test_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        make_gate("127.0.0.1", str(path))
    path.chmod(0o600)
    assert make_gate("127.0.0.1", str(path)).is_token(TOKEN)
