"""How OpenVINO runs the networks: one thread of the CPU, in its faster precision."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

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
