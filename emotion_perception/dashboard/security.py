"""Who may talk to the dashboard: this machine, or whoever knows the token; never another web site's page.

- Only loopback addresses are served without a token (:func:`check_listening`).
- A request must name an address or a host that is ours (:meth:`Gate.host_problem`): a foreign name that resolves to
  this machine (DNS rebinding) is refused.
- What changes something, and the live connection, must come from our own page (:meth:`Gate.origin_problem`).
- Tokens are compared in constant time; a session cookie is derived from the token, so that it outlives a restart and
  ends when the token changes.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MIN_TOKEN = 16  # characters
COOKIE = "emotion_dashboard"
OWN_REQUEST = "X-Dashboard"  # sent by our page with each change; another site's page cannot without being asked first

# Nothing from elsewhere, nothing inline; pictures may be made by the page itself (blob:).
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Reports carry their style in the page and no script; they run in a sandbox without an origin.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # None to other sites. With no-referrer a browser would hide the Origin of our own log-in form too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
    "Server": "emotion_perception",
}


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def check_listening(address: str, token: str) -> None:
    """Refuse what would show people's faces to whoever is on the network.

    Raises:
        ValueError: no address, another address than loopback without a token, or a token that can be guessed.
    """
    if not address:
        raise ValueError("address is empty; 127.0.0.1 serves this machine, 0.0.0.0 every network (with a token)")
    if not is_loopback(address) and not token:
        raise ValueError(
            f"address {address} can be reached from other machines, and token is empty: the page shows people's faces. "
            "Set token to a secret of 16 characters or more, or address to 127.0.0.1"
        )
    if token and (len(token) < MIN_TOKEN or len(set(token)) < 5 or not token.isprintable() or not token.isascii()):
        raise ValueError(
            f"token must have {MIN_TOKEN} printable ASCII characters or more, not all alike; "
            "python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )


@dataclass(frozen=True)
class Gate:
    """Decides about single requests."""

    address: str  # that the server listens on
    token: str  # empty: whoever reaches a loopback address may come in
    allowed_hosts: tuple[str, ...] = ()  # more names by which browsers reach this machine

    def host_problem(self, host: str | None) -> str | None:
        """Why a request with this Host header is refused; None where it is ours."""
        name = _host_name(host)
        if name is None:
            return "the request does not say which host it is for"
        if name in ("localhost", *self.allowed_hosts):
            return None
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if not is_loopback(self.address) and name in _own_names():
                return None
            return f"this server is not {name}; a name that browsers use for it must be in allowed_hosts"
        # An address in the browser's own line cannot be another site's; but the loopback server has only these.
        if is_loopback(self.address) and not address.is_loopback:
            return f"this server is not {name}"
        return None

    def origin_problem(self, headers: Mapping[str, str]) -> str | None:
        """Why a request does not come from our own page; None where it does, or where no browser sent it."""
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
        """What a browser that knew the token carries."""
        return hmac.new(self.token.encode(), b"emotion_perception dashboard session", hashlib.sha256).hexdigest()

    def knows_token(self, told: str) -> bool:
        """Whether this is the token; takes the same time whatever was told."""
        return hmac.compare_digest(_digest(told), _digest(self.token))

    def is_let_in(self, cookie: str | None, authorization: str | None) -> bool:
        """Whether cookie or header (``Authorization: Bearer <token>``) are those of somebody who knew the token."""
        if not self.token:
            return True
        if cookie is not None and hmac.compare_digest(_digest(cookie), _digest(self.cookie)):
            return True
        kind, _, told = (authorization or "").partition(" ")
        return kind.lower() == "bearer" and self.knows_token(told.strip())


def _digest(text: str) -> bytes:
    # Of one length, so that the comparison does not tell the token's.
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
