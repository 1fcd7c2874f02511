"""The page's files, read and compressed once at start.

Every file is served at ``/static/<name>`` and, for the page itself, at ``/static/<version>/<name>``, where browsers
keep it for a year: the version is a digest of all files, and the modules import each other by relative paths.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent / "static"
MESSAGES = STATIC / "messages"
DEFAULT_LANGUAGE = "en"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_KEEP = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


@dataclass(frozen=True)
class _File:
    data: bytes
    compressed: bytes
    media_type: str
    etag: str


def _make(data: bytes, suffix: str) -> _File:
    digest = hashlib.sha256(data).hexdigest()[:16]
    return _File(data, gzip.compress(data, 9, mtime=0), _TYPES[suffix], f'"{digest}"')


def messages(language: str) -> dict[str, object]:
    """The texts of a language; English where it has none."""
    english = json.loads((MESSAGES / f"{DEFAULT_LANGUAGE}.json").read_text(encoding="utf-8"))
    return {**english, **json.loads((MESSAGES / f"{language}.json").read_text(encoding="utf-8"))}


class StaticFiles:
    """``/static/`` and the HTML pages."""

    def __init__(self) -> None:
        contents = {
            path.relative_to(STATIC).as_posix(): path.read_bytes()
            for path in sorted(STATIC.rglob("*"))
            if path.suffix in _TYPES
        }
        for path in MESSAGES.glob("*.json"):
            text = json.dumps(messages(path.stem), ensure_ascii=False, separators=(",", ":"))
            contents[path.relative_to(STATIC).as_posix()] = text.encode()
        self.version = hashlib.sha256(repr(contents).encode()).hexdigest()[:12]
        ours = f"/static/{self.version}/".encode()
        self._files = {}
        for name, data in contents.items():
            page = name.endswith(".html")
            self._files[name] = _make(data.replace(b"/static/", ours) if page else data, Path(name).suffix)

    def routes(self) -> list[web.AbstractRouteDef]:
        """For ``web.Application.add_routes``."""
        return [web.get("/static/{name:.+}", self._static)]

    def page(self, name: str, request: web.Request) -> web.Response:
        """An HTML page."""
        return self._respond(self._files[name], request, _REVALIDATE)

    async def _static(self, request: web.Request) -> web.Response:
        name, keep = request.match_info["name"], _REVALIDATE
        if match := re.fullmatch(r"([0-9a-f]{12})/(.+)", name):
            # A page that was opened before an update gets the new module: better than none.
            name, keep = match[2], _KEEP if match[1] == self.version else _REVALIDATE
        if name not in self._files:
            raise web.HTTPNotFound
        return self._respond(self._files[name], request, keep)

    def _respond(self, file: _File, request: web.Request, keep: str) -> web.Response:
        headers = {"Cache-Control": keep, "ETag": file.etag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        body = file.data
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"], body = "gzip", file.compressed
        return web.Response(body=body, headers=headers, content_type=file.media_type, charset="utf-8")


@functools.cache
def static_files() -> StaticFiles:
    """The files, read once per process."""
    return StaticFiles()
