"""Data augmentation: speed and reverberation of samples; cuts, noise, microphone response and masks of spectrograms.

Noise is added to spectrograms instead of samples, at a hundredth of the cost, so that every draw gets new noise.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import soundfile
import soxr
import torch
from scipy.signal import fftconvolve
from torch import Tensor

from emotion_perception.acoustic.features import FLOOR, SAMPLE_RATE, log_mel

_CODECS = {"vorbis": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III"), "ulaw": ("WAV", "ULAW")}
CODECS = tuple(_CODECS)
NOISES = ("white", "pink", "fan", "music", "babble")
LN_DB = np.float32(np.log(10) / 10)  # dB to natural logarithm of a power


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Speed perturbation of ``(T,)`` samples: tempo and pitch change by ``factor`` (Ko et al. 2015)."""
    return soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32)


def coloured_noise(n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """``(n,)`` Gaussian noise whose power falls with frequency ** ``exponent`` (0 white, 1 pink, 2 brown), rms 1."""
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum = rng.normal(size=(2, len(frequency)))
    spectrum = (spectrum[0] + 1j * spectrum[1]) * np.maximum(frequency, 20.0) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, n)
    return (noise / (np.sqrt(np.mean(noise**2)) + 1e-12)).astype(np.float32)


def fan_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """``(n,)`` fan noise: brown-to-pink noise and the harmonics of the blades, rms 1."""
    time = np.arange(n) / SAMPLE_RATE
    blade = rng.uniform(60, 220)
    tone = sum(np.sin(2 * np.pi * (k * blade * time + rng.random())) / k for k in range(1, 6))
    noise = coloured_noise(n, rng.uniform(1, 2), rng) + rng.uniform(0.2, 0.8) * tone
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def music_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """``(n,)`` music-like noise: chords of decaying harmonic notes on a beat, rms 1."""
    time = np.arange(n) / SAMPLE_RATE
    beat = rng.uniform(0.25, 0.6)
    music = np.zeros(n)
    for start in np.arange(-beat * rng.random(), n / SAMPLE_RATE, beat):
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        sounding = slice(max(0, int(start * SAMPLE_RATE)), int((start + 3) * SAMPLE_RATE))  # 50 dB down after 3 s
        age = np.maximum(time[sounding] - start, 0)
        envelope = np.exp(-age * rng.uniform(2, 6))
        for interval in (0, rng.choice([3, 4]), 7):
            pitch = root * 2 ** (interval / 12)
            music[sounding] += envelope * sum(np.sin(2 * np.pi * k * pitch * age) / k**1.5 for k in range(1, 5))
    return (music / (np.sqrt(np.mean(music**2)) + 1e-12)).astype(np.float32)


