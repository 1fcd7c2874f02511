"""Webcam and microphone, with fake devices."""

from __future__ import annotations

import builtins
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from emotion_perception.media import live
from emotion_perception.media.items import MediaError
from emotion_perception.media.live import CaptureClock, Microphone, Webcam


class FakeTime:
    """A monotonic and a wall clock that move only when probabilities."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self.monotonic_s, self.wall_s = 500.0, wall

    def pass_(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds

    def clock(self) -> CaptureClock:
        return CaptureClock(lambda: self.monotonic_s, lambda: self.wall_s)


class FakeCamera:
    """Gives one picture every 1/30 s, from `pictures`; None is a failed grab, and the end is a camera that stopped."""

    def __init__(self, time: FakeTime, pictures: list[np.ndarray | None], opened: bool = True) -> None:
        self.time, self.pictures, self.opened = time, iter(pictures), opened
        self.current: np.ndarray | None = None
        self.settings: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self.settings[prop] = value
        return True

    def get(self, prop: int) -> float:
        return self.settings.get(prop, 0.0)

    def grab(self) -> bool:
        self.time.pass_(1 / 30)
        self.current = next(self.pictures, None)
        return self.current is not None

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        self.time.pass_(0.02)  # decoding takes its time, which is not the picture's
        return True, self.current

    def release(self) -> None:
        self.released = True


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(live.time, "sleep", fake.pass_)
    return fake


def picture(value: int = 7) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


def webcam(time: FakeTime, pictures: list[np.ndarray | None], **more: object) -> tuple[Webcam, FakeCamera]:
    camera = FakeCamera(time, pictures)
    return Webcam(0, 64, 48, 30, open_capture=lambda device: camera, clock=time.clock(), **more), camera


def test_frames_are_stamped_at_capture_and_not_after_decoding(time: FakeTime):
    start = time.wall_s
    with webcam(time, [picture()] * 3)[0] as camera:
        frames = list(itertools.islice(camera.read(), 3))
    assert [frame.time - start for frame in frames] == pytest.approx([1 / 30, 2 / 30 + 0.02, 3 / 30 + 0.04], abs=1e-5)
    assert frames[0].image.shape == (48, 64, 3)


def test_camera_that_stops_is_reported_after_two_seconds(time: FakeTime):
    camera, _ = webcam(time, [picture()] * 2)
    frames = camera.read()
    next(frames)
    next(frames)
    stopped = time.wall_s
    with pytest.raises(MediaError, match="camera 0: no image"):
        next(frames)
    assert 1.9 < time.wall_s - stopped < 2.2
    assert camera.errors > 10


def test_single_lost_frame_is_skipped_and_counted(time: FakeTime):
    camera, _ = webcam(time, [picture(1), None, picture(2)])
    values = [int(frame.image[0, 0, 0]) for frame in itertools.islice(camera.read(), 2)]
    assert values == [1, 2]
    assert camera.errors == 1


def test_grey_camera_gives_three_channels(time: FakeTime):
    camera, _ = webcam(time, [picture()[..., 0]])
    assert next(camera.read()).image.shape == (48, 64, 3)


def test_camera_is_given_back_when_the_block_ends(time: FakeTime):
    camera, device = webcam(time, [picture()])
    with camera:
        assert not device.released
    assert device.released


def test_camera_that_cannot_be_opened_is_reported(time: FakeTime):
    with pytest.raises(MediaError, match="camera /dev/video9: cannot be opened"):
        Webcam("/dev/video9", open_capture=lambda device: FakeCamera(time, [], opened=False))


def test_number_in_a_string_is_an_index(time: FakeTime):
    asked: list[object] = []

    def open_capture(device: int | str) -> FakeCamera:
        asked.append(device)
        return FakeCamera(time, [])

    Webcam("1", open_capture=open_capture)
    Webcam("/dev/video2", open_capture=open_capture)
    assert asked == [1, "/dev/video2"]


def test_clock_follows_a_wall_clock_that_was_set_but_not_its_jitter():
    time = FakeTime()
    clock = time.clock()
    before = clock.now()
    time.wall_s += 0.05
    assert clock.now() == before
    time.wall_s += 3600
    assert clock.now() == pytest.approx(before + 3600.05)


class FakeStream:
    """Stands for sounddevice.InputStream; `deliver` calls back as PortAudio's thread would."""

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        self.running = False

    def deliver(self, value: int = 5, delay: float = 0.03, overflow: bool = False) -> None:
        frames = self.arguments["blocksize"]
        times = SimpleNamespace(currentTime=100.0, inputBufferAdcTime=100.0 - delay)
        block = np.full((frames, self.arguments["channels"]), value, np.int16)
        self.arguments["callback"](block, frames, times, SimpleNamespace(input_overflow=overflow))
        block[:] = -1  # PortAudio uses its buffer again


