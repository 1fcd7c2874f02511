"""Guessing the token: slow on every way in, short in the log, and never at the cost of who has the right one."""

from __future__ import annotations

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from page_world import TOKEN, Answer, Client

from emotion_perception.dashboard.config import ServerConfig
from emotion_perception.dashboard.routes import middleware
from emotion_perception.dashboard.security import TOKEN_VARIABLE, Gate
from emotion_perception.dashboard.token_limit import MAX_CLIENTS, MAX_WRONG, MAX_WRONG_IN_ALL, TokenLimiter
from emotion_perception.dashboard.uploads import worker_environment

FORM = {"Content_Type": "application/x-www-form-urlencoded"}


def by_bearer(client: Client, token: str) -> Answer:
    return client.get("/api/config", Authorization=f"Bearer {token}")


def by_form(client: Client, token: str) -> Answer:
    return client.post("/login", f"token={token}", **FORM)


def by_cookie(client: Client, token: str) -> Answer:
    return client.get("/api/config", Cookie=f"emotion_dashboard={token}")


def by_live(client: Client, token: str) -> Answer:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    return client.get("/api/live", Authorization=f"Bearer {token}", Sec_WebSocket_Key="dGhlIHNhbXBsZQ==", **upgrade)


@pytest.mark.parametrize(
    ("guess", "status"), [(by_bearer, 401), (by_form, 303), (by_cookie, 401), (by_live, 401)], ids=lambda x: str(x)
)
def test_wrong_tokens_are_slow_then_refused_and_the_right_one_always_works(serve, monkeypatch, guess, status):
    monkeypatch.setattr(middleware, "LIMITED_DELAY_S", 0.4)
    client = serve(token=TOKEN)
    start = time.monotonic()
    statuses = [guess(client, f"guess{i}").status for i in range(MAX_WRONG + 3)]
    assert statuses == [status] * MAX_WRONG + [429] * 3
    assert time.monotonic() - start >= 0.3 * MAX_WRONG + 0.4 * 3
    assert by_bearer(client, TOKEN).status == 200
    assert by_form(client, TOKEN).headers["Location"] == "/"
    assert by_bearer(client, "once more").status == 429, "one limit for all ways in"
    assert len(client.log) == 1 and client.log[0].startswith("wrong token from 127.0.0.1"), "once per burst"


def test_a_limited_guesser_on_sixteen_connections_gets_few_answers_a_second(serve):
    client = serve(token=TOKEN)
    end = time.monotonic() + 4.0

    def guess(number: int) -> int:
        count = 0
        connection = http.client.HTTPConnection("127.0.0.1", client.server.port, timeout=30)
        while time.monotonic() < end:
            connection.request("GET", "/api/config", headers={"Authorization": f"Bearer {number}-{count}"})
            connection.getresponse().read()
            count += 1
        return count

    with ThreadPoolExecutor(17) as pool:
        guesses = [pool.submit(guess, i) for i in range(16)]
        visitor = pool.submit(lambda: [timed(by_bearer, client) for _ in range(5)])
        assert max(visitor.result()) < 1.0, "who has the token is not slowed down by the attack from the same address"
        answers = sum(one.result() for one in guesses)
    assert answers <= 16 * 8, f"{answers} answers in 4 s"


def timed(way, client: Client) -> float:
    start = time.monotonic()
    assert way(client, TOKEN).status == 200
    return time.monotonic() - start


