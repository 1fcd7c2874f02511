"""``emotion-bench``: time per step of each part on this machine, and latency of the whole graph from image to state."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_perception.errors import explains_missing_packages

if TYPE_CHECKING:
    import numpy as np

EPILOG = """examples:
  emotion-bench                      # a table
  emotion-bench --json               # the last line on stdout is one JSON object
  emotion-bench --parts core         # without ROS: only the two models and the fusion
  emotion-bench --parts graph --source talk.mp4   # the graph on a video of your own, with sound
  emotion-bench --parts graph --profile-robot report.md    # as Markdown, for an issue report
  emotion-bench --parts core --peer ~/fer_env     # compared with the package fer on the same images:
                                     # python -m venv ~/fer_env
                                     # ~/fer_env/bin/pip install fer==25.10.0 tensorflow 'setuptools<81'

fields:
  visual_ms_p50/p95      one 640x480 image with one face: detection, tracking, classification
  classify_ms_per_face   the face classifier alone, one face at a time, on the faces of those images
  acoustic_ms_p50/p95    one decision about 3 s of speech: noise reduction, features, classification
  fusion_ms_p50/p95      one fusion step for ten people at 30 frames/s: all faces with their mouths, a voice decision
                         twice a second, all states; CPU time
  end_to_end_ms_p50/p95  image stamp to reception of /emotion_state in another process, with the whole graph running
  fps                    images processed per second
  cpu_percent            CPU time of all processes of the graph; 100 percent is one core
  cpu_ms_per_image       the same per processed image; other programs on the machine change it little
  rss_mb, pss_mb, uss_mb memory of these processes: shared pages counted in each, once, not at all (Linux)
  nodes                  CPU and memory of each node
  budget_ms              mean time of each stage from image stamp to reception of the state
  visual_cpu_ms_...      CPU time of the visual path per image: one face, each further face
  verdict                how many faces this machine serves at 25 fps
  start_s                start of the graph to the first state with evidence
  peer_...               medians of fer as it is installed, and of its network in TensorFlow Lite
  ..._to_peer            ratio of this package's median to fer's; below 1 this package is faster
Other programs slow the measurement down: stop them first."""

WIDTH, HEIGHT = 640, 480
UTTERANCE_S = 3.0
SAMPLE_RATE = 16_000
WARM_UP = 10
PEER_FRAMES = 30  # images for the other package
PEOPLE = 10
IMAGE_RATE = 30  # frames/s
MAX_FACES = 8  # default of the parameter max_faces


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-bench``."""
    parser = argparse.ArgumentParser(
        prog="emotion-bench", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--parts", choices=("all", "core", "graph"), default="all", help="what to measure (all)")
    parser.add_argument("--frames", type=int, default=150, help="images for the visual figure (150)")
    parser.add_argument("--decisions", type=int, default=30, help="decisions for the acoustic figure (30)")
    parser.add_argument("--steps", type=int, default=600, help="steps for the fusion figure (600)")
    parser.add_argument("--duration", type=float, default=20.0, help="seconds for which the graph is measured (20)")
    parser.add_argument(
        "--peer",
        type=Path,
        metavar="ENV",
        help="Python environment with the package fer, for comparison with the visual part",
    )
    parser.add_argument("--source", type=Path, help="video for the graph (default: the built-in clip)")
    parser.add_argument(
        "--profile-robot", type=Path, metavar="FILE", help="write the measurement of the graph as Markdown"
    )
    parser.add_argument("--composed", action="store_true", help="run the graph in one process")
    return parser


@explains_missing_packages
def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if min(args.frames, args.decisions, args.steps) < 1 or args.duration <= 0:
        parser.error("--frames, --decisions, --steps and --duration must be positive")
    if args.peer and args.parts == "graph":
        parser.error("--peer compares the core, so --parts must be all or core")
    if args.profile_robot and args.parts == "core":
        parser.error("--profile-robot reports the graph, so --parts must be all or graph")
    from emotion_perception.cli.bench_graph import measure_graph
    from emotion_perception.cli.bench_peer import compare_with_peer, find_python
    from emotion_perception.cli.bench_report import machine, measure_faces, verdict, write_report
    from emotion_perception.errors import ModelError
    from emotion_perception.media.items import MediaError

    found: dict[str, Any] = {}
    try:
        if args.parts != "graph":
            if args.peer:
                find_python(args.peer)  # fails before the measurement starts
            visual, frames, faces = measure_visual(args.frames)
            found |= visual
            if args.peer:
                found |= compare_with_peer(args.peer, frames, faces, visual)
            found |= measure_acoustic(args.decisions)
            found |= measure_fusion(args.steps)
        if args.parts != "core":
            about = machine()
            found |= measure_graph(args.source, args.duration, args.composed) | measure_faces()
            found["verdict"] = verdict(found, MAX_FACES)
            if args.profile_robot:
                write_report(args.profile_robot, found, about)
    except (ModelError, MediaError, OSError, RuntimeError) as error:
        print(f"emotion-bench: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if isinstance(value, dict):
                print(f"{name:>22}")
                for part, figure in value.items():
                    print(f"{part:>40}  {figure}")
            else:
                print(f"{name:>22}  {value}")
    return 0


def percentiles(name: str, seconds: list[float] | tuple[float, ...]) -> dict[str, float]:
    """``{name}_p50`` and ``{name}_p95`` in milliseconds."""
    import numpy as np

    p50, p95 = np.percentile(seconds, (50, 95)) * 1000
    return {f"{name}_p50": round(float(p50), 2), f"{name}_p95": round(float(p95), 2)}


def measure_visual(frames: int) -> tuple[dict[str, Any], list[np.ndarray], list[np.ndarray]]:
    """Time the visual pipeline on the built-in clip, with the stamps of the clip.

    Returns:
        The fields of the result, and the images and face crops, uint8 ``(480, 640, 3)`` BGR and ``(48, 48)``.
    """
    import cv2

    from emotion_perception.media.items import MediaFrame
    from emotion_perception.media.opening import open_media
    from emotion_perception.resources import demo_clip_path
    from emotion_perception.visual.perception import VisualConfig, VisualPerception

    cv2.setNumThreads(1)
    perception = VisualPerception(VisualConfig())
    taken: list[float] = []
    images: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    with open_media(demo_clip_path()) as clip:
        for item in clip.loop():
            if not isinstance(item, MediaFrame):
                continue
            image = item.image
            if image.shape[:2] != (HEIGHT, WIDTH):
                image = cv2.resize(image, (WIDTH, HEIGHT))
            started = time.perf_counter()
            perception.process(image, round(item.time * 1e9))
            taken.append(time.perf_counter() - started)
            newest = perception.newest_crop()
            if newest is not None:
                faces.append(newest.crop)
            if len(images) < PEER_FRAMES:
                images.append(image)
            if len(taken) == frames + WARM_UP:
                break
    classify = []
    for face in faces:
        started = time.perf_counter()
        perception.classifier.probabilities(face[None])
        classify.append(time.perf_counter() - started)
    measured = percentiles("visual_ms", taken[WARM_UP:]) | {
        "classify_ms_per_face": round(statistics.median(classify or [math.nan]) * 1000, 2),
        "visual_face_share": round(len(faces) / len(taken), 3),
    }
    return measured, images, faces[:PEER_FRAMES]


def measure_acoustic(decisions: int) -> dict[str, Any]:
    """Time the decision about one segment: a harmonic tone in noise; the content does not change the cost."""
    import numpy as np

    from emotion_perception.acoustic.noise import NoiseReducer
    from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception

    rng = np.random.default_rng(0)
    t = np.arange(round(UTTERANCE_S * SAMPLE_RATE)) / SAMPLE_RATE
    voiced = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * 4 * t))
    samples = (0.05 * voiced + 0.01 * rng.standard_normal(len(t))).astype(np.float32)
    noise = (0.01 * rng.standard_normal(SAMPLE_RATE)).astype(np.float32)
    config = AcousticConfig()
    perception, reducer = AcousticPerception(config), NoiseReducer(config.noise_reduction_strength)
    taken = []
    for _ in range(decisions + 2):
        started = time.perf_counter()
        perception.classifier.classify(reducer(samples, noise))
        taken.append(time.perf_counter() - started)
    return percentiles("acoustic_ms", taken[2:])


