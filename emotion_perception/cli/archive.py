"""``emotion-archive``: emotions in archives of recordings, as a data set and as a page. ROS is not needed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_perception.errors import explains_missing_packages, missing_package

if TYPE_CHECKING:
    from emotion_perception.archive.campaign import Tally
    from emotion_perception.archive.jobs import Task
    from emotion_perception.archive.workers import Workers

EPILOG = """examples:
  emotion-archive analyse shop/ --out shop_emotions             # every recording in a folder and its subfolders
  emotion-archive analyse '/mnt/cam*/2026-11-*/*.mkv' bag.mcap --out week   # globs, single files, rosbag2 recordings
  emotion-archive analyse shop/ --out shop_emotions             # again: resumes, and adds new recordings
  emotion-archive analyse shop/ --out shop_emotions --profile   # with a table of the time per stage
  emotion-archive analyse shop/ --out other --face-model face.onnx          # another face network (docs/extending.md)
  emotion-archive analyse /nfs/all --out /nfs/emotions --ray auto           # on a Ray cluster (pip install ray)
  emotion-archive report shop_emotions                          # writes report.html: arcs, families, hours, search

The data set is Parquet; docs/archives.md describes its columns and queries in SQL.
Exit code: 0 if every recording was analysed, 1 if some are damaged or could not be read, or a link or folder
could not be followed (listed with the reason), 2 for
wrong arguments or a data set that cannot be written, 130 if interrupted by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-archive``."""
    parser = argparse.ArgumentParser(
        prog="emotion-archive",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    analyse = commands.add_parser("analyse", help="analyse recordings into a data set")
    analyse.add_argument("paths", nargs="+", metavar="PATH", help="video, sound file, image, rosbag2, folder or glob")
    analyse.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data set's folder")
    analyse.add_argument("--fps", type=float, default=5.0, help="frames analysed per second (5)")
    analyse.add_argument(
        "--part",
        type=float,
        default=120.0,
        metavar="S",
        help="length of the parts that are analysed independently (120)",
    )
    analyse.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="number of processes (one per core)",
    )
    analyse.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster; without ADDRESS on one started on this machine",
    )
    analyse.add_argument(
        "--face-model",
        type=Path,
        help="face network: ONNX or TFLite file with a model card (default: the published one)",
    )
    analyse.add_argument(
        "--prior", help="class prior of all probabilities: service (default), balanced, web, or eight numbers"
    )
    analyse.add_argument(
        "--adapt",
        action="store_true",
        help="adapt voices to microphone, room and language, learnt from the first ten minutes of each recording; "
        "recordings with fewer than 20 utterances stay as they are",
    )
    analyse.add_argument(
        "--rotate",
        choices=("0", "90", "180", "270"),
        default="0",
        help="degrees clockwise that make all images upright, after a file's own rotation, for recordings of a turned "
        "camera (0)",
    )
    analyse.add_argument("--mirror", action="store_true", help="all images are mirrored; flip them after --rotate")
    analyse.add_argument("--device", default="CPU", help="OpenVINO device of the face classifier (CPU)")
    analyse.add_argument("--retry", action="store_true", help="analyse recordings again that failed before")
    analyse.add_argument("--profile", action="store_true", help="show the time per stage")
    analyse.add_argument("--image-topic", default="", help="camera topic of a rosbag2 (default: by message type)")
    analyse.add_argument("--audio-topic", default="", help="microphone topic of a rosbag2 (default: by message type)")
    report = commands.add_parser("report", help="write a data set as a page")
    report.add_argument("folder", type=Path, metavar="DIR", help="the data set's folder")
    report.add_argument("--out", type=Path, metavar="HTML", help="where to write the page (DIR/report.html)")
    for command in (analyse, report):
        command.add_argument(
            "--time-zone",
            default="",
            metavar="NAME",
            help="time zone of file names and hours (default: this machine's)",
        )
    return parser


@explains_missing_packages
def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    from emotion_perception.archive.store import ArchiveError
    from emotion_perception.errors import ModelError

    if args.command == "analyse" and args.prior:
        from emotion_perception.priors import parse_prior

        try:
            parse_prior(args.prior)
        except ValueError as error:
            parser.error(f"--prior: {error}")
    if args.time_zone:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(args.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            parser.error(f"--time-zone {args.time_zone!r} is unknown; an example is Europe/Berlin")
    try:
        if args.command == "report":
            return _report(args)
        if args.fps <= 0 or args.part <= 0 or args.workers < 1:
            parser.error(f"--fps, --part and --workers must be positive, got {args.fps}, {args.part}, {args.workers}")
        return _analyse(args)
    except (ArchiveError, ModelError) as error:
        print(f"emotion-archive: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("emotion-archive: interrupted; rerun the command to resume", file=sys.stderr)
        return 130


def _analyse(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from emotion_perception.archive.analysis import Settings
    from emotion_perception.archive.campaign import Campaign, made_by
    from emotion_perception.archive.jobs import Task
    from emotion_perception.archive.profile import profile_table
    from emotion_perception.archive.recordings import find_recordings
    from emotion_perception.archive.store import Store
    from emotion_perception.files import printable
    from emotion_perception.priors import DEFAULT_PRIOR

    found = find_recordings(args.paths)
    for path in found.missing:
        print(f"emotion-archive: {printable(path)}: no such file or folder, and no match", file=sys.stderr)
    for path, reason in found.unreadable:
        print(f"emotion-archive: {printable(path)}: {printable(reason)}", file=sys.stderr)
    if found.other:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in found.other.most_common())
        print(f"emotion-archive: {found.passed_over} files are not media by their names: {kinds}", file=sys.stderr)
    if not found.recordings:
        print("emotion-archive: no recordings found", file=sys.stderr)
        return 1
    settings = Settings(
        pictures_per_second=args.fps,
        part_s=args.part,
        image_topic=args.image_topic,
        audio_topic=args.audio_topic,
        device=args.device,
        emotion_prior=args.prior or DEFAULT_PRIOR,
        adapt=args.adapt,
        image_rotation=args.rotate,
        image_mirror=args.mirror,
        face_model=str(args.face_model.resolve()) if args.face_model else "",
    )
    store = Store(args.out.resolve())
    task = Task(str(store.folder), settings, args.time_zone)
    begin = time.monotonic()
    with store.locked():
        store.claim(made_by(settings))
        workers = _workers(task, args)
        try:
            with tqdm(unit="B", unit_scale=True, disable=None, smoothing=0.05) as bar:

                def show(tally: Tally) -> None:
                    bar.total, bar.n = tally.bytes, min(tally.bytes, round(tally.bytes_done))
                    speed = tally.media_s / max(time.monotonic() - begin, 1e-9)
                    bar.set_postfix_str(f"{speed:.1f}x real time, {len(tally.troubles)} failed or damaged")

                tally = Campaign(store, found.recordings, workers, args.retry, show).run()
        finally:
            workers.close()
    wall = time.monotonic() - begin
    print(
        f"{tally.done} recordings analysed in {wall:.1f} s ({tally.media_s / wall:.1f}x real time), "
        f"{tally.done_before} were analysed before, {len(tally.troubles)} failed or damaged"
    )
    for path, reason in sorted(tally.troubles.items()):
        print(f"  {path}: {reason}")
    if args.profile:
        print(profile_table(tally.seconds, tally.media_s, wall))
    # Every ext4 disk has a lost+found, which only its administrator can read.
    failed = [path for path, _ in found.unreadable if Path(path).name != "lost+found"]
    return 1 if tally.troubles or found.missing or failed else 0


def _workers(task: Task, args: argparse.Namespace) -> Workers:
    from emotion_perception.archive.store import ArchiveError
    from emotion_perception.archive.workers import LocalWorkers, RayWorkers

    if args.ray is None:
        return LocalWorkers(task, args.workers)
    try:
        return RayWorkers(task, args.ray, args.workers)
    except ModuleNotFoundError as error:
        raise ArchiveError(f"--ray {missing_package(error)}") from error
    except ConnectionError as error:
        raise ArchiveError(f"--ray {args.ray}: no cluster ({error})") from error


def _report(args: argparse.Namespace) -> int:
    from emotion_perception.archive.page import write_report

    path = args.out or args.folder / "report.html"
    write_report(args.folder, path, args.time_zone)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
