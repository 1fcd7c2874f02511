"""Webcam and microphone as sources of the same items as a media file, stamped at capture.

A stamp is Unix time in seconds. It is read from the monotonic clock at capture and mapped to the wall clock, so that
two captures never swap order when the wall clock is adjusted.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from emotion_perception.media.items import MediaAudio, MediaError, MediaFrame
from emotion_perception.media.source import MediaSource

SILENT_SOURCE_S = 2.0  # without data for this long, a device counts as stopped
WALL_STEP_S = 0.1  # deviation of the wall clock from the mapping that means it was set
QUEUED_BLOCKS = 64  # buffered for a slow reader; 1.3 s at 20 ms per block


class CaptureClock:
    """Maps monotonic time to Unix time with one offset, measured again only when the wall clock was set."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Unix time, s."""
        monotonic = self._monotonic()
        offset = self._wall() - monotonic
        if abs(offset - self._offset) > WALL_STEP_S:
            self._offset = offset
        return monotonic + self._offset


class Webcam(MediaSource):
    """A camera through OpenCV.

    Args:
        device: index (``0``, ``"0"``) or path (``"/dev/video0"``).
        width, height: requested image size, px; 0 keeps the camera's own.
        fps: requested frame rate, Hz; 0 keeps the camera's own.
        open_capture: makes the capture object of the device; for tests.
        clock: for tests.

    Raises:
        MediaError: the device cannot be opened.
    """

    has_video = True

    def __init__(
        self,
        device: int | str = 0,
        width: int = 640,
        height: int = 480,
        fps: float = 30.0,
        open_capture: Callable[[int | str], Any] | None = None,
        clock: CaptureClock | None = None,
    ) -> None:
        self.device = int(device) if isinstance(device, str) and device.isdigit() else device
        self._clock = clock or CaptureClock()
        try:
            self._capture = (open_capture or cv2.VideoCapture)(self.device)
        except cv2.error as error:
            raise MediaError(f"camera {device}: {error}") from error
        if not self._capture.isOpened():
            self._capture.release()
            raise MediaError(f"camera {device}: cannot be opened (missing, in use, or no permission)")
        requests = (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, fps),
            (cv2.CAP_PROP_BUFFERSIZE, 1),  # the newest frame, not a buffered one
        )
        for prop, value in requests:
            if value:
                self._capture.set(prop, value)
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or fps

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def read(self) -> Iterator[MediaFrame]:
        """Frames as they arrive, without end; blocks until the next one.

        Raises:
            MediaError: the camera has delivered nothing for `SILENT_SOURCE_S`.
        """
        last = self._clock.now()
        while True:
            grabbed = self._capture.grab()
            stamp = self._clock.now()  # before decoding: as close to the exposure as OpenCV permits
            ok, image = self._capture.retrieve() if grabbed else (False, None)
            if ok and image is not None and image.size:
                last = stamp
                if image.ndim == 2:
                    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
                yield MediaFrame(stamp, np.ascontiguousarray(image))
                continue
            self.errors += 1
            if stamp - last > SILENT_SOURCE_S:
                raise MediaError(f"camera {self.device}: no image for {stamp - last:.1f} s, unplugged or stopped")
            time.sleep(0.01)


class Microphone(MediaSource):
    """A microphone through sounddevice (PortAudio).

    Args:
        device: name, index, or None for the system's default.
        sample_rate: Hz.
        block: length of a block, s.
        channels: number of channels to record.
        open_stream: makes the input stream, with the keywords of sounddevice's ``InputStream``; for tests.
        clock: for tests.

    Attributes:
        dropped: blocks that were dropped, oldest first, because the reader was too slow.
        overflows: blocks before which the driver itself lost sound.

    Raises:
        MediaError: PortAudio is not installed, or the device cannot be opened.
    """

    has_audio = True

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int = 16000,
        block: float = 0.02,
        channels: int = 1,
        open_stream: Callable[..., Any] | None = None,
        clock: CaptureClock | None = None,
    ) -> None:
        self.device = int(device) if isinstance(device, str) and device.isdigit() else device
        self.sample_rate, self.channels = sample_rate, channels
        self.dropped = self.overflows = 0
        self._clock = clock or CaptureClock()
        self._blocks: queue.Queue[MediaAudio] = queue.Queue(QUEUED_BLOCKS)
        try:
            self._stream = (open_stream or _sounddevice_stream)(
                device=self.device,
                samplerate=sample_rate,
                blocksize=max(1, round(block * sample_rate)),
                channels=channels,
                dtype="int16",
                callback=self._on_block,
            )
            self._stream.start()
        except MediaError:
            raise
        except Exception as error:  # PortAudioError, ValueError, OSError, by driver
            raise MediaError(f"microphone {self._name}: {' '.join(str(error).split())}") from error

    @property
    def _name(self) -> str:
        return "default" if self.device is None else str(self.device)

    def close(self) -> None:
        """Stop recording and release the device."""
        self._stream.stop()
        self._stream.close()

    def read(self) -> Iterator[MediaAudio]:
        """Blocks as they arrive, without end; blocks until the next one.

        Raises:
            MediaError: the microphone has delivered nothing for `SILENT_SOURCE_S`.
        """
        while True:
            try:
                yield self._blocks.get(timeout=SILENT_SOURCE_S)
            except queue.Empty:
                raise MediaError(
                    f"microphone {self._name}: no sound for {SILENT_SOURCE_S:.0f} s, unplugged or stopped"
                ) from None

    def _on_block(self, samples: np.ndarray, frames: int, times: Any, status: Any) -> None:
        """PortAudio's callback in its own thread: stamps, copies and queues a block."""
        delay = times.currentTime - times.inputBufferAdcTime  # s since the first sample was taken
        if not 0.0 < delay < 2.0 or not math.isfinite(delay):  # some drivers report 0
            delay = frames / self.sample_rate
        if status and status.input_overflow:
            self.overflows += 1
        block = MediaAudio(self._clock.now() - delay, np.array(samples, np.int16).reshape(frames, -1), self.sample_rate)
        while True:
            try:
                self._blocks.put_nowait(block)
                return
            except queue.Full:
                try:
                    self._blocks.get_nowait()
                    self.dropped += 1
                except queue.Empty:
                    pass


def _sounddevice_stream(**arguments: Any) -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MediaError("microphone: the Python package sounddevice is missing (pip install sounddevice)") from error
    except OSError as error:
        raise MediaError("microphone: PortAudio is missing (apt install libportaudio2)") from error
    return sounddevice.InputStream(**arguments)
