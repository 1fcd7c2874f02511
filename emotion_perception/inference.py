"""What the run-time models share: how OpenVINO is to run, and how published weights are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
