"""``emotion-train``: train the face model, the voice model or the fusion of both; learn from corrections."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from emotion_perception.errors import explains_missing_packages

EPILOG = """examples:
  emotion-train visual --data ../shared/data/ferplus.npz --initial models/expression.onnx --out expression.onnx
  emotion-train acoustic --data ../shared/data --initial models/voice.onnx --out voice.onnx
  emotion-train acoustic --data ~/corpora/CREMA-D ~/corpora/SUBESCO --initial encoder.safetensors --out voice.onnx
  emotion-train fusion --data ../shared/data   # after either model has changed: a few minutes
  emotion-train familiarity --data ../shared/data/ferplus.npz   # renew the face model's output for foreign pictures
  emotion-train quantise --data ../shared/data/ferplus.npz   # an int8 face network beside the float one
  emotion-train visual --data ferplus.npz --epochs 2 --out /tmp/quick.onnx   # a quick try
  emotion-train visual --data ferplus.npz --backbone vgg16 --backbone-weights vgg16.pth --out big.onnx
  emotion-train visual --data ferplus.npz --teacher big.onnx   # distil it into a network for the robot
  emotion-train visual --feedback ~/corrections --data ferplus.npz    # learn from corrections made on the dashboard
  emotion-train acoustic --feedback ~/corrections --data ../shared/data   # the same for voices
  emotion-train visual --feedback ~/corrections --roll-back           # return to the previous model
  emotion-train export --initial old.safetensors --out new.onnx --data ferplus.npz   # an old face model

A run writes a checkpoint after every epoch; rerun the command to resume an interrupted run, or use --restart to begin
anew. DATA is ferplus.npz (visual), or one or more speech corpora or folders with speech corpora, which are recognised
by their folder names (acoustic; see docs/acoustic_model.md), or a folder with ferplus.npz and ravdess_speech (fusion).
fusion trains no network: it measures the reliability of the two published models on validation data and writes it to
models/fusion.yaml, or to --out. familiarity adds to a face model (--expression-model, default: the published one) an
output that is low for pictures unlike its training faces; visual does this by itself. quantise writes its int8 network
(next to it, or into the folder --out) unless that loses more than 0.3 points on validation faces; each robot then uses
whichever is faster on its CPU."""

LOW_PRIORITY = 15  # niceness of a training in the background
_PR_SET_PDEATHSIG = 1
KINDS = {"visual": "face", "acoustic": "voice"}  # of the corrections that each model learns from


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-train``."""
    parser = argparse.ArgumentParser(
        prog="emotion-train", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model",
        choices=("visual", "acoustic", "fusion", "familiarity", "quantise", "export"),
        help="model, pooling or conversion",
    )
    parser.add_argument("--data", type=Path, nargs="+", help="training data (see below); several for acoustic")
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        help="YAML of hyper-parameters (default: the published model's); several are stages, each of which starts from "
        "the weights of the one before (acoustic)",
    )
    parser.add_argument(
        "--out", type=Path, help="file to write (default: models/fusion.yaml, or runs/<model>/<model>.onnx)"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="resumable state (default: next to --out); for fusion: folder for the models' outputs",
    )
    parser.add_argument(
        "--expression-model",
        type=Path,
        help="for fusion, familiarity, quantise: face model (default: the published one)",
    )
    parser.add_argument("--voice-model", type=Path, help="for fusion: voice model (default: the published one)")
    parser.add_argument(
        "--initial",
        type=Path,
        help="published weights to start from; acoustic: or those of an encoder (scripts/speech_encoder.py)",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="published network whose predictions are mixed into the labels (visual; repeatable)",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="network to train (visual): face_encoder, which the published configuration names, or of torchvision, for "
        "comparison and as --teacher: mobilenet_v3_small, vgg16, resnet18, ...",
    )
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FILE",
        help="its pretrained weights: runs/face_encoder.safetensors of scripts/face_encoder.py, or a state dict in "
        "torchvision's names (.pth or .safetensors); default: random",
    )
    parser.add_argument(
        "--ablation",
        type=Path,
        metavar="DIR",
        help="ablation: train without one part of the recipe at a time; writes a table to DIR",
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant of --ablation (acoustic)")
    parser.add_argument(
        "--sex",
        choices=("off", "task", "condition"),
        help="use the speaker's sex as a second task or as an input (acoustic; for studies only)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="output of emotion-eval acoustic --protocol leave-speakers-out with the same --config; the calibration is "
        "fitted on its speakers (acoustic; default: on the validation speakers)",
    )
    parser.add_argument(
        "--feedback",
        type=Path,
        metavar="DIR",
        help="learn from the dashboard's accepted corrections of faces (visual) or voices (acoustic) in DIR, with "
        "--data; the result is used unless it is worse, as DIR/models/current.onnx "
        "(faces) or DIR/voice_models/current.onnx",
    )
    parser.add_argument(
        "--versions", action="store_true", help="list the models in DIR/models or DIR/voice_models (with --feedback)"
    )
    parser.add_argument("--roll-back", action="store_true", help="return to the previous model (with --feedback)")
    parser.add_argument(
        "--background",
        action="store_true",
        help="for programs that start this one (with --feedback): low CPU priority, progress as JSON lines on standard "
        "output, end with that program",
    )
    parser.add_argument(
        "--overlap-from",
        type=Path,
        metavar="FILE",
        help="take the detector of overlapped speech over from this voice model instead of training one (acoustic)",
    )
    parser.add_argument("--epochs", type=int, help="override the configuration's number of epochs")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: all cores)")
    parser.add_argument("--restart", action="store_true", help="discard an earlier checkpoint")
    return parser


