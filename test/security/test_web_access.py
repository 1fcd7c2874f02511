"""Who may see and change what: only this machine without a token, never another site's page."""

from __future__ import annotations

import pytest
from page_world import TOKEN

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.security import Credential, Gate, check_listening
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import Store
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.interaction.conversation_store import ConversationStore


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_token(address):
    assert ServerConfig(address=address).token == ""
    assert Gate(address, "").credential(None, None) is Credential.RIGHT


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.0.7", "robot.local"])
def test_any_other_address_is_refused_without_a_token(address):
    with pytest.raises(ValueError, match="can be reached from other machines, and token is empty"):
        check_listening(address, "")
    check_listening(address, TOKEN)


@pytest.mark.parametrize("token", ["short", "aaaaaaaaaaaaaaaaaaaaaaaa", "1234567890123\n456789"])
def test_a_token_that_can_be_guessed_is_refused(token):
    with pytest.raises(ValueError, match="token must have 16 printable"):
        check_listening("127.0.0.1", token)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080", "LOCALHOST:1"])
def test_a_loopback_server_answers_to_this_machines_names(host):
    assert Gate("127.0.0.1", "").host_problem(host) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", None, "[", "localhost.evil"]
)
def test_a_foreign_name_that_leads_here_is_refused(host):
    assert Gate("127.0.0.1", "").host_problem(host)


def test_a_server_for_the_network_answers_to_addresses_and_to_the_names_it_was_given():
    gate = Gate("0.0.0.0", TOKEN, ("robot.shop.example",))
    assert gate.host_problem("192.168.0.7:8080") is None
    assert gate.host_problem("robot.shop.example") is None
    assert "allowed_hosts" in gate.host_problem("evil.example")


