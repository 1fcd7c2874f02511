"""Files that visitors drop on the page: looked at by their bytes, decoded in a guarded process, kept nowhere.

The name and the type that a browser tells are not even received. What the first bytes say is checked here
(:func:`sniff`), with the size of a picture, before any decoder sees it; decoding is left to
:mod:`emotion_perception.dashboard.upload_worker`, a process for one file, with limits on time and memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
from dataclasses import dataclass

MAX_PIXELS = 40_000_000  # of a picture; a good camera has 24 million
MAX_SIDE = 12_000  # px
MAX_SECONDS = 120  # of a recording that are looked at
MAX_ANSWER = 32_000_000  # bytes
SPARE_S = 120.0  # a process that waits for a file is ended after so long
WAITING = 3  # files at a time; one is worked on

# First bytes of what is taken. An MP4's first box may have any length.
_PICTURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"))
_RECORDINGS = (b"\x1aE\xdf\xa3", b"OggS", b"fLaC", b"ID3", b"FLV\x01")
# First bytes of what people drop by mistake or on purpose, and what to call it.
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"%PDF", "a PDF document"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"#!", "a script"),
)


class UploadError(ValueError):
    """A file is refused; the text tells the visitor why, ``status`` is the HTTP status."""

    def __init__(self, reason: str, status: int = 415) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Sniffed:
    """What a file is by its bytes."""

    kind: str  # "picture" or "recording"
    format: str


def sniff(data: bytes) -> Sniffed:
    """What a file is.

    Raises:
        UploadError: it is empty, of no kind that is taken, or a picture that is too large.
    """
    if not data:
        raise UploadError("the file is empty", 400)
    for magic, name in _PICTURES:
        if data.startswith(magic) and (name != "bmp" or data[6:10] == b"\0\0\0\0"):
            _check_size(name, data)
            return Sniffed("picture", name)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_size("webp", data)
        return Sniffed("picture", "webp")
    if data[:4] == b"RIFF" and data[8:12] in (b"WAVE", b"AVI "):
        return Sniffed("recording", "wav or avi")
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"heic", b"heix", b"mif1"):
        raise UploadError("HEIC and AVIF pictures are not taken; save it as JPEG or PNG")
    if data[4:8] == b"ftyp" or data.startswith(_RECORDINGS) or _is_mp3(data):
        return Sniffed("recording", "media")
    for magic, name in _OTHERS:
        if data.startswith(magic):
            raise UploadError(f"this is {name}; {_TAKEN}")
    head = data[:512].lstrip().lower()
    if head.startswith((b"<", b"{")) or _is_text(data[:512]):
        raise UploadError(f"this is text or a web page; {_TAKEN}")
    raise UploadError(f"this is no kind of file that is known here; {_TAKEN}")


_TAKEN = (
    "a picture (JPEG, PNG, WebP, GIF, BMP), a clip (MP4, WebM, MKV, AVI, FLV) or a sound (WAV, MP3, OGG, FLAC) is taken"
)


def picture_size(name: str, data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as a picture's header tells; None where it cannot be read."""
    try:
        if name == "png":
            return struct.unpack(">II", data[16:24])
        if name == "gif":
            return struct.unpack("<HH", data[6:10])
        if name == "bmp":
            width, height = struct.unpack("<ii", data[18:26])
            return abs(width), abs(height)
        if name == "webp":
            return _webp_size(data)
        return _jpeg_size(data)
    except (struct.error, IndexError):
        return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Of the first frame header (SOF0..15, but for the markers among them that are none)."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _check_size(name: str, data: bytes) -> None:
    size = picture_size(name, data)
    if size is None or 0 in size:
        raise UploadError(f"this begins like a {name.upper()} picture, but it is damaged", 422)
    width, height = size
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise UploadError(
            f"the picture has {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} million, "
            f"and {MAX_SIDE} along a side, are taken",
            413,
        )


def _is_mp3(data: bytes) -> bool:
    """An MPEG audio frame: eleven bits set, and no value that is reserved."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return False
    return data[1] & 0x18 != 0x08 and data[1] & 0x06 != 0 and data[2] & 0xF0 != 0xF0 and data[2] & 0x0C != 0x0C


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict" if len(head) < 512 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)


class Analyst:
    """Has files analysed, one after the other, each by a process of its own.

    Args:
        seconds: time that a file may take, models included.
        memory_mb: what decoding and analysis may take on top of the models.
    """

    def __init__(self, seconds: float = 90.0, memory_mb: int = 1500) -> None:
        self.seconds, self.memory_mb = seconds, memory_mb
        self._turn: asyncio.Lock | None = None
        self._waiting = 0
        self._spare: asyncio.subprocess.Process | None = None
        self._spare_ends: asyncio.TimerHandle | None = None

    async def prepare(self) -> None:
        """Start a process that has the models loaded when a file comes: a visitor looks at the page."""
        if self._spare is None or self._spare.returncode is not None:
            self._spare = await self._start()
        if self._spare_ends is not None:
            self._spare_ends.cancel()
        self._spare_ends = asyncio.get_running_loop().call_later(SPARE_S, self.close)

    async def analyse(self, data: bytes) -> str:
        """What is seen and heard in a file, as JSON (see :mod:`~emotion_perception.dashboard.upload_worker`).

        Raises:
            UploadError: the file is refused, cannot be decoded, takes too long or too much memory.
        """
        what = sniff(data)
        if self._waiting >= WAITING:
            raise UploadError("others are being served; try again in a moment", 503)
        self._waiting += 1
        try:
            self._turn = self._turn or asyncio.Lock()
            async with self._turn:
                process, self._spare = self._spare, None
                if process is None or process.returncode is not None:
                    process = await self._start()
                return await self._ask(process, what, data)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the process that waits."""
        if self._spare is not None and self._spare.returncode is None:
            with contextlib.suppress(ProcessLookupError, RuntimeError):
                self._spare.kill()
        self._spare = None

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "emotion_perception.dashboard.upload_worker",
            str(self.memory_mb),
            str(round(self.seconds)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=MAX_ANSWER,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS)},
        )

    async def _ask(self, process: asyncio.subprocess.Process, what: Sniffed, data: bytes) -> str:
        job = json.dumps({"kind": what.kind, "size": len(data)}).encode() + b"\n"
        try:
            answer, _ = await asyncio.wait_for(process.communicate(job + data), self.seconds)
        except asyncio.TimeoutError:
            raise UploadError(f"the file took longer than {self.seconds:.0f} s; try a shorter one", 422) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        try:
            fields = json.loads(answer)
        except ValueError:
            # Killed by one of its limits, or by a decoder that the file broke: that is what the process is for.
            raise UploadError("the file cannot be decoded within the limits of time and memory", 422) from None
        if "error" in fields:
            raise UploadError(str(fields["error"]), 422)
        return answer.decode()
