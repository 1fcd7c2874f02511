"""Faces and speech of the last minutes, held in memory only, so that a person can correct the estimates.

Used only if the people in view consented to storing corrections.
"""

from __future__ import annotations

import io
import threading
import wave
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from emotion_perception.messages.samples import to_int16
from emotion_perception.types import SECOND, EmotionEstimate, FaceObservation, VoiceObservation

MARGIN = 0.5  # of the face's box, kept around it on each side: training detects the face again
FACE_EVERY_S = 0.5
NEAR_S = 2.0  # a face or utterance this far from the requested time still counts as of that time
RANGE_FACES = 10  # most that are kept of a time range, evenly spaced, because consecutive faces are similar
RANGE_VOICES = 6  # newest utterances that are kept of a time range
MIN_SOUND_S = 0.3
MAX_SOUND_S = 8.0
MAX_FACE = 512  # px


@dataclass(frozen=True)
class Example:
    """One face or utterance that can be corrected."""

    data: bytes  # JPEG or WAV
    emotion: EmotionEstimate
    stamp_ns: int
    source_id: str  # face or voice id


@dataclass(frozen=True)
class _Sound:
    stamp_ns: int  # of the first sample
    samples: np.ndarray  # (T,) int16
    rate: int  # Hz

    @property
    def end_ns(self) -> int:
        return self.stamp_ns + len(self.samples) * SECOND // self.rate


