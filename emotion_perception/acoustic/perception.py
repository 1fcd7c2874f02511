"""From chunks of sound to decisions about voices: conversion, voice activity, utterances, noise reduction, emotion.

Noise is learnt between utterances, speech is measured against it and, where it is noisy, cleaned. Without speech there
is no observation at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.acoustic.adaptation import SpeakerBaseline
from emotion_perception.acoustic.emotion_classifier import VoiceClassifier
from emotion_perception.acoustic.noise import (
    LEARNT_FROM,
    NoiseProfile,
    NoiseReducer,
    UtteranceCleaner,
    foreground,
    load_noisereduce,
)
from emotion_perception.acoustic.ring_buffer import Continuity, RingBuffer, StreamInput, resample
from emotion_perception.acoustic.segmentation import Stretch, UtteranceSegmenter
from emotion_perception.acoustic.voice_activity import (
    SAMPLE_RATE,
    THRESHOLD,
    VAD_WINDOW,
    VoiceActivityDetector,
    speech_slice,
)
from emotion_perception.errors import ModelError
from emotion_perception.messages.samples import check_samples
from emotion_perception.resources import model_path
from emotion_perception.settings import check_settings, setting
from emotion_perception.types import EmotionEstimate, VoiceObservation

LEVEL_STEP = 0.04  # s, about; of the loudness that goes with a decision
QUIETEST = 1e-5  # of full scale, -100 dB
NOISE_BELOW = 0.2  # probability of a voice under which a chunk outside utterances counts as noise


@dataclass(frozen=True)
class AcousticConfig:
    """The settings of :class:`AcousticPerception`; each is a ROS parameter of ``acoustic_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    model: str = setting(
        "voice.safetensors", "Weights of the voice emotion classifier: a path, or the name of a model in the package."
    )
    voice_activity_model: str = setting(
        "", "Silero VAD weights (ONNX, 16 kHz). Empty: those of the silero-vad package."
    )
    voice_id: str = setting(
        "anonymous_speaker", "Voice id that is published with every utterance; speakers are not separated."
    )
    speech_threshold: float = setting(
        THRESHOLD,
        "Voice activity probability from which audio counts as speech. Lower detects quieter speech and accepts more "
        "noise as speech.",
        0.05,
        0.95,
    )
    min_utterance: float = setting(
        0.4, "Shorter utterances are not classified. Larger ignores coughs and short answers.", 0.1, 2.0, "s"
    )
    max_utterance: float = setting(
        8.0, "Maximum length of an utterance; longer speech is split without a gap.", 2.0, 30.0, "s"
    )
    hang_over: float = setting(
        0.4, "Silence that ends an utterance. Larger joins hesitant speech and delays the final decision.",
        0.15, 3.0, "s",
    )  # fmt: skip
    decision_interval: float = setting(
        0.5, "Time between two decisions during an utterance. Smaller reacts sooner and costs CPU.", 0.1, 5.0, "s"
    )
    decision_window: float = setting(
        4.0,
        "Audio before a decision that it is based on. The voice model uses at most 4 s.",
        1.0,
        30.0,
        "s",
    )
    noise_reduction: bool = setting(True, "Reduce stationary noise by spectral gating before classification.")
    noise_reduction_below_db: float = setting(
        7.0,
        "Noise is reduced only below this signal-to-noise ratio, because spectral gating adds artefacts.",
        -20.0,
        60.0,
        "dB",
    )
    noise_reduction_strength: float = setting(
        0.8, "Attenuation of what is at noise level. 1: removed completely, which leaves musical noise.", 0.0, 1.0
    )
    speaker_adaptation: float = setting(
        0.0,
        "Strength of speaker adaptation: how far a decision is relative to the mean of the earlier utterances. Only "
        "for sources with a single speaker. 0: off.",
        0.0,
        1.0,
    )
    stamp_tolerance: float = setting(
        0.05,
        "Difference between the stamp of a chunk and the end of the previous chunk up to which it counts as jitter; "
        "more is a gap.",
        0.005,
        1.0,
        "s",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class ClipSpeech:
    """The speech of a recording, cut out, and the noise around it."""

    samples: np.ndarray  # (T,) float32, 16 kHz
    noise: NoiseProfile
    snr_db: float  # NaN where there is no noise to judge by
    found: bool  # False: the whole recording, for want of speech


@dataclass(frozen=True)
class VoiceClip:
    """One decision about a whole recording."""

    emotion: EmotionEstimate
    speech_found: bool  # False: the whole recording was judged for want of speech
    duration: float  # s judged
    snr_db: float  # NaN where it could not be estimated


class AcousticPerception:
    """Decisions about the voices in one stream of sound. One instance per microphone; not thread-safe.

    Attributes:
        classifier: the voice-emotion model.
        detector, segmenter, noise: the stages before it.

    Raises:
        ModelError: a model is missing or not usable; names the path.
        ValueError: a field of the configuration is out of range; names it.
    """

    def __init__(self, config: AcousticConfig | None = None) -> None:
        self.config = config = config or AcousticConfig()
        self.classifier = VoiceClassifier(_find_model(config.model))
        self.detector = VoiceActivityDetector(
            Path(config.voice_activity_model) if config.voice_activity_model else None
        )
        self.segmenter = UtteranceSegmenter(
            config.speech_threshold,
            config.min_utterance,
            config.max_utterance,
            config.hang_over,
            config.decision_interval,
        )
        self.noise = NoiseProfile()
        self._reduce = NoiseReducer(config.noise_reduction_strength)
        self._cleaner = UtteranceCleaner(self._reduce)
        self._baseline = SpeakerBaseline(self.classifier.population, config.speaker_adaptation)
        self._input = StreamInput(config.stamp_tolerance)
        self._ring = RingBuffer(int((config.max_utterance + 2.0) * SAMPLE_RATE))
        self._muted = False
        self._restart()

    @property
    def name(self) -> str:
        """Of the voice-emotion model."""
        return self.classifier.name

    @property
    def muted(self) -> bool:
        """Whether sound is thrown away."""
        return self._muted

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return self.segmenter.speaking

    @property
    def counts(self) -> Counter[str]:
        """How often the input was wrong, by kind (see :class:`StreamInput`)."""
        return self._input.counts

    def take_warnings(self) -> list[str]:
        """What was wrong with the input since the last call, oldest first, for the log."""
        return self._input.take_warnings()

    def set_muted(self, muted: bool) -> None:
        """While muted (the robot itself speaks) sound is thrown away, and so is the utterance under way."""
        if muted and not self._muted:
            self._input.reset()
            self._restart()
        self._muted = muted

    def reset(self) -> None:
        """Forget stream, utterance, voice and noise: another source. Muting and counters stay."""
        self._input.reset()
        self._baseline.reset()
        self.noise.clear()
        self._restart()

    def warm_up(self) -> None:
        """Load what only noisy speech needs, which the first of it waits for otherwise; from any thread."""
        if self.config.noise_reduction:
            load_noisereduce()

    def push(self, samples: np.ndarray, sample_rate: int, stamp_ns: int) -> list[VoiceObservation]:
        """Take in a chunk; the decisions that it brought, oldest first.

        A gap, a stamp that jumps back or another sample rate ends the utterance under way, which is then decided about.

        Args:
            samples: ``(T,)`` or ``(T, channels)``, integers of full scale or floats -1..1; any T, 0 too.
            sample_rate: Hz.
            stamp_ns: when the first sample was captured, ns on the source's clock.

        Raises:
            ValueError: shape, type or rate make no sense; the stream goes on with the next chunk.
        """
        samples = np.asarray(samples)
        check_samples(samples)
        if self._muted or len(samples) == 0:
            return []
        observations: list[VoiceObservation] = []
        stamp_of = self._input.stamps()
        if self._input.place(len(samples), sample_rate, stamp_ns) is Continuity.RESTARTED:
            if last := self.segmenter.flush(self._ring.end):
                observations.append(self._decide(last, stamp_of))
            self._restart()
        self._ring.append(self._input.convert(samples))
        return observations + self._listen()

    def flush(self) -> list[VoiceObservation]:
        """The stream has ended: decide about what is left. The next chunk begins a new one; the noise stays known."""
        stamp_of = self._input.stamps()
        self._ring.append(self._input.finish())
        observations = self._listen(stamp_of)
        if last := self.segmenter.flush(self._ring.end):
            observations.append(self._decide(last, stamp_of))
        self._restart()
        return observations

    def cut(self) -> list[VoiceObservation]:
        """Close the utterance under way, as when it has become too long, and decide about it; the stream goes on."""
        last = self.segmenter.flush(self._ring.end)
        observations = [self._decide(last, self._input.stamps())] if last else []
        self._spoken.clear()
        self._cleaner.reset()
        return observations

    def clip(self, samples: np.ndarray, sample_rate: int) -> VoiceClip:
        """One decision about a recording: its speech, cut, cleaned where it is noisy, judged. The stream is unchanged.

        More than ``max_utterance`` of speech is judged in equal parts, and their distributions averaged; the model
        hears the last four seconds of a part.

        Raises:
            ValueError: shape, type or rate make no sense, or there is no sample.
        """
        return self.judge(self.find_speech(samples, sample_rate))

    def find_speech(self, samples: np.ndarray, sample_rate: int) -> ClipSpeech:
        """Where the speech of a recording is, and its noise. The stream is left as it is.

        Raises:
            ValueError: shape, type or rate make no sense, or there is no sample.
        """
        x = resample(samples, sample_rate)
        if not len(x):
            raise ValueError("there is no sound in an empty recording")
        voice = self.detector.probabilities(x)
        windows = x[: len(voice) * VAD_WINDOW].reshape(len(voice), VAD_WINDOW)
        speech = voice >= self.config.speech_threshold
        profile = NoiseProfile()
        profile.add(windows[voice < NOISE_BELOW].ravel())
        snr = profile.snr_db(windows[speech].ravel())
        kept = speech_slice(voice, len(x), self.config.speech_threshold)
        return ClipSpeech(x[kept], profile, snr, bool(speech.any()))

    def judge(self, speech: ClipSpeech, clean: bool | None = None) -> VoiceClip:
        """The decision about it; ``clean`` says whether to take out the noise, None decides as for a stream."""
        x = speech.samples if speech.noise.known else speech.samples[foreground(speech.samples)]
        parts = np.array_split(x, -(-len(x) // int(self.config.max_utterance * SAMPLE_RATE)))
        if self._noisy(speech.noise, speech.snr_db) if clean is None else clean and speech.noise.known:
            parts = [self._reduce(part, speech.noise.samples) for part in parts]
        estimates = [self.classifier.classify(part) for part in parts]
        emotion = estimates[0] if len(estimates) == 1 else _mean(estimates)
        return VoiceClip(emotion, speech.found, len(x) / SAMPLE_RATE, speech.snr_db)

    def _restart(self) -> None:
        """Begin a new stream at sample 0."""
        self._ring.clear()
        self.segmenter.reset()
        self.detector.reset()
        self._cleaner.reset()
        self._heard = 0  # samples the detector has seen
        self._pauses: deque[int] = deque(
            maxlen=int(2 * self.config.max_utterance * SAMPLE_RATE / VAD_WINDOW)
        )  # their ends
        self._spoken: list[tuple[int, int]] = []  # chunks of speech of the utterance under way, for its level

    def _listen(self, stamp_of: Callable[[int], int] | None = None) -> list[VoiceObservation]:
        """Let the detector hear what is new, 512 samples at a time however they came."""
        observations = []
        while self._heard + VAD_WINDOW <= self._ring.end:
            chunk = self._ring.read(self._heard, self._heard + VAD_WINDOW)
            self._heard += VAD_WINDOW
            probability = self.detector(chunk)
            stretch = self.segmenter.update(probability)
            if probability >= self.config.speech_threshold:
                self._spoken.append((self._heard - VAD_WINDOW, self._heard))
            elif probability < NOISE_BELOW:
                self._pauses.append(self._heard)
                if not self.segmenter.speaking and stretch is None:
                    self.noise.add(chunk)
            if stretch is not None:
                observations.append(self._decide(stretch, stamp_of or self._input.stamps()))
            if not self.segmenter.speaking:
                self._spoken.clear()
                self._cleaner.reset()
        return observations

    def _decide(self, stretch: Stretch, stamp_of: Callable[[int], int]) -> VoiceObservation:
        start = stretch.start
        if not stretch.final:
            start = max(start, stretch.stop - round(self.config.decision_window * SAMPLE_RATE))
        level = [self._ring.read(a, b) for a, b in self._spoken if start <= a and b <= stretch.stop]
        snr = self.noise.snr_db(np.concatenate(level)) if level else float("nan")
        heard = self._ring.read(start, stretch.stop)
        # Where there was a pause lately, voice activity tells speech from what is behind it; where there was none, it
        # hears the voices behind as well.
        lately = start - self.config.max_utterance * SAMPLE_RATE
        paused = VAD_WINDOW * sum(end > lately for end in self._pauses) >= LEARNT_FROM * SAMPLE_RATE
        front = slice(None) if paused else foreground(heard)
        if self._noisy(self.noise, snr):
            heard = self._cleaner(self._ring, start, stretch.stop, self.noise.samples)
        told = self.classifier.hear(heard[front], self._baseline)
        if stretch.final:
            self._baseline.add(told.logits)
        return VoiceObservation(
            stamp_ns=stamp_of(stretch.stop),
            duration=(stretch.stop - start) / SAMPLE_RATE,
            voice_id=self.config.voice_id,
            snr_db=snr,
            overlapped_speech=told.overlapped,
            final=stretch.final,
            emotion=told.emotion,
            level_db=level_db(heard),
        )

    def _noisy(self, noise: NoiseProfile, snr_db: float) -> bool:
        """Whether speech is to be cleaned."""
        # A comparison with NaN is False: where the noise is not known, nothing is taken out. Nor where it is not
        # steady: gating speech by the notes of a song cost 12 points of accuracy at 5 dB (docs/acoustic_model.md).
        return self.config.noise_reduction and snr_db < self.config.noise_reduction_below_db and noise.steady


def level_db(samples: np.ndarray) -> np.ndarray:
    """How loud samples ``(T,)`` at 16 kHz are over time: ``(K,)`` float32 dB of full scale, equal parts of ~40 ms."""
    parts = np.array_split(samples, max(1, round(len(samples) / SAMPLE_RATE / LEVEL_STEP)))
    power = np.array([float(part @ part) / max(1, len(part)) for part in parts])
    return (10 * np.log10(np.maximum(power, QUIETEST**2))).astype(np.float32)


def _find_model(model: str) -> Path:
    """A path that exists, else a name in the package's models folder."""
    if Path(model).is_file():
        return Path(model)
    try:
        return model_path(model or "voice.safetensors")
    except FileNotFoundError as error:
        raise ModelError(f"voice-emotion model not found: {error}") from None


def _mean(estimates: list[EmotionEstimate]) -> EmotionEstimate:
    """The mean distribution and intensities of parts of equal length."""
    return EmotionEstimate.from_probabilities(
        np.mean([e.probabilities for e in estimates], axis=0), np.mean([e.intensities for e in estimates], axis=0)
    )
