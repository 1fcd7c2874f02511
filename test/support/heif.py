"""Writes HEIC images as phones do: a grid of HEVC tiles with a rotation and a mirroring, by ISO/IEC 23008-12."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
from PIL import Image


def tiled_heic(
    image: np.ndarray, tile: int = 128, quarter_turns: int = 0, mirror_axis: int | None = None, orientation: int = 1
) -> bytes:
    """A HEIC image.

    Args:
        image: (H, W, 3) uint8 BGR, as stored.
        tile: side of the square tiles, px.
        quarter_turns: ``irot``: times 90 degrees counterclockwise for display.
        orientation: of EXIF, which phones write as well and readers have to ignore.
        mirror_axis: ``imir``, after the rotation: 0 exchanges top and bottom, 1 left and right; None: no mirroring.
    """
    height, width = image.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    image = np.pad(image, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), "edge")
    tiles = [image[y * tile :, x * tile :][:tile, :tile] for y in range(rows) for x in range(columns)]
    coded, configuration = _hevc(tiles)
    grid = len(coded) + 1  # its item number; the tiles are 1, 2, ...
    exif = Image.Exif()
    exif[0x0112] = orientation
    metadata = struct.pack(">I", 6) + exif.tobytes()
    properties = [
        _box(b"hvcC", configuration),
        _full(b"ispe", struct.pack(">II", tile, tile)),
        _full(b"ispe", struct.pack(">II", width, height)),
        _box(b"irot", bytes([quarter_turns % 4])),
        *([] if mirror_axis is None else [_box(b"imir", bytes([mirror_axis]))]),
    ]
    of_grid = bytes(0x80 * (i > 3) | i for i in range(3, len(properties) + 1))
    associations = b"".join(struct.pack(">HB", i + 1, 2) + b"\x81\x02" for i in range(len(coded)))
    associations += struct.pack(">HB", grid, len(of_grid)) + of_grid
    entries = [_full(b"infe", struct.pack(">HH4sx", i + 1, 0, b"hvc1"), 2, 1) for i in range(len(coded))]
    entries.append(_full(b"infe", struct.pack(">HH4sx", grid, 0, b"grid"), 2))
    entries.append(_full(b"infe", struct.pack(">HH4sx", grid + 1, 0, b"Exif"), 2, 1))
    idat = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)

    def meta(begin: int) -> bytes:
        places = []
        for number, data in zip((*range(1, grid), grid + 1), (*coded, metadata), strict=True):
            places.append(struct.pack(">HHHHII", number, 0, 0, 1, begin, len(data)))
            begin += len(data)
        places.append(struct.pack(">HHHHII", grid, 1, 0, 1, 0, len(idat)))
        return _full(
            b"meta",
            _full(b"hdlr", struct.pack(">I4s12sx", 0, b"pict", b""))
            + _full(b"pitm", struct.pack(">H", grid))
            + _full(b"iinf", struct.pack(">H", len(entries)) + b"".join(entries))
            + _full(
                b"iref",
                _box(b"dimg", struct.pack(f">HH{len(coded)}H", grid, len(coded), *range(1, grid)))
                + _box(b"cdsc", struct.pack(">HHH", grid + 1, 1, grid)),
            )
            + _box(
                b"iprp",
                _box(b"ipco", b"".join(properties)) + _full(b"ipma", struct.pack(">I", grid) + associations),
            )
            + _full(b"iloc", b"\x44\x00" + struct.pack(">H", len(places)) + b"".join(places), 1)
            + _box(b"idat", idat),
        )

    brands = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    begin = len(brands) + len(meta(0)) + 8
    return brands + meta(begin) + _box(b"mdat", b"".join(coded) + metadata)


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), kind) + data


def _full(kind: bytes, data: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + data)


def _hevc(tiles: list[np.ndarray]) -> tuple[list[bytes], bytes]:
    """Each tile as one key frame with length-prefixed units, and their common decoder configuration."""
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=1, options={"x265-params": "keyint=1:log-level=0:crf=12"})
        stream.height, stream.width = tiles[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1)
        for number, tile in enumerate(tiles):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(tile), format="bgr24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    film.seek(0)
    with av.open(film) as container:
        stream = container.streams.video[0]
        coded = [bytes(packet) for packet in container.demux(stream) if packet.size]
        return coded, bytes(stream.codec_context.extradata)
