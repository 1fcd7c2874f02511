"""From voice probabilities, one per 32 ms window, to utterances and the segments to decide about."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_perception.acoustic.voice_activity import POST_ROLL, PRE_ROLL, SAMPLE_RATE, VAD_WINDOW


@dataclass(frozen=True)
class Segment:
    """The samples that one decision is about: part of an utterance or all of it; sample numbers at 16 kHz."""

    start: int
    stop: int  # exclusive
    final: bool  # the utterance has ended


class UtteranceSegmenter:
    """Hysteresis over voice probabilities with a hang-over, as in Silero VAD's ``VADIterator``.

    Speech starts with a window at ``threshold`` or above and ends after ``hang_over`` seconds below
    ``threshold - 0.15``. An utterance extends from 0.15 s before its first window of speech to 0.15 s after its last.
    There is a decision every ``interval`` seconds while it lasts and a final one at its end, but none if it has less
    than ``min_speech`` seconds from its first to its last window of speech. After ``max_utterance`` seconds an
    utterance is closed and the next one starts without a gap.

    Args:
        threshold: probability 0..1.
        min_speech, max_utterance, hang_over, interval: s.

    Raises:
        ValueError: a value out of range; the message says which.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        min_speech: float = 0.4,
        max_utterance: float = 8.0,
        hang_over: float = 0.4,
        interval: float = 0.5,
    ) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        if not 0 < min_speech < max_utterance:
            raise ValueError(f"expected 0 < min_speech < max_utterance, got {min_speech} and {max_utterance} s")
        if hang_over < POST_ROLL:
            raise ValueError(f"hang-over must be at least {POST_ROLL} s, got {hang_over}")
        if interval <= 0:
            raise ValueError(f"decision interval must be positive, got {interval}")
        self._high, self._low = threshold, max(threshold - 0.15, 0.01)
        self._min, self._max, self._hang_over, self._interval = (
            round(s * SAMPLE_RATE) for s in (min_speech, max_utterance, hang_over, interval)
        )
        self._pre_roll, self._post_roll = round(PRE_ROLL * SAMPLE_RATE), round(POST_ROLL * SAMPLE_RATE)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream at sample 0; an utterance in progress is dropped."""
        self._position = 0  # samples seen
        self._floor = 0  # end of the previous utterance: utterances do not overlap
        self._start: int | None = None  # of the utterance in progress
        self._first = self._last = 0  # its first sample of speech, and the one after its last
        self._due = 0  # speech samples from which the next decision is due

    @property
    def speaking(self) -> bool:
        """Whether an utterance is in progress, including its hang-over."""
        return self._start is not None

    def update(self, probability: float) -> Segment | None:
        """Process the voice probability of the next 512 samples; returns the segment to decide about now, if any."""
        begin, self._position = self._position, self._position + VAD_WINDOW
        if self._start is None:
            if probability < self._high:
                return None
            self._open(begin)
        elif probability >= self._low:
            self._last = self._position
        assert self._start is not None
        if self._position - self._last >= self._hang_over:
            return self._close(min(self._last + self._post_roll, self._position))
        if self._position - self._start >= self._max:
            return self._close(self._position)
        spoken = self._last - self._first
        if self._last == self._position and spoken >= max(self._due, self._min):
            self._due = spoken + self._interval
            return Segment(self._start, self._position, final=False)
        return None

    def flush(self, available: int) -> Segment | None:
        """End the stream at sample ``available``; returns the utterance in progress, if it is long enough."""
        return None if self._start is None else self._close(min(self._last + self._post_roll, available))

    def _open(self, begin: int) -> None:
        self._start = max(begin - self._pre_roll, self._floor)
        self._first, self._last = begin, self._position
        self._due = self._interval

    def _close(self, stop: int) -> Segment | None:
        start, self._start, self._floor = self._start, None, stop
        assert start is not None
        return Segment(start, stop, final=True) if self._last - self._first >= self._min else None
