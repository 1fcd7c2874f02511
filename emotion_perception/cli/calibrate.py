"""``emotion-calibrate``: learn what microphone, room and language do to voices, from ordinary speech in a place."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from emotion_perception.errors import explains_missing_packages

EPILOG = """examples:
  emotion-calibrate reception.wav --out reception.json
  emotion-calibrate meeting1.wav meeting2.wav --out meeting_room.json
  emotion-calibrate --listen 60 --out reception.json     # record from the default microphone

Half a minute to a minute of ordinary speech of several people, recorded with the robot's microphone, is enough. Start
acoustic_node with place_file:=reception.json. The file contains 17 numbers and no sound. The last line on stdout is one
JSON object: utterances, seconds of sound, foreignness (0 to 2: like the voices of training; 4: very different) and
shift, what is removed from the logit of each emotion.
Exit code: 0, 1 if there are fewer than five utterances (nothing is written), 2 for wrong arguments or unreadable files.
"""
ENOUGH = 5  # utterances
RATE = 16_000  # Hz


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-calibrate``."""
    parser = argparse.ArgumentParser(
        prog="emotion-calibrate",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="recording of ordinary speech")
    parser.add_argument("--listen", type=float, metavar="S", help="record S seconds from a microphone instead")
    parser.add_argument("--device", help="microphone (default: the system's)")
    parser.add_argument("--out", type=Path, required=True, help="file to write, for place_file of acoustic_node")
    parser.add_argument("--voice-model", help="ONNX file of the voice model (default: the published one)")
    return parser


@explains_missing_packages
def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if bool(args.paths) == (args.listen is not None):
        parser.error("give recordings or --listen S")
    if args.listen is not None and not 5 <= args.listen <= 3600:
        parser.error(f"--listen must lie in 5..3600 s, got {args.listen:g}")
    from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception
    from emotion_perception.acoustic.place import save_place
    from emotion_perception.acoustic.ring_buffer import resample
    from emotion_perception.errors import ModelError
    from emotion_perception.media.files import read_audio
    from emotion_perception.media.items import MediaError

    try:
        config = AcousticConfig(place_adaptation=1.0)
        if args.voice_model:
            config = AcousticConfig(place_adaptation=1.0, model=args.voice_model)
        perception = AcousticPerception(config)
        if not perception.place.active:
            raise ModelError(f"{perception.classifier.path} has no class_statistics in its card; train it anew")
        if args.paths:
            recordings = [resample(*read_audio(path)) for path in args.paths]
        else:
            recordings = [record(args.listen, args.device)]
        gap = np.zeros(2 * RATE, np.float32)  # ends the last utterance of each recording
        sound = np.concatenate([part for recording in recordings for part in (recording, gap)])
        utterances = perception.calibrate_place(sound, RATE)
        if utterances < ENOUGH:
            print(f"emotion-calibrate: {utterances} utterances found, {ENOUGH} are needed", file=sys.stderr)
            return 1
        save_place(args.out, perception.place.state)
    except (MediaError, ModelError, ValueError, OSError) as error:
        print(f"emotion-calibrate: {error}", file=sys.stderr)
        return 2
    summary = {
        "out": str(args.out),
        "utterances": utterances,
        "seconds": round(sum(map(len, recordings)) / RATE, 1),
        "foreignness": round(perception.place.foreignness, 2),
        "shift": [round(float(v), 2) for v in perception.place.shift],
    }
    print(json.dumps(summary))
    return 0


def record(seconds: float, device: str | None) -> np.ndarray:
    """``(T,)`` float32 at 16 kHz from a microphone.

    Raises:
        MediaError: there is no microphone.
    """
    from emotion_perception.acoustic.ring_buffer import resample
    from emotion_perception.media.live import Microphone

    blocks: list[np.ndarray] = []
    taken = 0
    microphone = Microphone(device, RATE)
    try:
        for block in microphone.read():
            blocks.append(block.samples)
            taken += len(block.samples)
            if taken >= seconds * RATE:
                break
    finally:
        microphone.close()
    return resample(np.concatenate(blocks), RATE)
