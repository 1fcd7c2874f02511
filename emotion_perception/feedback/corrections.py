"""What people say an emotion really was: kept with its picture or sound for retraining, if storage was consented to.

Without consent nothing here exists, not even in memory. With it, :class:`RecentEvidence` holds the faces and the sound
of the last minutes in memory, and :class:`Corrections` writes the one that a person corrected::

    <folder>/pending/<id>.json   what was said, what the model had said     } one kind of file each, readable for
    <folder>/pending/<id>.jpg    the face, with a margin      (or .wav)     } the robot's own user alone
    <folder>/accepted/...        after somebody reviewed it: what `emotion-train --feedback` learns from

A rejected correction is deleted at once, every other one after ``retention_days``.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import threading
import time
import wave
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emotion_perception.emotions import EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.files import sync_folder, write_atomically
from emotion_perception.messages.samples import to_int16
from emotion_perception.types import SECOND, EmotionEstimate, FaceObservation, VoiceObservation

FORMAT_VERSION = 1
PENDING, ACCEPTED = "pending", "accepted"
MARGIN = 0.5  # of the face's box, kept around it on each side: training looks for the face anew
FACE_EVERY_S = 0.5
NEAR_S = 2.0  # a face or voice so far from the moment meant still belongs to it
STRETCH_S = 30.0  # longest that is corrected at once
STRETCH_FACES = 10  # kept of it at most, evenly; neighbours look alike
STRETCH_VOICES = 6  # the newest utterances of it
MIN_SOUND_S = 0.3
MAX_SOUND_S = 8.0
MAX_FACE = 512  # px
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_KINDS = {"face": ("jpg", "image/jpeg"), "voice": ("wav", "audio/wav")}


class CorrectionError(ValueError):
    """A correction cannot be kept or found; the text says why."""

    status = 409


@dataclass(frozen=True)
class CorrectionConfig:
    """Where corrections are kept, and for how long."""

    folder: Path
    retention_days: float = 90.0
    max_mb: float = 500.0  # no more corrections are taken beyond
    reach_s: float = 120.0  # how far back a moment can be corrected


@dataclass(frozen=True)
class _Face:
    stamp_ns: int
    face_id: str
    jpeg: bytes
    emotion: EmotionEstimate


@dataclass(frozen=True)
class _Sound:
    stamp_ns: int  # of its first sample
    samples: np.ndarray  # (T,) int16
    rate: int

    @property
    def end_ns(self) -> int:
        return self.stamp_ns + len(self.samples) * SECOND // self.rate


class RecentEvidence:
    """The faces and sounds of the last while, in memory only.

    Args:
        reach_s: how long they are held.
    """

    def __init__(self, reach_s: float = 120.0) -> None:
        self.reach_s = reach_s
        self._lock = threading.Lock()
        self._faces: deque[_Face] = deque()
        self._sounds: deque[_Sound] = deque()
        self._voices: deque[VoiceObservation] = deque()
        self._last: dict[str, int] = {}  # when each face was last kept

    def due(self, stamp_ns: int, face_ids: Iterable[str]) -> bool:
        """Whether :meth:`add_faces` would keep one of these faces."""
        return any(not 0 <= stamp_ns - self._last.get(name, -(2**62)) < FACE_EVERY_S * SECOND for name in face_ids)

    def add_faces(self, image: np.ndarray, stamp_ns: int, faces: Sequence[FaceObservation]) -> None:
        """The faces of a picture, uint8 ``(H, W, 3)`` bgr or ``(H, W)`` grey; of each, two a second are kept."""
        for face in faces:
            since = stamp_ns - self._last.get(face.face_id, -(2**62))
            if 0 <= since < FACE_EVERY_S * SECOND:
                continue
            self._last[face.face_id] = stamp_ns
            crop = face_crop(image, face)
            if crop is None:
                continue
            jpeg = cv2.imencode(".jpg", crop, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()
            with self._lock:
                self._faces.append(_Face(stamp_ns, face.face_id, jpeg, face.emotion))
        with self._lock:
            _forget(self._faces, stamp_ns, self.reach_s)
        if len(self._last) > 200:
            self._last = {face.face_id: stamp_ns for face in faces}

    def add_sound(self, samples: np.ndarray, rate: int, stamp_ns: int) -> None:
        """A run of sound ``(T,)`` or ``(T, channels)``, integers of full scale or floats -1..1; of several channels the
        first is kept. ``stamp_ns`` is when its first sample was taken."""
        mono = to_int16(samples if samples.ndim == 1 else samples[:, 0]).copy()  # not a view of the message
        with self._lock:
            self._sounds.append(_Sound(stamp_ns, mono, rate))
            _forget(self._sounds, stamp_ns, self.reach_s)

    def add_voice(self, voice: VoiceObservation) -> None:
        """A decision about a stretch of speech."""
        with self._lock:
            self._voices.append(voice)
            _forget(self._voices, voice.stamp_ns, self.reach_s)

    def forget(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._faces.clear()
            self._sounds.clear()
            self._voices.clear()
            self._last.clear()

    def face(self, face_id: str, stamp_ns: int | None) -> tuple[bytes, EmotionEstimate, int, str] | None:
        """Picture (JPEG), estimate, stamp and id of the face nearest to a moment (None: the newest)."""
        with self._lock:
            found = [face for face in self._faces if face_id in ("", face.face_id)]
            if not found:
                return None
            when = found[-1].stamp_ns if stamp_ns is None else stamp_ns
            best = min(found, key=lambda face: abs(face.stamp_ns - when))
            if abs(best.stamp_ns - when) > NEAR_S * SECOND:
                return None
            return best.jpeg, best.emotion, best.stamp_ns, best.face_id

    def faces_between(self, from_ns: int, to_ns: int) -> list[tuple[bytes, EmotionEstimate, int, str]]:
        """As :meth:`face`, those of a stretch: of who was seen most in it, `STRETCH_FACES` at most, evenly."""
        with self._lock:
            found = [face for face in self._faces if from_ns <= face.stamp_ns <= to_ns]
        if not found:
            return []
        who = Counter(face.face_id for face in found).most_common(1)[0][0]
        theirs = [face for face in found if face.face_id == who]
        count = min(STRETCH_FACES, len(theirs))
        chosen = [theirs[i * len(theirs) // count] for i in range(count)]
        return [(face.jpeg, face.emotion, face.stamp_ns, face.face_id) for face in chosen]

    def voices_between(self, from_ns: int, to_ns: int) -> list[tuple[bytes, EmotionEstimate, int, str]]:
        """As :meth:`voice`, the utterances that lie in a stretch, the better part of each; the newest may go on."""
        with self._lock:
            inside = [voice for voice in self._voices if _mostly_in(voice, from_ns, to_ns)]
            sounds = list(self._sounds)
        chosen = [voice for voice in inside if voice.final]
        last_ns = chosen[-1].stamp_ns if chosen else from_ns
        if inside and not inside[-1].final and _start_ns(inside[-1]) >= last_ns - SECOND:
            chosen.append(inside[-1])  # decided about so far
        return [found for voice in chosen[-STRETCH_VOICES:] if (found := _sound_of(sounds, voice)) is not None]

    def voice(self, voice_id: str, stamp_ns: int | None) -> tuple[bytes, EmotionEstimate, int, str] | None:
        """Sound (WAV), estimate, stamp and id of the stretch of speech nearest to a moment (None: the newest)."""
        with self._lock:
            found = [voice for voice in self._voices if voice_id in ("", voice.voice_id)]
            if not found:
                return None
            when = found[-1].stamp_ns if stamp_ns is None else stamp_ns

            def distance(voice: VoiceObservation) -> float:
                return max(_start_ns(voice) - when, when - voice.stamp_ns, 0)

            best = min(reversed(found), key=distance)
            if distance(best) > NEAR_S * SECOND:
                return None
            return _sound_of(list(self._sounds), best)


class Corrections:
    """The corrections of a folder. Safe to use from several threads.

    Args:
        config: folder, retention.
        recent: what can be corrected.
        warn: is told what goes wrong.
        clock: seconds since the epoch; for tests.
    """

    def __init__(
        self,
        config: CorrectionConfig,
        recent: RecentEvidence,
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config, self.recent = config, recent
        self._warn, self._clock = warn, clock
        self._lock = threading.Lock()
        self._swept = 0.0

    @property
    def reach_s(self) -> float:
        """How far back a moment can be corrected, s."""
        return self.recent.reach_s

    def correct(
        self,
        label: int,
        face_id: str = "",
        voice_id: str = "",
        stamp_ns: int | None = None,
        annotator: str = "",
        comment: str = "",
    ) -> dict[str, Any]:
        """Keep what an emotion really was, to be reviewed. With neither id: the face at that moment, else the voice.

        Returns:
            The correction, as :meth:`listed` gives it.

        Raises:
            CorrectionError: the label is none, nothing of that moment is at hand, or the folder is full.
            OSError: the disk refuses.
        """
        if not 0 <= label < len(EMOTIONS):
            raise CorrectionError(f"no emotion has the label {label}; there are 0 to {len(EMOTIONS) - 1}")
        kind, found = "face", None
        if not voice_id:
            found = self.recent.face(face_id, stamp_ns)
        if found is None and not face_id:
            kind, found = "voice", self.recent.voice(voice_id, stamp_ns)
        if found is None:
            what = f"face {face_id!r}" if face_id else f"voice {voice_id!r}" if voice_id else "face or voice"
            raise CorrectionError(f"no {what} of that moment is at hand; the last {self.reach_s:.0f} s are")
        return self._keep(label, kind, found, annotator, comment)

    def correct_stretch(
        self, label: int, from_ns: int, to_ns: int, annotator: str = "", comment: str = ""
    ) -> list[dict[str, Any]]:
        """The same for all of a stretch of time: some of its faces, and its speech. They share ``stretch``.

        Of an emotion that faces do not show, its speech alone.

        Raises:
            CorrectionError: the stretch is none or too long, or as :meth:`correct`.
            OSError: the disk refuses.
        """
        if not 0 <= to_ns - from_ns <= STRETCH_S * SECOND:
            seconds = (to_ns - from_ns) / SECOND
            raise CorrectionError(f"a stretch lasts 0 to {STRETCH_S:.0f} s, got {seconds:.1f} s")
        if not 0 <= label < len(EMOTIONS):
            raise CorrectionError(f"no emotion has the label {label}; there are 0 to {len(EMOTIONS) - 1}")
        found = [("voice", voice) for voice in self.recent.voices_between(from_ns, to_ns)]
        if EMOTIONS[label] in VISUAL_EMOTIONS:
            found = [("face", face) for face in self.recent.faces_between(from_ns, to_ns)] + found
        if not found:
            return [self.correct(label, stamp_ns=(from_ns + to_ns) // 2, annotator=annotator, comment=comment)]
        stretch = secrets.token_hex(6)
        return [self._keep(label, kind, one, annotator, comment, stretch) for kind, one in found]

    def _keep(
        self,
        label: int,
        kind: str,
        found: tuple[bytes, EmotionEstimate, int, str],
        annotator: str,
        comment: str,
        stretch: str = "",
    ) -> dict[str, Any]:
        if kind == "face" and EMOTIONS[label] not in VISUAL_EMOTIONS:
            raise CorrectionError(f"faces do not show {EMOTIONS[label]!r}; choose one of {', '.join(VISUAL_EMOTIONS)}")
        data, emotion, when_ns, who = found
        self.sweep()
        if self.size() + len(data) > self.config.max_mb * 1e6:
            raise CorrectionError(
                f"{self.config.folder} holds {self.config.max_mb:g} MB already; review or delete some"
            )
        now = self._clock()
        made = datetime.fromtimestamp(now, timezone.utc)
        fields = {
            "format": FORMAT_VERSION,
            "id": f"{made:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            "kind": kind,
            "label": EMOTIONS[label],
            "said": emotion.name,
            "confidence": round(emotion.confidence, 4),
            "probabilities": [round(float(p), 4) for p in emotion.probabilities],
            "who": who,
            "stamp": when_ns / SECOND,
            "made": now,
            "annotator": annotator,
            "comment": comment,
            "stretch": stretch,  # the same where one answer is about several; empty where it is about this one
        }
        folder = self.config.folder / PENDING
        name = str(fields["id"])
        with self._lock:
            write_atomically(folder / f"{name}.{_KINDS[kind][0]}", [data])
            write_atomically(folder / f"{name}.json", [json.dumps(fields, indent=1), "\n"])
        return {**fields, "status": PENDING, "path": str(folder / f"{name}.json")}

    def listed(self) -> list[dict[str, Any]]:
        """All corrections, newest first; ``status`` is pending or accepted."""
        self.sweep()
        found = []
        for status in (PENDING, ACCEPTED):
            for path in (self.config.folder / status).glob("*.json"):
                try:
                    fields = read_correction(path)
                except (OSError, ValueError) as error:
                    self._warn(f"{path} is left out: {error}")
                    continue
                found.append({**fields, "status": status})
        return sorted(found, key=lambda fields: str(fields["id"]), reverse=True)

    def accept(self, correction_id: str) -> None:
        """Let training learn from it.

        Raises:
            CorrectionError: there is no such correction that waits for review.
        """
        with self._lock:
            path = self._find(correction_id, (PENDING,))
            target = self.config.folder / ACCEPTED
            target.mkdir(parents=True, exist_ok=True, mode=0o700)
            data = next(path.with_suffix(f".{ending}") for ending, _ in _KINDS.values() if _beside(path, ending))
            os.replace(data, target / data.name)  # the JSON last: what is listed is whole
            os.replace(path, target / path.name)
            sync_folder(target)

    def reject(self, correction_id: str) -> None:
        """Delete it, whether it was accepted before or not.

        Raises:
            CorrectionError: there is no such correction.
        """
        with self._lock:
            _delete(self._find(correction_id, (PENDING, ACCEPTED)))

    def evidence(self, correction_id: str) -> tuple[bytes, str]:
        """The picture or sound, and its media type.

        Raises:
            CorrectionError: there is no such correction.
        """
        path = self._find(correction_id, (PENDING, ACCEPTED))
        for ending, media_type in _KINDS.values():
            if _beside(path, ending):
                return path.with_suffix(f".{ending}").read_bytes(), media_type
        raise CorrectionError(f"correction {correction_id!r} has lost its picture or sound")

    def sweep(self) -> int:
        """Delete what is older than the retention allows; looks once a minute. How many were deleted."""
        now = self._clock()
        if now - self._swept < 60:
            return 0
        self._swept = now
        deleted = 0
        with self._lock:
            for status in (PENDING, ACCEPTED):
                for path in (self.config.folder / status).glob("*.json"):
                    made = _made(path)
                    if made is not None and now - made > self.config.retention_days * 86400:
                        _delete(path)
                        deleted += 1
                # A picture whose JSON was never written, or was deleted by hand, is nobody's.
                for path in (self.config.folder / status).glob("*.*"):
                    if path.suffix != ".json" and not path.with_suffix(".json").exists() and _age(path, now) > 60:
                        path.unlink(missing_ok=True)
        return deleted

    def delete_all(self) -> int:
        """Delete every correction, reviewed or not, and forget what is held in memory; how many there were."""
        with self._lock:
            self.recent.forget()
            count = 0
            for status in (PENDING, ACCEPTED):
                folder = self.config.folder / status
                count += sum(1 for _ in folder.glob("*.json"))
                if folder.is_dir():
                    shutil.rmtree(folder)
        return count

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(
            path.stat().st_size for status in (PENDING, ACCEPTED) for path in (self.config.folder / status).glob("*.*")
        )

    def _find(self, correction_id: str, where: Sequence[str]) -> Path:
        if _ID.fullmatch(correction_id):
            for status in where:
                path = self.config.folder / status / f"{correction_id}.json"
                if path.is_file():
                    return path
        raise CorrectionError(f"there is no correction {correction_id[:40]!r} {' or '.join(where)}")


def read_correction(path: Path) -> dict[str, Any]:
    """The fields of a correction's JSON file.

    Raises:
        ValueError: it is damaged, or of another format.
        OSError: it cannot be read.
    """
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict) or fields.get("format") != FORMAT_VERSION:
        raise ValueError("not a correction of this format")
    if fields.get("kind") not in _KINDS or fields.get("label") not in EMOTIONS or fields.get("id") != path.stem:
        raise ValueError("damaged: kind, label or id are not what they must be")
    return fields


def _made(path: Path) -> float | None:
    """When a correction was made, by its id: the file's own date changes when it is copied."""
    try:
        told = datetime.strptime(path.stem.partition("-")[0], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
    return told.replace(tzinfo=timezone.utc).timestamp()


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0


def _beside(path: Path, ending: str) -> bool:
    return path.with_suffix(f".{ending}").is_file()


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    for ending, _ in _KINDS.values():
        path.with_suffix(f".{ending}").unlink(missing_ok=True)


def _forget(held: deque[Any], now_ns: int, reach_s: float) -> None:
    """Drop what is older than the reach, and all that is of the future: the clock was set back."""
    while held and now_ns - held[0].stamp_ns > reach_s * SECOND:
        held.popleft()
    if held and held[0].stamp_ns > now_ns + 2 * SECOND:
        newest = held[-1]
        held.clear()
        held.append(newest)


def face_crop(image: np.ndarray, face: FaceObservation, largest: int = MAX_FACE) -> np.ndarray | None:
    """The face with a margin around it, at most so many pixels long; None where hardly any of it is in the picture."""
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


def _start_ns(voice: VoiceObservation) -> int:
    return voice.stamp_ns - round(voice.duration * SECOND)


def _mostly_in(voice: VoiceObservation, from_ns: int, to_ns: int) -> bool:
    """Whether the better part of what was judged lies in a stretch."""
    inside = min(voice.stamp_ns, to_ns) - max(_start_ns(voice), from_ns)
    return inside > 0 and 2 * inside >= voice.duration * SECOND


def _sound_of(sounds: Sequence[_Sound], voice: VoiceObservation) -> tuple[bytes, EmotionEstimate, int, str] | None:
    """What was judged, as WAV, with the judgement; None where it is not at hand."""
    length = min(max(voice.duration, MIN_SOUND_S), MAX_SOUND_S)
    wav = _cut(sounds, voice.stamp_ns - round(length * SECOND), voice.stamp_ns)
    return None if wav is None else (wav, voice.emotion, voice.stamp_ns, voice.voice_id)


def _cut(sounds: Sequence[_Sound], start_ns: int, end_ns: int) -> bytes | None:
    """The sound between two moments as WAV; None where less than MIN_SOUND_S of it is at hand."""
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