def measure_fusion(steps: int) -> dict[str, Any]:
    """CPU time of the fusion step for ten people who move, one of whom speaks in utterances of 2 s.

    Raises:
        ModelError: a model's card or the fusion file is missing or wrong.
    """
    import numpy as np

    from emotion_perception.acoustic.perception import AcousticConfig
    from emotion_perception.emotions import CALM, EMOTIONS
    from emotion_perception.fusion.engine import EmotionFusion
    from emotion_perception.fusion.reliability import reliability_of
    from emotion_perception.types import Box, EmotionEstimate, FaceObservation, VoiceObservation
    from emotion_perception.visual.perception import VisualConfig

    fusion = EmotionFusion(None, *map(reliability_of, (VisualConfig().expression_model, AcousticConfig().model)))
    rng = np.random.default_rng(0)

    def estimate(of_a_face: bool) -> EmotionEstimate:
        p = rng.dirichlet(np.full(len(EMOTIONS), 0.5))
        p[CALM] *= not of_a_face
        return EmotionEstimate.from_probabilities(p, rng.random(len(EMOTIONS)).astype(np.float32))

    def face(person: int) -> FaceObservation:
        size, quality, opening, motion = rng.random(4)
        box = Box(60.0 * person, 100.0, 100.0 + 5 * person + size, 110.0)
        return FaceObservation(
            f"face_{person}", box, 0.9, 0.3 + 0.6 * quality, estimate(True), mouth_opening=opening, mouth_motion=motion
        )

    taken = []
    for step in range(steps + WARM_UP):
        now_ns, spoken = round(step / IMAGE_RATE * 1e9), step / IMAGE_RATE % 2.5 - 0.5  # s of the utterance so far
        faces = [face(person) for person in range(PEOPLE)]
        voice = None
        if spoken > 0 and step % (IMAGE_RATE // 2) == 0:
            loudness = rng.normal(-30, 6, round(spoken / 0.04)).astype(np.float32)
            voice = VoiceObservation(now_ns, spoken, "voice", 15.0, False, False, estimate(False), loudness)
        started = time.thread_time()
        if voice is not None:
            fusion.add_voice(voice)
        fusion.add_faces(now_ns, faces)
        states = fusion.states(now_ns)
        taken.append(time.thread_time() - started)
        assert len(states) == PEOPLE
    return percentiles("fusion_ms", taken[WARM_UP:])


if __name__ == "__main__":
    sys.exit(main())
