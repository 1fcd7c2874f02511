"""What an uploaded file is, by its first bytes, and how large an image is, before any decoder sees it.

The name and media type given by the browser are not received. All formats of ``media/formats.py`` are accepted; of the
others this module says what they are. It reads the size of an image from its header.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

import filetype

from emotion_perception.media.formats import AUDIO_FORMATS, HEAD, IMAGE_FORMATS, VIDEO_FORMATS, FileFormat, identify

MAX_PIXELS = 40_000_000  # of an image; a good camera has 24 million
MAX_SIDE = 12_000  # px

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
_TAKEN = f"a picture ({IMAGE_FORMATS}), a clip ({VIDEO_FORMATS}) or a sound ({AUDIO_FORMATS}) is taken"
Data = bytes | mmap.mmap


class UploadError(ValueError):
    """A file is refused; the message gives the reason, ``status`` is the HTTP status."""

    def __init__(self, reason: str, status: int = 415) -> None:
        super().__init__(reason)
        self.status = status


def sniff(data: Data) -> FileFormat:
    """What a file is.

    Raises:
        UploadError: it is empty, of an unsupported type, or an image that is too large by its header (of the formats
            whose header :func:`picture_size` reads; the process that decodes checks the others).
    """
    head = data[:HEAD]
    if not head:
        raise UploadError("the file is empty", 400)
    if (format := identify(head)) is not None:
        if format.name in _HEADERS:
            _check_size(format.name, data)
        return format
    found = filetype.guess(head)
    mime = found.mime if found is not None else ""
    if mime in _NAMES:
        raise UploadError(f"this is {_NAMES[mime]}; {_TAKEN}")
    if head.startswith(b"\x7fELF"):  # filetype wants 53 bytes
        raise UploadError(f"this is a program; {_TAKEN}")
    if head[:10].lstrip(b"\2").startswith(b"#!SILK"):
        raise UploadError(f"this is a SILK voice note, for which there is no decoder here; {_TAKEN}")
    if head.startswith(b"#!"):
        raise UploadError(f"this is a script; {_TAKEN}")
    if head.lstrip().startswith((b"<", b"{")) or _is_text(head[:512]):
        raise UploadError(f"this is text or a web page; {_TAKEN}")
    if found is not None and mime:
        raise UploadError(f"this is a file of type {found.extension.upper()}; {_TAKEN}")
    raise UploadError(f"this kind of file is not known here; {_TAKEN}")


def picture_size(name: str, data: Data) -> tuple[int, int] | None:
    """Width and height in pixels as the header of an image states them; None if it cannot be read.

    Args:
        name: png, apng, gif, bmp, webp or jpg.
        data: the file.
    """
    try:
        return _HEADERS[name](data)
    except (struct.error, IndexError):
        return None


def check_pixels(width: int, height: int) -> None:
    """Check the size of an image.

    Raises:
        UploadError: it has too many pixels.
    """
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise UploadError(
            f"the picture has {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} million, "
            f"and {MAX_SIDE} along a side, are taken",
            413,
        )


def _png_size(data: Data) -> tuple[int, int]:
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _gif_size(data: Data) -> tuple[int, int]:
    width, height = struct.unpack("<HH", data[6:10])
    return width, height


def _bmp_size(data: Data) -> tuple[int, int]:
    width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)


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


_HEADERS: dict[str, Callable[[Data], tuple[int, int] | None]] = {
    "png": _png_size,
    "apng": _png_size,
    "gif": _gif_size,
    "bmp": _bmp_size,
    "webp": _webp_size,
    "jpg": _jpeg_size,
}


def _check_size(name: str, data: Data) -> None:
    size = picture_size(name, data)
    if size is None or 0 in size:
        kind = {"jpg": "JPEG", "apng": "PNG"}.get(name, name.upper())
        raise UploadError(f"this begins like a {kind} picture, but it is damaged", 422)
    check_pixels(*size)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict" if len(head) < 512 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)
