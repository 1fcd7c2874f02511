"""The guarded process that analyses one visitor's file: ``python -m ... MEMORY_MB SECONDS SPARE_SECONDS``.

Standard input is a socket that brings one message with the descriptor of the file, a memfd: the file is never on a
disk. One JSON object goes to standard output, and the process ends. Limits, set before the file is read: memory on top
of the loaded models, processor and wall-clock time, no file written, no core dump. The process
dies with its parent, and by itself at the latest after ``SECONDS`` + ``SPARE_SECONDS`` without a file.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from emotion_perception.dashboard.file_types import MAX_PIXELS, check_pixels
from emotion_perception.dashboard.store import estimate_fields
from emotion_perception.dashboard.uploads import MAX_SECONDS
from emotion_perception.dashboard.video import face_fields
from emotion_perception.media.formats import image_format
from emotion_perception.media.images import image_size, read_image
from emotion_perception.media.items import MediaError
from emotion_perception.media.opening import open_media
from emotion_perception.recognition import Recognizer
from emotion_perception.types import EmotionStatus
from emotion_perception.visual.explain import draw_explanation, explain_face

if TYPE_CHECKING:
    from emotion_perception.visual.face_crop import ClassifiedCrop

SHOWN = 960  # px, longer side of the image that is sent back
EXPLAINED = 6  # largest number of faces with a heat map
VIDEO_PIXELS = 4096 * 2304
_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Load the models, wait for the file, answer."""
    memory_mb, seconds, spare_seconds = (int(argument) for argument in argv)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.alarm(seconds + spare_seconds)  # whoever started this process ends it earlier, unless it hangs
    os.nice(5)  # the robot's own perception has priority
    cv2.setNumThreads(1)
    recognizer = Recognizer(frames_per_second=5.0, step=0.5)
    recognizer.visual.still(np.zeros((64, 96, 3), np.uint8))  # warm-up: load what would be loaded at first use
    recognizer.visual.warm_up()
    recognizer.acoustic.warm_up()
    _, descriptors, _, _ = socket.recv_fds(socket.socket(fileno=0), 4096, 1)
    if not descriptors:
        return 0  # no file arrived
    signal.alarm(seconds)
    limit(memory_mb, seconds, os.fstat(descriptors[0]).st_size)
    path = Path(f"/proc/self/fd/{descriptors[0]}")
    try:
        answer = _analyze(recognizer, path)
    except (MediaError, ValueError) as error:
        answer = {"error": _without_path(str(error))}
    except MemoryError:
        answer = {"error": "the file needs more memory than is allowed"}
    sys.stdout.write(json.dumps(answer, separators=(",", ":"), allow_nan=False))
    sys.stdout.flush()
    os._exit(0)


def limit(memory_mb: int, seconds: int, size: int) -> None:
    """Bound what a file of ``size`` bytes can make this process do."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    room = used + memory_mb * 1_000_000 + 2 * size
    for what, most in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _analyze(recognizer: Recognizer, path: Path) -> dict[str, Any]:
    if image_format(path):
        check_pixels(*image_size(path))
    with open_media(path) as media:
        if media.has_video and not media.is_image and media.width * media.height > min(MAX_PIXELS, VIDEO_PIXELS):
            raise ValueError(f"the clip has {media.width} x {media.height} pixels; at most 4096 x 2304 are taken")
        is_image, seen, heard = media.is_image, media.has_video, media.has_audio
    return _picture(recognizer, read_image(path)) if is_image else _recording(recognizer, path, seen, heard)


def _picture(recognizer: Recognizer, image: np.ndarray) -> dict[str, Any]:
    height, width = image.shape[:2]
    faces = recognizer.faces(image)
    crops = recognizer.visual.crops(image)
    shown_faces = []
    for i, face in enumerate(faces):
        fields = {**face_fields(face, width, height), **estimate_fields(face.emotion)}
        if i < min(EXPLAINED, len(crops)):
            fields["explanation"] = _explanation(recognizer, crops[i])
        shown_faces.append(fields)
    scale = min(1.0, SHOWN / max(height, width))
    shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    jpeg = cv2.imencode(".jpg", shown, (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()
    return {"kind": "picture", "width": width, "height": height, "picture": _text(jpeg), "faces": shown_faces}


def _recording(recognizer: Recognizer, path: Path, seen: bool, heard: bool) -> dict[str, Any]:
    arc = recognizer.recording_arc()
    moments: list[list[Any]] = []
    clearest: ClassifiedCrop | None = None
    end, cut = 0.0, False
    for moment in recognizer.moments(path):
        if moment.time > MAX_SECONDS:
            cut = True
            break
        end = moment.time
        arc.add(moment)
        state = moment.state
        point: list[Any] = [round(moment.time, 2), int(state.status)]
        if state.status != EmotionStatus.NO_EVIDENCE:
            emotion = state.emotion
            point += [emotion.label, *(round(v, 3) for v in (emotion.confidence, emotion.valence, emotion.arousal))]
        moments.append(point)
        newest = recognizer.visual.newest_crop(state.face_id) if seen and state.face_id else None
        if newest is not None and (clearest is None or newest.emotion.confidence > clearest.emotion.confidence):
            clearest = newest
    summary = arc.summary("upload")
    satisfaction = summary.satisfaction
    answer: dict[str, Any] = {
        "kind": "recording",
        "video": seen,
        "audio": heard,
        "seconds": round(end, 2),
        "cut": cut,
        "step": 0.5,
        "moments": moments,
        "coverage": round(summary.coverage, 3),
        "text": summary.text,
        "score": satisfaction.score,
        "margin": satisfaction.margin,
        "reason": satisfaction.reason,
    }
    if summary.coverage:
        answer["emotion"] = estimate_fields(summary.emotion)
    if clearest is not None:
        answer["explanation"] = _explanation(recognizer, clearest.crop)
    return answer


def _explanation(recognizer: Recognizer, crop: np.ndarray) -> dict[str, str]:
    explained = explain_face(crop, recognizer.visual.classifier)
    png = cv2.imencode(".png", draw_explanation(crop, explained, 192))[1].tobytes()
    return {"emotion": explained.emotion, "picture": _text(png)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _without_path(reason: str) -> str:
    """A reason without the path of the memfd, which means nothing to a visitor."""
    if reason.startswith("/proc/self/fd/"):
        reason = reason.partition(": ")[2]
    return reason or "the file cannot be decoded"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
