"""Noise: estimate it between utterances, measure the SNR of speech, reduce it.

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

MIN_NOISE_S = 0.25  # s of non-speech needed for an estimate of the noise
SILENCE = 1e-10  # power of digital silence; a 16-bit sample's rounding alone has 8e-11
SNR_LIMITS_DB = (-20.0, 60.0)
# Standard deviation of the mel bands between tenths of a second, dB, below which noise is steady. White, pink and fan
# noise have 1.0 to 1.2, babble of three to six voices 4.8 to 6.1, music 9.3 to 13.2.
STEADY_DB = 2.0
N_FFT = 512  # of the gate: 32 ms
HOP = N_FFT // 2  # half the work of noisereduce's quarter, for 0.2 dB of SNR
EDGE = 1600  # samples at the end whose gate depends on what follows: 50 ms of smoothing and a window
BACKGROUND_DB = 30.0  # range from quiet to loud parts below which there is a background; without, it is 40 and more
BACKGROUND_BELOW_DB = 9.0  # below the loud parts of the voice in front: level of the background at both ends
MARGIN_S = 0.1  # s of background kept at both ends
MIN_FOREGROUND_S = 0.5  # s; less is too short to classify
MASK_SMOOTH_HZ = 64  # one step of noisereduce's frequency scale: no smoothing


class NoiseProfile:
    """The newest ``memory`` seconds of non-speech."""

    def __init__(self, memory: float = 2.0) -> None:
        self._limit = int(memory * SAMPLE_RATE)
        self._chunks: deque[np.ndarray] = deque()
        self._held = 0
        self._steady: bool | None = None  # None: not computed since the last change

    def add(self, samples: np.ndarray) -> None:
        """Add ``(T,)`` float32 samples of non-speech."""
        self._chunks.append(samples.astype(np.float32))
        self._held += len(samples)
        self._steady = None
        while self._chunks and self._held - len(self._chunks[0]) >= self._limit:
            self._held -= len(self._chunks.popleft())

    def clear(self) -> None:
        """Forget the noise: another source or place."""
        self._chunks.clear()
        self._held = 0
        self._steady = None

    @property
    def known(self) -> bool:
        """Whether there was enough non-speech for an estimate."""
        return self._held >= MIN_NOISE_S * SAMPLE_RATE

    @property
    def samples(self) -> np.ndarray:
        """``(T,)`` float32, oldest first."""
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)

    @property
    def steady(self) -> bool:
        """Whether the noise is stationary, as spectral gating needs: a fan, but not music or voices."""
        if self._steady is None:
            self._steady = self._is_steady()
        return self._steady

    def _is_steady(self) -> bool:
        power = 10 ** (log_mel(self.samples) / 10) if self.known else np.zeros((0, N_MELS), np.float32)
        tenths = len(power) // 10
        if tenths < 2:
            return False
        level = 10 * np.log10(power[: 10 * tenths].reshape(tenths, 10, N_MELS).mean(axis=1) + SILENCE)
        return float(level.std(axis=0).mean()) < STEADY_DB

    def snr_db(self, speech: np.ndarray) -> float:
        """Signal-to-noise ratio of ``(T,)`` noisy speech, dB in -20..60; NaN without an estimate of the noise.

        The noise's power is subtracted from that of the samples, which contain speech and noise.
        """
        if not self.known or not len(speech):
            return float("nan")
        noise = max(float(np.mean(self.samples.astype(np.float64) ** 2)), SILENCE)
        power = float(np.mean(speech.astype(np.float64) ** 2))
        ratio = max(power - noise, 0.0) / noise
        low, high = SNR_LIMITS_DB
        return float(np.clip(10 * np.log10(max(ratio, 1e-9)), low, high))


def foreground(samples: np.ndarray) -> slice:
    """The part of ``(T,)`` samples at 16 kHz with the voice in front; all of them without a background.

    For sound in which voice activity detection finds no pause, because it detects the voices in the background, too.
    These are quieter, so the quiet parts at both ends are left out: in babble at 10 dB SNR, 1.6 of 3.6 s.
    """
    whole = slice(0, len(samples))
    step = SAMPLE_RATE // 100
    frames = len(samples) // step
    if frames * step < MIN_FOREGROUND_S * SAMPLE_RATE:
        return whole
    power = np.square(samples[: frames * step].reshape(frames, step), dtype=np.float64).mean(axis=1)
    level = 10 * np.log10(np.convolve(power, np.full(10, 0.1), "same") + SILENCE)  # moving average over 0.1 s
    quiet, loud = np.percentile(level, (3, 95))
    if loud - quiet > BACKGROUND_DB:
        return whole
    voice = np.flatnonzero(level >= loud - BACKGROUND_BELOW_DB)
    kept = int(MARGIN_S * SAMPLE_RATE)
    start, stop = max(0, int(voice[0]) * step - kept), min(len(samples), (int(voice[-1]) + 1) * step + kept)
    return slice(start, stop) if stop - start >= MIN_FOREGROUND_S * SAMPLE_RATE else whole


class NoiseReducer:
    """Spectral gating with a known noise.

    Args:
        strength: attenuation 0..1 of cells at noise level; 1 leaves musical noise.

    Raises:
        ValueError: ``strength`` is out of range.
    """

    def __init__(self, strength: float = 0.8) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {strength}")
        self.strength = strength

    def __call__(self, samples: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Reduce noise in ``(T,)`` float32 16 kHz samples; ``noise`` ``(M,)`` is the noise alone, at least 0.25 s."""
        if len(samples) < N_FFT:
            return samples
        # noisereduce's defaults are for long recordings: 30,000 samples of padding take more time than a sentence, and
        # a mask smoothed over 500 Hz halves the pitch region of a voice, since there is nothing below 0 Hz. On a
        # sentence in white noise at 10 dB they lose 0.1 dB of SNR; smoothing over time only gains 4.4 dB.
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
    """Reduces noise in a growing utterance incrementally: each decision cleans only the new samples.

    Args:
        reduce: noise reduction of ``(T,)`` samples, given a noise.
    """

    def __init__(self, reduce: NoiseReducer) -> None:
        self._reduce = reduce
        self.reset()

    def reset(self) -> None:
        """Start with another utterance."""
        self._start = self._final = 0  # samples of the stream that are final
        self._clean = np.zeros(0, np.float32)

    def __call__(self, ring: RingBuffer, start: int, stop: int, noise: np.ndarray) -> np.ndarray:
        """Samples ``start`` to ``stop`` of ``ring`` with ``noise`` reduced, ``(stop - start,)``.

        Raises:
            IndexError: new samples are not in the ring.
        """
        if not self._start <= start <= self._final <= stop or not len(self._clean):
            self._start = self._final = start
            self._clean = self._clean[:0]
        # The gate smooths over time: the last samples change when more follow, so they are cleaned again, and new
        # samples need some of the previous ones.
        before = max(self._start, self._final - EDGE)
        new = self._reduce(ring.read(before, stop), noise)[self._final - before :]
        kept = max(0, len(new) - EDGE)
        clean = np.concatenate([self._clean, new])
        self._final += kept
        self._clean = clean[: self._final - self._start]
        return clean[start - self._start :]


def load_noisereduce() -> Callable[..., Any]:
    """noisereduce's function. The first call imports it with SciPy, which takes two seconds."""
    with _without_torch():
        from noisereduce import reduce_noise
    return reduce_noise


class _NoTorch(MetaPathFinder):
    """Hides torch from the thread that created this finder."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torch" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("torch is hidden from noisereduce", name=name)


@contextmanager
def _without_torch() -> Iterator[None]:
    """noisereduce imports torch if it is installed, for a method not used here: two seconds and 200 MB of memory."""
    finder = _NoTorch()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