def microphone(time: FakeTime, **more: object) -> tuple[Microphone, FakeStream]:
    streams: list[FakeStream] = []

    def open_stream(**arguments: object) -> FakeStream:
        streams.append(FakeStream(**arguments))
        return streams[0]

    return Microphone(open_stream=open_stream, clock=time.clock(), **more), streams[0]


def test_block_is_stamped_with_its_first_sample(time: FakeTime):
    source, stream = microphone(time, sample_rate=16000, block=0.02)
    stream.deliver(5, delay=0.03)
    block = next(source.read())
    assert block.time == pytest.approx(time.wall_s - 0.03, abs=1e-5)
    assert (block.samples.shape, block.samples.dtype, block.sample_rate) == ((320, 1), np.int16, 16000)
    assert (block.samples == 5).all()


def test_driver_without_times_counts_as_one_block_late(time: FakeTime):
    source, stream = microphone(time, block=0.02)
    stream.deliver(delay=0.0)
    assert next(source.read()).time == pytest.approx(time.wall_s - 0.02, abs=1e-5)


def test_stereo_microphone_gives_two_channels(time: FakeTime):
    source, stream = microphone(time, channels=2, sample_rate=48000)
    stream.deliver()
    assert next(source.read()).samples.shape == (960, 2)


def test_late_reader_loses_the_oldest_blocks_and_they_are_counted(time: FakeTime):
    source, stream = microphone(time)
    for value in range(live.QUEUED_BLOCKS + 3):
        stream.deliver(value)
    assert source.dropped == 3
    assert next(source.read()).samples[0, 0] == 3


def test_overflow_in_the_driver_is_counted(time: FakeTime):
    source, stream = microphone(time)
    stream.deliver(overflow=True)
    stream.deliver()
    assert source.overflows == 1


def test_microphone_that_stops_is_reported(time: FakeTime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "SILENT_SOURCE_S", 0.05)
    source, stream = microphone(time, device="USB mic")
    stream.deliver()
    blocks = source.read()
    next(blocks)
    with pytest.raises(MediaError, match="microphone USB mic: no sound"):
        next(blocks)


def test_microphone_is_given_back_when_the_block_ends(time: FakeTime):
    source, stream = microphone(time)
    with source:
        assert stream.running
    assert not stream.running


def test_drivers_complaint_becomes_one_line(time: FakeTime):
    def refuse(**arguments: object) -> FakeStream:
        raise RuntimeError("Invalid sample rate\n[PaErrorCode -9997]")

    with pytest.raises(MediaError, match=r"microphone default: Invalid sample rate \[PaErrorCode -9997\]"):
        Microphone(open_stream=refuse)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError("PortAudio library not found"), "libportaudio2"), (ImportError("no module"), "pip install sounddevice")],
)
def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str):
    original = builtins.__import__

    def importing(name: str, *rest: object, **more: object) -> object:
        if name == "sounddevice":
            raise error
        return original(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(MediaError, match=said):
        Microphone()