class RecentEvidence:
    """Faces and sound of the last ``reach_s`` seconds. Safe to use from several threads."""

    def __init__(self, reach_s: float = 120.0) -> None:
        self.reach_s = reach_s
        self._lock = threading.Lock()
        self._faces: deque[Example] = deque()
        self._sounds: deque[_Sound] = deque()
        self._voices: deque[VoiceObservation] = deque()
        self._kept_ns: dict[str, int] = {}  # stamp at which each face was last kept

    def due(self, stamp_ns: int, face_ids: Iterable[str]) -> bool:
        """Whether :meth:`add_faces` would keep one of these faces."""
        return any(not 0 <= stamp_ns - self._kept_ns.get(name, -(2**62)) < FACE_EVERY_S * SECOND for name in face_ids)

    def add_faces(self, image: np.ndarray, stamp_ns: int, faces: Sequence[FaceObservation]) -> None:
        """Faces of an image, uint8 ``(H, W, 3)`` bgr or ``(H, W)`` grey; two per second are kept of each face."""
        for face in faces:
            if not self.due(stamp_ns, [face.face_id]):
                continue
            self._kept_ns[face.face_id] = stamp_ns
            crop = face_crop(image, face)
            if crop is None:
                continue
            jpeg = cv2.imencode(".jpg", crop, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()
            with self._lock:
                self._faces.append(Example(jpeg, face.emotion, stamp_ns, face.face_id))
        with self._lock:
            _drop_old(self._faces, stamp_ns, self.reach_s)
        if len(self._kept_ns) > 200:
            self._kept_ns = {face.face_id: stamp_ns for face in faces}

    def add_sound(self, samples: np.ndarray, rate: int, stamp_ns: int) -> None:
        """A block of sound ``(T,)`` or ``(T, channels)`` of any number format; of several channels the first is kept.

        Args:
            samples: see :func:`~emotion_perception.messages.samples.to_int16`.
            rate: Hz.
            stamp_ns: capture time of the first sample.
        """
        mono = to_int16(samples if samples.ndim == 1 else samples[:, 0]).copy()  # not a view of the message
        with self._lock:
            self._sounds.append(_Sound(stamp_ns, mono, rate))
            _drop_old(self._sounds, stamp_ns, self.reach_s)

    def add_voice(self, voice: VoiceObservation) -> None:
        """A decision about a segment of speech."""
        with self._lock:
            self._voices.append(voice)
            _drop_old(self._voices, voice.stamp_ns, self.reach_s)

    def forget(self) -> None:
        """Drop everything."""
        with self._lock:
            self._faces.clear()
            self._sounds.clear()
            self._voices.clear()
            self._kept_ns.clear()

    def face(self, face_id: str, stamp_ns: int | None) -> Example | None:
        """The face nearest to a time (None: the newest); an empty id means any face."""
        with self._lock:
            found = [face for face in self._faces if face_id in ("", face.source_id)]
        if not found:
            return None
        wanted_ns = found[-1].stamp_ns if stamp_ns is None else stamp_ns
        best = min(found, key=lambda face: abs(face.stamp_ns - wanted_ns))
        return best if abs(best.stamp_ns - wanted_ns) <= NEAR_S * SECOND else None

    def voice(self, voice_id: str, stamp_ns: int | None) -> Example | None:
        """The utterance nearest to a time (None: the newest); an empty id means any voice."""
        with self._lock:
            found = [voice for voice in self._voices if voice_id in ("", voice.voice_id)]
            sounds = list(self._sounds)
        if not found:
            return None
        wanted_ns = found[-1].stamp_ns if stamp_ns is None else stamp_ns

        def distance(voice: VoiceObservation) -> float:
            return max(_start_ns(voice) - wanted_ns, wanted_ns - voice.stamp_ns, 0)

        best = min(reversed(found), key=distance)
        return _example_of(sounds, best) if distance(best) <= NEAR_S * SECOND else None

    def faces_between(self, from_ns: int, to_ns: int) -> list[Example]:
        """Faces of a time range: of the person seen most often in it, at most RANGE_FACES, evenly spaced."""
        with self._lock:
            found = [face for face in self._faces if from_ns <= face.stamp_ns <= to_ns]
        if not found:
            return []
        most_seen = Counter(face.source_id for face in found).most_common(1)[0][0]
        own = [face for face in found if face.source_id == most_seen]
        count = min(RANGE_FACES, len(own))
        return [own[i * len(own) // count] for i in range(count)]

    def voices_between(self, from_ns: int, to_ns: int) -> list[Example]:
        """Utterances of which the larger part lies in a time range; the newest may not have ended yet."""
        with self._lock:
            inside = [voice for voice in self._voices if _mostly_inside(voice, from_ns, to_ns)]
            sounds = list(self._sounds)
        chosen = [voice for voice in inside if voice.final]
        last_ns = chosen[-1].stamp_ns if chosen else from_ns
        if inside and not inside[-1].final and _start_ns(inside[-1]) >= last_ns - SECOND:
            chosen.append(inside[-1])  # an utterance that has not ended
        return [found for voice in chosen[-RANGE_VOICES:] if (found := _example_of(sounds, voice)) is not None]


def face_crop(image: np.ndarray, face: FaceObservation, largest: int = MAX_FACE) -> np.ndarray | None:
    """The face with a margin around it, its longer side at most ``largest`` px; None if hardly any of it is visible."""
    height, width = image.shape[:2]
    box = face.box
    left, right = box.x - MARGIN * box.width, box.x + (1 + MARGIN) * box.width
    top, bottom = box.y - MARGIN * box.height, box.y + (1 + MARGIN) * box.height
    x0, x1 = (round(min(max(v, 0), width)) for v in (left, right))
    y0, y1 = (round(min(max(v, 0), height)) for v in (top, bottom))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    crop = image[y0:y1, x0:x1]
    scale = largest / max(crop.shape[:2])
    return cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else crop


def _drop_old(held: deque[Any], now_ns: int, reach_s: float) -> None:
    """Drop what is older than ``reach_s``, and everything from the future, which means that the clock was set back."""
    while held and now_ns - held[0].stamp_ns > reach_s * SECOND:
        held.popleft()
    if held and held[0].stamp_ns > now_ns + 2 * SECOND:
        newest = held[-1]
        held.clear()
        held.append(newest)


def _start_ns(voice: VoiceObservation) -> int:
    return voice.stamp_ns - round(voice.duration * SECOND)


def _mostly_inside(voice: VoiceObservation, from_ns: int, to_ns: int) -> bool:
    """Whether at least half of a decision's segment lies in a time range."""
    inside = min(voice.stamp_ns, to_ns) - max(_start_ns(voice), from_ns)
    return inside > 0 and 2 * inside >= voice.duration * SECOND


def _example_of(sounds: Sequence[_Sound], voice: VoiceObservation) -> Example | None:
    """The segment of a decision; None if its sound is no longer in memory."""
    length = min(max(voice.duration, MIN_SOUND_S), MAX_SOUND_S)
    wav = _cut(sounds, voice.stamp_ns - round(length * SECOND), voice.stamp_ns)
    return None if wav is None else Example(wav, voice.emotion, voice.stamp_ns, voice.voice_id)


def _cut(sounds: Sequence[_Sound], start_ns: int, end_ns: int) -> bytes | None:
    """The sound between two times as WAV; None if less than MIN_SOUND_S of it is in memory."""
    parts = [sound for sound in sounds if sound.end_ns > start_ns and sound.stamp_ns < end_ns]
    if not parts:
        return None
    rate = parts[-1].rate
    pieces = []
    for sound in parts:
        if sound.rate != rate:
            continue
        first = max(0, (start_ns - sound.stamp_ns) * rate // SECOND)
        last = min(len(sound.samples), (end_ns - sound.stamp_ns) * rate // SECOND)
        pieces.append(sound.samples[first:last])
    samples = np.concatenate(pieces)
    if len(samples) < MIN_SOUND_S * rate:
        return None
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return data.getvalue()
