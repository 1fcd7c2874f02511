"""Still images and animations as phones, cameras and the web make them."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from heif import tiled_heic
from PIL import Image

from emotion_perception.media.formats import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_media_name
from emotion_perception.media.images import image_size, read_image
from emotion_perception.media.items import MediaError
from emotion_perception.media.opening import open_media

CORNERS = ((40, 40, 200), (40, 200, 40), (200, 40, 40), (200, 200, 200))  # BGR: top left, top right, bottom left, right


def quadrants(height: int = 256, width: int = 384) -> np.ndarray:
    """An image with a colour in each quarter, so that every rotation and mirroring of it is another image."""
    image = np.zeros((height, width, 3), np.uint8)
    for (y, x), colour in zip(((0, 0), (0, 1), (1, 0), (1, 1)), CORNERS, strict=True):
        image[y * height // 2 :, x * width // 2 :][: height // 2, : width // 2] = colour
    return image


def assert_alike(image: np.ndarray, expected: np.ndarray) -> None:
    assert (image.shape, image.dtype) == (expected.shape, np.uint8)
    assert np.abs(image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("mirror_axis", [None, 0, 1])
@pytest.mark.parametrize("quarter_turns", range(4))
def test_all_tiles_of_a_phone_image_are_read_upright(tmp_path: Path, quarter_turns: int, mirror_axis: int | None):
    path = tmp_path / "IMG_0001.HEIC"
    stored = quadrants(248, 378)  # the last tiles are cut
    path.write_bytes(tiled_heic(stored, 128, quarter_turns, mirror_axis, orientation=6))
    expected = np.rot90(stored, quarter_turns)
    expected = expected if mirror_axis is None else np.flip(expected, mirror_axis)
    assert_alike(read_image(path), expected)
    with open_media(path) as media:
        assert media.is_image and (media.height, media.width) == expected.shape[:2]
        (frame,) = media.read()
        assert_alike(frame.image, expected)
    assert image_size(path) == expected.shape[1::-1]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_images_are_upright_by_their_exif_orientation(tmp_path: Path, format: str, orientation: int):
    upright = quadrants()
    # As the sensor saw it: what the orientation's operation turns into the upright image.
    stored = {2: upright[:, ::-1], 3: np.rot90(upright, 2), 6: np.rot90(upright, 1), 8: np.rot90(upright, 3)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image"
    picture = Image.fromarray(np.ascontiguousarray(stored[orientation][..., ::-1]))
    picture.save(path, format, exif=exif.tobytes() if format == "AVIF" else exif)
    assert_alike(read_image(path), upright)


@pytest.mark.parametrize("format", ["JPEG2000", "TIFF", "AVIF", "PPM"])
def test_formats_of_cameras_and_scanners_are_read(tmp_path: Path, format: str):
    path = tmp_path / "image"  # the content decides, not the name
    Image.fromarray(quadrants()[..., ::-1]).save(path, format)
    assert_alike(read_image(path), quadrants())
    with open_media(path) as media:
        assert media.is_image


def test_sixteen_bits_per_pixel_keep_their_brightness(tmp_path: Path):
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (64, 1))
    for suffix in ("png", "tiff"):
        path = tmp_path / f"ramp.{suffix}"
        path.write_bytes(cv2.imencode(f".{suffix}", ramp)[1].tobytes())
        assert_alike(read_image(path), np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))
    pages = [Image.fromarray(ramp), Image.fromarray(ramp)]
    pages[0].save(tmp_path / "pages.tiff", save_all=True, append_images=pages[1:])
    with open_media(tmp_path / "pages.tiff") as media:
        for frame in media.read():
            assert_alike(frame.image, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))


def animation(format: str, delays: list[int]) -> bytes:
    frames = [Image.fromarray(np.full((48, 64, 3), 60 * i, np.uint8)) for i in range(len(delays))]
    data = io.BytesIO()
    options = {"quality": 90} if format == "AVIF" else {}
    frames[0].save(data, format, save_all=True, append_images=frames[1:], duration=delays, **options)
    return data.getvalue()


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animations_are_films_with_their_own_delays(tmp_path: Path, format: str):
    path = tmp_path / "animation"
    path.write_bytes(animation(format, [200, 500, 300, 200]))
    with open_media(path) as media:
        assert (media.is_image, media.has_video, media.has_audio) == (False, True, False)
        frames = list(media.read())
        assert [frame.time for frame in frames] == pytest.approx([0, 0.2, 0.7, 1.0], abs=0.011)
        assert [round(frame.image.mean() / 60) for frame in frames] == [0, 1, 2, 3]
        due = [frame.time for frame in media.frames(interval=0.5) if frame.due]
        assert due == pytest.approx([0, 0.7, 1.0], abs=0.011)
        looped = list(itertools.islice(media.loop(), 6))
        assert looped[4].time == pytest.approx(1.2, abs=0.011)
        assert looped[4].image.mean() < 10


def test_animation_without_delays_runs_as_in_a_browser(tmp_path: Path):
    path = tmp_path / "fast.gif"
    path.write_bytes(animation("GIF", [0, 0, 0]))
    with open_media(path) as media:
        assert [frame.time for frame in media.read()] == pytest.approx([0, 0.1, 0.2])


def test_pages_of_a_tiff_file_follow_each_other_without_its_small_copies(tmp_path: Path):
    pages = [Image.fromarray(np.full((48, 64, 3), 60 * i, np.uint8)) for i in (1, 2, 3)]
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    path = tmp_path / "scan.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with open_media(path) as media:
        assert not media.is_image
        frames = list(media.read())
    assert [(frame.time, round(frame.image.mean() / 60)) for frame in frames] == [(0, 1), (1, 3)]
    pages[0].save(path, save_all=True, append_images=pages[1:2])
    with open_media(path) as media:
        assert media.is_image, "one image and its thumbnail"


@pytest.mark.parametrize("kind", ["heic", "avif", "jp2", "tiff", "animation"])
def test_truncated_image_gives_one_line_or_what_there_is(tmp_path: Path, kind: str):
    path = tmp_path / "cut"
    if kind == "heic":
        whole = tiled_heic(quadrants())
    elif kind == "animation":
        whole = animation("WEBP", [100] * 5)
    else:
        data = io.BytesIO()
        Image.fromarray(quadrants()).save(data, {"avif": "AVIF", "jp2": "JPEG2000", "tiff": "TIFF"}[kind])
        whole = data.getvalue()
    path.write_bytes(whole[: len(whole) // 2])
    reason, shapes = "", []
    try:
        with open_media(path) as media:
            shapes = [frame.image.shape for frame in media.read()]
    except MediaError as error:
        reason = str(error)
    assert shapes or (reason.startswith(f"{path}: not an image that can be decoded") and "\n" not in reason)


def test_all_tools_read_the_same_formats_from_folders():
    for suffix in (".heic", ".heif", ".avif", ".jp2", ".tif"):
        assert suffix in IMAGE_SUFFIXES
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES and not AUDIO_SUFFIXES & VIDEO_SUFFIXES
    assert all(is_media_name(f"x{suffix.upper()}") for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES | AUDIO_SUFFIXES)