@explains_missing_packages
def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if any((args.teacher, args.backbone, args.backbone_weights)) and args.model != "visual":
        parser.error("--teacher and --backbone need emotion-train visual")
    if any((args.sex, args.calibration)) and args.model != "acoustic":
        parser.error("--sex and --calibration need emotion-train acoustic")
    if args.overlap_from and args.model != "acoustic":
        parser.error("--overlap-from needs emotion-train acoustic")
    if args.model != "acoustic" and (len(args.data or ()) > 1 or len(args.config or ()) > 1):
        parser.error("several --data or --config need emotion-train acoustic")
    if args.initial and args.backbone_weights:
        parser.error("--initial and --backbone-weights are alternatives; give one")
    if args.ablation and (args.backbone or args.backbone_weights):
        parser.error("--ablation trains the robot's own network; leave out --backbone")
    if args.feedback and (args.model == "fusion" or args.ablation or args.backbone or args.teacher or args.sex):
        parser.error("--feedback needs emotion-train visual or acoustic, and takes --initial and --threads only")
    if (args.versions or args.roll_back or args.background) and not args.feedback:
        parser.error("--versions, --roll-back and --background need --feedback DIR")
    if args.background:
        _go_to_background()
    if args.feedback and (args.versions or args.roll_back):
        return _versions(args)
    corpora: list[Path] = args.data or []
    args.data = corpora[0] if corpora else None
    if args.model == "export":
        if args.initial is None or args.out is None:
            parser.error("export needs --initial, face weights as safetensors, and --out, the ONNX file")
        return _export(args)
    if args.data is None:
        parser.error("the following arguments are required: --data")
    if missing := [path for path in corpora if not path.exists()]:
        print(f"emotion-train: no data at {missing[0]}", file=sys.stderr)
        return 2
    if args.model == "fusion":
        return _fusion(args)
    if args.model == "familiarity":
        return _familiarity(args)
    if args.model == "quantise":
        return _quantise(args)
    import torch

    from emotion_perception.errors import ModelError
    from emotion_perception.learning.config import load_config
    from emotion_perception.resources import config_path

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.feedback:
        return _feedback(args)
    out = args.out or Path("runs") / args.model / f"{args.model}.onnx"
    checkpoint = args.checkpoint or out.with_suffix(".checkpoint")
    if args.restart:
        checkpoint.unlink(missing_ok=True)
    overrides = {"epochs": args.epochs} if args.epochs is not None else {}
    try:
        paths = args.config or [config_path(f"training/{args.model}.yaml")]
        if args.model == "visual":
            from emotion_perception.learning.faces import train as train_visual
            from emotion_perception.learning.faces.familiarity import learn_if_enough

            visual = load_config(paths[0], train_visual.VisualTraining, overrides)
            if args.backbone:
                visual = replace(visual, backbone=replace(visual.backbone, name=args.backbone))
            if args.ablation:
                from emotion_perception.learning.evaluation.face_ablation import ablate

                print(json.dumps(ablate(args.data, args.ablation, visual, args.teacher)))
                return 0
            card = train_visual.train(
                args.data, out, visual, checkpoint, args.initial, args.teacher, args.backbone_weights
            )
            card["familiarity"] = learn_if_enough(out, args.data)
        else:
            from emotion_perception.learning.voices.config import AcousticTraining
            from emotion_perception.learning.voices.features import FEATURES
            from emotion_perception.learning.voices.train import train as train_voice

            overrides |= {"sex": args.sex} if args.sex else {}
            stages = [load_config(path, AcousticTraining, overrides) for path in paths]
            if args.ablation:
                from emotion_perception.learning.evaluation import voice_ablation as speech_ablation

                rows = speech_ablation.ablate(args.data, args.ablation, stages[-1], args.seeds, args.initial, FEATURES)
                print(json.dumps(rows))
                return 0
            card = train_voice(
                corpora, out, stages, checkpoint, args.calibration, args.initial, FEATURES, args.overlap_from
            )
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"weights": str(out), **card}))
    return 0