def test_headers_first_and_bodies_later_do_not_pass_the_limit(serve, monkeypatch):
    """Thirty log-ins are begun before any is finished: each is counted when it is answered."""
    monkeypatch.setattr(middleware, "DELAY_S", 0.0)
    monkeypatch.setattr(middleware, "LIMITED_DELAY_S", 0.0)
    client = serve(token=TOKEN)
    begun = []
    for _ in range(30):
        attacker = socket.create_connection(("127.0.0.1", client.server.port), timeout=10)
        attacker.send(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 11\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        begun.append(attacker)
    statuses = []
    for attacker in begun:
        attacker.send(b"token=wrong")
        statuses.append(int(attacker.recv(1000).split()[1]))
        attacker.close()
    assert statuses == [303] * MAX_WRONG + [429] * (30 - MAX_WRONG)


def test_clients_are_counted_apart_and_in_all(clock):
    limiter = TokenLimiter(clock=clock)
    assert [limiter.count_wrong("10.0.0.1", "form") for _ in range(MAX_WRONG + 1)] == [False] * MAX_WRONG + [True]
    assert not limiter.count_wrong("10.0.0.2", "form")
    clock.now += 61
    assert not limiter.count_wrong("10.0.0.1", "form"), "a minute later"
    # An IPv6 host has a whole /64 to choose addresses from.
    assert any(limiter.count_wrong(f"2001:db8::{i:x}", "form") for i in range(MAX_WRONG + 1))
    clock.now += 61
    many = [limiter.count_wrong(f"10.1.{i // 250}.{i % 250}", "form") for i in range(2 * MAX_CLIENTS)]
    assert not any(many[:MAX_WRONG_IN_ALL]) and all(many[MAX_WRONG_IN_ALL + 1 :]), "an attacker with many addresses"
    assert len(limiter._wrong) == MAX_CLIENTS, "takes no more memory"


def test_x_forwarded_for_is_believed_from_a_named_proxy_alone():
    forged = {"X-Forwarded-For": "1.2.3.4, 10.0.0.9"}
    assert Gate("0.0.0.0", TOKEN).client_address("10.0.0.7", forged) == "10.0.0.7"
    behind = Gate("127.0.0.1", TOKEN, trusted_proxies=("127.0.0.1",))
    assert behind.client_address("127.0.0.1", forged) == "10.0.0.9", "what the client claims is left of it"
    assert behind.client_address("10.0.0.7", forged) == "10.0.0.7"
    assert behind.client_address("127.0.0.1", {}) == "127.0.0.1"
    assert Gate("::", TOKEN, trusted_proxies=("a", "b")).client_address("a", {"X-Forwarded-For": "c, b"}) == "c"
    # A dual-stack socket reports IPv4 peers as IPv6 addresses.
    assert behind.client_address("::ffff:127.0.0.1", forged) == "10.0.0.9"
    assert Gate("::", TOKEN).client_address("::ffff:10.0.0.7", forged) == "10.0.0.7"
    https = {"X-Forwarded-Proto": "https"}
    assert behind.is_https(False, "::ffff:127.0.0.1", https)
    assert behind.is_https(False, "127.0.0.1", https) and not behind.is_https(False, "10.0.0.7", https)


def test_an_attacker_behind_a_proxy_does_not_use_up_the_limit_of_the_others(serve, monkeypatch):
    monkeypatch.setattr(middleware, "DELAY_S", 0.0)
    monkeypatch.setattr(middleware, "LIMITED_DELAY_S", 0.0)
    client = serve(token=TOKEN, trusted_proxies="127.0.0.1")
    statuses = {
        host: [
            client.get("/api/config", Authorization="Bearer x", X_Forwarded_For=f"9.9.9.{i}, {host}").status
            for i in range(MAX_WRONG + 1)
        ]
        for host in ("10.0.0.1", "10.0.0.2")
    }
    assert statuses["10.0.0.1"] == statuses["10.0.0.2"] == [401] * MAX_WRONG + [429]


def test_the_token_comes_from_a_private_file_or_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o644)
    with pytest.raises(ValueError, match=r"other users can use .*\(mode 0644\); run: chmod 600"):
        ServerConfig(address="0.0.0.0", token_file=str(file))
    file.chmod(0o600)
    config = ServerConfig(address="0.0.0.0", token_file=str(file))
    assert config.token == TOKEN and TOKEN not in repr(config)
    with pytest.raises(ValueError, match="both set"):
        ServerConfig(token_file=str(file), token=TOKEN)
    with pytest.raises(ValueError, match="cannot read"):
        ServerConfig(token_file=str(tmp_path / "none"))
    file.write_text(" \n")
    with pytest.raises(ValueError, match="is empty"):
        ServerConfig(token_file=str(file))
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert ServerConfig(address="0.0.0.0").token == TOKEN
    assert TOKEN not in worker_environment().values(), "the process that decodes hostile files does not have it"
