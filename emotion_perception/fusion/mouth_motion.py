"""Mouth motion as a cue for the active speaker: does this mouth move with the voice?

The log-likelihood ratio that a mouth is the speaker's rests on five measures over the segment of a voice decision: the
mean motion of the mouth, its motion before the utterance began, the correlations of its opening and of its motion with
the level of the voice, and the widest opening of the jaw by landmarks, which are measured only a few times per second.
Lips move before the sound, so the correlations are taken over lags that lead it.

A mouth that cannot be seen looks like a silent one. The ratio is therefore that of a mixture: with the probability that
the lips are visible it is the measured one, otherwise 1.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emotion_perception.fusion.pooling import ramp
from emotion_perception.types import FaceObservation, VoiceObservation, to_nanoseconds

# Log-likelihood ratio of a visible mouth: MOTION_SLOPE * ln(motion + STILL_MOTION) + OFFSET
# + (OPENING_SLOPE * r_opening + SYNCHRONY_SLOPE * r_motion) * sqrt(duration / 1.5 s), as a correlation over a longer
# segment is more certain, + JAW_SLOPE * (ln(jaw + 0.01) + 2.9) - EARLY_SLOPE * (ln(early motion + STILL_MOTION) + 2.3).
# A logistic regression on clips of about twelve people (docs/fusion.md), with half the slope of the early motion.
MOTION_SLOPE, OPENING_SLOPE, SYNCHRONY_SLOPE, JAW_SLOPE, OFFSET = 4.2, 2.3, 4.6, 0.55, 5.3
EARLY_SLOPE, EARLY_OFFSET, LEAST_EARLY, MOST_EARLY = 2.0, 2.3, -0.5, 1.0  # last two: limits of the term in brackets
SMALL_JAW, JAW_OFFSET, LEAST_JAW, MOST_JAW = 0.01, 2.9, -1.5, 1.4  # last two: limits of the term in brackets
STILL_MOTION = 0.02  # motion measured on a still mouth
MAX_RATIO = 4.0  # nats, the strongest evidence of one visible mouth for or against
SHORTEST, LONGEST, TYPICAL = 0.6, 2.0, 1.5  # s, limits and unit of the duration in the formula
LEAD, LAG = 4, 2  # parts of the level, 40 ms each, by which the motion may be earlier or later than the sound
OPENING_LEAD = 2  # the same for the opening
LEVEL_RANGE = 35.0  # dB below the loudest part; quieter parts count as this quiet
MIN_LEVELS, MIN_FRAMES, MIN_EARLY_FRAMES = 8, 4, 3  # in a segment that is compared, and before it
MIN_COVERAGE = 0.6  # of the segment by frames of the mouth
EARLIEST_S, LATEST_S = 0.5, 0.1  # s before an utterance, between which motion counts as early
SILENCE_S = 0.7  # s of silence after which it counts; lips come to rest a little after the sound
WITH_ONSET_S = 3.9  # s; a longer segment begins in the middle of an utterance
BEFORE_S, AFTER_S = 0.6, 0.2  # s before and after a segment whose frames are used, for early motion and the lags
# The line between closed lips is dark: closed mouths of portraits have an opening of 0.06 to 0.27, painted masks of
# three colours one of 0.02 to 0.07.
COVERED, UNCOVERED = 0.045, 0.07  # mean opening up to which lips are covered, and from which they are visible
FRONTAL, PROFILE = 0.5, 1.0  # rad, head yaw up to which the mouth is seen from the front, and from which from the side
VISIBLE = 0.95  # probability that uncovered lips are visible from the front
SHARP = 0.5  # face quality from which a mouth is seen sharply
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
    in_sight: np.ndarray  # (F,) 0..1, probability that the lips can be seen from here, unless something covers them
    jaw: np.ndarray  # (F,) 0..1, widest opening of the jaw by landmarks; NaN where none were measured

    @classmethod
    def from_tables(
        cls, tables: Sequence[np.ndarray], in_sight: float = VISIBLE, jaw: float = math.nan
    ) -> MouthSamples:
        """From one table ``(n, 3)`` per mouth with the columns time, opening, motion; the rest is the same for all."""
        time, opening, motion = np.concatenate([np.zeros((0, 3)), *tables]).T
        ends = np.array([0, *(len(table) for table in tables)]).cumsum()
        return cls(time, opening, motion, ends, np.full(len(tables), in_sight), np.full(len(tables), jaw))


def mouth_log_likelihood_ratio(
    mouths: MouthSamples, duration: float, level_db: np.ndarray, after_silence: bool = True
) -> list[float]:
    """For each of F mouths the log-likelihood ratio, nats, that it is the speaker's; NaN where unknown.

    Args:
        mouths: their samples around the segment of speech.
        duration: of the segment, s.
        level_db: ``(K,)`` level of the voice in K equal parts of the segment, about 40 ms each.
        after_silence: nobody spoke in the :data:`SILENCE_S` before, so that a mouth that moved then does not belong to
            this voice.
    """
    certainty = math.sqrt(min(LONGEST, max(SHORTEST, duration)) / TYPICAL)
    ratios = []
    for mouth, jaw in zip(mouth_measures(mouths, duration, level_db, after_silence), mouths.jaw.tolist(), strict=True):
        if mouth is None:
            ratios.append(math.nan)
            continue
        correlation = OPENING_SLOPE * mouth.opening_r + SYNCHRONY_SLOPE * mouth.motion_r
        ratio = MOTION_SLOPE * math.log(mouth.motion + STILL_MOTION) + certainty * correlation + OFFSET
        if not math.isnan(jaw):
            ratio += JAW_SLOPE * _limited(math.log(jaw + SMALL_JAW) + JAW_OFFSET, LEAST_JAW, MOST_JAW)
        if not math.isnan(mouth.early_motion):
            early = math.log(mouth.early_motion + STILL_MOTION) + EARLY_OFFSET
            ratio -= EARLY_SLOPE * _limited(early, LEAST_EARLY, MOST_EARLY)
        likelihood = math.exp(_limited(ratio, -MAX_RATIO, MAX_RATIO))
        ratios.append(math.log(mouth.visible * likelihood + 1 - mouth.visible))
    return ratios


def _limited(value: float, least: float, most: float) -> float:
    return min(most, max(least, value))


class MouthMeasures(NamedTuple):
    """One mouth during a segment of speech."""

    motion: float  # mean
    early_motion: float  # mean shortly before the utterance; NaN if unknown
    opening_r: float  # largest correlation of the opening with the level over the lags
    motion_r: float  # the same of the motion
    visible: float  # 0..1, probability that the lips are visible


def mouth_measures(
    mouths: MouthSamples, duration: float, level_db: np.ndarray, after_silence: bool = True
) -> list[MouthMeasures | None]:
    """The measures of each mouth; None where frames or levels are too few.

    Arguments as :func:`mouth_log_likelihood_ratio`.
    """
    faces = len(mouths.ends) - 1
    if len(level_db) < MIN_LEVELS or not duration > 0 or not len(mouths.time):
        return [None] * faces
    # All mouths are handled as one sequence: each is shifted to a time range of its own.
    span = max(float(mouths.time.max()), duration) - min(float(mouths.time.min()), -EARLIEST_S) + 1.0
    shift = np.arange(faces) * span
    time = mouths.time + shift.repeat(mouths.ends[1:] - mouths.ends[:-1])
    moving = mouths.motion == mouths.motion  # not NaN
    known, motion = time[moving], mouths.motion[moving]
    inside = _Window.of(known, shift, 0.0, duration, MIN_FRAMES)
    if not inside.enough.any():
        return [None] * faces
    motions = inside.means(motion)
    early_motions = np.full(faces, math.nan)
    if after_silence and duration < WITH_ONSET_S:
        early_motions = _Window.of(known, shift, -EARLIEST_S, -LATEST_S, MIN_EARLY_FRAMES).means(motion)
    sequences = ((time, mouths.opening), (known, np.log(motion + STILL_MOTION)))
    columns = (
        motions.tolist(),
        early_motions.tolist(),
        inside.means(mouths.opening[moving]).tolist(),
        *_largest_correlations(mouths, shift, sequences, duration, level_db),
        mouths.in_sight.tolist(),
    )
    found: list[MouthMeasures | None] = []
    for mean, early, opening, opening_r, motion_r, in_sight in zip(*columns, strict=True):
        visible = in_sight * ramp(opening, COVERED, UNCOVERED)
        found.append(None if math.isnan(mean) else MouthMeasures(mean, early, opening_r, motion_r, visible))
    return found


class _Window(NamedTuple):
    """The samples of each of F mouths in a time range."""

    first: np.ndarray  # (F,) int
    stop: np.ndarray  # (F,) int
    enough: np.ndarray  # (F,) bool: they are as many and as far apart as needed

    @classmethod
    def of(cls, time: np.ndarray, shift: np.ndarray, start: float, stop: float, least: int) -> _Window:
        """From the shifted times ``(N,)`` of all samples, ascending, and the shift ``(F,)`` of each mouth."""
        first, last = time.searchsorted(np.stack((shift + start, shift + stop)))
        enough = last - first >= least
        if len(time):
            enough &= time[np.maximum(last, 1) - 1] - time[np.minimum(first, len(time) - 1)] >= MIN_COVERAGE * (
                stop - start
            )
        return cls(first, last, enough)

    def means(self, values: np.ndarray) -> np.ndarray:
        """``(F,)`` mean of the values ``(N,)``; NaN where the samples are not enough."""
        sums = np.concatenate(([0.0], values.cumsum()))
        return np.where(self.enough, sums[self.stop] - sums[self.first], math.nan) / np.maximum(
            self.stop - self.first, 1
        )


def _largest_correlations(
    mouths: MouthSamples,
    shift: np.ndarray,
    sequences: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    duration: float,
    level_db: np.ndarray,
) -> tuple[list[float], list[float]]:
    """For each of F mouths the correlation of its opening and of its motion (log) with the level, each at the lag where
    it is largest; meaningless for a mouth without samples.

    Args:
        mouths: their samples.
        shift: ``(F,)`` of the times of each mouth.
        sequences: shifted times and values of the opening and of the motion.
        duration, level_db: as :func:`mouth_log_likelihood_ratio`.
    """
    parts, begins, ends = len(level_db), mouths.ends[:-1], mouths.ends[1:]
    when = (np.arange(-LEAD, parts + LAG) + 0.5) * (duration / parts)  # (K + LEAD + LAG,)
    first, last = mouths.time[np.minimum(begins, len(mouths.time) - 1)], mouths.time[ends - 1]
    at = np.minimum(np.maximum(when, first[:, np.newaxis]), last[:, np.newaxis]) + shift[:, np.newaxis]
    opening, motion = (np.interp(at, times, values) for times, values in sequences)
    motion[:, 1:-1] = (motion[:, :-2] + motion[:, 1:-1] + motion[:, 2:]) / 3  # noise of single frames
    level = np.maximum(level_db, level_db.max() - LEVEL_RANGE).astype(np.float64)
    level -= level.mean()  # makes the means of the others irrelevant to the product
    window, levels = _at_each_lag(np.ones(parts)), _at_each_lag(level)
    scale = math.sqrt(float(level @ level) + 1e-12)
    values = np.concatenate((opening, motion))  # (2 F, K + LEAD + LAG)
    spread = (values**2) @ window - (values @ window) ** 2 / parts
    correlations = values @ levels / (np.sqrt(np.maximum(spread, 0) + 1e-12) * scale)  # (2 F, LEAD + LAG + 1)
    faces = len(shift)
    return correlations[:faces, LEAD - OPENING_LEAD :].max(1).tolist(), correlations[faces:].max(1).tolist()


def _at_each_lag(values: np.ndarray) -> np.ndarray:
    """``(K + LEAD + LAG, LEAD + LAG + 1)``: the values ``(K,)``, one row lower in each column, zeros elsewhere."""
    rows, lags = len(values) + LEAD + LAG, LEAD + LAG + 1
    skewed = np.zeros((lags, rows + 1))
    skewed[:, : len(values)] = values
    return skewed.ravel()[: lags * rows].reshape(lags, rows).T


class _MouthTrack:
    """One mouth in successive frames, oldest first."""

    def __init__(self) -> None:
        self.stamps = array("q")
        self.openings, self.motions = array("d"), array("d")
        self.qualities = array("d")  # of the face
        self.landmarks: list[tuple[int, float, float]] = []  # stamp, head yaw, rad, jaw opening, 0..1; of few frames
        self.changes = 0  # of earlier samples, by late or repeated frames

    def add(self, stamp_ns: int, face: FaceObservation) -> None:
        marks = face.landmarks
        if marks is not None and not math.isnan(marks.head_yaw + marks.jaw_opening):
            insort(self.landmarks, (stamp_ns, marks.head_yaw, marks.jaw_opening))
        values = (face.mouth_opening, face.mouth_motion, face.quality)
        columns = (self.openings, self.motions, self.qualities)
        if not self.stamps or stamp_ns > self.stamps[-1]:
            self.stamps.append(stamp_ns)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
            return
        at = bisect_left(self.stamps, stamp_ns)
        self.changes += 1
        known = self.stamps[at] == stamp_ns
        if not known:
            self.stamps.insert(at, stamp_ns)
        for column, value in zip(columns, values, strict=True):
            if known:
                column[at] = value
            else:
                column.insert(at, value)

    def view(self, first: int, stop: int) -> tuple[float, float]:
        """Of some frames: the probability that the lips can be seen, from the front and sharply, and the widest opening
        of the jaw; both 0..1, the latter NaN if unknown."""
        if first >= stop:
            return 0.0, math.nan
        start = bisect_left(self.landmarks, (self.stamps[first],))
        seen = self.landmarks[start : bisect_left(self.landmarks, (self.stamps[stop - 1] + 1,))]
        jaw = max((jaw for _, _, jaw in seen), default=math.nan)
        if not seen:  # the newest before
            seen = self.landmarks[max(0, start - 1) : start]
        turned = ramp(sum(abs(yaw) for _, yaw, _ in seen) / max(1, len(seen)), FRONTAL, PROFILE)
        sharp = ramp(self.qualities[stop - 1], 0.0, SHARP)
        return VISIBLE * (1 - turned) * sharp, jaw

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        if self.stamps and oldest_ns <= self.stamps[0] and self.stamps[-1] <= newest_ns:
            return
        first, last = bisect_left(self.stamps, oldest_ns), bisect_right(self.stamps, newest_ns)
        first = max(first, last - MAX_FRAMES)
        if first > 64 or last < len(self.stamps) or first == last:  # copying at every frame would be slow
            self.stamps = self.stamps[first:last]
            self.openings, self.motions = self.openings[first:last], self.motions[first:last]
            self.qualities = self.qualities[first:last]
            self.landmarks = [held for held in self.landmarks if oldest_ns <= held[0] <= newest_ns]

    def span(self, start_ns: int, stop_ns: int) -> tuple[int, int]:
        """First sample and stop of a time range with its margins; the later margin only once it is complete."""
        first = bisect_left(self.stamps, start_ns - to_nanoseconds(BEFORE_S))
        last = bisect_right(self.stamps, stop_ns + to_nanoseconds(AFTER_S))
        return first, (last if last < len(self.stamps) else bisect_right(self.stamps, stop_ns))


@dataclass(frozen=True)
class MouthTracks:
    """The mouths of the faces that are candidates at one query."""

    tracks: list[tuple[str, _MouthTrack]]  # face id and mouth
    version: list[tuple[str, int, int]]  # stays equal as long as only newer frames are added
    complete_until_ns: int  # newest stamp that all of them have reached

    @classmethod
    def of(cls, tracks: list[tuple[str, _MouthTrack]]) -> MouthTracks:
        version = [(face_id, track.changes, track.stamps[0]) for face_id, track in tracks]
        return cls(tracks, version, min((track.stamps[-1] for _, track in tracks), default=0))

    def samples(self, spans: Sequence[tuple[int, int]], start_ns: int) -> MouthSamples:
        """A span of each mouth, with the time from a start."""
        stamps, openings, motions, ends = array("q"), array("d"), array("d"), [0]
        views = []
        for (_, track), (first, last) in zip(self.tracks, spans, strict=True):
            stamps.extend(track.stamps[first:last])
            openings.extend(track.openings[first:last])
            motions.extend(track.motions[first:last])
            ends.append(len(stamps))
            views.append(track.view(first, last))
        time = (np.array(stamps) - start_ns) * 1e-9
        return MouthSamples(time, *map(np.array, (openings, motions, ends)), *np.reshape(views, (-1, 2)).T)


@dataclass(frozen=True)
class _MouthScores:
    """Ratios of one segment of speech, and the frames that they rest on."""

    version: list[tuple[str, int, int]]  # of the MouthTracks
    complete_until_ns: int
    extent: list[tuple[str, int, int]]  # by face: number of samples, and changes of its track
    ratios: dict[str, float]  # by face id, where known


class MouthHistory:
    """The mouths of all faces over the last seconds, compared with segments of speech.

    Args:
        weight: factor on the log-likelihood ratios; 0 switches the comparison off.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self.tracks: dict[str, _MouthTrack] = {}  # by face id
        # By stamp, duration and silence before a segment, newest last.
        self._scores: dict[tuple[int, float, bool], _MouthScores] = {}

    def clear(self) -> None:
        """Forget all mouths."""
        self.tracks.clear()
        self._scores.clear()

    def add(self, stamp_ns: int, face: FaceObservation) -> None:
        """One frame of a mouth, at any place in its order; nothing where the face's mouth is unknown."""
        if not math.isnan(face.mouth_opening):
            self.tracks.setdefault(face.face_id, _MouthTrack()).add(stamp_ns, face)

    def keep(self, oldest_ns: int, newest_ns: int) -> None:
        """Drop samples outside a time range, mouths without samples, and the longest unseen beyond MAX_MOUTHS."""
        for track in self.tracks.values():
            track.keep(oldest_ns, newest_ns)
        if not all(track.stamps for track in self.tracks.values()) or len(self.tracks) > MAX_MOUTHS:
            kept = sorted(self.tracks.items(), key=lambda item: item[1].stamps[-1] if item[1].stamps else 0)
            self.tracks = {face_id: track for face_id, track in kept[-MAX_MOUTHS:] if track.stamps}

    def of(self, face_ids: Sequence[str]) -> MouthTracks:
        """The mouths of some faces, in their order; argument of :meth:`log_likelihood_ratios`."""
        return MouthTracks.of([(face_id, self.tracks[face_id]) for face_id in face_ids if face_id in self.tracks])

    def log_likelihood_ratios(
        self, voice: VoiceObservation, mouths: MouthTracks, after_silence: bool = True
    ) -> dict[str, float]:
        """By face id the weighted log-likelihood ratio that its mouth speaks; faces are left out where unknown.

        Arguments as :func:`mouth_log_likelihood_ratio`.
        """
        if self._weight <= 0 or not len(voice.level_db):
            return {}
        start_ns = voice.stamp_ns - to_nanoseconds(voice.duration)
        key = (voice.stamp_ns, voice.duration, after_silence)
        cached = self._scores.get(key)
        complete_until_ns = min(mouths.complete_until_ns, cached.complete_until_ns) if cached is not None else 0
        if (
            cached is not None
            and complete_until_ns > voice.stamp_ns + to_nanoseconds(AFTER_S)
            and mouths.version == cached.version
        ):
            return cached.ratios  # all frames since then are newer than the segment
        spans = [track.span(start_ns, voice.stamp_ns) for _, track in mouths.tracks]
        extent = [
            (face_id, last - first, track.changes)
            for (face_id, track), (first, last) in zip(mouths.tracks, spans, strict=True)
        ]
        if cached is not None and cached.extent == extent:
            ratios = cached.ratios
        else:
            samples = mouths.samples(spans, start_ns)
            found = mouth_log_likelihood_ratio(samples, voice.duration, voice.level_db, after_silence)
            ratios = {
                face_id: self._weight * ratio
                for (face_id, _), ratio in zip(mouths.tracks, found, strict=True)
                if not math.isnan(ratio)
            }
        self._scores[key] = _MouthScores(mouths.version, mouths.complete_until_ns, extent, ratios)
        while len(self._scores) > MAX_SCORES:
            del self._scores[next(iter(self._scores))]
        return ratios
