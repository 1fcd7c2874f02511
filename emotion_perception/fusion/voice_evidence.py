"""Voices as evidence: the recent decisions about each voice, its belief over utterances, and their weights.

The decisions of one utterance overlap in time, so the last one stands for all. Utterances are filtered by the same
hidden Markov model as faces (:mod:`emotion_perception.hmm_filter`), on a time scale of their own. A voice counts from
its newest utterance until ``acoustic_max_age_s``.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.pooling import half_life_decay, ramp
from emotion_perception.fusion.reliability import Reliability
from emotion_perception.hmm_filter import HmmUpdate, TemporalConfig, initial_belief, to_report
from emotion_perception.types import EmotionEstimate, VoiceObservation, to_nanoseconds, to_seconds

MAX_VOICES = 8
MAX_DECISIONS = 32  # per voice
MAX_UTTERANCES = 8  # per voice, in the belief
LONGEST_UTTERANCE = 10.0  # s, the most that one utterance counts for in the filter
MIN_OVERLAP = 0.05  # s; segments that overlap by less belong to different utterances


@dataclass(frozen=True)
class VoiceBelief:
    """The belief about a voice as of its newest utterance."""

    stamp_ns: int
    voice: VoiceObservation  # the newest decision
    emotion: EmotionEstimate
    weight: float  # in the pool, without staleness and speaker probability


@dataclass(frozen=True)
class _Decision:
    """One decision about a voice."""

    voice: VoiceObservation
    weight: float  # in the pool, without staleness
    emotion: EmotionEstimate  # likelihood ratios after the class factors of the model
    temporal: TemporalConfig

    @cached_property
    def update(self) -> HmmUpdate:
        """Its effect on any belief; computed once, as a decision is used in many queries."""
        return HmmUpdate.of(self.emotion.probabilities, self.temporal)


class VoiceTrack:
    """The decisions about one voice, oldest first, and the belief that they lead to."""

    def __init__(self, reliability: Reliability, temporal: TemporalConfig) -> None:
        self.decisions: list[_Decision] = []
        self._reliability, self._temporal = reliability, temporal
        self._utterances: list[_Decision] | None = None
        self._silences: tuple[float, list[bool]] | None = None
        self._belief: tuple[tuple[float, ...], VoiceBelief] | None = None

    def add(self, voice: VoiceObservation, weight: float) -> None:
        """One more decision, at any place in the order of stamps."""
        decision = _Decision(voice, weight, self._reliability.as_evidence(voice.emotion), self._temporal)
        insort(self.decisions, decision, key=lambda held: (held.voice.stamp_ns, held.voice.final))
        del self.decisions[:-MAX_DECISIONS]
        self._utterances = self._silences = self._belief = None

    def keep_until(self, newest_ns: int) -> None:
        """Drop decisions later than a stamp."""
        if self.decisions and self.decisions[-1].voice.stamp_ns > newest_ns:
            self.decisions = [held for held in self.decisions if held.voice.stamp_ns <= newest_ns]
            self._utterances = self._silences = self._belief = None

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest decision, of which there must be one."""
        return self.decisions[-1].voice.stamp_ns

    @property
    def utterances(self) -> list[_Decision]:
        """The last decision of each utterance; zero-weight decisions are left out and hide none before them."""
        if self._utterances is not None:
            return self._utterances
        utterances: list[_Decision] = []
        for decision in self.decisions:
            if decision.weight <= 0:
                continue
            voice = decision.voice
            start_ns = voice.stamp_ns - to_nanoseconds(max(0.0, voice.duration - MIN_OVERLAP))
            while utterances and utterances[-1].voice.stamp_ns >= start_ns:
                utterances.pop()
            utterances.append(decision)
        self._utterances = utterances[-MAX_UTTERANCES:]
        return self._utterances

    def after_silence(self, seconds: float) -> list[bool]:
        """For each of :attr:`utterances` whether no decision ended in the time before it began."""
        if self._silences is None or self._silences[0] != seconds:
            found = []
            for utterance in self.utterances:
                start_ns = utterance.voice.stamp_ns - to_nanoseconds(utterance.voice.duration)
                silent_ns = start_ns - to_nanoseconds(seconds)
                found.append(not any(silent_ns < held.voice.stamp_ns <= start_ns for held in self.decisions))
            self._silences = seconds, found
        return self._silences[1]

    def belief(self, shares: Sequence[float]) -> VoiceBelief:
        """The belief about the speaker of the newest utterance; there must be one.

        Args:
            shares: probability of each utterance to be of that speaker, 0..1; the newest's is 1.
        """
        key = tuple(round(share, 2) for share in shares)  # ignore changes caused by a shift of one pixel
        if self._belief is None or self._belief[0] != key:
            self._belief = key, self._filter(key)
        return self._belief[1]

    def _filter(self, shares: Sequence[float]) -> VoiceBelief:
        newest = self.utterances[-1]
        stamp_ns, emotion = newest.voice.stamp_ns, newest.emotion
        if len(self.utterances) == 1:
            return VoiceBelief(stamp_ns, newest.voice, emotion, newest.weight)
        belief, filtered_weight, previous_ns = None, 0.0, 0
        for utterance, share in zip(self.utterances, shares, strict=True):
            weight = utterance.weight * share
            if belief is None:
                p = utterance.emotion.probabilities
                belief, filtered_weight = initial_belief(share * p + (1 - share) / len(p), self._temporal), weight
            else:
                elapsed = to_seconds(utterance.voice.stamp_ns - previous_ns)
                observed = min(elapsed, utterance.voice.duration * min(1.0, weight))  # less where it is doubtful
                belief = utterance.update.apply(belief, elapsed, self._temporal, observed)
                kept = math.exp(-observed / self._temporal.hold)
                filtered_weight = kept * filtered_weight + (1 - kept) * weight
            previous_ns = utterance.voice.stamp_ns
        assert belief is not None
        p = to_report(belief, self._temporal)
        confidence = float(p.max()) * emotion.confidence / float(emotion.probabilities.max())
        filtered = EmotionEstimate.from_probabilities(p, emotion.intensities, confidence)
        return VoiceBelief(stamp_ns, newest.voice, filtered, filtered_weight)


