"""The web server: one page, one live connection a viewer, a small JSON interface. aiohttp in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from emotion_perception.dashboard.security import COOKIE, HEADERS, OWN_REQUEST, REPORT_POLICY, Gate, check_listening
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import MAX_SECONDS, Analyst, UploadError
from emotion_perception.dashboard.video import VideoFeed
from emotion_perception.emotions import CIRCUMPLEX, EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.feedback.corrections import STRETCH_S, CorrectionError, Corrections
from emotion_perception.feedback.pictures import CONSENT, Pictures
from emotion_perception.interaction.history import Archive
from emotion_perception.reports.conversation import COLOURS
from emotion_perception.reports.exports import EXPORTS, Export

STATIC = Path(__file__).parent / "static"
BEAT = 0.04  # s between two looks for news while somebody watches
SEND_AT_MOST = 10.0  # s to take one message; who is slower is gone
MAX_VIEWERS = 50
MAX_JSON = 64 * 1024  # bytes of a request that is no upload
WRONG_TOKENS = 10  # a minute and address; then it has to wait
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ServerConfig:
    """Where the page is served, and to whom."""

    address: str = "127.0.0.1"
    port: int = 8080
    token: str = ""
    allowed_hosts: str = ""  # commas between
    max_upload_mb: float = 50.0

    def __post_init__(self) -> None:
        check_listening(self.address, self.token)

    @property
    def gate(self) -> Gate:
        """Who is let in."""
        hosts = tuple(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())
        return Gate(self.address, self.token, hosts)


@dataclass
class Parts:
    """What the server shows and does; where one is missing, the page says so."""

    store: Store
    video: VideoFeed | None = None  # None: no pictures are shown
    archive: Archive | None = None  # None: conversations are not stored
    corrections: Corrections | None = None  # None: no feedback is kept
    analyst: Analyst | None = None  # None: nothing can be tried
    start_conversation: Callable[[str], str] | None = None  # takes a name; returns what went wrong, or nothing
    stop_conversation: Callable[[], str] | None = None
    pictures: Pictures | None = None  # None, or one without consent: no report has pictures


@dataclass(eq=False)
class _Viewer:
    """One live connection."""

    socket: web.WebSocketResponse
    news: asyncio.Event = field(default_factory=asyncio.Event)
    outbox: dict[str, str] = field(default_factory=dict)  # the newest text of each section not sent yet
    watches: bool = False  # pictures
    frame: int = 0  # number of the last one


class DashboardServer:
    """Serves until :meth:`stop`.

    Args:
        config: where and to whom.
        parts: what there is to show.
        warn: is told what goes wrong.

    Raises:
        OSError: (at :meth:`start`) the address cannot be listened on; says which and what to do.
    """

    def __init__(self, config: ServerConfig, parts: Parts, warn: Callable[[str], object] = lambda text: None) -> None:
        self.config, self.parts = config, parts
        self._gate = config.gate
        self._warn = warn
        self._viewers: set[_Viewer] = set()
        self._wrong: dict[str, deque[float]] = {}  # when an address told a wrong token
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self.port = config.port  # the real one, where 0 was asked for

    @property
    def url(self) -> str:
        """Where the page is."""
        host = self.config.address
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return len(self._viewers)

    def start(self) -> None:
        """Listen, then serve in a thread."""
        listener = _listen(self.config.address, self.config.port)
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="dashboard", daemon=True)
        self._thread.start()
        ready.wait(10.0)

    def stop(self) -> None:
        """End all connections and the thread."""
        if self._loop is not None and self._stopping is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join(5.0)
        self._thread = self._loop = None
        if self.parts.analyst is not None:
            self.parts.analyst.close()

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        asyncio.run(self._serve(listener, ready))

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(self.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        beat = asyncio.create_task(self._beat())
        ready.set()
        try:
            await self._stopping.wait()
        finally:
            beat.cancel()
            for viewer in list(self._viewers):
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(viewer.socket.close(code=1001, message=b"the server stops"), 0.5)
            await runner.cleanup()

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_JSON)
        app.router.add_get("/", _page("index.html"))
        app.router.add_get("/login", _page("login.html"))
        app.router.add_post("/login", self._log_in)
        app.router.add_post("/logout", self._log_out)
        app.router.add_static("/static/", STATIC)
        app.router.add_get("/api/config", self._settings)
        app.router.add_get("/api/live", self._live)
        app.router.add_get("/api/conversations/{id}", self._conversation)
        app.router.add_get("/api/reports/{kind:conversation|day|week}/{id}.{ending:html|pdf|csv|json}", self._report)
        app.router.add_delete("/api/pictures", self._forget_pictures)
        app.router.add_post("/api/conversation/{what:start|stop}", self._steer)
        app.router.add_post("/api/try/prepare", self._prepare)
        app.router.add_post("/api/try", self._try)
        app.router.add_get("/api/corrections", self._corrections)
        app.router.add_post("/api/corrections", self._correct)
        app.router.add_delete("/api/corrections", self._forget_corrections)
        app.router.add_get("/api/corrections/{id}/evidence", self._evidence)
        app.router.add_post("/api/corrections/{id}/{verdict:accept|reject}", self._review)
        return app

    # --- who may do what ----------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = self._refusal(request) or await handler(request)
        except web.HTTPException as error:
            if request.path.startswith("/api/"):
                response = _problem(error.status, error.reason)
            else:
                response = web.Response(status=error.status, text=error.reason)
        except (UploadError, CorrectionError, ValueError) as error:
            response = _problem(getattr(error, "status", 400), str(error))
        except (OSError, asyncio.TimeoutError) as error:
            response = _problem(503, str(error) or "timed out")
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        headers = request.headers
        problem = self._gate.host_problem(headers.get("Host"))
        if problem is not None:
            return _problem(421, problem)
        changes = request.method not in ("GET", "HEAD")
        if changes or request.path.startswith("/api/"):
            problem = self._gate.origin_problem(headers)
            if problem is None and changes and request.path.startswith("/api/") and OWN_REQUEST not in headers:
                problem = f"a change must carry the header {OWN_REQUEST}"
            if problem is not None:
                return _problem(403, problem)
        open_to_all = request.path == "/login" or request.path.startswith("/static/")
        if open_to_all or self._gate.is_let_in(request.cookies.get(COOKIE), headers.get("Authorization")):
            return None
        if request.path.startswith("/api/"):
            return _problem(401, "log in with the token first")
        return web.Response(status=303, headers={"Location": "/login"})

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        now, who = time.monotonic(), request.remote or ""
        wrong = self._wrong.setdefault(who, deque(maxlen=WRONG_TOKENS))
        if len(self._wrong) > 1000:  # an attacker with many addresses must not fill the memory
            self._wrong.clear()
        if len(wrong) == WRONG_TOKENS and now - wrong[0] < 60:
            return _problem(429, "too many wrong tokens; wait a minute")
        told = (await request.post()).get("token", "")
        if not isinstance(told, str) or not self._gate.knows_token(told.strip()):
            wrong.append(now)
            self._warn(f"a wrong token was told from {who}")
            await asyncio.sleep(0.3)
            return web.Response(status=303, headers={"Location": "/login?wrong"})
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(COOKIE, self._gate.cookie, httponly=True, samesite="Strict", max_age=30 * 86400)
        return response

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(COOKIE)
        return response

    # --- live ---------------------------------------------------------------------------------------------------

    async def _settings(self, request: web.Request) -> web.Response:
        parts, corrections = self.parts, self.parts.corrections
        return web.json_response(
            {
                "emotions": list(EMOTIONS),
                "face_emotions": list(VISUAL_EMOTIONS),
                "colours": list(COLOURS),
                "circumplex": [[round(float(v), 3) for v in place] for place in CIRCUMPLEX],
                "video": parts.video is not None,
                "stored": parts.archive is not None,
                "steer": parts.start_conversation is not None,
                "try": None
                if parts.analyst is None
                else {"max_mb": self.config.max_upload_mb, "max_seconds": MAX_SECONDS},
                "feedback": None
                if corrections is None
                else {
                    "retention_days": corrections.config.retention_days,
                    "reach_s": corrections.reach_s,
                    "stretch_s": STRETCH_S,
                },
                "pictures": None
                if parts.pictures is None or not parts.pictures.config.consented
                else {"retention_days": parts.pictures.config.retention_days},
                "token": bool(self.config.token),
            }
        )

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if len(self._viewers) >= MAX_VIEWERS:
            return _problem(503, f"{MAX_VIEWERS} viewers watch already")
        # JPEG does not get smaller, and compressing for each viewer costs more than sending.
        ws = web.WebSocketResponse(heartbeat=15.0, compress=False, max_msg_size=MAX_JSON)
        for name, value in HEADERS.items():
            ws.headers.setdefault(name, value)
        await ws.prepare(request)
        viewer = _Viewer(ws)
        for section in self.parts.store.versions():
            viewer.outbox[section] = self.parts.store.text(section, whole=True)
        viewer.news.set()
        self._viewers.add(viewer)
        sender = asyncio.create_task(self._send(viewer))
        try:
            async for message in ws:
                if message.type == WSMsgType.TEXT:
                    with contextlib.suppress(ValueError, AttributeError):
                        viewer.watches = bool(json.loads(message.data).get("video"))
                    self._count_watchers()
        finally:
            self._viewers.discard(viewer)
            self._count_watchers()
            sender.cancel()
        return ws

    async def _send(self, viewer: _Viewer) -> None:
        """What is new, the newest of it only: who reads slowly misses some, and delays nobody."""
        try:
            while True:
                await viewer.news.wait()
                viewer.news.clear()
                while viewer.outbox:
                    section = next(iter(viewer.outbox))
                    text = viewer.outbox.pop(section)
                    await asyncio.wait_for(viewer.socket.send_str(text), SEND_AT_MOST)
                frame = self.parts.video.newest if self.parts.video is not None and viewer.watches else None
                if frame is not None and frame.number != viewer.frame:
                    viewer.frame = frame.number
                    await asyncio.wait_for(viewer.socket.send_bytes(frame.data), SEND_AT_MOST)
        except (ConnectionError, asyncio.TimeoutError, RuntimeError):
            await viewer.socket.close()

    def _count_watchers(self) -> None:
        if self.parts.video is not None:
            self.parts.video.viewers = sum(viewer.watches for viewer in self._viewers)

    async def _beat(self) -> None:
        """Looks for news and tells the viewers."""
        store, frame, ticked = self.parts.store, 0, 0.0
        seen: dict[str, int] = {}
        told: dict[str, str] = {}
        while True:
            await asyncio.sleep(BEAT if self._viewers else 0.25)
            now = time.monotonic()
            if now - ticked >= 1.0:
                ticked = now
                store.tick()
            versions = store.versions()
            changed = [section for section, version in versions.items() if seen.get(section) != version]
            seen = versions
            newest = self.parts.video.newest if self.parts.video is not None else None
            new_frame = newest is not None and newest.number != frame
            frame = newest.number if newest is not None else frame
            if not changed and not new_frame:
                continue
            texts = {section: store.text(section) for section in changed} if self._viewers else {}
            texts = {section: text for section, text in texts.items() if told.get(section) != text}
            told |= texts
            for viewer in self._viewers:
                for section, text in texts.items():
                    # A trail from its beginning that was not sent yet has the news in it already.
                    if not (section == "trail" and section in viewer.outbox):
                        viewer.outbox[section] = text
                viewer.news.set()

    # --- conversations ------------------------------------------------------------------------------------------

    async def _conversation(self, request: web.Request) -> web.Response:
        archive = _there(self.parts.archive, "conversations are not stored; set conversations_directory")
        return web.json_response(await asyncio.to_thread(archive.read, request.match_info["id"]))

    async def _report(self, request: web.Request) -> web.Response:
        archive = _there(self.parts.archive, "conversations are not stored; set conversations_directory")
        found = request.match_info
        export: Export = EXPORTS[found["ending"]]
        with_pictures = request.query.get("pictures", "0") not in ("0", "false", "no")
        data, name = await asyncio.to_thread(
            export.make, archive, found["kind"], found["id"], with_pictures, self.parts.pictures
        )
        response = web.Response(body=data, content_type=export.media_type, charset=export.charset)
        how = "inline" if found["ending"] == "html" and "download" not in request.query else "attachment"
        response.headers["Content-Disposition"] = f'{how}; filename="{name}.{found["ending"]}"'
        if found["ending"] == "html":
            response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response

    async def _forget_pictures(self, request: web.Request) -> web.Response:
        kept = _there(self.parts.pictures, CONSENT)
        return web.json_response({"deleted": await asyncio.to_thread(kept.delete_all)})

    async def _steer(self, request: web.Request) -> web.Response:
        start = _there(self.parts.start_conversation, "this server cannot start conversations")
        stop = _there(self.parts.stop_conversation, "this server cannot stop conversations")
        if request.match_info["what"] == "start":
            name = str((await _json(request)).get("name", ""))[:100]
            problem = await asyncio.to_thread(start, name)
        else:
            problem = await asyncio.to_thread(stop)
        return _problem(409, problem) if problem else web.json_response({"done": True})

    # --- try it -------------------------------------------------------------------------------------------------

    async def _prepare(self, request: web.Request) -> web.Response:
        await _there(self.parts.analyst, "uploads are turned off").prepare()
        return web.json_response({"ready": True})

    async def _try(self, request: web.Request) -> web.Response:
        analyst = _there(self.parts.analyst, "uploads are turned off")
        limit = round(self.config.max_upload_mb * 1e6)
        if request.content_length is not None and request.content_length > limit:
            raise UploadError(_too_large(request.content_length, limit), 413)
        data = bytearray()
        async for chunk in _chunks(request):
            data += chunk
            if len(data) > limit:
                raise UploadError(_too_large(len(data), limit), 413)
        return web.Response(text=await analyst.analyse(bytes(data)), content_type="application/json")

    # --- feedback -----------------------------------------------------------------------------------------------

    async def _corrections(self, request: web.Request) -> web.Response:
        kept = _there(self.parts.corrections, _NO_FEEDBACK)
        return web.json_response({"corrections": await asyncio.to_thread(kept.listed)})

    async def _correct(self, request: web.Request) -> web.Response:
        kept, told = _there(self.parts.corrections, _NO_FEEDBACK), await _json(request)
        label, when, until = told.get("label"), told.get("time"), told.get("until")
        if not isinstance(label, int) or isinstance(label, bool):
            raise ValueError(f"label must be the number of an emotion, got {label!r}")
        for name, value in (("time", when), ("until", until)):
            if value is not None and not (isinstance(value, (int, float)) and abs(value) < 1e10):
                raise ValueError(f"{name} must be seconds, got {value!r}")
        annotator, comment = str(told.get("annotator", ""))[:100], str(told.get("comment", ""))[:1000]
        if when is not None and until is not None:
            start_ns, end_ns = round(when * 1e9), round(until * 1e9)
            all_kept = await asyncio.to_thread(kept.correct_stretch, label, start_ns, end_ns, annotator, comment)
            return web.json_response({"kept": len(all_kept)})
        correction = await asyncio.to_thread(
            kept.correct,
            label,
            face_id=str(told.get("face_id", ""))[:100],
            voice_id=str(told.get("voice_id", ""))[:100],
            stamp_ns=None if when is None else round(when * 1e9),
            annotator=annotator,
            comment=comment,
        )
        return web.json_response(correction)

    async def _review(self, request: web.Request) -> web.Response:
        kept = _there(self.parts.corrections, _NO_FEEDBACK)
        act = kept.accept if request.match_info["verdict"] == "accept" else kept.reject
        await asyncio.to_thread(act, request.match_info["id"])
        return web.json_response({"done": True})

    async def _evidence(self, request: web.Request) -> web.Response:
        kept = _there(self.parts.corrections, _NO_FEEDBACK)
        data, media_type = await asyncio.to_thread(kept.evidence, request.match_info["id"])
        return web.Response(body=data, content_type=media_type)

    async def _forget_corrections(self, request: web.Request) -> web.Response:
        kept = _there(self.parts.corrections, _NO_FEEDBACK)
        told = {"deleted": await asyncio.to_thread(kept.delete_all)}
        if self.parts.pictures is not None:  # everything is everything
            told["pictures"] = await asyncio.to_thread(self.parts.pictures.delete_all)
        return web.json_response(told)


_NO_FEEDBACK = "storing faces and voices was not consented to; set store_corrections and corrections_directory"


def _listen(address: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart the port is free at once
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        raise OSError(f"cannot listen on {address}:{port} ({error.strerror or error}); set address or port") from error
    listener.setblocking(False)
    return listener


def _page(name: str) -> Handler:
    async def page(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / name, headers={"Cache-Control": "no-store"})

    return page


def _problem(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _too_large(size: int, limit: int) -> str:
    return f"the file has {size / 1e6:.1f} MB or more; at most {limit / 1e6:g} MB are taken"


def _there(part: Any, otherwise: str) -> Any:
    if part is None:
        raise web.HTTPConflict(reason=otherwise)
    return part


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        told = await request.json()
    except ValueError:
        raise ValueError("the request is no JSON") from None
    if not isinstance(told, dict):
        raise ValueError("the request is no JSON object")
    return told


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    while chunk := await asyncio.wait_for(request.content.readany(), 30.0):
        yield chunk
