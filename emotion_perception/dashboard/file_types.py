"""What an uploaded file is, by its first bytes, and how large an image is, before any decoder sees it.

The name and media type given by the browser are not received. The package ``filetype`` recognises the formats; this
module selects the accepted ones, and reads the size of an image from its header.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

import filetype

MAX_PIXELS = 40_000_000  # of an image; a good camera has 24 million
MAX_SIDE = 12_000  # px

_HEAD = 8192  # bytes that filetype looks at
_IMAGES = {
    "image/png": "png",
    "image/apng": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/webp": "webp",
}
_RECORDINGS = {
    *("video/mp4", "video/x-m4v", "video/quicktime", "video/3gpp", "audio/mp4"),
    *("video/webm", "video/x-matroska", "video/x-msvideo", "video/x-flv"),
    *("audio/x-wav", "audio/mpeg", "audio/ogg", "audio/x-flac"),
}
_HEIF = ("image/heic", "image/heif", "image/avif")
# Types that are refused, with the names used in the message.
_NAMES = {
    "application/zip": "a ZIP archive (or an office document)",
    "application/gzip": "a gzip archive",
    "application/x-7z-compressed": "a 7-Zip archive",
    "application/x-rar-compressed": "a RAR archive",
    "application/x-bzip2": "a bzip2 archive",
    "application/x-xz": "an xz archive",
    "application/pdf": "a PDF document",
    "application/x-msdownload": "a program",
    "application/x-executable": "a program",
}
_TAKEN = (
    "a picture (JPEG, PNG, WebP, GIF, BMP), a clip (MP4, WebM, MKV, AVI, FLV) or a sound (WAV, MP3, OGG, FLAC) is taken"
)
Data = bytes | mmap.mmap


class UploadError(ValueError):
    """A file is refused; the message gives the reason, ``status`` is the HTTP status."""

    def __init__(self, reason: str, status: int = 415) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class FileType:
    """What a file is by its bytes."""

    kind: str  # "picture" or "recording"
    format: str  # of an image: its name in picture_size; of a recording: its media type


def sniff(data: Data) -> FileType:
    """What a file is.

    Raises:
        UploadError: it is empty, of an unsupported type, or an image that is too large.
    """
    head = data[:_HEAD]
    if not head:
        raise UploadError("the file is empty", 400)
    found = filetype.guess(head)
    mime = found.mime if found is not None else ""
    if mime == "image/bmp" and head[6:10] != b"\0\0\0\0":  # "BM" alone is two letters
        mime = ""
    if mime in _IMAGES:
        _check_size(_IMAGES[mime], data)
        return FileType("picture", _IMAGES[mime])
    if mime in _HEIF or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"heic", b"heix", b"mif1")):
        raise UploadError("HEIC and AVIF pictures are not taken; save it as JPEG or PNG")
    # filetype knows few brands of the MP4 family and wants whole headers, and few kinds of MP3 without a tag.
    if mime in _RECORDINGS or head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3") or _is_mpeg_audio(head):
        return FileType("recording", mime or "media")
    if mime in _NAMES:
        raise UploadError(f"this is {_NAMES[mime]}; {_TAKEN}")
    if head.startswith(b"\x7fELF"):  # filetype wants 53 bytes
        raise UploadError(f"this is a program; {_TAKEN}")
    if head.startswith(b"#!"):
        raise UploadError(f"this is a script; {_TAKEN}")
    if head.lstrip().startswith((b"<", b"{")) or _is_text(head[:512]):
        raise UploadError(f"this is text or a web page; {_TAKEN}")
    if found is not None and mime:
        raise UploadError(f"this is a file of type {found.extension.upper()}; {_TAKEN}")
    raise UploadError(f"this kind of file is not known here; {_TAKEN}")


def picture_size(name: str, data: Data) -> tuple[int, int] | None:
    """Width and height in pixels as the header of an image states them; None if it cannot be read."""
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


def _webp_size(data: Data) -> tuple[int, int] | None:
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


def _jpeg_size(data: Data) -> tuple[int, int] | None:
    """From the first frame header: SOF0..15 without DHT, JPG and DAC, whose markers lie in the same range."""
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


def _check_size(name: str, data: Data) -> None:
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


def _is_mpeg_audio(head: bytes) -> bool:
    """Header of an MPEG audio frame: eleven bits set, and no reserved version, layer, bit rate or sample rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    return head[1] & 0x18 != 0x08 and head[1] & 0x06 != 0 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict" if len(head) < 512 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)
