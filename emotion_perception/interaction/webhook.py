"""Sends an alert as JSON to one configured address: this machine, or a host that a parameter names.

Redirects are not followed and proxies of the environment are not used, so nothing but that address is contacted.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from emotion_perception.interaction.rules import Alert
from emotion_perception.settings import check_settings, setting


class WebhookError(RuntimeError):
    """An alert was not delivered; the text gives the reason."""


@dataclass(frozen=True)
class WebhookConfig:
    """Address of the webhook; each setting is a ROS parameter of ``interaction_node`` with the same name.

    Raises:
        ValueError: the address is not allowed; the message names it and the fix.
    """

    webhook_url: str = setting(
        "",
        "Address to which each alert is sent as JSON (HTTP POST), for example http://127.0.0.1:9000/alerts. Only this "
        "machine or a host in webhook_hosts; redirects are not followed. Empty: alerts are not sent.",
    )
    webhook_hosts: str = setting("", "Names of other hosts that webhook_url may have, separated by commas.")
    webhook_timeout_s: float = setting(
        5.0, "Time to wait for the answer of webhook_url, in a thread of its own.", 0.1, 60.0, "s"
    )
    address: SplitResult = field(init=False, repr=False, default=SplitResult("", "", "", "", ""))  # of webhook_url

    def __post_init__(self) -> None:
        check_settings(self)
        if self.webhook_url:
            object.__setattr__(self, "address", self._checked_address())

    def _checked_address(self) -> SplitResult:
        what = f"webhook_url {self.webhook_url!r}"
        try:
            address = urlsplit(self.webhook_url)
            host, _ = address.hostname, address.port
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
        if address.scheme not in ("http", "https") or not host:
            raise ValueError(f"{what} is no address; write http://127.0.0.1:9000/alerts")
        if address.username is not None or address.password is not None:
            raise ValueError(f"{what} contains a user name or password, which others can read; remove it")
        if not self.webhook_url.isascii() or any(letter <= " " for letter in self.webhook_url):
            raise ValueError(f"{what} contains a space, or a letter that is not ASCII; encode it with %")
        named = [name.strip().lower() for name in self.webhook_hosts.split(",")]
        if not is_loopback(host) and host not in named:
            raise ValueError(f"{what}: {host} is not this machine; add it to webhook_hosts, or use 127.0.0.1")
        return address


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def send(config: WebhookConfig, alert: Alert) -> None:
    """Send an alert; waits for the answer.

    Raises:
        WebhookError: nothing answers in time, or the answer is not 2xx.
    """
    address, timeout = config.address, config.webhook_timeout_s
    host = "127.0.0.1" if address.hostname == "localhost" else address.hostname or ""
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, address.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, address.port, timeout=timeout)
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    try:
        connection.request("POST", path, json.dumps(alert_fields(alert)), {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise WebhookError(f"{config.webhook_url}: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        hint = "; redirects are not followed" if 300 <= status < 400 else ""
        raise WebhookError(f"{config.webhook_url} answered {status}{hint}")


def alert_fields(alert: Alert) -> dict[str, str | float]:
    """The JSON object that is sent; times are seconds since the epoch."""
    return {
        "rule": alert.rule_id,
        "text": alert.text,
        "measure": alert.measure,
        "comparison": alert.comparison,
        "value": round(alert.value, 2),
        "limit": alert.limit,
        "conversations": alert.conversations,
        "period": alert.period,
        "start": alert.start,
        "end": alert.end,
        "time": round(alert.time, 3),
    }
