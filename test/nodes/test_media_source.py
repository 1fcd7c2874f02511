"""media_source_node: pace, stamps, sync, ends and failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from machine import slowness
from node_world import World
from sensor_msgs.msg import Image

from emotion_msgs.msg import AudioChunk
from emotion_perception.media.items import MediaAudio, MediaError, MediaFrame
from emotion_perception.media.playback import Pace, Source, due_time, paced
from emotion_perception.media.source import MediaSource
from emotion_perception.nodes import media_source_node
from emotion_perception.nodes.media_source_node import EXIT_NO_INPUT, MediaSourceNode
from emotion_perception.ros import conversions, qos

FPS, RATE = 25, 16_000
FLASH = 0.48  # s: in the film, picture turns white and a tone begins at this moment


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second, 64x48 at 25 Hz with 16 kHz sound; at FLASH the picture turns white and a tone begins."""
    path = tmp_path_factory.mktemp("film") / "flash.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for i in range(FPS):
            level = 255 if i / FPS >= FLASH else 0
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="bgr24")
            container.mux(video.encode(frame))
        t = np.arange(RATE) / RATE
        tone = np.where(t >= FLASH, 10_000 * np.sin(2 * np.pi * 440 * t), 0).astype(np.int16)
        for first in range(0, RATE, 400):
            block = av.AudioFrame.from_ndarray(tone[None, first : first + 400], format="s16", layout="mono")
            block.sample_rate, block.pts = RATE, first
            container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def play(ros: World, film: Path, seconds: float, **parameters: object) -> tuple[MediaSourceNode, list, list]:
    """Play, and return the node, the images and the chunks with their time of arrival."""
    node = ros.add(MediaSourceNode, source=str(film), wait_for_nodes="test", **parameters)
    images, chunks = [], []
    ros.node.create_subscription(
        Image, "image_raw", lambda m: images.append((time.time_ns(), m)), qos.profile("image_in")
    )
    ros.node.create_subscription(
        AudioChunk, "audio", lambda m: chunks.append((time.time_ns(), m)), qos.profile("audio_in")
    )
    node.trigger_configure()
    assert node.state_label == "inactive", node.problem
    node.trigger_activate()
    ros.spin(seconds)
    return node, images, chunks


def stamps(messages: list) -> np.ndarray:
    return np.array([conversions.stamp_to_ns(message.header.stamp) for _, message in messages]) / 1e9


def test_pictures_and_sound_have_one_beginning_and_arrive_when_they_are_due(ros: World, film: Path):
    began = time.monotonic()
    _, images, chunks = play(ros, film, 2.5)
    assert len(images) >= (FPS - 3) / slowness(began) and sum(len(message.samples) for _, message in chunks) == RATE
    white = next(m for _, m in images if conversions.image_from_message(m).mean() > 128)
    flash = conversions.stamp_to_ns(white.header.stamp)
    loud = next(m for _, m in chunks if np.abs(np.array(m.samples)).max() > 1000)
    onset = conversions.stamp_to_ns(loud.header.stamp) + np.flatnonzero(np.abs(np.array(loud.samples)) > 1000)[0] * (
        10**9 // RATE
    )
    assert abs(flash - onset) < 20_000_000, "picture and sound of one moment are within 20 ms"
    late = [arrival / 1e9 - stamp for (arrival, _), stamp in zip(images, stamps(images), strict=True)]
    assert -0.001 < np.median(late) < 0.05 * slowness(began)
    np.testing.assert_allclose(np.diff(stamps(images)).min(), 1 / FPS, atol=0.002)
    assert images[0][1].header.frame_id == "camera_optical_frame"
    assert chunks[0][1].header.frame_id == "microphone"


def test_a_loop_goes_on_in_time_and_stays_in_sync(ros: World, film: Path):
    node, images, chunks = play(ros, film, 3.0, duration=2.4, loop=True)
    for messages in (images, chunks):
        assert (np.diff(stamps(messages)) > 0).all()
        assert 2.2 < np.ptp(stamps(messages)) < 2.45
    onsets = [
        s for s, (_, m) in zip(stamps(images), images, strict=True) if conversions.image_from_message(m).mean() > 128
    ]
    assert any(abs(s - onsets[0] - 1.0) < 0.05 for s in onsets), "the flash comes again one film later"
    node.trigger_deactivate()
    before = len(images)
    ros.spin(0.3)
    assert len(images) == before


def test_deactivate_stops_the_film(ros: World, film: Path):
    node, images, chunks = play(ros, film, 1.0, loop=True)
    assert images and chunks
    node.trigger_deactivate()
    ros.spin(0.1)
    before = len(images), len(chunks)
    ros.spin(0.4)
    assert (len(images), len(chunks)) == before


def test_an_image_is_shown_steadily(ros: World, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "face.png"), np.full((48, 64, 3), 90, np.uint8))
    _, images, chunks = play(ros, tmp_path / "face.png", 1.5, fps=20.0)
    assert 20 <= len(images) <= 31 and chunks == []
    np.testing.assert_allclose(np.median(np.diff(stamps(images))), 0.05, atol=0.002)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"", "empty"), (b"this is no film" * 99, "not a readable media")]
)
def test_a_source_that_cannot_be_read_fails_the_configure_in_one_line(
    ros: World, tmp_path: Path, content: bytes | None, words: str
):
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    node = ros.add(MediaSourceNode, source=str(path))
    node.trigger_configure()
    assert node.state_label == "unconfigured"
    assert str(path) in node.problem and words in node.problem and "\n" not in node.problem
    assert node.exit_code is None, "by default the process stays, and says so in its diagnostics"


def test_no_source_is_said(ros: World):
    node = ros.add(MediaSourceNode)
    node.trigger_configure()
    assert "no source given" in node.problem


