#!/usr/bin/env python3
"""Which way of running the face-expression network is fastest on one thread? The run-time was chosen by this table.

The published weights, each face as it is and mirrored, uint8 ``(N, 48, 48)`` in, 22 numbers out: by torch (eager,
exported, compiled), ONNX Runtime and OpenVINO (:class:`ExpressionClassifier`, which leaves it to OpenVINO to
compute in bfloat16 where the CPU does). They take turns, so that other load on the machine touches all alike; a way
whose package is missing is skipped with a line.

    . scripts/env.sh
    python scripts/compare_inference.py
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emotion_perception.errors import ModelError
from emotion_perception.learning.faces.teachers import load_network
from emotion_perception.resources import find_model
from emotion_perception.visual.expression import FACE_SIZE, ExpressionClassifier

Run = Callable[[np.ndarray], np.ndarray]  # uint8 (N, 48, 48) -> (N, 22)


class Mirrored(torch.nn.Module):
    """The network as the robot runs it: all heads, mean of the face and its mirror image."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        x = faces.unsqueeze(1).float()
        straight, mirrored = (torch.cat(self.net(y), 1) for y in (x, x.flip(-1)))
        return (straight + mirrored) / 2


def by_torch(module: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    """A torch callable as a way to run."""

    def run(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(faces)).numpy()

    return run


def exported(net: Mirrored, example: torch.Tensor) -> Run:
    """``torch.export``, any number of faces."""
    batch = torch.export.Dim("batch", min=1, max=64)
    return by_torch(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)).module())


def onnx_runtime(net: Mirrored, example: torch.Tensor) -> Run:
    """ONNX Runtime's CPU provider."""
    import onnxruntime

    file = io.BytesIO()
    axes = {"faces": {0: "n"}, "logits": {0: "n"}}
    torch.onnx.export(
        net, (example,), file, input_names=["faces"], output_names=["logits"], dynamic_axes=axes, dynamo=False
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda faces: session.run(None, {"faces": faces})[0]


def openvino(path: Path, exact: bool) -> Run:
    """The robot's classifier, in fp32 or as OpenVINO chooses."""
    classifier = ExpressionClassifier(path, exact=exact)
    return lambda faces: np.concatenate(classifier.logits(faces), axis=1)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="expression.onnx", help="weights; a path, or a name in the package")
    parser.add_argument("--rounds", type=int, default=30, help="turns that each way gets (30)")
    parser.add_argument("--repeat", type=int, default=5, help="calls in a turn (5)")
    parser.add_argument("--skip", nargs="*", default=[], metavar="WAY", help="leave out, as 'torch.compile'")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        path = find_model(args.model)
        ExpressionClassifier(path)
        net = Mirrored(load_network(path)).eval()
    except (ModelError, KeyError) as error:
        print(f"compare_inference.py: {error}", file=sys.stderr)
        return 1
    rng = np.random.default_rng(0)
    batches = {n: rng.integers(0, 256, (n, FACE_SIZE, FACE_SIZE), dtype=np.uint8) for n in (1, 8)}
    example = torch.from_numpy(batches[8][:2].copy())
    makers: dict[str, Callable[[], Run]] = {
        "torch eager": lambda: by_torch(net),
        "torch.export": lambda: exported(net, example),
        "torch.compile": lambda: by_torch(torch.compile(net, dynamic=False)),
        "ONNX Runtime": lambda: onnx_runtime(net, example),
        "OpenVINO, fp32": lambda: openvino(path, True),
        "OpenVINO, its choice": lambda: openvino(path, False),
    }
    ways: dict[str, Run] = {}
    ready: dict[str, float] = {}
    for name, make in makers.items():
        if name in args.skip and name != "torch eager":  # against which the others are checked
            continue
        started = time.process_time()
        try:
            run = make()
            for faces in batches.values():
                run(faces)
        except Exception as error:  # an optional package, a missing C++ compiler: whatever it is, the others go on
            print(f"{name}: skipped ({type(error).__name__}: {str(error).splitlines()[0][:120]})", file=sys.stderr)
            continue
        ways[name], ready[name] = run, time.process_time() - started

    taken: dict[tuple[str, int], list[tuple[float, float]]] = {(name, n): [] for name in ways for n in batches}
    for _ in range(args.rounds):
        for name, n in taken:
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(args.repeat):
                ways[name](batches[n])
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            taken[name, n].append((wall / args.repeat / n * 1000, processor / args.repeat / n * 1000))

    truth = ways["torch eager"](batches[8])
    print("| way | ms a face | in a batch of 8 | processor ms a face | in a batch of 8 | CPU s until ready | off by |")
    print("|" + "---|" * 7)
    for name in ways:
        (wall, cpu), (wall_8, cpu_8) = (np.median(taken[name, n], axis=0) for n in batches)
        off = np.abs(ways[name](batches[8]) - truth).max() / np.abs(truth).max()
        print(f"| {name} | {wall:.2f} | {wall_8:.2f} | {cpu:.2f} | {cpu_8:.2f} | {ready[name]:.1f} | {off:.0e} |")
    print("\nMedians of", args.rounds, "turns; off by: largest difference from torch eager, of the largest output.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
