"""Prosodic features of an utterance: pitch, level, speaking rate, spectral tilt. For studies; the robot uses none."""

from __future__ import annotations

import numpy as np

from emotion_perception.acoustic.features import N_MELS, SAMPLE_RATE

PITCH_WINDOW, PITCH_HOP = 800, 320  # samples, 50 and 20 ms
LAGS = (32, 320)  # samples, 500 to 50 Hz
VOICED = 0.6  # normalised autocorrelation from which a frame has a pitch
SPECTRUM = 2048  # points of the Fourier transform
NAMES = (
    "pitch, semitones above 100 Hz, median",
    "its range, 10 to 90 %",
    "its standard deviation",
    "its mean change between frames",
    "its slope, semitones per s",
    "share of voiced frames",
    "level above the median, 98 %, dB",
    "level range, 10 to 90 %, dB",
    "standard deviation of the level, dB",
    "level peaks per s, about the syllable rate",
    "level of the upper half of the bands over the lower, dB",
    "spectral tilt, dB per band",
)


def prosody(samples: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """``(12,)`` float32 features, in the order of :data:`NAMES`, of ``(T,)`` speech and its ``(F, 80)`` log-mel in dB.

    The features are independent of the level. Those of pitch are 0 where fewer than five frames are voiced.
    """
    pitch, strength = _pitch(samples / (np.sqrt(np.mean(samples**2)) + 1e-9))
    voiced = strength > VOICED
    tone = 12 * np.log2(pitch[voiced] / 100) if voiced.sum() > 4 else np.zeros(5)
    low, median, high = np.percentile(tone, [10, 50, 90])
    slope = np.polyfit(np.arange(len(tone)), tone, 1)[0] * SAMPLE_RATE / PITCH_HOP if len(tone) > 5 else 0.0
    power = 10 ** (mel / 10)
    level = 10 * np.log10(power.mean(axis=1) + 1e-9)
    quiet, middle, loud, peak = np.percentile(level, [10, 50, 90, 98])
    smooth = np.convolve(level, np.hanning(9) / np.hanning(9).sum(), "same")
    inner = smooth[1:-1]
    peaks = (inner > smooth[:-2]) & (inner >= smooth[2:]) & (inner > middle - 3)
    upper = 10 * np.log10(power[:, N_MELS // 2 :].mean() + 1e-9) - 10 * np.log10(power[:, : N_MELS // 2].mean() + 1e-9)
    share = voiced.mean() if len(voiced) else 0.0
    values = [median, high - low, tone.std(), np.abs(np.diff(tone)).mean(), slope, share]
    values += [peak - middle, loud - quiet, level.std(), peaks.sum() / (len(level) / 100), upper]
    values.append(np.polyfit(np.arange(N_MELS), mel.mean(axis=0), 1)[0])
    return np.array(values, np.float32)


def _pitch(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz and normalised autocorrelation at its period, of each frame (Boersma 1993, without path search)."""
    n = (len(samples) - PITCH_WINDOW) // PITCH_HOP + 1
    if n < 3:
        return np.zeros(0), np.zeros(0)
    window = np.hanning(PITCH_WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(samples, PITCH_WINDOW)[::PITCH_HOP][:n] * window

    def autocorrelation(x: np.ndarray) -> np.ndarray:
        return np.fft.irfft(np.abs(np.fft.rfft(x, SPECTRUM)) ** 2)[..., : LAGS[1]]

    found, own = autocorrelation(frames), autocorrelation(window)
    ratio = (found / (found[:, :1] + 1e-9) / (own / own[0] + 1e-3))[:, LAGS[0] :]
    lag = ratio.argmax(axis=1)
    return SAMPLE_RATE / (lag + LAGS[0]), ratio[np.arange(n), lag]