def test_the_process_is_asked_to_end_where_it_shall(ros: World, film: Path, tmp_path: Path):
    node = ros.add(MediaSourceNode, source=str(tmp_path / "none.mp4"), at_end="exit")
    node.end_process = lambda code: setattr(node, "exit_code", code)  # the context is the test's, too
    node.trigger_configure()
    assert node.exit_code == EXIT_NO_INPUT
    other = ros.add(MediaSourceNode, source=str(film), at_end="exit")
    other.end_process = lambda code: setattr(other, "exit_code", code)
    other.trigger_configure()
    other.trigger_activate()
    assert ros.until(lambda: other.exit_code == 0, 5.0)


# --- pacing, without a clock


def items() -> list:
    """Frames every 40 ms and sound blocks of 100 ms, in order of their start."""
    frames = [MediaFrame(i * 0.04, np.zeros((1, 1, 3), np.uint8)) for i in range(10)]
    sounds = [MediaAudio(i * 0.1, np.zeros((1600, 1), np.int16), RATE) for i in range(4)]
    return sorted([*frames, *sounds], key=lambda item: item.time)


def test_items_come_in_the_order_in_which_they_are_due():
    waits: list[float] = []

    def wait_until(due: float) -> float:
        waits.append(due)
        return 0.0

    given = list(paced(items(), wait_until, lambda: None, lambda late: None))
    assert len(given) == 14
    assert [due_time(item) for item in given] == sorted(due_time(item) for item in given) == waits


def test_a_late_frame_is_skipped_but_never_sound():
    skipped = []
    given = list(paced(items(), lambda due: 0.4, lambda: skipped.append(1), lambda late: None))
    assert len(skipped) == 10 and all(isinstance(item, MediaAudio) for item in given) and len(given) == 4


def test_a_stop_ends_the_play():
    assert list(paced(items(), lambda due: None, lambda: None, lambda late: None)) == []


def play_slowly(seconds: float, frame_cost: float, halt: tuple[float, float] = (0.0, 0.0)) -> tuple[list, Pace, list]:
    """What comes, and when, on a computer that takes ``frame_cost`` s to read a frame and halts for a while."""
    now, pace, come, skipped = 0.0, Pace(0.0), [], []
    at, length = halt

    def read():
        nonlocal now, length
        for i in range(round(seconds * 50)):
            if i % 2 == 0:
                now += frame_cost
                yield MediaFrame(i * 0.02, np.zeros((1, 1, 3), np.uint8))
            else:
                yield MediaAudio(i * 0.02, np.zeros((640, 1), np.int16), RATE)
            if length and i * 0.02 >= at:
                now, length = now + length, 0.0

    def wait_until(media_time: float) -> float:
        nonlocal now
        now = max(now, pace.due(media_time))
        return now - pace.due(media_time)

    for item in paced(read(), wait_until, lambda: skipped.append(1), pace.hold_up):
        come.append((now, item))
    return come, pace, skipped


@pytest.mark.parametrize("frame_cost", [0.042, 0.05, 0.08, 0.4])
def test_a_computer_that_cannot_follow_shows_pictures_all_the_time(frame_cost: float):
    come, pace, skipped = play_slowly(40.0, frame_cost)
    shown = [when for when, item in come if isinstance(item, MediaFrame)]
    reading = max(frame_cost, 0.04)
    assert np.diff(shown).max() <= 0.5 * reading / 0.04 + 3 * reading, "never long without a picture"
    assert skipped and pace.held_up > 0
    end = max(when for when, _ in come)
    assert end - pace.due(due_time(come[-1][1])) < 1.0, "it is not minutes behind"


def test_a_halt_is_no_burst_of_sound_afterwards():
    come, pace, skipped = play_slowly(20.0, 0.001, halt=(5.0, 100.0))
    assert pace.held_up == pytest.approx(100.0, abs=0.1) and not skipped
    times = [when for when, item in come if isinstance(item, MediaAudio)]
    steps = np.sort(np.diff(times))
    assert steps[-1] == pytest.approx(100.0, abs=0.1) and steps[0] > 0.03, "each chunk when it is due, also then"


def test_a_short_delay_is_caught_up():
    come, pace, skipped = play_slowly(20.0, 0.001, halt=(5.0, 0.3))
    assert pace.held_up == 0 and 0 < len(skipped) < 8
    assert come[-1][0] == pytest.approx(20.0, abs=0.1)


def test_a_camera_that_is_plugged_in_later_is_played(ros: World, monkeypatch: pytest.MonkeyPatch):
    class Camera(MediaSource):
        has_video = True

        def close(self) -> None:
            """There is nothing to release."""

        def read(self) -> Iterator[MediaFrame]:
            while True:
                time.sleep(0.05)
                yield MediaFrame(time.time(), np.zeros((48, 64, 3), np.uint8))

    plugged: list[bool] = []

    def open_source(name: str, *_: object) -> Source:
        if not plugged:
            raise MediaError("camera 0: cannot be opened (missing, in use, or no permission)")
        return Source(name, (Camera(),), live=True)

    monkeypatch.setattr(media_source_node, "open_source", open_source)
    monkeypatch.setattr(media_source_node, "RETRY", 0.2)
    node = ros.begin(MediaSourceNode, source="webcam", at_end="exit")
    images = ros.hear(Image, "image_raw", qos.profile("image_in"))
    assert ros.until(lambda: "missing, in use, or no permission); trying again" in node.input_failure())
    plugged.append(True)
    assert ros.until(lambda: bool(images))
    assert node.input_failure() == ""
    node.trigger_deactivate()
    assert not any(thread.is_alive() for thread in node._threads)
