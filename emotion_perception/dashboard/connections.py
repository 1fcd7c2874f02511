"""Accepts connections within bounds, so that clients cannot exhaust the file descriptors of the process.

aiohttp closes a connection on which no complete request header arrives in time (``keepalive_timeout`` counts from the
moment of connecting), but it accepts any number of connections, and asyncio logs a traceback for each failed
``accept``.
:class:`ConnectionGuard` accepts the connections itself: it limits them in total and per address, closes the ones that
are waiting for a request for longest to make room, and logs failures once per burst.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emotion_perception.dashboard.security import plain_address
from emotion_perception.dashboard.token_limit import BurstLog

HEADER_TIMEOUT_S = 15.0  # for a complete request header, after connecting and between two requests
HANDSHAKE_TIMEOUT_S = 10.0  # TLS
MAX_CONNECTIONS = 200  # in total; fewer if the process may open only few files
MAX_IDLE = 32  # connections of one address without a request in progress
MAX_BUSY = 100  # requests in progress of one address, live connections included
ACCEPT_RETRY_S = 0.2  # pause after a failed accept


@dataclass(eq=False)
class _Connection:
    address: str
    protocol: asyncio.BaseProtocol
    task: asyncio.Task[None]  # of the handshake, until there is a transport
    transport: asyncio.Transport | None = None
    busy: bool = False  # a request is being handled

    @property
    def closed(self) -> bool:
        return self.task.done() if self.transport is None else self.transport.is_closing()

    def close(self) -> None:
        self.task.cancel()
        if self.transport is not None:
            self.transport.abort()


class ConnectionGuard:
    """Accepts connections of one listening socket and bounds them.

    Args:
        make_protocol: makes the protocol of a connection (aiohttp's server).
        tls: context of encrypted connections; None: plain TCP.
        exempt: addresses (trusted proxies) that are bounded only by the total.
        warn: writes a line to the log.
    """

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext | None = None,
        exempt: tuple[str, ...] = (),
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._make_protocol, self._tls, self._exempt = make_protocol, tls, exempt
        self._log_accept, self._log_bound = BurstLog(warn), BurstLog(warn)
        self._connections: list[_Connection] = []  # oldest first
        self._limit = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled. ``listener`` is non-blocking and is closed at the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listener)
                except ConnectionError:  # the client was gone before it was accepted
                    continue
                except OSError as error:  # most likely: too many open files
                    self._log_accept(f"cannot accept a connection: {error.strerror or error}")
                    self._close_idle(self._connections)
                    await asyncio.sleep(ACCEPT_RETRY_S)
                    continue
                self._admit(connection, plain_address(str(peer[0])))
        finally:
            listener.close()
            for held in self._connections:
                held.task.cancel()

    @contextlib.contextmanager
    def request(self, protocol: asyncio.BaseProtocol) -> Iterator[Callable[[], None]]:
        """Marks the connection of a request as busy within the block.

        Args:
            protocol: the protocol of the connection, ``request.protocol``.

        Yields:
            A function that marks it as idle early: for an answer that is delayed on purpose and may be dropped.
        """
        held = next((held for held in self._connections if held.protocol is protocol), None)

        def release() -> None:
            if held is not None:
                held.busy = False

        if held is not None:
            held.busy = True
        try:
            yield release
        finally:
            release()

    def _admit(self, connection: socket.socket, address: str) -> None:
        self._connections = [held for held in self._connections if not held.closed]
        if address not in self._exempt:
            own = [held for held in self._connections if held.address == address]
            if sum(held.busy for held in own) >= MAX_BUSY:
                self._log_bound(f"refused a connection of {address}: it has {MAX_BUSY} requests in progress")
                connection.close()
                return
            if sum(not held.busy for held in own) >= MAX_IDLE:
                self._close_idle(own)
        if len(self._connections) >= self._limit and not self._close_idle(self._connections):
            self._log_bound(f"refused a connection of {address}: there are {self._limit} already")
            connection.close()
            return
        connection.setblocking(False)
        protocol = self._make_protocol()
        task = asyncio.get_running_loop().create_task(self._connect(connection, protocol))
        self._connections.append(_Connection(address, protocol, task))

    async def _connect(self, connection: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._tls is not None else None,
            )
        except (OSError, asyncio.CancelledError):  # a failed handshake is the client's problem
            connection.close()
            return
        for held in self._connections:
            if held.protocol is protocol:
                held.transport = transport

    def _close_idle(self, among: list[_Connection]) -> bool:
        """Close the oldest idle connection of the address that has most of them; False if all are busy."""
        idle = [held for held in among if not held.busy and not held.closed]
        if not idle:
            return False
        address = Counter(held.address for held in idle).most_common(1)[0][0]
        oldest = next(held for held in idle if held.address == address)
        self._log_bound(f"closed an idle connection of {address} to make room for others")
        oldest.close()
        self._connections.remove(oldest)
        return True
