"""Slows down guessing of the token for every log-in method, and reports it without flooding the log.

A wrong token is answered late. After :data:`MAX_WRONG` wrong ones in a minute from one client (or
:data:`MAX_WRONG_IN_ALL` from all) further wrong ones get status 429 and lose their connection. A right token is never
refused: a user who shares an address with an attacker can still log in. The strength of the token, not this limit, is
what makes guessing hopeless.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable

WINDOW_S = 60.0
MAX_WRONG = 10  # per client and window
MAX_WRONG_IN_ALL = 100  # per window
MAX_CLIENTS = 1000  # that are remembered; the one quiet for longest is forgotten
DELAY_S = 0.3  # of the answer to a wrong token
LIMITED_DELAY_S = 1.0  # the same beyond the limit


class BurstLog:
    """Reports a repeated problem once per burst, then at most once a period with the number of repetitions.

    Args:
        warn: writes a line to the log.
        period_s: seconds between two lines.
        clock: monotonic seconds.
    """

    def __init__(
        self, warn: Callable[[str], object], period_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._warn, self._period_s, self._clock = warn, period_s, clock
        self._logged_at: float | None = None
        self._repeated = 0

    def __call__(self, text: str) -> None:
        now = self._clock()
        if self._logged_at is not None and now - self._logged_at < self._period_s:
            self._repeated += 1
            return
        repeated = f" ({self._repeated} more since the last line)" if self._repeated else ""
        self._logged_at, self._repeated = now, 0
        self._warn(text + repeated)


class TokenLimiter:
    """Counts wrong tokens per client.

    Args:
        warn: writes a line to the log.
        clock: monotonic seconds.
    """

    def __init__(
        self, warn: Callable[[str], object] = lambda text: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._log = BurstLog(warn, clock=clock)
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=MAX_WRONG_IN_ALL + 1)

    def count_wrong(self, client: str, way: str) -> bool:
        """Count a wrong token that ``client`` (an address) sent by some ``way`` (for the log).

        Returns:
            Whether the limit is exceeded, for the client or in total.
        """
        now, key = self._clock(), _network(client)
        times = self._wrong.setdefault(key, deque(maxlen=MAX_WRONG + 1))
        self._wrong.move_to_end(key)
        if len(self._wrong) > MAX_CLIENTS:
            self._wrong.popitem(last=False)
        times.append(now)
        self._all.append(now)
        self._log(f"wrong token from {client} ({way})")
        return any(len(seen) == seen.maxlen and now - seen[0] < WINDOW_S for seen in (times, self._all))


def _network(client: str) -> str:
    """Clients that count as one: an IPv4 address, or the /64 network that an IPv6 host can choose addresses from."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
