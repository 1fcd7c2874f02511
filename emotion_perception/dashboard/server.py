"""The web server: one page, one live connection per viewer, a small JSON interface. aiohttp in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

from aiohttp import web

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.connections import HEADER_TIMEOUT_S, ConnectionGuard
from emotion_perception.dashboard.routes.conversations import ConversationRoutes
from emotion_perception.dashboard.routes.feedback import FeedbackRoutes
from emotion_perception.dashboard.routes.learning import LearningRoutes
from emotion_perception.dashboard.routes.live import LiveRoutes
from emotion_perception.dashboard.routes.login import LoginRoutes
from emotion_perception.dashboard.routes.middleware import RequestGuard
from emotion_perception.dashboard.routes.notice import NoticeRoutes
from emotion_perception.dashboard.routes.sources import SourceRoutes
from emotion_perception.dashboard.routes.today import TodayRoutes
from emotion_perception.dashboard.routes.uploads import UploadRoutes
from emotion_perception.dashboard.routes.why import WhyRoutes
from emotion_perception.dashboard.static_files import static_files
from emotion_perception.dashboard.token_limit import TokenLimiter

MAX_BODY = 64 * 1024  # bytes of a request that is no upload


class DashboardServer:
    """Serves until :meth:`stop`.

    Args:
        config: address, access and limits.
        parts: components to serve.
        warn: writes a line to the log.

    Raises:
        OSError: (at :meth:`start`) the server cannot listen on the address; the message names it and the remedy.
        ValueError: the TLS certificate cannot be used.
    """

    def __init__(self, config: ServerConfig, parts: Parts, warn: Callable[[str], object] = lambda text: None) -> None:
        self.config, self.parts = config, parts
        self.port = config.port  # once started: the port in use
        self._tls = config.tls_context()
        self._warn = warn
        self._live = LiveRoutes(parts)
        self._files = static_files()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """Address of the page."""
        host = self.config.address
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def viewers(self) -> int:
        """Number of live connections."""
        return self._live.viewers

    def start(self) -> None:
        """Listen, then serve in a thread."""
        listener = _listen(self.config.address, self.config.port)
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="dashboard", daemon=True)
        self._thread.start()
        ready.wait(10.0)

    def stop(self) -> None:
        """Close all connections and end the thread."""
        if self._loop is not None and self._stopping is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join(5.0)
        self._thread = self._loop = None

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        asyncio.run(self._serve(listener, ready))

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        gate = self.config.gate
        connections = ConnectionGuard(lambda: make_protocol(), self._tls, gate.trusted_proxies, self._warn)
        granted = self.parts.access_granted
        guard = RequestGuard(gate, TokenLimiter(self._warn), connections, granted)
        app = web.Application(middlewares=[guard.handle], client_max_size=MAX_BODY)
        for routes in (
            LoginRoutes(gate, granted, self._files),
            self._files,
            NoticeRoutes(),
            ConversationRoutes(self.config, self.parts),
            TodayRoutes(self.parts),
            WhyRoutes(self.parts),
            self._live,
            UploadRoutes(self.config, self.parts),
            FeedbackRoutes(self.parts),
            LearningRoutes(self.parts),
            SourceRoutes(self.parts),
        ):
            app.add_routes(routes.routes())
        # keepalive_timeout also bounds the wait for the first request header of a connection.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.5, keepalive_timeout=HEADER_TIMEOUT_S)
        await runner.setup()
        assert runner.server is not None
        make_protocol = runner.server
        tasks = [asyncio.create_task(connections.serve(listener)), asyncio.create_task(self._live.publish())]
        ready.set()
        try:
            await self._stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._live.close()
            await runner.cleanup()
            if self.parts.analyzer is not None:
                await self.parts.analyzer.close()
            if self.parts.learning is not None:
                await self.parts.learning.close()


def _listen(address: str, port: int) -> socket.socket:
    """A non-blocking listening socket.

    Raises:
        OSError: the address does not exist here, or the port is in use or not allowed.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart can reuse the port immediately
        listener.bind(place)
        listener.listen(1024)  # in a full queue the kernel drops a connection, and tries again after 1 s
    except OSError as error:
        raise OSError(
            f"cannot listen on {address}:{port} ({error.strerror or error}); set address or port, "
            f"for example the launch argument port:={port + 1}"
        ) from error
    listener.setblocking(False)
    return listener
