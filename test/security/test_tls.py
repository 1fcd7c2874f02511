"""The page over https, with the certificate that docs/dashboard.md shows how to make."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from page_world import TOKEN

from emotion_perception.dashboard.config import ServerConfig

DOCS = Path(__file__).parents[2] / "docs/dashboard.md"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key, made by the command in the documentation."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    command = re.search(r"^openssl req .*?[^\\]$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert command is not None
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(command[0], shell=True, check=True, cwd=folder, capture_output=True)
    return folder / "robot.crt", folder / "robot.key"


def test_the_page_is_served_over_tls_and_its_cookie_never_travels_in_clear(serve, certificate):
    crt, key = certificate
    assert key.stat().st_mode & 0o077 == 0
    client = serve(token=TOKEN, tls_certificate=str(crt), tls_key=str(key))
    assert client.server.url.startswith("https://")
    trust = ssl.create_default_context(cafile=str(crt))
    trust.check_hostname = False  # the certificate names the robot, not 127.0.0.1
    connection = http.client.HTTPSConnection("127.0.0.1", client.server.port, context=trust, timeout=20)
    connection.request(
        "POST", "/login", f"token={TOKEN}", {"Content-Type": "application/x-www-form-urlencoded", "Host": "localhost"}
    )
    answer = connection.getresponse()
    assert answer.status == 303 and "Secure" in answer.headers["Set-Cookie"]
    assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
    connection.close()
    with pytest.raises((http.client.HTTPException, OSError)):
        client.get("/login")  # plain http


def test_unfinished_handshakes_do_not_keep_others_out(serve, certificate):
    crt, key = certificate
    client = serve(tls_certificate=str(crt), tls_key=str(key))
    with contextlib.ExitStack() as held:
        for _ in range(100):
            held.enter_context(socket.create_connection(("127.0.0.1", client.server.port), timeout=10))
        start = time.monotonic()
        trust = ssl.create_default_context(cafile=str(crt))
        trust.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", client.server.port, context=trust, timeout=20)
        connection.request("GET", "/", headers={"Host": "localhost"})
        assert connection.getresponse().status == 200
        assert time.monotonic() - start < 3.0
        connection.close()


def test_a_certificate_that_cannot_be_used_is_reported_with_its_files(tmp_path, certificate):
    with pytest.raises(ValueError, match="tls_certificate, tls_key: cannot use .*none"):
        ServerConfig(tls_certificate=str(tmp_path / "none")).tls_context()
    with pytest.raises(ValueError, match="tls_key is set without tls_certificate"):
        ServerConfig(tls_key=str(certificate[1])).tls_context()
    assert ServerConfig().tls_context() is None
