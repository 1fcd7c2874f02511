"""Mouth motion as a cue for the active speaker: does this mouth move and open with the voice?

The log-likelihood ratio that a mouth is the speaker's rests on two measures over the segment of a voice decision: the
mean motion of the mouth, and the correlation of its opening with the level of the voice.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from emotion_perception.types import VoiceObservation, to_nanoseconds

# Log-likelihood ratio: MOTION_SLOPE * ln(motion + STILL_MOTION) + CORRELATION_SLOPE * r + OFFSET, fitted by
# scripts/measure_mouths.py (docs/fusion.md) to one actor; the slopes are therefore reduced, and the ratio is clipped.
MOTION_SLOPE, CORRELATION_SLOPE, OFFSET = 3.0, 3.0, 3.6
STILL_MOTION = 0.02  # motion measured on a still mouth
MAX_RATIO = 3.0  # nats, the strongest evidence of one mouth for or against
LAGS = 3  # parts of the level, 40 ms each, that the images may be earlier or later than the sound
LEVEL_RANGE = 35.0  # dB below the loudest part; quieter parts count as this quiet
MIN_LEVELS, MIN_FRAMES = 8, 4  # in a segment that is compared
MIN_COVERAGE = 0.6  # of the segment by frames of the mouth
MARGIN_S = 0.12  # s before and after a segment whose frames are used, for the lags
HISTORY_S = 12.0  # s of mouth motion kept: the longest utterance, and the delay of its decision
MAX_FRAMES = 1024  # kept per mouth
MAX_MOUTHS = 256
MAX_SCORES = 256  # segments whose scores are cached


@dataclass(frozen=True)
class MouthSamples:
    """N samples of F mouths around one segment of speech, mouth after mouth, each in order of time."""

    time: np.ndarray  # (N,) s from the start of the segment
    opening: np.ndarray  # (N,) 0..1
    motion: np.ndarray  # (N,) >= 0, NaN where unknown
    ends: np.ndarray  # (F + 1,) int: first sample of each mouth and, last, N

    @classmethod
    def from_tables(cls, tables: Sequence[np.ndarray]) -> MouthSamples:
        """From one table ``(n, 3)`` per mouth with the columns time, opening, motion."""
        time, opening, motion = np.concatenate([np.zeros((0, 3)), *tables]).T
        return cls(time, opening, motion, np.array([0, *(len(table) for table in tables)]).cumsum())


def mouth_log_likelihood_ratio(mouths: MouthSamples, duration: float, level_db: np.ndarray) -> list[float]:
    """For each of F mouths the log-likelihood ratio, nats, that it is the speaker's; NaN where unknown.

    Args:
        mouths: their samples around the segment of speech.
        duration: of the segment, s.
        level_db: ``(K,)`` level of the voice in K equal parts of the segment, about 40 ms each.
    """
    ratios = []
    for motion, correlation in mouth_measures(mouths, duration, level_db):
        if math.isnan(motion):
            ratios.append(math.nan)
            continue
        ratio = MOTION_SLOPE * math.log(motion + STILL_MOTION) + CORRELATION_SLOPE * correlation + OFFSET
        ratios.append(min(MAX_RATIO, max(-MAX_RATIO, ratio)))
    return ratios


def mouth_measures(mouths: MouthSamples, duration: float, level_db: np.ndarray) -> list[tuple[float, float]]:
    """For each mouth its mean motion during the segment, and the largest correlation of its opening with the level
    over the lags; both NaN where frames or levels are too few. Arguments as :func:`mouth_log_likelihood_ratio`."""
    unknown = (math.nan, math.nan)
    faces = len(mouths.ends) - 1
    if len(level_db) < MIN_LEVELS or not duration > 0:
        return [unknown] * faces
    motions = _mean_motions(mouths, duration)
    if all(math.isnan(motion) for motion in motions):
        return [unknown] * faces
    correlations = _largest_correlations(mouths, duration, level_db).tolist()
    return [unknown if math.isnan(pair[0]) else pair for pair in zip(motions, correlations, strict=True)]


def _mean_motions(mouths: MouthSamples, duration: float) -> list[float]:
    """Mean motion of each mouth during the segment; NaN where its frames are too few."""
    inside = (mouths.time >= 0) & (mouths.time < duration) & (mouths.motion == mouths.motion)  # not NaN
    rows = np.flatnonzero(inside)
    time, sums = mouths.time[rows], np.append(0.0, mouths.motion[rows].cumsum())
    motions = []
    for first, stop in pairwise(rows.searchsorted(mouths.ends).tolist()):
        frames = stop - first
        enough = frames >= MIN_FRAMES and time[stop - 1] - time[first] >= MIN_COVERAGE * duration
        motions.append(float(sums[stop] - sums[first]) / frames if enough else math.nan)
    return motions


def _largest_correlations(mouths: MouthSamples, duration: float, level_db: np.ndarray) -> np.ndarray:
    """``(F,)`` correlation of each mouth's opening with the level, at the lag where it is largest.

    There must be one sample at least; the value of a mouth without samples is meaningless.
    """
    parts, begins, ends = len(level_db), mouths.ends[:-1], mouths.ends[1:]
    when = (np.arange(-LAGS, parts + LAGS) + 0.5) * (duration / parts)  # (K + 2 LAGS,)
    first, last = mouths.time[np.minimum(begins, len(mouths.time) - 1)], mouths.time[ends - 1]
    clipped = np.minimum(np.maximum(when, first[:, np.newaxis]), last[:, np.newaxis])
    # One interpolation for all mouths: each is shifted to a time range of its own, so that none has a neighbour in
    # another mouth.
    shift = np.arange(len(begins)) * (float(mouths.time.max() - mouths.time.min()) + 1.0)
    opening = np.interp(clipped + shift[:, np.newaxis], mouths.time + shift.repeat(ends - begins), mouths.opening)
    level = np.maximum(level_db, level_db.max() - LEVEL_RANGE).astype(np.float64)
    level -= level.mean()  # makes the mean of the opening irrelevant to the product
    window = _at_each_lag(np.ones(parts))
    spread = (opening**2) @ window - (opening @ window) ** 2 / parts
    scale = np.sqrt(spread + 1e-12) * math.sqrt(float(level @ level) + 1e-12)
    return np.asarray((opening @ _at_each_lag(level) / scale).max(1))


def _at_each_lag(values: np.ndarray) -> np.ndarray:
    """``(K + 2 LAGS, 2 LAGS + 1)``: the values ``(K,)``, one row lower in each column, zeros elsewhere."""
    rows, lags = len(values) + 2 * LAGS, 2 * LAGS + 1
    skewed = np.zeros((lags, rows + 1))
    skewed[:, : len(values)] = values
    return skewed.ravel()[: lags * rows].reshape(lags, rows).T


class _MouthTrack:
    """Opening and motion of one mouth, oldest first."""

    def __init__(self) -> None:
        self.stamps, self.openings, self.motions = array("q"), array("d"), array("d")
        self.changes = 0  # of earlier samples, by late or repeated frames

    def add(self, stamp_ns: int, opening: float, motion: float) -> None:
        if not self.stamps or stamp_ns > self.stamps[-1]:
            self.stamps.append(stamp_ns)
            self.openings.append(opening)
            self.motions.append(motion)
            return
        at = bisect_left(self.stamps, stamp_ns)
        self.changes += 1
        if self.stamps[at] == stamp_ns:
            self.openings[at], self.motions[at] = opening, motion
            return
        self.stamps.insert(at, stamp_ns)
        self.openings.insert(at, opening)
        self.motions.insert(at, motion)

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        if self.stamps and oldest_ns <= self.stamps[0] and self.stamps[-1] <= newest_ns:
            return
        first, last = bisect_left(self.stamps, oldest_ns), bisect_right(self.stamps, newest_ns)
        first = max(first, last - MAX_FRAMES)
        if first > 64 or last < len(self.stamps) or first == last:  # copying at every frame would be slow
            self.stamps = self.stamps[first:last]
            self.openings, self.motions = self.openings[first:last], self.motions[first:last]

    def span(self, start_ns: int, stop_ns: int, margin_ns: int) -> tuple[int, int]:
        """First sample and stop of a time range with its margins; the later margin only once it is complete."""
        first, last = bisect_left(self.stamps, start_ns - margin_ns), bisect_right(self.stamps, stop_ns + margin_ns)
        return first, (last if last < len(self.stamps) else bisect_right(self.stamps, stop_ns))


@dataclass(frozen=True)
class _MouthTracks:
    """The mouths of the faces that are candidates at one query."""

    tracks: list[tuple[str, _MouthTrack]]  # face id and mouth
    version: list[tuple[str, int, int]]  # stays equal as long as only newer frames are added
    complete_until_ns: int  # newest stamp that all of them have reached

    @classmethod
    def of(cls, tracks: list[tuple[str, _MouthTrack]]) -> _MouthTracks:
        version = [(face_id, track.changes, track.stamps[0]) for face_id, track in tracks]
        return cls(tracks, version, min((track.stamps[-1] for _, track in tracks), default=0))

    def samples(self, spans: Sequence[tuple[int, int]], start_ns: int) -> MouthSamples:
        """A span of each mouth, with the time from a start."""
        stamps, openings, motions, ends = array("q"), array("d"), array("d"), [0]
        for (_, track), (first, last) in zip(self.tracks, spans, strict=True):
            stamps.extend(track.stamps[first:last])
            openings.extend(track.openings[first:last])
            motions.extend(track.motions[first:last])
            ends.append(len(stamps))
        time = (np.array(stamps) - start_ns) * 1e-9
        return MouthSamples(time, np.array(openings), np.array(motions), np.array(ends))


@dataclass(frozen=True)
class _MouthScores:
    """Ratios of one segment of speech, and the frames that they rest on."""

    version: list[tuple[str, int, int]]  # of the _MouthTracks
    complete_until_ns: int
    samples: list[tuple[str, int, int]]  # by face: number of samples, and changes of its track
    ratios: dict[str, float]  # by face id, where known


class MouthHistory:
    """The mouths of all faces over the last seconds, compared with segments of speech.

    Args:
        weight: factor on the log-likelihood ratios; 0 switches the comparison off.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self.tracks: dict[str, _MouthTrack] = {}  # by face id
        self._scores: dict[tuple[int, float], _MouthScores] = {}  # by stamp and duration of a segment, newest last

    def clear(self) -> None:
        """Forget all mouths."""
        self.tracks.clear()
        self._scores.clear()

    def add(self, face_id: str, stamp_ns: int, opening: float, motion: float) -> None:
        """One frame of a mouth, at any place in its order."""
        self.tracks.setdefault(face_id, _MouthTrack()).add(stamp_ns, opening, motion)

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        """Drop samples outside a time range, mouths without samples, and the longest unseen beyond MAX_MOUTHS."""
        for track in self.tracks.values():
            track.keep(oldest_ns, newest_ns)
        if not all(track.stamps for track in self.tracks.values()) or len(self.tracks) > MAX_MOUTHS:
            kept = sorted(self.tracks.items(), key=lambda item: item[1].stamps[-1] if item[1].stamps else 0)
            self.tracks = {face_id: track for face_id, track in kept[-MAX_MOUTHS:] if track.stamps}

    def of(self, face_ids: Sequence[str]) -> _MouthTracks:
        """The mouths of some faces, in their order; argument of :meth:`log_likelihood_ratios`."""
        return _MouthTracks.of([(face_id, self.tracks[face_id]) for face_id in face_ids if face_id in self.tracks])

    def log_likelihood_ratios(self, voice: VoiceObservation, mouths: _MouthTracks) -> dict[str, float]:
        """By face id the weighted log-likelihood ratio that its mouth speaks; faces are left out where unknown."""
        if self._weight <= 0 or not len(voice.level_db):
            return {}
        start_ns, margin_ns = voice.stamp_ns - to_nanoseconds(voice.duration), to_nanoseconds(MARGIN_S)
        key = (voice.stamp_ns, voice.duration)
        cached = self._scores.get(key)
        complete_until_ns = min(mouths.complete_until_ns, cached.complete_until_ns) if cached is not None else 0
        if cached is not None and complete_until_ns > voice.stamp_ns + margin_ns and mouths.version == cached.version:
            return cached.ratios  # all frames since then are newer than the segment
        spans = [track.span(start_ns, voice.stamp_ns, margin_ns) for _, track in mouths.tracks]
        samples = [
            (face_id, last - first, track.changes)
            for (face_id, track), (first, last) in zip(mouths.tracks, spans, strict=True)
        ]
        if cached is not None and cached.samples == samples:
            ratios = cached.ratios
        else:
            found = mouth_log_likelihood_ratio(mouths.samples(spans, start_ns), voice.duration, voice.level_db)
            ratios = {
                face_id: self._weight * ratio
                for (face_id, _), ratio in zip(mouths.tracks, found, strict=True)
                if not math.isnan(ratio)
            }
        self._scores[key] = _MouthScores(mouths.version, mouths.complete_until_ns, samples, ratios)
        while len(self._scores) > MAX_SCORES:
            del self._scores[next(iter(self._scores))]
        return ratios
