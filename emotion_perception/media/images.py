"""Still images and animations of every format of ``formats.py``, upright as their metadata says."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from emotion_perception.media.formats import checked_path, image_format
from emotion_perception.media.items import LazyFrame, MediaAudio, MediaError, MediaFrame, MediaItem, thumbnail_of
from emotion_perception.media.source import StoredMedia, interval_number

STILL_FPS = 10.0  # rate at which `ImageFile.loop` repeats a still image
PAGE_S = 1.0  # s of media time per page of a TIFF file, which states none
MIN_DELAY_S, DEFAULT_DELAY_S = 0.02, 0.1  # browsers replace a shorter delay than the first by the second
MAX_PIXELS = 1 << 28  # of one image; cameras have up to 200 million
REDUCED = 1  # bit of a TIFF page's NewSubfileType: a smaller copy of another page
_ANIMATED = {"gif", "png", "apng", "webp", "avif", "tif"}  # formats that may hold several images in a sequence
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    MemoryError,
    cv2.error,
    Image.DecompressionBombError,
)


class ImageFile(StoredMedia):
    """A still image: one frame at time 0; or an animation or a file of several pages: a film without sound.

    Pages follow each other every `PAGE_S`.

    Raises:
        MediaError: it cannot be decoded.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.has_video = True
        self.is_image = not _is_sequence(path)
        self.fps = STILL_FPS
        if self.is_image:
            self.height, self.width = read_image(path).shape[:2]
            self.duration = 0.0
            return
        first = list(zip(range(2), self._frames(), strict=False))
        if not first:
            raise MediaError(f"{path}: not an image that can be decoded")
        self.height, self.width = first[0][1].image.shape[:2]
        if len(first) == 2:
            self.fps = 1 / first[1][1].time
        self.errors = 0  # those found here are counted again by read()

    def frames(self, start: float = 0.0, interval: float = 0.0) -> Iterator[LazyFrame]:
        """See :meth:`StoredMedia.frames`."""
        slot = -1
        for frame in self._frames():
            if frame.time < start:
                continue
            number = interval_number(frame.time, interval) if interval > 0 else slot + 1
            due, slot = number > slot, max(number, slot)
            yield LazyFrame(frame.time, due, partial(_same, frame.image), partial(_thumbnail, frame.image))

    def sound(self, start: float = 0.0) -> Iterator[MediaAudio]:
        """See :meth:`StoredMedia.sound`."""
        return iter(())

    def _read(self) -> Generator[MediaItem, None, None]:
        yield from self._frames()

    def _frames(self) -> Generator[MediaFrame, None, None]:
        if self.is_image:
            yield MediaFrame(0.0, read_image(self.path))
            return
        time = 0.0
        with self._opened() as images:
            for number in range(images.n_frames):
                try:
                    images.seek(number)
                    if images.format == "TIFF" and images.tag_v2.get(254, 0) & REDUCED:
                        continue
                    images.load()
                    delay = PAGE_S if images.format == "TIFF" else images.info.get("duration", 0) / 1000
                    image = _bgr(images)
                except _DAMAGE:
                    self.errors += 1
                    continue
                yield MediaFrame(time, image)
                time += delay if delay >= MIN_DELAY_S else DEFAULT_DELAY_S

    def _opened(self) -> Any:
        try:
            return Image.open(self.path)
        except _DAMAGE as error:
            raise MediaError(f"{self.path}: not an image that can be decoded ({_one_line(error)})") from error

    def _loop(self) -> Generator[MediaItem, None, None]:
        if self.is_image:
            frame = MediaFrame(0.0, read_image(self.path))
            count = 0
            while True:
                yield replace(frame, time=count / STILL_FPS)
                count += 1
        yield from super()._loop()


def read_image(path: str | Path) -> np.ndarray:
    """A still image of any format as ``(H, W, 3)`` uint8 BGR, upright by its metadata (EXIF; HEIF's irot and imir).

    An animation gives its first frame.

    Raises:
        MediaError: missing, empty, too large, or not an image that can be decoded.
    """
    file = checked_path(path)
    reason = ""
    image: np.ndarray | None = None
    try:
        name = image_format(file)
        if name == "heic":
            image = _read_heif(file)
        elif name != "avif":  # OpenCV ignores irot and imir of AVIF
            image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        if image is None and name:
            with Image.open(file) as opened:
                image = _bgr(opened)
    except _DAMAGE as error:
        reason = f" ({_one_line(error)})"
    if image is None or image.size == 0:
        raise MediaError(f"{file}: not an image that can be decoded{reason}")
    return np.ascontiguousarray(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height in px as the header of an image states them; nothing is decoded.

    Raises:
        MediaError: it has no readable header.
    """
    file = checked_path(path)
    try:
        if image_format(file) == "heic":
            return _heif_library().open_heif(file).size
        with Image.open(file) as opened:
            return opened.size
    except _DAMAGE as error:
        raise MediaError(f"{file}: not an image that can be decoded ({_one_line(error)})") from error


def _read_heif(file: Path) -> np.ndarray:
    """Through libheif: FFmpeg, and with it PyAV, gives the tiles of a phone's image one by one."""
    heif = _heif_library().open_heif(file)
    _check_size(heif.size)
    return _bgr(heif.to_pillow())  # a copy without padding; the library's array does not keep its memory alive


def _heif_library() -> Any:
    try:
        import pi_heif
    except ImportError as error:
        raise MediaError("HEIC and HEIF images need the Python package pi-heif") from error
    return pi_heif


def _is_sequence(path: Path) -> bool:
    """Whether a file holds several images that follow each other (not those of a JPEG: depth maps and thumbnails)."""
    if image_format(path) not in _ANIMATED:
        return False
    try:
        with Image.open(path) as opened:
            count = getattr(opened, "n_frames", 1)
            if count > 1 and opened.format == "TIFF":
                return sum(_is_page(opened, number) for number in range(count)) > 1
            return count > 1
    except _DAMAGE:
        return False  # OpenCV may read it


def _is_page(opened: Any, number: int) -> bool:
    opened.seek(number)
    return not opened.tag_v2.get(254, 0) & REDUCED


def _bgr(opened: Any) -> np.ndarray:
    """The current image of a file opened by Pillow, as ``(H, W, 3)`` uint8 BGR, upright."""
    _check_size(opened.size)
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    return np.asarray(image.convert("RGB"))[..., ::-1].copy()


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, more than {MAX_PIXELS // 1_000_000} million")


def _same(image: np.ndarray) -> np.ndarray:
    return image


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return thumbnail_of(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
