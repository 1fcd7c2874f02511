"""Compressed images and video: what comes out of one message after another, and at which size."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from emotion_perception.messages.compressed import PATIENCE, CompressedDecoder, reduction, video_codec
from emotion_perception.messages.sensors import ConversionError, image_from_message
from emotion_perception.types import SECOND

WIDTH, HEIGHT = 320, 240


def stamped(number: int) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=1000, nanosec=number * 40_000_000))


def scene(number: int) -> np.ndarray:
    """A bright square that moves by 4 px per image."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[80:160, 10 + 4 * number : 90 + 4 * number] = (30, 60, 220)
    return image


def video(encoder: str, count: int, **options: str) -> Iterator[bytes]:
    """One access unit per image, as a robot's encoder sends them."""
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.options = {"preset": "ultrafast", "tune": "zerolatency", **options}
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(scene(number), format="bgr24")
        frame.pts = number
        yield from (bytes(packet) for packet in context.encode(frame))
    yield from (bytes(packet) for packet in context.encode(None))


def compressed(number: int, data: bytes, name: str = "h264") -> SimpleNamespace:
    return SimpleNamespace(header=stamped(number), format=name, data=data)


def packet(number: int, data: bytes, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(header=stamped(number), encoding=encoding, pts=number, flags=0, data=data)


def foxglove(number: int, data: bytes, name: str) -> SimpleNamespace:
    return SimpleNamespace(timestamp=stamped(number).stamp, frame_id="camera", format=name, data=data)


def square_at(image: np.ndarray) -> float:
    """Left edge of the red square, px."""
    return float(np.flatnonzero(image[image.shape[0] // 2, :, 2] > 130)[0])


@pytest.mark.parametrize(
    ("encoder", "make", "name"),
    [
        ("libx264", compressed, "h264"),
        ("libx264", compressed, "rgb8; h264 compressed"),
        ("libx265", compressed, "h265"),
        ("libx264", packet, "libx264"),
        ("libx264", packet, "h264;yuv420p;bgr8;bgr8"),
        ("libx265", packet, "hevc_nvenc"),
        ("libx264", foxglove, "h264"),
        ("libx265", foxglove, "h265"),
    ],
)
def test_video_gives_each_image_under_its_own_stamp(encoder: str, make: Any, name: str):
    decoder = CompressedDecoder()
    options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    found = []
    for number, data in enumerate(video(encoder, 12, **options)):
        found += decoder.decode(make(number, data, name))
    assert [image.stamp_ns for image in found] == [1000 * SECOND + n * 40_000_000 for n in range(12)]
    for number, image in enumerate(found):
        assert image.image.shape == (HEIGHT, WIDTH, 3)
        assert square_at(image.image) == pytest.approx(10 + 4 * number, abs=2)


def test_a_stream_that_is_joined_late_starts_at_its_next_key_frame():
    decoder = CompressedDecoder()
    units = list(video("libx264", 20, g="8"))
    found = [image for n, data in list(enumerate(units))[3:] for image in decoder.decode(compressed(n, data))]
    assert found[0].stamp_ns == 1000 * SECOND + 8 * 40_000_000
    assert len(found) == 12


def test_images_that_refer_to_a_lost_message_keep_their_stamps():
    decoder = CompressedDecoder()
    units = list(enumerate(video("libx264", 24, g="8")))
    del units[11]
    found = [image for n, data in units for image in decoder.decode(compressed(n, data))]
    assert found[-1].stamp_ns == 1000 * SECOND + 23 * 40_000_000
    assert square_at(found[-1].image) == pytest.approx(10 + 4 * 23, abs=2)


def test_reordered_images_come_out_in_order_with_their_stamps():
    decoder = CompressedDecoder()
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.options = {"bf": "2", "b_strategy": "0"}
    packets = []
    for number in range(20):
        frame = av.VideoFrame.from_ndarray(scene(number), format="bgr24")
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    found = [image for p in packets for image in decoder.decode(compressed(int(p.pts), bytes(p)))]
    assert len(found) >= 15
    assert [image.stamp_ns for image in found] == sorted(image.stamp_ns for image in found)


def test_a_stream_without_a_key_frame_is_reported_with_the_remedy():
    decoder = CompressedDecoder()
    units = list(video("libx264", 3, g="100"))
    for number in range(PATIENCE - 1):
        assert not decoder.decode(compressed(number, units[1]))
    with pytest.raises(ConversionError, match=r"no key frame arrived; set a shorter key frame interval"):
        decoder.decode(compressed(PATIENCE, units[1]))


def test_the_codec_is_recognized_by_its_bytes_where_the_driver_does_not_state_it():
    for encoder, codec in (("libx264", "h264"), ("libx265", "hevc")):
        options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
        data = next(video(encoder, 1, **options))
        assert video_codec(SimpleNamespace(format="", data=data)) == codec


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (packet(0, b"x", "prores"), "'prores' cannot be decoded; known: av1, h264, hevc"),
        (compressed(0, b"", "jpeg"), "empty"),
        (compressed(0, b"no image", "jpeg"), "'jpeg', 8 bytes"),
        (compressed(0, b"x" * 40, "16UC1; compressedDepth png"), "depth image; choose the topic of the colour camera"),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_its_name(message: Any, words: str):
    with pytest.raises(ConversionError, match=words):
        CompressedDecoder().decode(message)


@pytest.mark.parametrize(("longer", "factor"), [(640, 1), (1920, 2), (3840, 4), (7680, 8), (1919, 1)])
def test_an_image_is_reduced_only_as_far_as_enough_pixels_remain(longer: int, factor: int):
    assert reduction(longer, 960) == factor
    assert reduction(longer, 0) == 1


def test_jpeg_is_decoded_at_reduced_scale_from_the_second_image_on():
    decoder = CompressedDecoder(min_side=WIDTH // 2)
    data = cv2.imencode(".jpg", scene(5))[1].tobytes()
    first, second = (decoder.decode(compressed(n, data, "jpeg"))[0] for n in range(2))
    assert first.image.shape == (HEIGHT, WIDTH, 3) and first.scale == 1
    assert second.image.shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert (second.scale, second.width, second.height) == (2, WIDTH, HEIGHT)
    other = cv2.imencode(".jpg", scene(5)[:, :200])[1].tobytes()  # the camera changed its size
    changed = decoder.decode(compressed(3, other, "jpeg"))[0]
    assert (changed.width, changed.height) == (200, HEIGHT)


def test_video_is_scaled_down_likewise():
    decoder = CompressedDecoder(min_side=WIDTH // 2)
    found = [i for n, data in enumerate(video("libx264", 3)) for i in decoder.decode(compressed(n, data))]
    assert {(i.image.shape, i.scale) for i in found} == {((HEIGHT // 2, WIDTH // 2, 3), 2.0)}


def test_a_png_of_sixteen_bits_is_stretched():
    thermal = np.linspace(29_000, 30_500, 240 * 320).reshape(240, 320).astype(np.uint16)
    data = cv2.imencode(".png", thermal)[1].tobytes()
    (found,) = CompressedDecoder().decode(compressed(0, data, "16UC1; png compressed "))
    assert found.image.shape == (240, 320) and found.image.std() > 60


def raw(pixels: np.ndarray, encoding: str, height: int = 0) -> SimpleNamespace:
    rows = pixels.reshape(len(pixels), -1)
    return SimpleNamespace(
        encoding=encoding,
        height=height or len(pixels),
        width=pixels.shape[1],
        step=rows.nbytes // len(rows),
        is_bigendian=pixels.dtype.byteorder == ">",
        data=pixels.tobytes(),
    )


@pytest.mark.parametrize(
    ("encoding", "kind"), [("16UC1", "<u2"), ("16UC1", ">u2"), ("mono16", "<u2"), ("32FC1", "<f4")]
)
def test_infrared_that_uses_a_part_of_its_range_is_stretched(encoding: str, kind: str):
    ramp = np.linspace(200, 900, 48 * 64).reshape(48, 64)  # a sensor of 10 bits
    grey = image_from_message(raw(ramp.astype(kind), encoding))
    assert grey.dtype == np.uint8 and grey[0, 0] == 0 and grey[-1, -1] == 255
    assert grey.mean() == pytest.approx(127, abs=2)


def test_values_that_are_not_finite_become_black():
    image = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    image[:4] = np.nan
    image[4:8] = np.inf
    grey = image_from_message(raw(image, "32FC1"))
    assert not grey[:8].any() and grey[-1, -1] == 255
    with pytest.raises(ConversionError, match="no finite value"):
        image_from_message(raw(np.full((4, 4), np.nan, np.float32), "32FC1"))


def test_nv12_gives_the_colour_that_was_meant():
    luma = np.full((4, 6), 82, np.uint8)
    chroma = np.tile(np.array((90, 240), np.uint8), (2, 3))  # U first
    blue, green, red = image_from_message(raw(np.concatenate((luma, chroma)), "nv12", height=4))[2, 2].astype(int)
    assert red > 245 and green < 10 and blue < 10
