"""Log-mel spectrogram, the same function in training and on the robot. Numpy only: importing torch costs two seconds.

A four-second utterance takes about 4 ms on one thread.
"""

from __future__ import annotations

import numpy as np

SAMPLE_RATE = 16_000
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
N_FFT = 512
N_MELS = 64
LOW_HZ, HIGH_HZ = 50.0, 7_600.0  # hum below; the corpora's and most codecs' own filters above
RANGE_DB = 70.0  # anything further below the loudest cell is noise floor, which differs by microphone
BAND_DB = 12.0  # typical deviation of one mel band over an utterance: brings the band-normalised channels near 1
DELTA_DB = 4.0  # the same for the slope over four frames
FLOOR = 1e-10  # power of a full-scale signal is about 1e4 in these units: -100 dB is far below any microphone


def mel_filters() -> np.ndarray:
    """``(257, 64)`` float32 triangular filters, equally spaced on the HTK mel scale, peak 1."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    edges = np.linspace(mel(LOW_HZ), mel(HIGH_HZ), N_MELS + 2)
    bins = mel(np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


_FILTERS = mel_filters()
_HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def n_frames(n_samples: int) -> int:
    """Frames that :func:`log_mel` makes of ``n_samples``."""
    return 1 + max(0, n_samples - WINDOW) // HOP


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram in dB.

    Args:
        samples: ``(T,)`` float, -1..1, 16 kHz; shorter than one window is padded with zeros.

    Returns:
        ``(frames, 64)`` float32, dB, frame i centred on sample ``160 i + 200``.

    Raises:
        ValueError: not one-dimensional, or empty.
    """
    x = np.asarray(samples, dtype=np.float32)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"samples must be a non-empty vector, got shape {x.shape}")
    if len(x) < WINDOW:
        x = np.pad(x, (0, WINDOW - len(x)))
    frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * _HANN, N_FFT, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return (10 * np.log10(power @ _FILTERS + FLOOR)).astype(np.float32)


def normalise(mel: np.ndarray) -> np.ndarray:
    """``(F, 64)`` log-mel in dB -> ``(3, F, 64)`` float32 without level: what the network sees.

    The spectrogram standardised as a whole, which keeps the spectral tilt; each band less its own mean, which takes out
    the microphone; and the slope of the bands over time. :func:`emotion_perception.acoustic.voice_net.normalise` is its
    masked twin.
    """
    mel = np.maximum(mel, mel.max() - RANGE_DB)
    bands = mel.mean(axis=0)
    centred = mel - bands.mean()
    band = mel - bands
    slope = np.zeros_like(band)
    slope[1:-1] = band[2:] - band[:-2]
    return np.stack([centred / (centred.std() + 1.0), band / BAND_DB, slope / DELTA_DB]).astype(np.float32)