def _export(args: argparse.Namespace) -> int:
    """Write a face model of an earlier release (safetensors) as ONNX; with --data, its card states the label prior."""
    from emotion_perception.errors import ModelError
    from emotion_perception.learning.faces.export import class_prior, publish_faces
    from emotion_perception.learning.faces.ferplus import load_ferplus
    from emotion_perception.learning.faces.teachers import load_network
    from emotion_perception.learning.onnx_files import read_network

    try:
        _, card = read_network(args.initial)
        if args.data is not None:
            split = load_ferplus(args.data, "PublicTest")
            card |= {"prior": class_prior(split), "fer2013_prior": class_prior(split, "fer2013")}
        publish_faces(args.out, load_network(args.initial), card)
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"weights": str(args.out)}))
    return 0


def _feedback(args: argparse.Namespace) -> int:
    """Learn from corrections: 0 if the new model is used, 3 if it is worse and the old one stays in use."""
    from emotion_perception.errors import ModelError
    from emotion_perception.feedback.model_versions import FOLDERS, ModelVersions
    from emotion_perception.learning.feedback.learn import Learner, no_progress, train_from_feedback
    from emotion_perception.resources import find_model

    learner: Learner
    if args.model == "visual":
        from emotion_perception.learning.feedback.faces import FaceLearner

        learner = FaceLearner(args.data)
    else:
        from emotion_perception.learning.feedback.voices import VoiceLearner
        from emotion_perception.learning.voices.features import FEATURES

        learner = VoiceLearner(args.data, FEATURES)
    versions = ModelVersions(args.feedback / FOLDERS[learner.kind])
    base = args.initial or find_model(learner.published)
    progress = _print_progress if args.background else no_progress
    try:
        with versions.exclusive():
            report = train_from_feedback(args.feedback, learner, versions, base, progress)
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report))
    if not report["replaced"]:
        print(f"emotion-train: not replaced: {report['reason']}", file=sys.stderr)
        return 3
    return 0


def _go_to_background() -> None:
    """Leave the processor to the robot's perception, and end with the thread that started this process (Linux)."""
    os.nice(LOW_PRIORITY)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _print_progress(stage: str, done: int, total: int) -> None:
    print(json.dumps({"progress": stage, "done": done, "total": total}), flush=True)


def _versions(args: argparse.Namespace) -> int:
    """List the versions of a model, or return to the previous one."""
    from emotion_perception.feedback.model_versions import FOLDERS, ModelVersions

    versions = ModelVersions(args.feedback / FOLDERS[KINDS[args.model]])
    try:
        if args.roll_back:
            with versions.exclusive():
                print(json.dumps({"version": versions.roll_back(), "weights": str(versions.link)}))
            return 0
        for card in versions.cards():
            print(json.dumps({**card, "current": card["version"] == versions.current}))
    except ValueError as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    return 0


def _fusion(args: argparse.Namespace) -> int:
    from emotion_perception.errors import ModelError
    from emotion_perception.fusion.reliability import FUSION_FILE
    from emotion_perception.learning.fusion.reliability import learn
    from emotion_perception.resources import find_model

    try:
        expression = args.expression_model or find_model("expression.onnx")
        voice = args.voice_model or find_model("voice.onnx")
        learnt = learn(args.data, expression, voice, args.out or find_model(FUSION_FILE), args.checkpoint)
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    print(json.dumps(learnt))
    return 0


def _familiarity(args: argparse.Namespace) -> int:
    from emotion_perception.errors import ModelError
    from emotion_perception.learning.faces.familiarity import learn_familiarity
    from emotion_perception.resources import find_model

    try:
        model = args.expression_model or find_model("expression.onnx")
        learnt = learn_familiarity(model, args.data, args.out)
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"weights": str(args.out or model), "familiarity": learnt}))
    return 0


def _quantise(args: argparse.Namespace) -> int:
    from emotion_perception.errors import ModelError
    from emotion_perception.learning.quantise import QuantisationError, quantise_faces
    from emotion_perception.resources import find_model

    try:
        model = args.expression_model or find_model("expression.onnx")
        made = quantise_faces(Path(model), args.data, args.out)
    except QuantisationError as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-train: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"quantised": made}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
