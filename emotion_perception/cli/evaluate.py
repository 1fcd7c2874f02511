"""``emotion-eval``: score the face model, the voice model or their fusion on labelled data: report, plots, JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from emotion_perception.errors import explains_missing_packages

EPILOG = """DIR is one of
  a folder per emotion (neutral, calm, happy, sad, angry, fearful, disgusted, surprised) with images
      or sound files of the formats that emotion-recognize reads;
  ferplus.npz, with --split Training|PublicTest|PrivateTest and --labels fer2013|ferplus;
  a folder named ravdess_speech, emodb or nemo as the corpus is distributed, with --split train|validation|test|all;
  for fusion, the folder with ferplus.npz, ravdess_speech and, optionally, cremad_clips.

examples:
  emotion-eval visual --data ../shared/data/ferplus.npz --split PrivateTest --labels fer2013 --out runs/fer2013
  emotion-eval acoustic --data ../shared/data/ravdess_speech --split test --out runs/ravdess
  emotion-eval visual --data my_photos --out runs/mine --prior balanced
  emotion-eval fusion --data ../shared/data --out runs/fusion
  emotion-eval acoustic --data ../shared/data --protocol leave-speakers-out --initial runs/speech_encoder.safetensors \\
      --out runs/speakers
  emotion-eval acoustic --data ../shared/data/ravdess_speech --noise-table --out runs/noise
  emotion-eval acoustic --data ../shared/data/ravdess_speech --by sex --out runs/by_sex
  emotion-eval visual --data portraits --people london_faces_info.csv --by sex age --out runs/by_people

--protocol trains the voice model once per fold without some of the clips of DIR (the folder of the corpora) and tests
it on those. It takes an hour or more; rerun the command to resume an interrupted run. Its JSON has accuracy, uar and
ece of every fold and of all folds pooled, with 95 % confidence intervals. leave-corpus-out trains only heads, by
several methods, takes minutes, and writes left_out_corpora.md and .json.

--by scores groups of people (sex, age, or a column of --people) and the gap between the best and the worst, with 95 %
intervals from a bootstrap over people; by_FIELD.png shows it, and the key "by" of the JSON has the figures.

Written to OUT: report.json, classification_report.txt, confusion_matrix.png, roc.png, calibration.png,
risk_coverage.png and, for ferplus.npz, mistakes.png and confusions.png. The last line on stdout is one JSON object: n,
accuracy, accuracy_closed (among the labels present), uar, macro_f1, auc, ece, ece_by_chance (its expectation for so few
cases if every confidence is right), 95 % intervals (..._interval), accuracy_surest_80 (of the 80 % with the highest
confidence), expected_cost, valence_rmse, valence_deviation and valence_within_deviation (error of valence, mean stated
deviation, share of errors within it; the same of arousal), seconds, and how the files were read. These are under
--prior; accuracy_own_prior, uar_own_prior, ece_own_prior ... are under the class frequencies of the data,
accuracy_balanced_prior ... under equal ones (there with cases weighted for ece so that all classes are equally
frequent)."""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-eval``."""
    parser = argparse.ArgumentParser(
        prog="emotion-eval", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", choices=("visual", "acoustic", "fusion"), help="the face model, the voice model, or their fusion"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="labelled data (see below)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--split", help="part of a corpus (PrivateTest of ferplus.npz, test of a speech corpus)")
    parser.add_argument("--labels", choices=("fer2013", "ferplus"), default="ferplus", help="labels of ferplus.npz")
    parser.add_argument(
        "--convention",
        choices=("ferplus", "fer2013"),
        help="output of the face model: ferplus is what the robot uses (default: as --labels)",
    )
    parser.add_argument(
        "--corruption",
        choices=("low_light", "rotated", "small", "blurred"),
        help="degrade the faces first, to measure the robustness of the face model",
    )
    parser.add_argument(
        "--protocol",
        choices=("random", "leave-speakers-out", "cross-corpus", "leave-corpus-out"),
        help="cross-validate the voice model: leave out a fifth of RAVDESS, speakers, or a corpus; leave-corpus-out "
        "compares methods with heads on the frozen encoder, in minutes",
    )
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        help="hyper-parameters of --protocol (default: training/acoustic_protocols.yaml); several are stages, each of "
        "which starts from the weights of the one before",
    )
    parser.add_argument("--epochs", type=int, help="override the number of epochs in --config")
    parser.add_argument(
        "--initial", type=Path, help="weights that each training of --protocol starts from (scripts/speech_encoder.py)"
    )
    parser.add_argument("--folds", type=int, help="run only so many folds of --protocol")
    parser.add_argument(
        "--noise-table",
        action="store_true",
        help="score the voice model in white noise, fan noise, music and babble, with and without noise reduction",
    )
    parser.add_argument(
        "--robustness-table",
        action="store_true",
        help="how the voice model's label changes with level, room, tempo, microphone, clipping, offset and pitch",
    )
    parser.add_argument(
        "--place-table",
        action="store_true",
        help="score the voice model on each corpus of DIR with and without adaptation to the place",
    )
    parser.add_argument(
        "--adaptation",
        action="store_true",
        help="measure the gain of speaker adaptation; --data is the output folder of --protocol leave-speakers-out",
    )
    parser.add_argument(
        "--clips", type=int, help="use only so many clips of the corpus, evenly spaced, for --noise-table"
    )
    parser.add_argument(
        "--prior",
        default="service",
        help="class prior of the outputs, as the parameter emotion_prior: service (default), balanced, web, or eight "
        "numbers; scores under the data's own prior and the balanced one are reported as well",
    )
    parser.add_argument("--weights", type=Path, help="weights to score (default: the published model)")
    parser.add_argument(
        "--by", nargs="+", default=[], metavar="FIELD", help="score groups of people: sex, age, or a column of --people"
    )
    parser.add_argument(
        "--people",
        type=Path,
        metavar="CSV",
        help="table of the people in a folder DIR: the first column is the id with which file names begin, the others "
        "are fields for --by",
    )
    return parser


