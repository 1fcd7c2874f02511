"""Audio input: chunks of any rate, sample format and size in, a continuous 16 kHz mono stream with exact stamps out.

:class:`StreamInput` converts and resamples; :class:`RingBuffer` keeps the newest seconds, addressed by sample number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum

import numpy as np
import soxr

from emotion_perception.acoustic.features import SAMPLE_RATE
from emotion_perception.messages.samples import Downmix, to_float
from emotion_perception.types import SECOND

MAX_RATE = 384_000  # Hz, more than any microphone has
MAX_WARNINGS = 32  # kept until they are taken
CLIPPED_SHARE = 0.01  # of a chunk's samples at full scale, from which clipping is reported
DRIFT_SHARE = 0.02  # of a chunk's stamp deviation that is followed: drift of the sound card's clock, not jitter


class Continuity(Enum):
    """How a chunk follows the previous one."""

    CONTINUOUS = "continuous"
    RESTARTED = "restarted"  # first chunk, gap, jump back or another rate


class RingBuffer:
    """The newest ``capacity`` samples of a stream, addressed by their number since the stream began."""

    def __init__(self, capacity: int) -> None:
        self._data = np.zeros(capacity, np.float32)
        self.end = 0  # number of the next sample

    @property
    def start(self) -> int:
        """Number of the oldest sample still held."""
        return max(0, self.end - len(self._data))

    def append(self, samples: np.ndarray) -> None:
        """Add ``(T,)`` float32; the oldest samples are overwritten."""
        kept = samples[-len(self._data) :]
        first = (self.end + len(samples) - len(kept)) % len(self._data)
        head = min(len(kept), len(self._data) - first)
        self._data[first : first + head] = kept[:head]
        self._data[: len(kept) - head] = kept[head:]
        self.end += len(samples)

    def read(self, start: int, stop: int) -> np.ndarray:
        """A copy of samples ``start`` to ``stop`` (exclusive), ``(stop - start,)`` float32.

        Raises:
            IndexError: some of them are overwritten or not there yet.
        """
        if not self.start <= start <= stop <= self.end:
            raise IndexError(f"samples {start} to {stop} are not within {self.start} to {self.end}")
        return self._data.take(np.arange(start, stop), mode="wrap")

    def clear(self) -> None:
        """Begin a new stream at sample 0."""
        self.end = 0


class StreamInput:
    """Converts chunks to 16 kHz mono float32 and keeps the capture time of each sample.

    A chunk whose stamp is later than the end of the previous chunk is a gap, an earlier one a jump back; both restart
    the stream and give a warning. Deviations up to ``tolerance`` are jitter of the stamps. Their trend, the drift of
    the sound card's clock, is followed slowly, so that a stream of hours stays synchronous and loses no samples.

    Args:
        tolerance: s between a chunk's stamp and the end of the previous chunk that is jitter.

    Attributes:
        warnings: about the input since the last :meth:`take_warnings`.
        counts: their number since the start by kind: gap, jump_back, rate_change, not_finite, clipped, out_of_range,
            opposite_phase.

    Raises:
        ValueError: ``tolerance`` is not positive.
    """

    def __init__(self, tolerance: float = 0.05) -> None:
        if not tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {tolerance}")
        self.tolerance_ns = round(tolerance * SECOND)
        self.warnings: list[str] = []
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Start a new stream; the counters stay."""
        self.rate = 0
        self._resampler: soxr.ResampleStream | None = None
        self._anchor_ns = 0  # stamp of the stream's first chunk; an int, as a float cannot hold ns since 1970
        self._drift_ns = 0.0  # estimated shift of sample 0 by the clock's drift
        self._taken = 0  # samples of the source in this stream
        self._downmix = Downmix()

    def stamps(self) -> Callable[[int], int]:
        """Function from the number of a 16 kHz sample in this stream to its capture time, ns on the source's clock."""
        anchor = self._anchor_ns + round(self._drift_ns)
        return lambda index: anchor + index * SECOND // SAMPLE_RATE

    def take_warnings(self) -> list[str]:
        """The warnings since the last call, oldest first."""
        taken, self.warnings = self.warnings, []
        return taken

    def place(self, n_samples: int, rate: int, stamp_ns: int) -> Continuity:
        """Register a chunk of ``n_samples`` per channel before its conversion; returns whether it restarts the stream.

        Raises:
            ValueError: the rate is out of range.
        """
        if not 0 < rate <= MAX_RATE:
            raise ValueError(f"sample rate must be 1 to {MAX_RATE} Hz, got {rate}")
        restarted = self.rate == 0
        if self.rate not in (0, rate):
            self._warn("rate_change", f"sample rate changed from {self.rate} to {rate} Hz")
            restarted = True
        elif self.rate:
            deviation = stamp_ns - self._anchor_ns - self._taken * SECOND / rate - self._drift_ns
            if deviation > self.tolerance_ns:
                self._warn("gap", f"gap of {deviation / SECOND:.3f} s in the audio")
                restarted = True
            elif deviation < -self.tolerance_ns:
                self._warn("jump_back", f"stamp jumped back by {-deviation / SECOND:.3f} s")
                restarted = True
            elif abs(deviation) > SECOND / rate:  # less is the rounding of stamps
                self._drift_ns += DRIFT_SHARE * deviation
        if restarted:
            self.rate = rate
            self._anchor_ns, self._drift_ns, self._taken = int(stamp_ns), 0.0, 0
            self._resampler = None
            if rate != SAMPLE_RATE:
                self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
        self._taken += n_samples
        return Continuity.RESTARTED if restarted else Continuity.CONTINUOUS

    def convert(self, samples: np.ndarray) -> np.ndarray:
        """The next samples of the 16 kHz stream, ``(T,)`` float32; the resampler delays some milliseconds.

        Args:
            samples: ``(T,)`` or ``(T, channels)``; integers full scale, floats -1..1.

        Raises:
            ValueError: another shape or a type that is not a number.
        """
        mono = self._mono(samples)
        return mono if self._resampler is None else self._resampler.resample_chunk(mono)

    def finish(self) -> np.ndarray:
        """The resampler's remaining samples at the end of a stream, ``(T,)`` float32. The next chunk starts another."""
        tail = np.zeros(0, np.float32)
        if self._resampler is not None:
            tail = self._resampler.resample_chunk(tail, last=True)
        self.rate = 0
        self._resampler = None
        return tail

    def _mono(self, samples: np.ndarray) -> np.ndarray:
        x = to_float(samples)
        finite = np.isfinite(x)
        if not finite.all():
            self._warn("not_finite", f"{int((~finite).sum())} samples are not finite; replaced by silence")
            x = np.where(finite, x, np.float32(0))
        loud = np.abs(x)
        if (loud > 1).any():
            self._warn("out_of_range", f"samples up to {loud.max():.3g}, floats must be in -1..1; clipped")
            x = np.clip(x, -1, 1)
        elif x.size and float((loud >= 0.999).mean()) > CLIPPED_SHARE:
            share = 100 * float((loud >= 0.999).mean())
            self._warn("clipped", f"{share:.0f} % of the samples are at full scale: the microphone gain is too high")
        if x.ndim == 1:
            return x
        cancelled, mono = self._downmix.cancels, self._downmix(x)
        if self._downmix.cancels and not cancelled:
            self._warn("opposite_phase", "the channels are in opposite phase and cancel each other; one is used")
        return mono

    def _warn(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Convert a whole recording, ``(T,)`` or ``(T, channels)`` at ``rate`` Hz, to ``(T,)`` float32 mono at 16 kHz.

    Raises:
        ValueError: wrong shape, type or rate.
    """
    stream = StreamInput()
    stream.place(len(samples), rate, 0)
    return np.concatenate([stream.convert(samples), stream.finish()])