def babble_noise(n: int, voices: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """``(n,)`` babble: several of ``voices`` speaking at once, each at rms 1; the sum also has rms 1."""
    babble = np.zeros(n, np.float32)
    for voice in voices:
        tiled = np.tile(voice, 1 + n // len(voice))
        start = rng.integers(len(tiled) - n + 1)
        part = tiled[start : start + n]
        babble += part / (np.sqrt(np.mean(part**2)) + 1e-6)
    return babble / (np.sqrt(np.mean(babble**2)) + 1e-6)


def make_noise(kind: str, n: int, rng: np.random.Generator, voices: list[np.ndarray]) -> np.ndarray:
    """``(n,)`` noise of one of :data:`NOISES`, rms about 1; babble is mixed from ``voices``.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "white":
        return coloured_noise(n, 0.0, rng)
    if kind == "pink":
        return coloured_noise(n, 1.0, rng)
    if kind == "fan":
        return fan_noise(n, rng)
    if kind == "music":
        return music_noise(n, rng)
    if kind == "babble":
        return babble_noise(n, voices, rng)
    raise ValueError(f"unknown noise {kind!r}; choose from {', '.join(NOISES)}")


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add ``noise`` to ``samples`` at an SNR of ``snr_db``; both ``(T,)``."""
    power = np.mean(samples**2) / (np.mean(noise**2) + 1e-12)
    return (samples + noise * np.sqrt(power / 10 ** (snr_db / 10))).astype(np.float32)


def reverberate(samples: np.ndarray, rt60: float, direct_db: float, rng: np.random.Generator) -> np.ndarray:
    """Simulated room: direct sound and an exponentially decaying noise tail (Moorer 1979), same length as ``samples``.

    Args:
        rt60: reverberation time, s: the tail has decayed by 60 dB.
        direct_db: ratio of the energies of direct sound and tail, dB.
    """
    n = max(2, int(rt60 * SAMPLE_RATE))
    tail = rng.normal(size=n) * 10 ** (-3 * np.arange(n) / n)
    tail[: int(0.002 * SAMPLE_RATE)] = 0  # the first reflection arrives after 2 ms
    tail /= np.sqrt(np.sum(tail**2)) * 10 ** (direct_db / 20)
    tail[0] = 1.0
    return fftconvolve(samples, tail)[: len(samples)].astype(np.float32)


def perturb(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A perturbed training copy of a clip: another speed, often reverberation, a narrower band or a lossy codec."""
    x = change_speed(samples, float(rng.uniform(0.88, 1.14)))
    if rng.random() < 0.6:
        x = reverberate(x, float(rng.uniform(0.15, 0.7)), float(rng.uniform(-2, 12)), rng)
    if rng.random() < 0.3:
        x = band_limit(x, float(rng.uniform(3_000, 7_500)))
    if rng.random() < 0.6:
        x = reencode(x, CODECS[rng.integers(len(CODECS))], float(rng.uniform(0.2, 1.0)))
    return x


def band_limit(samples: np.ndarray, cut_off: float) -> np.ndarray:
    """``(T,)`` samples without what is above ``cut_off`` Hz, as of a telephone or a narrow-band codec."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum / (1 + (frequency / cut_off) ** 16), len(samples)).astype(np.float32)


def reencode(samples: np.ndarray, codec: str, compression: float) -> np.ndarray:
    """``(T,)`` samples after a lossy codec, of the same length.

    Corpora are distributed in different formats; a network that recognised the codec could recognise the corpus, and
    with it the emotions that occur there.

    Args:
        codec: one of :data:`CODECS`.
        compression: 0..1, higher is smaller and worse; not used by ``ulaw``.
    """
    peak = float(np.abs(samples).max()) / 0.7 + 1e-6
    buffer = io.BytesIO()
    container, subtype = _CODECS[codec]
    level = None if codec == "ulaw" else min(compression, 0.999)  # libsndfile refuses 1 for MP3
    soundfile.write(buffer, samples / peak, SAMPLE_RATE, subtype, format=container, compression_level=level)
    buffer.seek(0)
    decoded = soundfile.read(buffer, dtype="float32")[0][: len(samples)] * peak
    return np.pad(decoded, (0, len(samples) - len(decoded))).astype(np.float32)


def cut(mel: np.ndarray, frames: int, tempo: float, rng: np.random.Generator) -> np.ndarray:
    """A random cut of ``frames`` frames of ``(F, bands)`` at ``tempo`` times the speed, with unchanged pitch.

    The cut has fewer frames if the clip is shorter.
    """
    span = min(len(mel), round(frames * tempo))
    start = rng.integers(len(mel) - span + 1)
    n = max(1, min(frames, round(span / tempo)))
    position = start + np.arange(n) * ((span - 1) / max(1, n - 1))
    low = np.minimum(position.astype(int), len(mel) - 1)
    high = np.minimum(low + 1, len(mel) - 1)
    share = (position - low)[:, None].astype(np.float32)
    return mel[low] * (1 - share) + mel[high] * share


@lru_cache(maxsize=1)  # all folds of a cross-validation use the same noises
def noise_spectrograms(seed: int, pieces: int = 12, seconds: float = 5.0) -> np.ndarray:
    """``(4 * pieces, F, 80)`` float32 log-mel, dB, of all noises except babble."""
    rng = np.random.default_rng((seed, 1))
    n = int(seconds * SAMPLE_RATE)
    kinds = [kind for kind in NOISES if kind != "babble"]
    return np.stack([log_mel(make_noise(kind, n, rng, [])) for kind in kinds for _ in range(pieces)])


def add_noise_to_spectrogram(
    mel: np.ndarray, noises: Sequence[np.ndarray], snr_db: float, before: int = 0, after: int = 0
) -> np.ndarray:
    """Add noises of equal power to ``(F, 80)`` log-mel; ``snr_db`` is the ratio of speech to their sum.

    Powers are added, which holds on average for independent sounds.

    Args:
        noises: ``(any F, 80)`` log-mel, dB; each is repeated to the length needed.
        before, after: frames of noise only around the speech; voice activity detection keeps such frames in babble.

    Returns:
        ``(before + F + after, 80)``.
    """
    speech = np.pad(np.exp(LN_DB * mel), ((before, after), (0, 0)))
    noise = np.zeros_like(speech)
    for one in noises:
        power = np.resize(np.exp(LN_DB * one.astype(np.float32)), speech.shape)
        noise += power / (power.mean() + FLOOR)
    loudness = speech.mean() * len(speech) / len(mel)
    gain = loudness / (noise.mean() + FLOOR) / 10 ** (snr_db / 10)
    return np.log(speech + gain * noise + FLOOR) / LN_DB


def colour(mel: Tensor, deviation_db: float, generator: torch.Generator) -> Tensor:
    """Simulate a microphone: add a smooth random frequency response to each spectrogram of ``(N, F, bands)``."""
    points = torch.randn(len(mel), 1, 6, generator=generator) * deviation_db
    curve = torch.nn.functional.interpolate(points, mel.shape[2], mode="linear", align_corners=True)
    return mel + curve


def mask_spectrogram(mel: Tensor, frames: Tensor, bands: int, share: float, generator: torch.Generator) -> Tensor:
    """SpecAugment (Park et al. 2019): two masks of up to ``bands`` bands, two of up to ``share`` of the frames.

    Masked cells of ``(N, F, mels)`` are set to the clip's mean, which the network's normalisation maps close to zero.
    """
    n, length, mels = mel.shape
    valid = torch.arange(length) < frames[:, None]
    mean = (mel * valid[..., None]).sum((1, 2)) / (frames * mels)
    hidden = torch.zeros(mel.shape, dtype=torch.bool)
    for _ in range(2):
        width = torch.rand(n, generator=generator) * bands
        start = torch.rand(n, generator=generator) * (mels - width)
        band = torch.arange(mels)
        hidden |= ((band >= start[:, None]) & (band < (start + width)[:, None]))[:, None]
        width = torch.rand(n, generator=generator) * share * frames
        start = torch.rand(n, generator=generator) * (frames - width)
        step = torch.arange(length)
        hidden |= ((step >= start[:, None]) & (step < (start + width)[:, None]))[..., None]
    return torch.where(hidden, mean[:, None, None], mel)
