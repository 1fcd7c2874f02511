"""How OpenVINO runs the networks: one thread of the CPU, in its faster precision."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.inference.choices import choice_file, keep_choice, known_choice

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
INT8 = "int8"


class BoundRequest:
    """A network with one input and fixed shapes, whose tensors are bound once. Not thread-safe.

    OpenVINO's own call looks at its arguments and makes a dictionary of the results each time, which takes 0.3 ms.

    Args:
        compiled: ``openvino.CompiledModel`` without dynamic shapes.
    """

    def __init__(self, compiled: Any) -> None:
        import openvino as ov

        port = compiled.input()
        self._input = np.zeros(tuple(port.shape), port.element_type.to_dtype())
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(ov.Tensor(self._input, shared_memory=True))
        self._outputs = [self._request.get_output_tensor(i).data for i in range(len(compiled.outputs))]

    def __call__(self, value: np.ndarray) -> list[np.ndarray]:
        """The outputs in their order; the next call overwrites them.

        Args:
            value: of the input's shape and type.
        """
        np.copyto(self._input, value, casting="no")
        self._request.infer(share_outputs=True)
        return self._outputs


def compile_for_cpu(
    core: Any,
    model: Any,
    example: Sequence[np.ndarray],
    exact: bool = False,
    file: Path | None = None,
    part: str = "",
    int8: Any = None,
) -> Any:
    """Compile for one thread of the CPU, in the precision that is fastest on this CPU.

    OpenVINO selects bfloat16 on any CPU that has instructions for it. That halves the time on some CPUs (AMD Zen 4) and
    takes 1.6 times as long on others (Intel without AMX), so both are timed, once per machine and model file.

    Args:
        core: ``openvino.Core``.
        model: ``openvino.Model``.
        example: inputs to time it with.
        exact: fp32, however long it takes.
        file: the model's file, under which the choice is kept; None measures each time.
        part: which network, if the file has several, or one network for several input shapes.
        int8: the same network quantised, ``openvino.Model``, if there is one; a candidate unless ``exact``.

    Returns:
        ``openvino.CompiledModel``.
    """
    if exact:
        return core.compile_model(model, "CPU", ONE_THREAD | FP32)
    memory = _memory(file, part if int8 is None else f"{part} int8")
    if memory is not None and (known := known_choice(memory, {"f32", "bf16", "f16"} | ({INT8} if int8 else set()))):
        if known == INT8:
            return core.compile_model(int8, "CPU", ONE_THREAD)
        return core.compile_model(model, "CPU", ONE_THREAD | {PRECISION: known})
    own = core.compile_model(model, "CPU", ONE_THREAD)
    candidates = {_precision_of(own): own}
    if "f32" not in candidates:
        candidates["f32"] = core.compile_model(model, "CPU", ONE_THREAD | FP32)
    if int8 is not None:
        candidates[INT8] = core.compile_model(int8, "CPU", ONE_THREAD)
    seconds = _least_seconds(candidates, example) if len(candidates) > 1 else {}
    chosen = _precision_of(own)
    for name, needed in seconds.items():  # OpenVINO's own choice, unless another one is clearly faster
        if needed < 0.9 * seconds[_precision_of(own)] and needed < seconds[chosen]:
            chosen = name
    if memory is not None:
        keep_choice(memory, chosen, {name: round(1000 * value, 3) for name, value in seconds.items()})
    return candidates[chosen]


def _memory(file: Path | None, part: str) -> Path | None:
    if file is None:
        return None
    try:
        return choice_file(file, part)
    except (OSError, RuntimeError):  # the model's file is gone, or the user has no home folder
        return None


def _precision_of(compiled: Any) -> str:
    """ "f32", "bf16" or "f16"."""
    precision = compiled.get_property(PRECISION)
    return precision if isinstance(precision, str) else str(precision.get_type_name())


def _least_seconds(candidates: Mapping[str, Any], example: Sequence[np.ndarray], times: int = 5) -> dict[str, float]:
    """Shortest inference of each network, s; they take turns, so that other programs slow all of them alike."""
    requests = {name: compiled.create_infer_request() for name, compiled in candidates.items()}
    taken: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(1 + times):  # the first one prepares
        for name, request in requests.items():
            started = time.perf_counter()
            request.infer(list(example))
            taken[name].append(time.perf_counter() - started)
    return {name: min(seconds[1:]) for name, seconds in taken.items()}
