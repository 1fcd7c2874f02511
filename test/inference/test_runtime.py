"""Which precision a model is computed in."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from emotion_perception.inference.runtime import compile_for_cpu


class Compiled:
    """Stands for OpenVINO's: one precision, and so many ms an inference."""

    def __init__(self, precision: str, ms: float) -> None:
        self.precision, self.ms, self.inferred = precision, ms, 0

    def get_property(self, name: str) -> str:
        assert name == "INFERENCE_PRECISION_HINT"
        return self.precision

    def create_infer_request(self) -> Compiled:
        return self

    def infer(self, inputs: list[np.ndarray]) -> None:
        self.inferred += 1
        time.sleep(self.ms / 1000)


class Core:
    """A CPU that takes so many ms in each precision; ``own`` is what OpenVINO takes by itself."""

    def __init__(self, own: str, **ms: float) -> None:
        self.compiled = {precision: Compiled(precision, needed) for precision, needed in ms.items()}
        self.own = own

    def compile_model(self, model: object, device: str, options: dict[str, Any]) -> Compiled:
        assert device == "CPU" and options["INFERENCE_NUM_THREADS"] == 1
        return self.compiled[options.get("INFERENCE_PRECISION_HINT", self.own)]


@pytest.mark.parametrize(("bf16_ms", "chosen"), [(2, "bf16"), (30, "f32")])
def test_the_precision_is_the_quicker_one(bf16_ms: float, chosen: str) -> None:
    assert compile_for_cpu(Core("bf16", f32=10, bf16=bf16_ms), None, [np.zeros(1)]).precision == chosen


def test_exact_is_fp32_whatever_it_takes() -> None:
    core = Core("bf16", f32=30, bf16=2)
    assert compile_for_cpu(core, None, [np.zeros(1)], exact=True).precision == "f32"
    assert not any(compiled.inferred for compiled in core.compiled.values())


def test_where_there_is_one_precision_nothing_is_timed() -> None:
    core = Core("f32", f32=1)
    assert compile_for_cpu(core, None, [np.zeros(1)]).precision == "f32"
    assert not core.compiled["f32"].inferred