@explains_missing_packages
def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.corruption and (args.model != "visual" or not args.data.is_file()):
        parser.error("--corruption needs emotion-eval visual with ferplus.npz")
    tables = args.protocol or args.noise_table or args.adaptation or args.robustness_table or args.place_table
    if tables and args.model != "acoustic":
        parser.error("--protocol, --adaptation and the --...-table options need emotion-eval acoustic")
    if args.model == "fusion" and (args.split or args.weights):
        parser.error("emotion-eval fusion scores the published models on the test splits; leave out --split, --weights")
    if args.by and (args.model == "fusion" or args.protocol or args.noise_table or args.adaptation):
        parser.error("--by needs emotion-eval visual or acoustic, without --protocol, --noise-table and --adaptation")
    if args.by and args.people is None and (args.model == "visual" or not _is_speech_corpus(args.data)):
        parser.error("--by needs a speech corpus, or --people")
    from emotion_perception.priors import parse_prior, prior_name

    try:
        parse_prior(args.prior)
    except ValueError as error:
        parser.error(f"--prior: {error}")
    if not args.data.exists():
        print(f"emotion-eval: no data at {args.data}", file=sys.stderr)
        return 2
    from emotion_perception.errors import ModelError
    from emotion_perception.learning.evaluation import evaluate as evaluation
    from emotion_perception.learning.evaluation.affect_scores import affect_scores
    from emotion_perception.learning.evaluation.prior_scores import prior_scores
    from emotion_perception.learning.report import write_report

    started = time.monotonic()
    try:
        if args.model == "fusion":
            from emotion_perception.learning.evaluation.fusion import evaluate

            summary = evaluate(args.data, args.out, prior=args.prior)
            print((args.out / "fusion.md").read_text(), file=sys.stderr)
            print(json.dumps(summary))
            return 0
        if args.protocol:
            print(json.dumps(_protocol(args)))
            return 0
        if args.adaptation:
            from emotion_perception.learning.evaluation.speaker_adaptation import measure_adaptation

            print(json.dumps(measure_adaptation(args.data, args.out)))
            return 0
        if args.robustness_table:
            from emotion_perception.learning.evaluation.robustness_table import robustness_table

            print(json.dumps(robustness_table(args.data, args.split or "test", args.out, args.weights)))
            return 0
        if args.place_table:
            from emotion_perception.learning.evaluation.place_table import place_table

            print(json.dumps(place_table(args.data, args.out, args.weights)))
            return 0
        if args.noise_table:
            from emotion_perception.learning.evaluation.noise_table import noise_table

            print(json.dumps(noise_table(args.data, args.split or "test", args.out, args.weights, args.clips)))
            return 0
        if args.model == "visual":
            cases = evaluation.visual(
                args.data,
                args.split or "PrivateTest",
                args.labels,
                args.weights,
                args.corruption,
                args.convention,
                args.prior,
                args.people,
            )
        else:
            cases = evaluation.acoustic(args.data, args.split or "test", args.weights, args.prior, args.people)
        extra: dict[str, Any] = {
            "prior": prior_name(cases.prior),
            **prior_scores(cases.probabilities, cases.labels, cases.confidence, cases.prior),
            **affect_scores(cases.probabilities, cases.labels),
        }
        extra |= {"seconds": round(time.monotonic() - started, 3), **cases.counts, **cases.ceiling}
        if args.by:
            extra["by"] = _by_groups(args, cases)
        summary = write_report(
            args.out, cases.title, cases.probabilities, cases.labels, cases.confidence, extra, cases.pictures
        )
    except (ValueError, OSError, ModelError) as error:
        print(f"emotion-eval: {error}", file=sys.stderr)
        return 2
    print((args.out / "classification_report.txt").read_text(), file=sys.stderr)
    print(json.dumps(summary))
    return 0


def _is_speech_corpus(data: Path) -> bool:
    from emotion_perception.learning.voices.corpus_layouts import CORPORA

    return data.name in CORPORA


def _by_groups(args: argparse.Namespace, cases: Any) -> dict[str, Any]:
    from emotion_perception.learning.evaluation.groups import plot_groups, score_groups

    if cases.people is None:
        raise ValueError("--by: it is not known who is seen or heard in these data")
    results = {name: score_groups(cases.probabilities, cases.labels, cases.people, name) for name in args.by}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        plot_groups(args.out / f"by_{name}.png", cases.title, name, result)
    return results


def _protocol(args: argparse.Namespace) -> dict[str, Any]:
    from emotion_perception.learning.config import load_config
    from emotion_perception.learning.evaluation.voice_protocols import run_protocol
    from emotion_perception.learning.voices.config import AcousticTraining
    from emotion_perception.learning.voices.features import FEATURES
    from emotion_perception.resources import config_path

    if args.protocol == "leave-corpus-out":
        from emotion_perception.learning.evaluation.left_out_corpora import leave_corpus_out

        if args.initial is None:
            raise ValueError("leave-corpus-out needs --initial, the pretrained encoder")
        return leave_corpus_out(args.data, args.out, args.initial, FEATURES)
    overrides = {"epochs": args.epochs} if args.epochs is not None else {}
    files = args.config or [config_path("training/acoustic_protocols.yaml")]
    stages = [load_config(file, AcousticTraining, overrides) for file in files]
    return run_protocol(args.protocol, args.data, args.out, stages, args.folds, args.initial, FEATURES)


if __name__ == "__main__":
    sys.exit(main())
