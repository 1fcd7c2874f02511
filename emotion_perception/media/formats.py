"""The file formats that are read, by name and by content: one list for all tools and the dashboard."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import filetype

from emotion_perception.media.bag_names import ROS1_SUFFIX, STORAGE_SUFFIXES, is_storage_name
from emotion_perception.media.items import MediaError

HEAD = 8192  # bytes from the start of a file that decide its format


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


# In folders, only files with these suffixes are read; a file that is given by its name is always tried.
VIDEO_SUFFIXES = _suffixes(
    "3g2 3gp asf avi flv heics m2ts m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv"
)
AUDIO_SUFFIXES = _suffixes("3ga aac ac3 aif aifc aiff amr au awb caf flac m4a mka mp2 mp3 oga ogg opus wav wma")
IMAGE_SUFFIXES = _suffixes(
    "apng avif bmp dib gif heic heif hif j2k jfif jp2 jpe jpeg jpf jpg jpx pbm pgm png pnm ppm tif tiff webp"
)
RECORDING_SUFFIXES = frozenset({ROS1_SUFFIX, *STORAGE_SUFFIXES})  # of ROS; those of ROS 2 also with .zstd

_IMAGE_NAMES = {"jpg", "png", "apng", "gif", "bmp", "webp", "tif", "jpx", "avif"}  # as `filetype` names them
_VIDEO_NAMES = {"mp4", "m4v", "mkv", "webm", "mov", "avi", "wmv", "flv", "mpg", "3gp"}
_AUDIO_NAMES = {"mp3", "m4a", "ogg", "flac", "wav", "amr", "aac", "aiff"}
# Brands of ISO/IEC 23008-12 (HEIF) and of AVIF; those of image sequences are read like films.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis"}
_AVIF_BRANDS = {b"avif", b"avis"}
_SEQUENCE_BRANDS = {b"hevc", b"hevx", b"msf1"}
# What `filetype` lacks. A tag: offset, bytes.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\xff\x4f\xff\x51", "image", "jpx"),  # a JPEG 2000 codestream without its container
    (0, b"caff", "audio", "caf"),
    (0, b".snd", "audio", "au"),
    (0, b"\x0b\x77", "audio", "ac3"),
    (0, b"#!AMR", "audio", "amr"),
    (0, b"\x1aE\xdf\xa3", "video", "mkv"),  # filetype wants the whole header
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "wmv"),  # ASF, with sound alone too
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "video", "mxf"),
    (4, b"ftyp", "video", "mp4"),  # of its many brands filetype knows some
)

# For messages and pages; each name stands for a family of suffixes.
IMAGE_FORMATS = "JPEG, PNG, HEIC, AVIF, WebP, GIF, TIFF, BMP, JPEG 2000"
VIDEO_FORMATS = "MP4, MOV, WebM, MKV, AVI, 3GP, FLV, WMV, MPEG"
AUDIO_FORMATS = "WAV, MP3, M4A, AAC, OGG, Opus, FLAC, AMR, CAF, AIFF"


@dataclass(frozen=True)
class FileFormat:
    """The format of a media file."""

    kind: str  # "image", "video" (perhaps with sound alone in it) or "audio"
    name: str  # its usual suffix, without the dot


def identify(head: bytes) -> FileFormat | None:
    """The format of a media file by its first `HEAD` bytes; None if it is not known.

    Example:
        >>> identify(b"#!AMR" + bytes(32))
        FileFormat(kind='audio', name='amr')
    """
    if head[4:8] == b"ftyp" and (found := _heif(head)):
        return found
    guess = filetype.guess(head)
    name = guess.extension if guess is not None else ""
    # "BM" and two magic bytes of ADTS are short; the zero fields that follow exclude text and noise.
    if name == "bmp" and head[6:10] != b"\0\0\0\0":
        name = ""
    for kind, names in (("image", _IMAGE_NAMES), ("video", _VIDEO_NAMES), ("audio", _AUDIO_NAMES)):
        if name in names:
            return FileFormat(kind, name)
    for offset, tag, kind, name in _SIGNATURES:
        if head[offset : offset + len(tag)] == tag:
            return FileFormat(kind, name)
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \n\r\t#":
        return FileFormat("image", "pnm")
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return FileFormat("video", "ts")
    if _is_mpeg_audio(head):
        return FileFormat("audio", "mp3")
    return None


def is_media_name(name: str) -> bool:
    """Whether a file is read when it lies in a folder, by its name.

    Example:
        >>> [is_media_name(name) for name in ("a.HEIC", "bag_0.mcap.zstd", "notes.txt", "b.zstd")]
        [True, True, False, False]
    """
    suffix = os.path.splitext(name.lower())[1]
    return is_storage_name(name) or suffix in VIDEO_SUFFIXES | AUDIO_SUFFIXES | IMAGE_SUFFIXES | RECORDING_SUFFIXES


def _heif(head: bytes) -> FileFormat | None:
    """A HEIF or AVIF image by the brands of its file type box."""
    size = int.from_bytes(head[:4], "big")
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4))}
    if major in _SEQUENCE_BRANDS:
        return FileFormat("video", "heics")
    if major in _AVIF_BRANDS or (major == b"mif1" and brands & _AVIF_BRANDS):
        return FileFormat("image", "avif")
    if major in _HEIC_BRANDS or major == b"mif1":
        return FileFormat("image", "heic")
    return None


def _is_mpeg_audio(head: bytes) -> bool:
    """Header of an MPEG audio frame: eleven bits set, and no reserved version, layer, bit rate or sample rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    return head[1] & 0x18 != 0x08 and head[1] & 0x06 != 0 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C


def image_format(path: Path) -> str:
    """The name of an image's format (:func:`identify`); empty for other files.

    A raw MJPEG stream begins like a JPEG; the suffix decides.

    Raises:
        OSError: the file cannot be read.
    """
    if path.suffix.lower() in {".mjpg", ".mjpeg"}:
        return ""
    with path.open("rb") as file:
        found = identify(file.read(HEAD))
    return found.name if found is not None and found.kind == "image" else ""


def checked_path(path: str | Path) -> Path:
    """The path of a file that is regular, readable and not empty.

    Raises:
        MediaError: it is not.
    """
    file = Path(path)
    try:
        if not file.exists():
            raise MediaError(f"{file}: no such file")
        if file.is_dir():
            raise MediaError(f"{file}: is a directory, not a media file; for the files in it: emotion-archive analyse")
        if not file.is_file():
            raise MediaError(f"{file}: not a regular file")
        if file.stat().st_size == 0:
            raise MediaError(f"{file}: the file is empty")
        with file.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise MediaError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    return file