def test_a_page_of_another_site_is_not_ours():
    gate = Gate("127.0.0.1", "")
    ours = {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    assert gate.origin_problem(ours) is None
    for change in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert gate.origin_problem(ours | change)
    # Another port of this machine is another site, too.
    assert gate.origin_problem(ours | {"Origin": "http://127.0.0.1:9999"})


def test_token_and_cookie_let_in_and_nothing_else_does():
    gate = Gate("0.0.0.0", TOKEN)
    assert gate.credential(gate.cookie, None) is gate.credential(None, f"Bearer {TOKEN}") is Credential.RIGHT
    assert gate.credential(None, None) is gate.credential(None, f"Basic {TOKEN}") is Credential.NONE
    for cookie, header in (("", ""), (TOKEN, None), ("\udcff", "Bearer x"), (None, "bearer ")):
        assert gate.credential(cookie, header) is Credential.WRONG
    assert TOKEN not in gate.cookie
    assert Gate("0.0.0.0", TOKEN + "2").cookie != gate.cookie, "a new token ends old sessions"


def test_every_answer_carries_the_policy(serve):
    client = serve()
    for path in ("/", "/login", "/static/app.js", "/static/nothing", "/api/config", "/api/nothing", "/nothing"):
        answer = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy, path
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "aiohttp" not in answer.headers["Server"]


def test_static_files_do_not_lead_out_of_their_folder(serve):
    client = serve()
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd"):
        assert client.get(path).status in (400, 403, 404, 409), path


def test_a_request_for_another_host_is_refused(serve):
    answer = serve().get("/api/config", Host="evil.example")
    assert answer.status == 421 and "this server is not evil.example" in answer.error


def test_a_change_from_another_site_is_refused(serve):
    client = serve()
    path = "/api/conversation/start"
    assert client.post(path, "{}", Origin="http://evil.example").status == 403
    assert client.post(path, "{}", Sec_Fetch_Site="cross-site").status == 403
    plain = client.ask("POST", path, "name=x", own=False, Content_Type="application/x-www-form-urlencoded")
    assert plain.status == 403 and "X-Dashboard" in plain.error, "what a form of another site can send is not enough"
    assert client.post(path, "{}").status == 409, "our own page reaches the answer that there is nothing to start"


def test_the_live_connection_is_refused_to_another_site(serve):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert serve().get("/api/live", Origin="http://evil.example", **upgrade).status == 403


def test_with_a_token_nothing_is_shown_before_the_log_in(serve):
    client = serve(token=TOKEN)
    assert client.get("/").status == 303 and client.get("/").headers["Location"] == "/login"
    for path in ("/api/config", "/api/live", "/api/corrections", "/api/reports/day/2026-11-23.pdf"):
        assert client.get(path).status == 401, path
    assert client.post("/api/try", b"x").status == 401
    assert client.get("/login").status == 200
    assert client.get("/api/config", Authorization=f"Bearer {TOKEN}").status == 200


def test_the_token_opens_a_session_that_survives_a_restart_of_the_server(serve):
    client = serve(token=TOKEN)
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    wrong = client.post("/login", "token=wrong", **form)
    assert wrong.status == 303 and wrong.headers["Location"] == "/login?wrong" and "Set-Cookie" not in wrong.headers
    right = client.post("/login", f"token={TOKEN}", **form)
    cookie = right.headers["Set-Cookie"]
    assert right.status == 303 and "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    session = cookie.partition(";")[0]
    assert client.get("/api/config", Cookie=session).status == 200
    assert serve(token=TOKEN).get("/api/config", Cookie=session).status == 200
    assert serve(token=TOKEN + "!").get("/api/config", Cookie=session).status == 401


def test_a_port_in_use_is_reported_with_what_to_do(serve):
    taken = serve().server.port
    second = DashboardServer(ServerConfig(port=taken), Parts(Store()))
    with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1:{taken} .*set address or port"):
        second.start()


def test_a_request_body_that_is_no_upload_is_small(serve):
    client, form = serve(token=TOKEN), {"Content_Type": "application/x-www-form-urlencoded"}
    assert client.post("/api/conversation/start", b"x" * 200_000, Authorization=f"Bearer {TOKEN}").status in (409, 413)
    assert client.post("/login", b"token=" + b"x" * 200_000, **form).status == 413


@pytest.mark.parametrize(
    "body",
    ["[" * 50_000, '{"name": ' * 5000, "[1]", "null", "\x00", '{"label": NaN}', '{"label": true}', "9" * 5000],
    ids=["deep list", "deep object", "list", "null", "zero", "no label", "bool", "long number"],
)
def test_nonsense_in_a_request_is_refused_with_a_reason(serve, tmp_path, body):
    recent = RecentEvidence()
    client = serve(Parts(Store(), corrections=Corrections(CorrectionConfig(tmp_path), recent)))
    answer = client.post("/api/corrections", body)
    assert answer.status == 400 and answer.error and "Traceback" not in answer.body.decode()
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-1e300", '"x"', "true", "[]"])
def test_a_time_that_is_no_time_is_refused(serve, tmp_path, time):
    client = serve(Parts(Store(), corrections=Corrections(CorrectionConfig(tmp_path), RecentEvidence())))
    answer = client.post("/api/corrections", f'{{"label": 1, "time": {time}}}')
    assert answer.status == 400 and "time must be seconds" in answer.error


def test_huge_headers_and_request_lines_are_refused(serve):
    client = serve()
    assert client.get("/", X_Long="a" * 20_000).status == 400
    assert client.get("/" + "a" * 20_000).status == 400
    assert client.get("/", **{f"X_{i}": "a" for i in range(300)}).status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/corrections"),
        ("POST", "/api/corrections"),
        ("DELETE", "/api/corrections"),
        ("GET", "/api/corrections/x/evidence"),
        ("POST", "/api/corrections/x/accept"),
        ("DELETE", "/api/pictures"),
        ("GET", "/api/conversations/x"),
        ("GET", "/api/reports/day/2026-11-23.html"),
        ("POST", "/api/try"),
        ("POST", "/api/try/prepare"),
        ("POST", "/api/conversation/start"),
    ],
)
def test_what_was_not_consented_to_or_turned_on_does_nothing_and_says_so(serve, method, path):
    answer = serve().ask(method, path, "{}")
    assert answer.status == 409 and len(answer.error) > 10


def test_ids_do_not_lead_out_of_the_folder_of_corrections_or_conversations(serve, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    kept = Corrections(CorrectionConfig(tmp_path / "corrections"), RecentEvidence())
    client = serve(Parts(Store(), corrections=kept, archive=ConversationStore(tmp_path / "conversations")))
    for name in ("..%2f..%2fsecret", "%2e%2e%2fsecret", "..", "a%00b", "x" * 300, "%ff", "..%5csecret"):
        for method, path in (
            ("GET", f"/api/corrections/{name}/evidence"),
            ("POST", f"/api/corrections/{name}/reject"),
            ("GET", f"/api/conversations/{name}"),
            ("GET", f"/api/reports/conversation/{name}.json"),
        ):
            assert client.ask(method, path).status in (400, 403, 404, 409), path
    assert (tmp_path / "secret.json").is_file()
