"""``emotion-recognize``: emotions in images, videos, sound files and rosbag2 recordings, as JSON lines.
ROS is not needed."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_perception.errors import explains_missing_packages

if TYPE_CHECKING:
    from emotion_perception.recognition import Recognizer
    from emotion_perception.types import EmotionEstimate, FaceLandmarks, FaceObservation

EPILOG = """examples:
  emotion-recognize portrait.jpg                  # one line per face
  emotion-recognize interview.mp4                 # one line per second: face and voice fused
  emotion-recognize call.wav --step 0.5           # one line every half second
  emotion-recognize recording.mcap                # a rosbag2 recording: camera and microphone topics found by type
  emotion-recognize bag/ --image-topic /head/image_raw/compressed    # or by name
  emotion-recognize talk.mp4 --report talk.html   # also a readable page with the emotional arc
  emotion-recognize portrait.jpg --explain why.png --emotion angry   # which regions of the face support it
  emotion-recognize photos/*.jpg | jq -r 'select(.label == "happy") | .path'

Each line has path, status, label, confidence, probabilities (by name), their prior, valence and arousal (-1..1), and
the standard deviations of their errors; a face adds its rectangle in pixels, detection score and quality (0..1), and
from its landmarks head pose and gaze in degrees, eye closure, jaw opening and facial actions. Without a face or a voice
the status is NO_EVIDENCE.
Exit code: 0 if every file was read, 1 if some could not be read, 2 for wrong arguments."""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-recognize``."""
    from emotion_perception.visual.config import ROTATIONS

    parser = argparse.ArgumentParser(
        prog="emotion-recognize",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image, video, sound file or rosbag2")
    parser.add_argument("--step", type=float, default=1.0, help="seconds of media time between two lines (1.0)")
    parser.add_argument("--fps", type=float, default=10.0, help="frames of a video analysed per second (10)")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="HTML",
        help="also write the emotional arc and the satisfaction of one video, sound file or recording as a page",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="PNG",
        help="also draw which regions of the largest face support the emotion",
    )
    parser.add_argument("--image-topic", default="", help="camera topic of a recording (default: by message type)")
    parser.add_argument("--audio-topic", default="", help="microphone topic of a recording (default: by message type)")
    parser.add_argument(
        "--audio-track",
        type=int,
        default=0,
        metavar="N",
        help="audio track of a film, from 1 (default: with most speech)",
    )
    parser.add_argument(
        "--rotate",
        choices=ROTATIONS,
        default="0",
        help="degrees clockwise that make the images upright, after the file's own rotation (EXIF, display matrix); "
        "auto: found from faces (0)",
    )
    parser.add_argument("--mirror", action="store_true", help="the images are mirrored; flip them after --rotate")
    parser.add_argument("--face-model", help="face network: ONNX or TFLite file with a model card")
    parser.add_argument(
        "--prior",
        help="how often each emotion is assumed to occur: service (default), balanced, web, or eight numbers such as "
        "neutral=0.3,calm=0.1,... (docs/fusion.md)",
    )
    parser.add_argument(
        "--adapt",
        choices=("off", "recording", "folder"),
        default="off",
        help="adapt voices to microphone, room and language, learnt from each recording, or from all given recordings "
        "in the same folder; needs 20 utterances, so short files stay as they are (off)",
    )
    parser.add_argument("--emotion", help="the emotion to explain (default: the most probable)")
    return parser


@explains_missing_packages
def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.step <= 0 or args.fps <= 0:
        parser.error(f"--step and --fps must be positive, got {args.step} and {args.fps}")
    if args.audio_track < 0:
        parser.error(f"--audio-track counts from 1, got {args.audio_track}")
    if (args.report or args.explain) and len(args.paths) > 1:
        parser.error("--report takes one recording, --explain one image")
    if args.emotion and not args.explain:
        parser.error("--emotion needs --explain")
    from emotion_perception.errors import ModelError
    from emotion_perception.media.items import MediaError
    from emotion_perception.recognition import OFFLINE_FACES, Recognizer
    from emotion_perception.visual.config import VisualConfig

    model = {"expression_model": args.face_model} if args.face_model else {}
    visual = VisualConfig(max_faces=OFFLINE_FACES, image_rotation=args.rotate, image_mirror=args.mirror, **model)
    try:
        recognizer = Recognizer(
            visual, frames_per_second=args.fps, step=args.step, prior=args.prior, adapt=args.adapt != "off"
        )
    except ValueError as error:
        parser.error(f"--prior: {error}")
    failed = 0
    topics = (args.image_topic, args.audio_topic, args.audio_track)
    place: list[Path] = []
    for path in args.paths:
        try:
            same = [path] if args.adapt == "recording" else [p for p in args.paths if p.parent == path.parent]
            if args.adapt != "off" and same != place:
                place = same
                _adapt(recognizer, place, topics)
            _recognize(recognizer, path, args.report, topics[:2], args.audio_track)
            if args.explain:
                _explain(recognizer, path, args.explain, args.emotion)
        except MediaError as error:
            print(f"emotion-recognize: {error}", file=sys.stderr)
            failed += 1
        except ModelError as error:
            print(f"emotion-recognize: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # whoever reads the lines has closed the pipe
            sys.stderr.close()
            return 0
        except (OSError, ValueError) as error:  # of report or explanation; reading raises MediaError
            print(f"emotion-recognize: {error}", file=sys.stderr)
            return 1
    return 1 if failed else 0


def _adapt(recognizer: Recognizer, paths: list[Path], topics: tuple[str, str, int]) -> None:
    from emotion_perception.acoustic.recording_place import ENOUGH
    from emotion_perception.files import printable

    count = recognizer.adapt_to(paths, *topics)
    name = printable(paths[0] if len(paths) == 1 else paths[0].parent)
    if count < ENOUGH:
        found = f"voices not adapted: {count} utterances, {ENOUGH} are needed"
    else:
        found = f"voices adapted to the place, foreignness {recognizer.acoustic.place.foreignness:.2f}"
    print(f"emotion-recognize: {name}: {found}", file=sys.stderr)


def _recognize(
    recognizer: Recognizer, path: Path, report: Path | None, topics: tuple[str, str], audio_track: int
) -> None:
    from tqdm import tqdm

    from emotion_perception.files import printable
    from emotion_perception.media.images import read_image
    from emotion_perception.media.items import MediaError
    from emotion_perception.types import EmotionStatus

    with recognizer.open(path, *topics, audio_track) as media:
        is_image, audio_track = media.is_image, media.audio_track
        if media.note:
            hint = f" (--audio-track 1 to {media.audio_tracks})" if media.audio_tracks > 1 else ""
            print(f"emotion-recognize: {path}: {media.note}{hint}", file=sys.stderr)
    if is_image:
        if report:
            raise MediaError(f"{path} is an image; --report needs a video, sound file or recording")
        faces = recognizer.faces(read_image(path))
        for face in faces:
            _print({"path": printable(path), "status": "VISUAL_ONLY", **face_fields(face)})
        if not faces:
            _print({"path": printable(path), "status": "NO_EVIDENCE"})
        return
    arc = recognizer.recording_arc() if report else None
    with tqdm(unit="s", desc=path.name, disable=not sys.stderr.isatty(), leave=False) as bar:
        for moment in recognizer.moments(path, *topics, audio_track):
            bar.total = moment.duration and round(moment.duration, 1)
            bar.update(round(moment.time - bar.n, 3))
            state = moment.state
            if arc:
                arc.add(moment)
            _print(
                {
                    "path": printable(path),
                    "time": round(moment.time, 3),
                    "status": state.status.name,
                    "face_id": state.face_id,
                    "voice_id": state.voice_id,
                    **estimate_fields(state.emotion, state.status != EmotionStatus.NO_EVIDENCE),
                    "faces": [face_fields(face) for face in moment.faces],
                }
            )
    if media.has_video and (turned := recognizer.turned_by):
        print(f"emotion-recognize: {path}: faces are turned; try --rotate {turned}", file=sys.stderr)
    if arc and report:
        try:
            arc.write_report(report, printable(path.name))
        except OSError as error:
            raise OSError(f"the report {report} cannot be written: {error.strerror or error}") from error


def _explain(recognizer: Recognizer, path: Path, out: Path, emotion: str | None) -> None:
    import cv2

    from emotion_perception.files import replacing
    from emotion_perception.media.images import read_image
    from emotion_perception.visual.explain import draw_explanation

    found = recognizer.explain(read_image(path), emotion)
    if found is None:
        raise ValueError(f"{path}: no face to explain")
    good, data = cv2.imencode(".png", draw_explanation(*found))
    if not good:
        raise OSError(f"{out}: the image could not be encoded")
    with replacing(out) as partial:
        partial.write_bytes(data.tobytes())


def estimate_fields(emotion: EmotionEstimate, known: bool = True) -> dict[str, Any]:
    """An estimate as JSON fields; unknown intensities are left out, and without evidence the label is empty."""
    from emotion_perception.emotions import EMOTIONS
    from emotion_perception.files import json_number
    from emotion_perception.priors import prior_name

    strengths = zip(EMOTIONS, map(float, emotion.intensities), strict=True)
    valence_deviation, arousal_deviation = emotion.deviations
    return {
        "label": emotion.name if known else "",
        "confidence": round(emotion.confidence, 4),
        "probabilities": {n: round(float(p), 4) for n, p in zip(EMOTIONS, emotion.probabilities, strict=True)},
        "prior": prior_name(emotion.prior),
        "intensities": {n: round(i, 4) for n, i in strengths if not math.isnan(i)},
        "valence": round(emotion.valence, 4),
        "arousal": round(emotion.arousal, 4),
        "valence_deviation": json_number(valence_deviation),
        "arousal_deviation": json_number(arousal_deviation),
    }


def face_fields(face: FaceObservation) -> dict[str, Any]:
    """A face as JSON fields."""
    box = face.box
    return {
        "face_id": face.face_id,
        "roi": {"x": round(box.x), "y": round(box.y), "width": round(box.width), "height": round(box.height)},
        "detection_score": round(face.detection_score, 3),
        "quality": round(face.quality, 3),
        **estimate_fields(face.emotion),
        **({} if face.landmarks is None else {"landmarks": landmark_fields(face.landmarks)}),
    }


def landmark_fields(landmarks: FaceLandmarks) -> dict[str, Any]:
    """What landmarks show as JSON fields, angles in degrees; only the score where they lie on no face."""
    score = {"score": round(landmarks.score, 3)}
    if math.isnan(landmarks.head_yaw):
        return score
    yaw, pitch, roll, gaze_yaw, gaze_pitch = (
        round(math.degrees(angle), 1)
        for angle in (
            landmarks.head_yaw,
            landmarks.head_pitch,
            landmarks.head_roll,
            landmarks.gaze_yaw,
            landmarks.gaze_pitch,
        )
    )
    return score | {
        "head": {"yaw": yaw, "pitch": pitch, "roll": roll},
        "gaze": {"yaw": gaze_yaw, "pitch": gaze_pitch},
        "eye_closure": round(landmarks.eye_closure, 2),
        "jaw_opening": round(landmarks.jaw_opening, 2),
        "actions": landmarks.facial_actions,
    }


def _print(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    sys.exit(main())
