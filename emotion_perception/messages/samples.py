"""Audio samples of every number format: PCM bytes to arrays, arrays to float32 or int16.

Integers use their full scale. Unsigned integers have their zero in the middle of their range; floats have a full scale
of 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emotion_perception.messages.sensors import ConversionError

MAX_CHANNELS = 1024
CANCELLED = 0.1  # share of the power expected of independent channels, below which their mean is a cancellation
DOWNMIX_MEMORY = 0.9  # weight of the past at each block of samples

# GStreamer's names, which ros-drivers' audio_common uses; S24 is packed into three bytes.
SAMPLE_FORMATS: dict[str, str] = {
    "S8": "i1",
    "U8": "u1",
    "S16LE": "<i2",
    "S16BE": ">i2",
    "U16LE": "<u2",
    "U16BE": ">u2",
    "S24LE": "<i3",
    "S24BE": ">i3",
    "S32LE": "<i4",
    "S32BE": ">i4",
    "U32LE": "<u4",
    "U32BE": ">u4",
    "F32LE": "<f4",
    "F32BE": ">f4",
    "F64LE": "<f8",
    "F64BE": ">f8",
}


def samples_from_bytes(data: Any, sample_format: str, channels: int) -> np.ndarray:
    """Interleaved PCM bytes as ``(T, channels)``, full-scale integers or floats, in the machine's byte order.

    Raises:
        ConversionError: unknown format, no channels, no bytes, or bytes that do not fill the channels evenly.
    """
    code = SAMPLE_FORMATS.get(sample_format.strip().upper())
    if code is None:
        raise ConversionError(f"unknown sample format {sample_format!r}; known: {', '.join(SAMPLE_FORMATS)}")
    check_channels(channels)
    payload = np.frombuffer(data, np.uint8)
    width = int(code[-1])
    if payload.size == 0:
        raise ConversionError("the audio message is empty")
    if payload.size % (width * channels):
        raise ConversionError(
            f"audio has {payload.size} bytes, not a multiple of {width * channels} ({channels} x {sample_format})"
        )
    if width == 3:
        # The upper three bytes of 32-bit samples: full scale stays full scale.
        wide = np.zeros((payload.size // 3, 4), np.uint8)
        first = 1 if code[0] == "<" else 0
        wide[:, first : first + 3] = payload.reshape(-1, 3)
        payload, code = wide.reshape(-1), f"{code[0]}i4"
    samples = payload.view(code)
    return samples.astype(samples.dtype.newbyteorder("="), copy=False).reshape(-1, channels)


def check_channels(channels: int) -> None:
    """Check a channel count.

    Raises:
        ConversionError: it is not 1 to MAX_CHANNELS.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise ConversionError(f"audio with {channels} channels is not possible")


def check_samples(samples: np.ndarray) -> None:
    """Check that an array can hold audio.

    Raises:
        ValueError: not ``(T,)`` or ``(T, channels)``, no channel, or neither integers nor floats.
    """
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not samples.shape[1]):
        raise ValueError(f"samples must be (T,) or (T, channels), got shape {samples.shape}")
    if samples.dtype.kind not in "iuf":
        raise ValueError(f"samples must be integers or floats, got {samples.dtype}")


def to_float(samples: np.ndarray) -> np.ndarray:
    """Samples ``(T,)`` or ``(T, channels)`` as float32: integers scaled to -1..1, floats unchanged, even beyond 1.

    Raises:
        ValueError: see :func:`check_samples`.
    """
    x = np.asarray(samples)
    check_samples(x)
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
            return x.astype(np.float32)
    middle, half = _scale(x.dtype)
    return (x.astype(np.float32) - np.float32(middle)) / np.float32(half)


class Downmix:
    """Averages the channels of a stream, unless they cancel each other: then its loudest channel.

    Stereo with a channel in opposite phase (a swapped wire, a "wide" effect) averages to silence.

    Attributes:
        cancels: whether the channels of the newest samples cancel each other.

    Example:
        >>> x = np.ones((4, 1), np.float32) * np.array([0.5, -0.5], np.float32)
        >>> Downmix()(x).tolist()
        [0.5, 0.5, 0.5, 0.5]
    """

    def __init__(self) -> None:
        self.cancels = False
        self._power: np.ndarray | None = None  # of each channel, then of their mean; recent samples count more

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """The next samples, float ``(T, channels)``, as float32 ``(T,)``."""
        mean = samples.mean(axis=1, dtype=np.float32)
        count = samples.shape[1]
        if count == 1 or not len(samples):
            return mean
        energy = np.array([*np.square(samples, dtype=np.float64).sum(axis=0), np.square(mean, dtype=np.float64).sum()])
        if self._power is None or len(self._power) != count + 1:
            self._power = np.zeros(count + 1)
        self._power = DOWNMIX_MEMORY * self._power + energy
        # Independent channels leave 1 / count of their power.
        self.cancels = bool(self._power[-1] < CANCELLED * self._power[:-1].mean() / count)
        if not self.cancels:
            return mean
        return np.ascontiguousarray(samples[:, int(self._power[:-1].argmax())], np.float32)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples ``(T,)`` or ``(T, channels)`` of any number format as contiguous int16.

    Floats are cut to full scale; NaN counts as silence. int16 is not copied.

    Raises:
        ValueError: see :func:`check_samples`.
    """
    x = np.asarray(samples)
    check_samples(x)
    if x.dtype == np.int16:
        return np.ascontiguousarray(x, np.int16)
    if x.dtype.kind == "f":
        wide = np.nan_to_num(x.astype(np.float64), posinf=1.0, neginf=-1.0)
    else:
        middle, half = _scale(x.dtype)
        wide = (x.astype(np.float64) - middle) / half
    return np.clip(np.rint(wide * 32768.0), -32768, 32767).astype(np.int16)


def _scale(integers: np.dtype) -> tuple[float, float]:
    """Value of silence, and distance from there to full scale."""
    limits = np.iinfo(integers)
    if integers.kind == "i":
        return 0.0, -float(limits.min)
    half = (float(limits.max) + 1) / 2
    return half, half
