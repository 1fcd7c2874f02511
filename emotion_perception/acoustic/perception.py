"""The acoustic pipeline: from chunks of sound to decisions about the emotion of voices.

Conversion, voice activity detection, utterances, noise reduction, classification. The noise is estimated outside
utterances; speech is compared with it and cleaned where it is noisy. Without speech there is no observation.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_perception.acoustic.adaptation import Adaptation, SpeakerBaseline
from emotion_perception.acoustic.emotion_classifier import VoiceEmotionClassifier
from emotion_perception.acoustic.noise import (
    MIN_NOISE_S,
    NoiseProfile,
    NoiseReducer,
    UtteranceCleaner,
    foreground,
    load_noisereduce,
)
from emotion_perception.acoustic.place import ClassStatistics, PlaceAdaptation
from emotion_perception.acoustic.ring_buffer import Continuity, RingBuffer, StreamInput, resample
from emotion_perception.acoustic.segmentation import Segment, UtteranceSegmenter
from emotion_perception.acoustic.voice_activity import (
    SAMPLE_RATE,
    THRESHOLD,
    VAD_WINDOW,
    VoiceActivityDetector,
    speech_slice,
)
from emotion_perception.emotions import EMOTIONS
from emotion_perception.inference.protocols import VoiceClassifier
from emotion_perception.messages.samples import check_samples
from emotion_perception.priors import DEFAULT_PRIOR, PRIOR_SETTING, parse_prior
from emotion_perception.resources import find_model
from emotion_perception.settings import check_settings, setting
from emotion_perception.types import EmotionEstimate, VoiceObservation

LEVEL_STEP = 0.04  # s, approximate resolution of an observation's level
MIN_LEVEL = 1e-5  # of full scale, -100 dB
NOISE_BELOW = 0.2  # voice probability below which a window outside utterances counts as noise


@dataclass(frozen=True)
class AcousticConfig:
    """The settings of :class:`AcousticPerception`; each is a ROS parameter of ``acoustic_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    model: str = setting(
        "voice.onnx", "ONNX file of the voice emotion classifier: a path, or the name of a model in the package."
    )
    emotion_prior: str = setting(DEFAULT_PRIOR, PRIOR_SETTING)
    voice_activity_model: str = setting(
        "", "Silero VAD weights (ONNX, 16 kHz, any number of windows). Empty: those of the silero-vad package."
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
    place_adaptation: float = setting(
        0.0,
        "Strength of the adaptation to a place: how much of the shift that microphone, room and language give to all "
        "voices there is removed. It is learnt slowly from all utterances, see acoustic_model.md. 0: off.",
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
        parse_prior(self.emotion_prior)


@dataclass(frozen=True)
class ClipSpeech:
    """The speech of a recording, cropped, and the noise around it."""

    samples: np.ndarray  # (T,) float32, 16 kHz
    noise: NoiseProfile
    snr_db: float  # NaN without an estimate of the noise
    found: bool  # False: no speech was detected, samples are the whole recording


@dataclass(frozen=True)
class VoiceClip:
    """The decision about a whole recording."""

    emotion: EmotionEstimate
    speech_found: bool  # False: no speech was detected, the whole recording was classified
    duration: float  # s classified
    snr_db: float  # NaN if it could not be estimated


class AcousticPerception:
    """Decisions about the voices in one audio stream. One instance per microphone; not thread-safe.

    Args:
        classifier: of the voices; None loads ``config.model``.

    Attributes:
        classifier: the voice classifier.
        detector, segmenter, noise: the stages before it.
        place: adaptation to the place; it survives :meth:`reset`.

    Raises:
        ModelError: a model is missing or not usable; names the path.
        ValueError: a field of the configuration is out of range; names it.

    Example:
        >>> perception = AcousticPerception()
        >>> silence = np.zeros(16_000, np.int16)
        >>> perception.push(silence, sample_rate=16_000, stamp_ns=0)
        []
    """

    def __init__(self, config: AcousticConfig | None = None, classifier: VoiceClassifier | None = None) -> None:
        self.config = config = config or AcousticConfig()
        self.classifier: VoiceClassifier = classifier or VoiceEmotionClassifier(find_model(config.model))
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
        self._prior = parse_prior(config.emotion_prior)
        self._baseline = SpeakerBaseline(self.classifier.population, config.speaker_adaptation)
        statistics = ClassStatistics.from_card(self.classifier.card.details.get("class_statistics"))
        self.place = PlaceAdaptation(statistics, strength=config.place_adaptation)
        self._adaptation = Adaptation(self.place, self._baseline)
        self._input = StreamInput(config.stamp_tolerance)
        self._ring = RingBuffer(int((config.max_utterance + 2.0) * SAMPLE_RATE))
        self._muted = False
        self._restart()

    @property
    def name(self) -> str:
        """Name of the voice classifier."""
        return self.classifier.name

    @property
    def muted(self) -> bool:
        """Whether sound is discarded."""
        return self._muted

    @property
    def speaking(self) -> bool:
        """Whether an utterance is in progress."""
        return self.segmenter.speaking

    @property
    def counts(self) -> Counter[str]:
        """Number of input errors by kind (see :class:`StreamInput`)."""
        return self._input.counts

    def take_warnings(self) -> list[str]:
        """The warnings about the input since the last call, oldest first."""
        return self._input.take_warnings()

    def set_muted(self, muted: bool) -> None:
        """Discard sound while muted (the robot itself speaks); an utterance in progress is dropped."""
        if muted and not self._muted:
            self._input.reset()
            self._restart()
        self._muted = muted

    def reset(self) -> None:
        """Forget stream, utterance, speaker baseline and noise: another source. Muting, counters and place stay."""
        self._input.reset()
        self._baseline.reset()
        self.noise.clear()
        self._restart()

    def warm_up(self) -> None:
        """Import what only noisy speech needs, so that the first noisy utterance is not delayed; from any thread."""
        if self.config.noise_reduction:
            load_noisereduce()

    def push(self, samples: np.ndarray, sample_rate: int, stamp_ns: int) -> list[VoiceObservation]:
        """Process a chunk; returns the new decisions, oldest first.

        A gap, a stamp that jumps back or another sample rate ends the utterance in progress with a final decision.

        Args:
            samples: ``(T,)`` or ``(T, channels)``, full-scale integers or floats -1..1; T may be 0.
            sample_rate: Hz.
            stamp_ns: capture time of the first sample, ns on the source's clock.

        Raises:
            ValueError: wrong shape, type or rate; the stream continues with the next chunk.
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
        return observations + self._process()

    def flush(self) -> list[VoiceObservation]:
        """End the stream; returns the remaining decisions. The next chunk starts a new stream; the noise is kept."""
        stamp_of = self._input.stamps()
        self._ring.append(self._input.finish())
        observations = self._process(stamp_of)
        if last := self.segmenter.flush(self._ring.end):
            observations.append(self._decide(last, stamp_of))
        self._restart()
        return observations

    def end_utterance(self) -> list[VoiceObservation]:
        """Close the utterance in progress, as at its maximum length; returns the final decision. The stream goes on."""
        last = self.segmenter.flush(self._ring.end)
        observations = [self._decide(last, self._input.stamps())] if last else []
        self._voiced.clear()
        self._cleaner.reset()
        return observations

    def classify_recording(self, samples: np.ndarray, sample_rate: int) -> VoiceClip:
        """One decision about a whole recording, as ``(T,)`` or ``(T, channels)``. The stream is unchanged.

        Speech longer than ``max_utterance`` is split into equal parts, whose distributions are averaged; the model
        uses the last four seconds of a part.

        Raises:
            ValueError: wrong shape, type or rate, or no samples.
        """
        return self.classify_speech(self.find_speech(samples, sample_rate))

    def find_speech(self, samples: np.ndarray, sample_rate: int) -> ClipSpeech:
        """Crop a recording to its speech and estimate its noise. The stream is unchanged.

        Raises:
            ValueError: wrong shape, type or rate, or no samples.
        """
        x = resample(samples, sample_rate)
        if not len(x):
            raise ValueError("there is no sound in an empty recording")
        voice = self.detector.probabilities(x)
        windows = x[: len(voice) * VAD_WINDOW].reshape(len(voice), VAD_WINDOW)
        speech = voice >= self.config.speech_threshold
        noise = NoiseProfile()
        noise.add(windows[voice < NOISE_BELOW].ravel())
        snr = noise.snr_db(windows[speech].ravel())
        cropped = x[speech_slice(voice, len(x), self.config.speech_threshold)]
        return ClipSpeech(cropped, noise, snr, bool(speech.any()))

    def classify_speech(self, speech: ClipSpeech, clean: bool | None = None) -> VoiceClip:
        """One decision about cropped speech.

        Args:
            clean: whether to reduce noise; None: under the same conditions as in a stream.
        """
        x = speech.samples if speech.noise.known else speech.samples[foreground(speech.samples)]
        parts = np.array_split(x, -(-len(x) // int(self.config.max_utterance * SAMPLE_RATE)))
        if self._needs_cleaning(speech.noise, speech.snr_db) if clean is None else clean and speech.noise.known:
            parts = [self._reduce(part, speech.noise.samples) for part in parts]
        estimates = [self.classifier.classify(part, self.place).emotion for part in parts]
        emotion = estimates[0] if len(estimates) == 1 else _mean(estimates)
        return VoiceClip(emotion.with_prior(self._prior), speech.found, len(x) / SAMPLE_RATE, speech.snr_db)

    def calibrate_place(self, samples: np.ndarray, sample_rate: int) -> int:
        """Estimate the shift of the place from a recording of ordinary speech there; replaces what was learnt.

        Half a minute of speech or more of several people is best. The stream is unchanged.

        Args:
            samples: ``(T,)`` or ``(T, channels)``.

        Returns:
            The number of utterances found; with fewer than five the estimate has little effect.

        Raises:
            ValueError: wrong shape, type or rate, or no samples.
        """
        logits = self.utterance_logits(samples, sample_rate)
        self.place.fit(logits)
        return len(logits)

    def utterance_logits(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """``(K, 8)`` logits, not adapted, of the utterances of a recording. The stream is unchanged.

        Raises:
            ValueError: wrong shape, type or rate, or no samples.
        """
        x = resample(samples, sample_rate)
        config = self.config
        segmenter = UtteranceSegmenter(
            config.speech_threshold, config.min_utterance, config.max_utterance, config.hang_over, config.max_utterance
        )
        segments = [segmenter.update(float(p)) for p in self.detector.probabilities(x)] + [segmenter.flush(len(x))]
        logits = [self.classifier.classify(x[s.start : s.stop]).logits for s in segments if s is not None and s.final]
        return np.array(logits).reshape(-1, len(EMOTIONS))

    def _restart(self) -> None:
        """Begin a new stream at sample 0."""
        self._ring.clear()
        self.segmenter.reset()
        self.detector.reset()
        self._cleaner.reset()
        self._position = 0  # samples that passed the detector
        self._pauses: deque[int] = deque(maxlen=int(2 * self.config.max_utterance * SAMPLE_RATE / VAD_WINDOW))  # ends
        self._voiced: list[tuple[int, int]] = []  # windows of speech in the current utterance, for its SNR

    def _process(self, stamp_of: Callable[[int], int] | None = None) -> list[VoiceObservation]:
        """Run the detector on new samples, 512 at a time whatever the size of the chunks."""
        observations = []
        while self._position + VAD_WINDOW <= self._ring.end:
            window = self._ring.read(self._position, self._position + VAD_WINDOW)
            self._position += VAD_WINDOW
            probability = self.detector(window)
            segment = self.segmenter.update(probability)
            if probability >= self.config.speech_threshold:
                self._voiced.append((self._position - VAD_WINDOW, self._position))
            elif probability < NOISE_BELOW:
                self._pauses.append(self._position)
                if not self.segmenter.speaking and segment is None:
                    self.noise.add(window)
            if segment is not None:
                observations.append(self._decide(segment, stamp_of or self._input.stamps()))
            if not self.segmenter.speaking:
                self._voiced.clear()
                self._cleaner.reset()
        return observations

    def _decide(self, segment: Segment, stamp_of: Callable[[int], int]) -> VoiceObservation:
        start = segment.start
        if not segment.final:
            start = max(start, segment.stop - round(self.config.decision_window * SAMPLE_RATE))
        voiced = [self._ring.read(a, b) for a, b in self._voiced if start <= a and b <= segment.stop]
        snr = self.noise.snr_db(np.concatenate(voiced)) if voiced else float("nan")
        samples = self._ring.read(start, segment.stop)
        # After a recent pause, voice activity separates the speech from what is behind it. Without a pause, it has
        # detected the voices in the background as well, which are left out by their level.
        recent = start - self.config.max_utterance * SAMPLE_RATE
        paused = VAD_WINDOW * sum(end > recent for end in self._pauses) >= MIN_NOISE_S * SAMPLE_RATE
        front = slice(None) if paused else foreground(samples)
        if self._needs_cleaning(self.noise, snr):
            samples = self._cleaner(self._ring, start, segment.stop, self.noise.samples)
        estimate = self.classifier.classify(samples[front], self._adaptation)
        if segment.final:
            self._baseline.add(self.place.normalise(estimate.logits))
            if not estimate.overlapped:
                self.place.add(estimate.logits)
        return VoiceObservation(
            stamp_ns=stamp_of(segment.stop),
            duration=(segment.stop - start) / SAMPLE_RATE,
            voice_id=self.config.voice_id,
            snr_db=snr,
            overlapped_speech=estimate.overlapped,
            final=segment.final,
            emotion=estimate.emotion.with_prior(self._prior),
            level_db=level_db(samples),
        )

    def _needs_cleaning(self, noise: NoiseProfile, snr_db: float) -> bool:
        # A comparison with NaN is False: unknown noise is not reduced. Neither is noise that is not steady: gating
        # speech by the notes of a song cost 12 points of accuracy at 5 dB (docs/acoustic_model.md).
        return self.config.noise_reduction and snr_db < self.config.noise_reduction_below_db and noise.steady


def level_db(samples: np.ndarray) -> np.ndarray:
    """Level of ``(T,)`` samples at 16 kHz over time: ``(K,)`` float32 dB of full scale, in equal parts of ~40 ms."""
    parts = np.array_split(samples, max(1, round(len(samples) / SAMPLE_RATE / LEVEL_STEP)))
    power = np.array([float(part @ part) / max(1, len(part)) for part in parts])
    return (10 * np.log10(np.maximum(power, MIN_LEVEL**2))).astype(np.float32)


def _mean(estimates: list[EmotionEstimate]) -> EmotionEstimate:
    """Mean distribution and intensities of parts of equal length."""
    return EmotionEstimate.from_probabilities(
        np.mean([e.probabilities for e in estimates], axis=0), np.mean([e.intensities for e in estimates], axis=0)
    )
