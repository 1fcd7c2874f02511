"""Log-mel spectrogram, one function for training and run time. Numpy only: importing torch takes two seconds.

The spectrogram is the one that Whisper's encoder was trained on (Radford et al. 2023), in dB. Four seconds of speech
take less than 1 ms on one thread.
"""

from __future__ import annotations

import numpy as np

SAMPLE_RATE = 16_000
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
N_MELS = 80
LINEAR_HZ = 1_000.0  # the mel scale is linear below and logarithmic above
MEL_HZ, MEL_LOG = 200 / 3, np.log(6.4) / 27  # Hz per mel below; log frequency ratio per mel above
LONGEST = 400  # frames, 4 s: the longest input of the voice network
RANGE_DB = 70.0  # below the loudest cell; the rest is noise floor, which differs between microphones
BAND_DB = 12.0  # typical deviation of one mel band in an utterance; scales the band-normalised channels to about 1
DELTA_DB = 4.0  # the same for the slope over four frames
SPEECH_LEVEL = 0.96  # log10 of a cell's mean power in speech of power 1; varies by 0.03 between speakers
ENCODER_RANGE = 8.0  # log10 of power below the loudest cell; anything lower is raised to it
FLOOR = 1e-10  # power of a full-scale signal is about 1e4 in these units: -100 dB is far below any microphone


def mel_filters() -> np.ndarray:
    """``(201, 80)`` float32 triangular filters, equally spaced on Slaney's mel scale (1998), 0-8 kHz, of equal area."""
    top = LINEAR_HZ / MEL_HZ + np.log(SAMPLE_RATE / 2 / LINEAR_HZ) / MEL_LOG
    mels = np.linspace(0, top, N_MELS + 2)
    above = LINEAR_HZ * np.exp(MEL_LOG * (mels - LINEAR_HZ / MEL_HZ))
    edges = np.where(mels < LINEAR_HZ / MEL_HZ, MEL_HZ * mels, above)
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    area = 2 / (edges[2:] - edges[:-2])
    return (area * np.maximum(0, np.minimum(rising, falling))).astype(np.float32)


_FILTERS = mel_filters()
_HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def n_frames(n_samples: int) -> int:
    """Frames that :func:`log_mel` makes of ``n_samples``."""
    return 1 + max(0, n_samples - WINDOW) // HOP


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram in dB. An offset of the samples is removed: it would leak into the lowest bands.

    Args:
        samples: ``(T,)`` float, -1..1, 16 kHz; shorter than one window is padded with zeros.

    Returns:
        ``(frames, 80)`` float32, dB, frame i centred on sample ``160 i + 200``.

    Raises:
        ValueError: not one-dimensional, or empty.
    """
    x = np.asarray(samples, dtype=np.float32)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"samples must be a non-empty vector, got shape {x.shape}")
    x = x - x.mean()
    if len(x) < WINDOW:
        x = np.pad(x, (0, WINDOW - len(x)))
    frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * _HANN, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return (10 * np.log10(power @ _FILTERS + FLOOR)).astype(np.float32)


def encoder_input(mel: np.ndarray) -> np.ndarray:
    """``(F, 80)`` log-mel in dB -> ``(F, 80)`` float32 without level: the input of the voice network's encoder.

    Whisper's scale for sound of power 1. ``learning/voices/network.py`` has the same for padded batches.
    """
    level = 10 * np.log10(np.mean(10 ** (mel / 10)))
    x = (mel - level) / 10 + SPEECH_LEVEL
    return ((np.maximum(x, x.max() - ENCODER_RANGE) + 4) / 4).astype(np.float32)


def normalise(mel: np.ndarray) -> np.ndarray:
    """``(F, 80)`` log-mel in dB -> ``(3, F, 80)`` float32 without level: the input of the overlapped-speech detector.

    The spectrogram standardised as a whole, which keeps the spectral tilt; each band minus its mean, which removes the
    microphone's frequency response; and the slope of each band over time. ``learning/voices/network.py`` has the same
    for padded batches.
    """
    mel = np.maximum(mel, mel.max() - RANGE_DB)
    bands = mel.mean(axis=0)
    centred = mel - bands.mean()
    band = mel - bands
    slope = np.zeros_like(band)
    slope[1:-1] = band[2:] - band[:-2]
    return np.stack([centred / (centred.std() + 1.0), band / BAND_DB, slope / DELTA_DB]).astype(np.float32)
