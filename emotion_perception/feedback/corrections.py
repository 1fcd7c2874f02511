"""Corrected labels, stored with their face or sound for retraining if the people in view consented.

Without consent nothing is held, not even in memory. With it,
:class:`~emotion_perception.feedback.recent.RecentEvidence` holds the faces and the sound of the last minutes in memory,
and :class:`Corrections` writes those that a person corrects::

    <folder>/pending/<id>.json   corrected label, and the model's estimate     } only the robot's own user
    <folder>/pending/<id>.jpg    the face with a margin (or .wav, the segment) } can read them
    <folder>/accepted/...        reviewed: `emotion-train --feedback` trains on these

A rejected correction is deleted at once, every other one after ``retention_days``.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_perception.emotions import EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.feedback.recent import Example, RecentEvidence
from emotion_perception.feedback.retention import Retention, time_name
from emotion_perception.files import make_private_folder, read_json, sync_folder, write_atomically
from emotion_perception.types import SECOND

FORMAT_VERSION = 1
PENDING, ACCEPTED = "pending", "accepted"
STRETCH_S = 30.0  # longest time range that is corrected at once
ORPHAN_S = 60.0  # a face or sound without its JSON for this long was left by a process that was killed
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_KINDS = {"face": ("jpg", "image/jpeg"), "voice": ("wav", "audio/wav")}


class CorrectionError(ValueError):
    """A correction cannot be stored or found; the message gives the reason."""

    status = 409


@dataclass(frozen=True)
class CorrectionConfig:
    """Where corrections are stored, and for how long."""

    folder: Path
    retention_days: float = 90.0
    max_mb: float = 500.0  # beyond, corrections are refused
    reach_s: float = 120.0  # how far back a face or utterance can be corrected


class Corrections:
    """The corrections of a folder. Safe to use from several threads.

    Args:
        config: folder and retention.
        recent: what can be corrected.
        warn: called with each problem.
        clock: seconds since the epoch; for tests.
        audit: called with "stored" or "accepted", and "face" or "voice".
    """

    def __init__(
        self,
        config: CorrectionConfig,
        recent: RecentEvidence,
        warn: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.time,
        audit: Callable[[str, str], object] = lambda action, kind: None,
    ) -> None:
        self._audit = audit
        self.config, self.recent = config, recent
        self._warn, self._clock = warn, clock
        self._lock = threading.Lock()
        self._retention = Retention(config.retention_days, _delete)

    @property
    def reach_s(self) -> float:
        """How far back a face or utterance can be corrected, s."""
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
        """Store a corrected label for review. With neither id: the face at that time, otherwise the voice.

        Returns:
            The correction, as in :meth:`listed`.

        Raises:
            CorrectionError: no such label, no face or voice of that time in memory, or the folder is full.
            OSError: writing to the disk failed.
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
        """Store a corrected label for a time range: some of its faces, and its utterances. They share ``stretch``.

        For a label that is not in the face model's vocabulary, only the utterances are stored.

        Raises:
            CorrectionError: the range is negative or too long, or as :meth:`correct`.
            OSError: writing to the disk failed.
        """
        if not 0 <= to_ns - from_ns <= STRETCH_S * SECOND:
            seconds = (to_ns - from_ns) / SECOND
            raise CorrectionError(f"a time range must last 0 to {STRETCH_S:.0f} s, got {seconds:.1f} s")
        if not 0 <= label < len(EMOTIONS):
            raise CorrectionError(f"no emotion has the label {label}; there are 0 to {len(EMOTIONS) - 1}")
        found = [("voice", voice) for voice in self.recent.voices_between(from_ns, to_ns)]
        if EMOTIONS[label] in VISUAL_EMOTIONS:
            found = [("face", face) for face in self.recent.faces_between(from_ns, to_ns)] + found
        if not found:
            return [self.correct(label, stamp_ns=(from_ns + to_ns) // 2, annotator=annotator, comment=comment)]
        stretch = secrets.token_hex(6)
        return [self._keep(label, kind, example, annotator, comment, stretch) for kind, example in found]

    def _keep(
        self, label: int, kind: str, example: Example, annotator: str, comment: str, stretch: str = ""
    ) -> dict[str, Any]:
        if kind == "face" and EMOTIONS[label] not in VISUAL_EMOTIONS:
            raise CorrectionError(f"faces do not show {EMOTIONS[label]!r}; choose one of {', '.join(VISUAL_EMOTIONS)}")
        self.sweep()
        if self.size() + len(example.data) > self.config.max_mb * 1e6:
            raise CorrectionError(
                f"{self.config.folder} holds {self.config.max_mb:g} MB already; review or delete some"
            )
        now = self._clock()
        fields = {
            "format": FORMAT_VERSION,
            "id": f"{time_name(now)}-{secrets.token_hex(3)}",
            "kind": kind,
            "label": EMOTIONS[label],
            "said": example.emotion.name,
            "confidence": round(example.emotion.confidence, 4),
            "probabilities": [round(float(p), 4) for p in example.emotion.probabilities],
            "who": example.source_id,
            "stamp": example.stamp_ns / SECOND,
            "made": now,
            "annotator": annotator,
            "comment": comment,
            "stretch": stretch,  # shared by all corrections of one time range; empty for a single one
        }
        folder = self.config.folder / PENDING
        name = str(fields["id"])
        with self._lock:
            write_atomically(folder / f"{name}.{_KINDS[kind][0]}", [example.data])
            write_atomically(folder / f"{name}.json", [json.dumps(fields, indent=1), "\n"])
        self._audit("stored", kind)
        return {**fields, "status": PENDING, "path": str(folder / f"{name}.json")}

    def listed(self) -> list[dict[str, Any]]:
        """All corrections, newest first; ``status`` is pending or accepted. Damaged files are reported and skipped."""
        self.sweep()
        found = []
        for status in (PENDING, ACCEPTED):
            for path in (self.config.folder / status).glob("*.json"):
                try:
                    fields = read_correction(path)
                except (OSError, ValueError) as error:
                    self._warn(f"{path} is skipped: {error}")
                    continue
                found.append({**fields, "status": status})
        return sorted(found, key=lambda fields: str(fields["id"]), reverse=True)

    def accept(self, correction_id: str) -> None:
        """Release a correction for training.

        Raises:
            CorrectionError: no such correction is pending.
        """
        with self._lock:
            path = self._find(correction_id, (PENDING,))
            data = _data_file(path)
            if data is None:
                raise CorrectionError(f"correction {correction_id!r} has lost its image or sound")
            target = self.config.folder / ACCEPTED
            make_private_folder(target)
            os.replace(data, target / data.name)  # the JSON last: a listed correction is complete
            os.replace(path, target / path.name)
            sync_folder(target)
        self._audit("accepted", next(kind for kind, (suffix, _) in _KINDS.items() if data.suffix == f".{suffix}"))

    def reject(self, correction_id: str) -> None:
        """Delete a correction, accepted or not.

        Raises:
            CorrectionError: there is no such correction.
        """
        with self._lock:
            _delete(self._find(correction_id, (PENDING, ACCEPTED)))

    def evidence(self, correction_id: str) -> tuple[bytes, str]:
        """The face or sound of a correction, and its media type.

        Raises:
            CorrectionError: there is no such correction.
        """
        path = _data_file(self._find(correction_id, (PENDING, ACCEPTED)))
        if path is None:
            raise CorrectionError(f"correction {correction_id!r} has lost its image or sound")
        return path.read_bytes(), dict(_KINDS.values())[path.suffix[1:]]

    def sweep(self) -> int:
        """Delete what is older than the retention allows, at most once a minute; returns the number of deleted
        corrections.
        """
        now = self._clock()
        if not self._retention.due(now):
            return 0
        deleted = 0
        with self._lock:
            for folder in self._folders():
                deleted += self._retention.sweep(folder.glob("*.json"), now)
                for path in folder.glob("*.*"):
                    if path.suffix != ".json" and not path.with_suffix(".json").exists() and _age(path, now) > ORPHAN_S:
                        path.unlink(missing_ok=True)
        return deleted

    def delete_all(self) -> int:
        """Delete every correction, reviewed or not, and clear the evidence in memory; returns the number of
        corrections.
        """
        with self._lock:
            self.recent.forget()
            count = 0
            for folder in self._folders():
                count += sum(1 for _ in folder.glob("*.json"))
                if folder.is_dir():
                    shutil.rmtree(folder)
        return count

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for folder in self._folders() for path in folder.glob("*.*"))

    def _folders(self) -> tuple[Path, Path]:
        return self.config.folder / PENDING, self.config.folder / ACCEPTED

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
        ValueError: damaged, or of another format.
        OSError: it cannot be read.
    """
    fields = read_json(path)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT_VERSION:
        raise ValueError("not a correction of this format")
    if fields.get("kind") not in _KINDS or fields.get("label") not in EMOTIONS or fields.get("id") != path.stem:
        raise ValueError("damaged: kind, label or id are not as required")
    return fields


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0


def _data_file(path: Path) -> Path | None:
    """The face or sound that belongs to a JSON file."""
    files = (path.with_suffix(f".{suffix}") for suffix, _ in _KINDS.values())
    return next((file for file in files if file.is_file()), None)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    for suffix, _ in _KINDS.values():
        path.with_suffix(f".{suffix}").unlink(missing_ok=True)
