"""Access control of the dashboard: this machine, or clients with the token; never pages of another web site.

- Without a token only loopback addresses are served (:func:`check_listening`).
- The Host header must be an address or a known name of this machine (:meth:`Gate.host_problem`): a foreign name that
  resolves to this machine (DNS rebinding) is refused.
- Changes and the live connection must come from our own page (:meth:`Gate.origin_problem`).
- Tokens are compared in constant time. The session cookie is derived from the token, so it survives a restart and
  becomes invalid with a new token.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MIN_TOKEN = 16  # characters
TOKEN_VARIABLE = "EMOTION_DASHBOARD_TOKEN"  # environment variable
COOKIE = "emotion_dashboard"
OWN_REQUEST = "X-Dashboard"  # sent by our page with each change; a foreign page needs a CORS preflight to send it

# Nothing from other origins, nothing inline; images may be made by the page itself (blob:).
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Reports have their style in the page and no script; they run in a sandbox without an origin.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # No referrer to other sites. With no-referrer browsers would omit the Origin of our own log-in form as well.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
    "Server": "emotion_perception",
}


class Credential(enum.Enum):
    """Credentials by which a request proves knowledge of the token."""

    RIGHT = enum.auto()  # or none is needed
    NONE = enum.auto()
    WRONG = enum.auto()


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server that listens on ``address``."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def plain_address(address: str) -> str:
    """An IP address without its zone; IPv4 also where a dual-stack socket reports it as ``::ffff:a.b.c.d``."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    return str(mapped or parsed)


def check_listening(address: str, token: str) -> None:
    """Refuse a configuration that would show people's faces to everybody on the network.

    Raises:
        ValueError: the address is empty, is not loopback and has no token, or the token is weak.
    """
    if not address:
        raise ValueError("address is empty; 127.0.0.1 serves this machine, 0.0.0.0 every network (with a token)")
    if not is_loopback(address) and not token:
        raise ValueError(
            f"address {address} can be reached from other machines, and token is empty: the page shows people's faces. "
            "Set token_file to a file with a secret of 16 characters or more, or address to 127.0.0.1"
        )
    if token and (len(token) < MIN_TOKEN or len(set(token)) < 5 or not token.isprintable() or not token.isascii()):
        raise ValueError(
            f"token must have {MIN_TOKEN} printable ASCII characters or more, not all alike; "
            "python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )


def read_token(path: Path) -> str:
    """The token in a text file; surrounding white space is ignored.

    Raises:
        ValueError: the file cannot be read, is empty, or can be read or written by other users.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"token_file: cannot read {path}: {error}") from None
    if mode & 0o077:
        raise ValueError(f"token_file: other users can use {path} (mode {mode:04o}); run: chmod 600 {path}")
    if not token:
        raise ValueError(f"token_file: {path} is empty")
    return token


@dataclass(frozen=True)
class Gate:
    """Decides about single requests."""

    address: str  # that the server listens on
    token: str  # empty: every client that reaches the loopback address has access
    allowed_hosts: tuple[str, ...] = ()  # further names by which browsers reach this machine
    trusted_proxies: tuple[str, ...] = ()  # addresses of proxies whose X-Forwarded-For is believed

    def host_problem(self, host: str | None) -> str | None:
        """Why a request with this Host header is refused; None if the host is ours."""
        name = _host_name(host)
        if name is None:
            return "the request does not name its host"
        if name in ("localhost", *self.allowed_hosts):
            return None
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if not is_loopback(self.address) and name in _own_names():
                return None
            return f"this server is not {name}; a name that browsers use for it must be in allowed_hosts"
        # An address in the browser's address bar cannot belong to another site.
        if is_loopback(self.address) and not address.is_loopback:
            return f"this server is not {name}"
        return None

    def origin_problem(self, headers: Mapping[str, str]) -> str | None:
        """Why a request does not come from our own page; None if it does, or if no browser sent it."""
        site = headers.get("Sec-Fetch-Site")
        if site is not None and site not in ("same-origin", "none"):
            return f"a page of another site ({site}) may not do this"
        origin = headers.get("Origin")
        if origin is None:
            return None
        if urlsplit(origin).netloc.lower() != headers.get("Host", "").lower():
            return f"a page of {origin} may not do this"
        return None

    @property
    def cookie(self) -> str:
        """Value of the session cookie of a browser that gave the right token."""
        return hmac.new(self.token.encode(), b"emotion_perception dashboard session", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether ``text`` is the token; in constant time."""
        return hmac.compare_digest(_digest(text), _digest(self.token))

    def credential(self, cookie: str | None, authorization: str | None) -> Credential:
        """Check the session cookie and the header ``Authorization: Bearer <token>`` of a request."""
        if not self.token:
            return Credential.RIGHT
        kind, _, text = (authorization or "").partition(" ")
        bearer = kind.lower() == "bearer"
        if cookie is not None and hmac.compare_digest(_digest(cookie), _digest(self.cookie)):
            return Credential.RIGHT
        if bearer and self.is_token(text.strip()):
            return Credential.RIGHT
        return Credential.WRONG if bearer or cookie is not None else Credential.NONE

    def client_address(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of the client: ``peer``, or behind a trusted proxy the last untrusted one that proxies named."""
        address = plain_address(peer)
        hops = [hop.strip() for hop in headers.get("X-Forwarded-For", "").split(",")]
        while address in self.trusted_proxies and hops and hops[-1]:
            address = plain_address(hops.pop()[:64])
        return address

    def is_https(self, secure: bool, peer: str, headers: Mapping[str, str]) -> bool:
        """Whether the browser's connection is encrypted, by this server (``secure``) or by a trusted proxy."""
        proxied = plain_address(peer) in self.trusted_proxies
        return secure or (proxied and headers.get("X-Forwarded-Proto", "") == "https")


def _digest(text: str) -> bytes:
    # All digests have one length, so that the comparison does not reveal the length of the token.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _host_name(host: str | None) -> str | None:
    if not host or len(host) > 255:
        return None
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name.lower().rstrip(".") if name else None


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, name.split(".")[0], f"{name.split('.')[0]}.local"}
