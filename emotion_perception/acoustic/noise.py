"""Noise: learn it from what is heard between utterances, measure speech against it, take it out.

The reduction is noisereduce's stationary spectral gating (Sainburg et al. 2020).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

import numpy as np

from emotion_perception.acoustic.features import N_MELS, SAMPLE_RATE, log_mel
from emotion_perception.acoustic.ring_buffer import RingBuffer

LEARNT_FROM = 0.25  # s of non-speech needed before the noise is known
SILENCE = 1e-10  # power of digital silence; a 16-bit sample's rounding alone has 8e-11
SNR_LIMITS_DB = (-20.0, 60.0)
# dB by which the mel bands of noise go up and down between tenths of a second, from which it is not steady. White, pink
# and fan noise: 1.0 to 1.2; babble of three to six voices 4.8 to 6.1; music 9.3 to 13.2.
STEADY_DB = 2.0
N_FFT = 512  # of the gate: 32 ms
HOP = N_FFT // 2  # half the work of noisereduce's quarter, for 0.2 dB of SNR
EDGE = 1600  # samples at the end of a stretch whose gate what follows can change: 50 ms of smoothing and a window
BEHIND_DB = 30.0  # how far a voice's quietest is from its loudest where nothing is behind it: 40 and more
ENDS_DB = 9.0  # under the loud parts of a voice that has something behind it, what comes before and after it begins
ENDS_KEPT = 0.1  # s of that
LEAST_HEARD = 0.5  # s; less says little of an emotion
MASK_SMOOTH_HZ = 64  # one step of noisereduce's own frequency scale, which is no smoothing


class NoiseProfile:
    """The newest ``memory`` seconds of non-speech."""

    def __init__(self, memory: float = 2.0) -> None:
        self._limit = int(memory * SAMPLE_RATE)
        self._chunks: deque[np.ndarray] = deque()
        self._held = 0
        self._steady: bool | None = None  # not judged yet: it is the same for all of an utterance

    def add(self, samples: np.ndarray) -> None:
        """Take in ``(T,)`` float32 of non-speech."""
        self._chunks.append(samples.astype(np.float32))
        self._held += len(samples)
        self._steady = None
        while self._chunks and self._held - len(self._chunks[0]) >= self._limit:
            self._held -= len(self._chunks.popleft())

    def clear(self) -> None:
        """Forget the noise: another source, another place."""
        self._chunks.clear()
        self._held = 0
        self._steady = None

    @property
    def known(self) -> bool:
        """Whether enough non-speech was heard to judge by."""
        return self._held >= LEARNT_FROM * SAMPLE_RATE

    @property
    def samples(self) -> np.ndarray:
        """``(T,)`` float32, oldest first."""
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)

    @property
    def steady(self) -> bool:
        """Whether the noise is the kind that spectral gating can take out: a fan, not music nor voices."""
        if self._steady is None:
            self._steady = self._judge_steady()
        return self._steady

    def _judge_steady(self) -> bool:
        power = 10 ** (log_mel(self.samples) / 10) if self.known else np.zeros((0, N_MELS), np.float32)
        tenths = len(power) // 10
        if tenths < 2:
            return False
        level = 10 * np.log10(power[: 10 * tenths].reshape(tenths, 10, N_MELS).mean(axis=1) + SILENCE)
        return float(level.std(axis=0).mean()) < STEADY_DB

    def snr_db(self, speech: np.ndarray) -> float:
        """Signal-to-noise ratio of ``(T,)`` noisy speech, dB in -20..60; NaN while the noise is not known.

        The noise's power is taken off the speech's, for what is heard as speech is speech and noise.
        """
        if not self.known or not len(speech):
            return float("nan")
        noise = max(float(np.mean(self.samples.astype(np.float64) ** 2)), SILENCE)
        power = float(np.mean(speech.astype(np.float64) ** 2))
        ratio = max(power - noise, 0.0) / noise
        low, high = SNR_LIMITS_DB
        return float(np.clip(10 * np.log10(max(ratio, 1e-9)), low, high))


def foreground(samples: np.ndarray) -> slice:
    """Where in ``(T,)`` sound at 16 kHz the voice in front is; all of it where hardly anything is behind that voice.

    For sound in which voice activity finds no pause, because it hears the voices behind as well. They are quieter, and
    what is quieter at both ends is left away: in babble at 10 dB, 1.6 of 3.6 s.
    """
    whole = slice(0, len(samples))
    step = SAMPLE_RATE // 100
    frames = len(samples) // step
    if frames * step < LEAST_HEARD * SAMPLE_RATE:
        return whole
    power = np.square(samples[: frames * step].reshape(frames, step), dtype=np.float64).mean(axis=1)
    level = 10 * np.log10(np.convolve(power, np.full(10, 0.1), "same") + SILENCE)  # over a tenth of a second
    quiet, loud = np.percentile(level, (3, 95))
    if loud - quiet > BEHIND_DB:
        return whole
    voice = np.flatnonzero(level >= loud - ENDS_DB)
    kept = int(ENDS_KEPT * SAMPLE_RATE)
    start, stop = max(0, int(voice[0]) * step - kept), min(len(samples), (int(voice[-1]) + 1) * step + kept)
    return slice(start, stop) if stop - start >= LEAST_HEARD * SAMPLE_RATE else whole


class NoiseReducer:
    """Spectral gating with a known noise.

    Args:
        strength: share 0..1 by which cells at noise level are lowered; 1 leaves musical noise.
    """

    def __init__(self, strength: float = 0.8) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {strength}")
        self.strength = strength

    def __call__(self, samples: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """``(T,)`` float32 16 kHz without ``noise`` (``(M,)``, the same noise alone, at least 0.25 s); same length."""
        if len(samples) < N_FFT:
            return samples
        # noisereduce's defaults are for long recordings: 30,000 samples of padding cost more time than a sentence, and
        # a mask smoothed over 500 Hz, with nothing below 0 Hz to smooth with, halves the pitch region of a voice. On a
        # sentence in white noise at 10 dB they cost 0.1 dB of SNR; smoothing over time alone gains 4.4 dB.
        clean = load_noisereduce()(
            y=samples,
            sr=SAMPLE_RATE,
            y_noise=noise,
            stationary=True,
            prop_decrease=self.strength,
            n_fft=N_FFT,
            hop_length=HOP,
            padding=N_FFT,
            freq_mask_smooth_hz=MASK_SMOOTH_HZ,
        )
        return np.nan_to_num(np.asarray(clean, dtype=np.float32))


class UtteranceCleaner:
    """Cleans an utterance while it grows: each decision costs what is new in it, not all of it again.

    Args:
        reduce: cleans ``(T,)`` samples of a known noise.
    """

    def __init__(self, reduce: NoiseReducer) -> None:
        self._reduce = reduce
        self.reset()

    def reset(self) -> None:
        """Another utterance begins."""
        self._start = self._sure = 0  # samples of the stream that are clean for good
        self._clean = np.zeros(0, np.float32)

    def __call__(self, ring: RingBuffer, start: int, stop: int, noise: np.ndarray) -> np.ndarray:
        """Samples ``start`` to ``stop`` of ``ring`` without ``noise``, ``(stop - start,)``.

        Raises:
            IndexError: what is new in them is not in the ring.
        """
        if not self._start <= start <= self._sure <= stop or not len(self._clean):
            self._start = self._sure = start
            self._clean = self._clean[:0]
        # The gate smooths over time: the end of a stretch changes when more is heard, so it is done again, and what is
        # new needs some of what came before it.
        before = max(self._start, self._sure - EDGE)
        new = self._reduce(ring.read(before, stop), noise)[self._sure - before :]
        kept = max(0, len(new) - EDGE)
        clean = np.concatenate([self._clean, new])
        self._sure += kept
        self._clean = clean[: self._sure - self._start]
        return clean[start - self._start :]


def load_noisereduce() -> Callable[..., Any]:
    """noisereduce's function. The first call loads it with SciPy, two seconds that a start need not wait for."""
    with _without_torch():
        from noisereduce import reduce_noise
    return reduce_noise


class _NoTorch(MetaPathFinder):
    """Says, to the thread that made it, that there is no torch."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torch" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("torch is not wanted here", name=name)


@contextmanager
def _without_torch() -> Iterator[None]:
    """noisereduce imports torch where it can, for a method not used here: two seconds and 200 MB on a robot."""
    finder = _NoTorch()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
