"""What the run-time models share: how OpenVINO is to run, and how published weights are read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from emotion_perception.errors import ModelError

# One thread: the robot has other work, and on two cores a second thread gained less than it took from the audio path.
# Not pinned: every process would pin its thread to the same core, and wait there for the others.
ONE_THREAD = {
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
}
PRECISION = "INFERENCE_PRECISION_HINT"
FP32 = {PRECISION: "f32"}


def compile_for_cpu(core: Any, model: Any, example: Sequence[np.ndarray], exact: bool = False) -> Any:
    """Compile for one thread of the CPU, in the precision that this CPU is quicker in.

    OpenVINO takes bfloat16 wherever the CPU has instructions for it, which halves the time on some (AMD Zen 4) and
    makes it 1.6 times as long on others (Intel without AMX): so both are tried, for some tens of milliseconds.

    Args:
        core: ``openvino.Core``.
        model: ``openvino.Model``.
        example: inputs to time it with.
        exact: fp32, whatever it takes.

    Returns:
        ``openvino.CompiledModel``.
    """
    plain = core.compile_model(model, "CPU", ONE_THREAD | FP32)
    if exact:
        return plain
    quick = core.compile_model(model, "CPU", ONE_THREAD)
    if quick.get_property(PRECISION) == plain.get_property(PRECISION):
        return quick
    return plain if _least_seconds(plain, example) < 0.9 * _least_seconds(quick, example) else quick


def _least_seconds(compiled: Any, example: Sequence[np.ndarray], times: int = 3) -> float:
    request, taken = compiled.create_infer_request(), []
    for _ in range(1 + times):
        started = time.perf_counter()
        request.infer(list(example))
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A published model's file; whatever goes wrong while it is read is a ModelError that names it."""
    if not path.is_file():
        raise ModelError(f"model not found: {path}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            yield file
    except Exception as error:  # safetensors raises its own, untyped error for a corrupt file
        raise ModelError(f"model not readable: {path} ({type(error).__name__}: {error})") from error


def read_card(path: Path) -> dict[str, Any]:
    """The card of a published model, without its weights.

    Raises:
        ModelError: missing, not safetensors, or without a card; names the path.
    """
    with _opened(path) as file:
        return dict(json.loads((file.metadata() or {})["card"]))


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors (fp32) and card of a published model.

    Raises:
        ModelError: missing, not safetensors, or without a card; names the path.
    """
    with _opened(path) as file:
        tensors = {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads((file.metadata() or {})["card"])