class VoiceTracks:
    """All voices of the last seconds.

    Args:
        config: of the engine.
        reliability: of the voice model.
    """

    def __init__(self, config: FusionConfig, reliability: Reliability) -> None:
        self._config, self._reliability = config, reliability
        self._temporal = TemporalConfig(
            config.voice_hold_s, config.voice_slip, LONGEST_UTTERANCE, config.voice_memory_s
        )
        self.tracks: dict[str, VoiceTrack] = {}  # by voice id

    def add(self, voice: VoiceObservation) -> None:
        """One decision."""
        track = self.tracks.get(voice.voice_id)
        if track is None:
            track = self.tracks[voice.voice_id] = VoiceTrack(self._reliability, self._temporal)
        track.add(voice, self._weight(voice))
        if len(self.tracks) > MAX_VOICES:
            del self.tracks[min(self.tracks, key=lambda voice_id: self.tracks[voice_id].newest_ns)]

    def keep_until(self, newest_ns: int) -> None:
        """Drop decisions later than a stamp, and voices without any."""
        for track in self.tracks.values():
            track.keep_until(newest_ns)
        self.tracks = {voice_id: track for voice_id, track in self.tracks.items() if track.decisions}

    def fresh(self, now_ns: int) -> Iterator[VoiceTrack]:
        """The voices with an utterance that is not too old."""
        for track in self.tracks.values():
            if track.utterances and not self._is_too_old(track.utterances[-1].voice, now_ns):
                yield track

    def weight_at(self, belief: VoiceBelief, now_ns: int) -> float:
        """The weight of a voice in the pool at a time, with staleness, without speaker probability."""
        config = self._config
        age = to_seconds(now_ns - belief.stamp_ns)
        return belief.weight * half_life_decay(
            age, config.acoustic_fresh_s, config.acoustic_half_life_s, config.acoustic_max_age_s
        )

    def _is_too_old(self, voice: VoiceObservation, now_ns: int) -> bool:
        return to_seconds(now_ns - voice.stamp_ns) >= self._config.acoustic_max_age_s

    def _weight(self, voice: VoiceObservation) -> float:
        """Of one decision, without staleness."""
        config = self._config
        if voice.snr_db <= config.min_snr_db:  # False for NaN, an unknown SNR
            return 0.0
        spoken = ramp(voice.duration, 0.0, config.full_speech_s)
        alone = config.overlap_factor if voice.overlapped_speech else 1.0
        return config.acoustic_weight * spoken * alone * self._reliability.weight_at(voice.snr_db)
