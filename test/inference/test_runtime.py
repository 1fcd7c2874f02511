"""Which precision a model is computed in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from emotion_perception.inference import choices
from emotion_perception.inference.runtime import BoundRequest, compile_for_cpu


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


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's file, on a machine that has measured nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "face.onnx").write_bytes(b"network")
    return tmp_path / "face.onnx"


def compiled_precision(core: Core, file: Path, part: str = "") -> str:
    return compile_for_cpu(core, None, [np.zeros(1)], file=file, part=part).precision


@pytest.mark.parametrize(("bf16_ms", "chosen"), [(2, "bf16"), (30, "f32")])
def test_the_second_start_takes_the_measured_choice_without_measuring(model: Path, bf16_ms: float, chosen: str) -> None:
    assert compiled_precision(Core("bf16", f32=10, bf16=bf16_ms), model) == chosen
    second = Core("bf16", f32=10, bf16=bf16_ms)
    assert compiled_precision(second, model) == chosen
    assert not any(compiled.inferred for compiled in second.compiled.values())


def test_what_was_measured_is_readable(model: Path, tmp_path: Path) -> None:
    compiled_precision(Core("bf16", f32=20, bf16=2), model)
    (kept,) = (json.loads(file.read_text()) for file in tmp_path.glob("cache/emotion_perception/precision/face-*.json"))
    assert kept["precision"] == "bf16"
    assert kept["milliseconds"]["bf16"] < kept["milliseconds"]["f32"]
    assert kept["cpu"] == choices.cpu_name()


@pytest.mark.parametrize("change", ["model", "cpu", "part"])
def test_another_model_cpu_or_input_is_measured_anew(model: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled_precision(Core("bf16", f32=10, bf16=1), model) == "bf16"
    if change == "model":
        model.write_bytes(b"retrained")
    elif change == "cpu":
        monkeypatch.setattr(choices, "cpu_name", lambda: "another CPU")
    core = Core("bf16", f32=1, bf16=10)
    assert compiled_precision(core, model, part="640x480" if change == "part" else "") == "f32"


@pytest.mark.parametrize("kept", ["", "[]", '{"precision": "int3"}', '{"precision": 7}', "\0"])
def test_a_damaged_memory_is_measured_anew_and_replaced(model: Path, kept: str) -> None:
    file = choices.choice_file(model)
    file.parent.mkdir(parents=True)
    file.write_text(kept)
    assert compiled_precision(Core("bf16", f32=10, bf16=1), model) == "bf16"
    assert json.loads(file.read_text())["precision"] == "bf16"


def test_a_folder_that_cannot_be_written_only_costs_the_measurement(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    core = Core("bf16", f32=10, bf16=1)
    assert compiled_precision(core, model) == compiled_precision(core, model) == "bf16"


def test_a_bound_request_gives_what_the_network_gives() -> None:
    x = ov.opset13.parameter([1, 4], ov.Type.f32)
    compiled = ov.Core().compile_model(ov.Model([ov.opset13.relu(x), ov.opset13.negative(x)], [x]), "CPU")
    bound = BoundRequest(compiled)
    for value in (np.float32([[1, -2, 3, -4]]), np.float32([[0, 5, -6, 7]])):
        positive, negative = bound(value)
        assert positive.tolist() == np.maximum(value, 0).tolist()
        assert negative.tolist() == (-value).tolist()
    with pytest.raises(TypeError):
        bound(np.zeros((1, 4), np.float64))
