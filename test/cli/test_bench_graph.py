"""What ``emotion-bench`` makes of a measured graph: the budget, the verdict and the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from emotion_perception.bringup.latency_probe import Measured
from emotion_perception.cli import bench, bench_graph, bench_report
from emotion_perception.resources import demo_clip_path
from emotion_perception.types import NodeHealth
from emotion_perception.visual.perception import VisualConfig, VisualPerception


def health() -> tuple[NodeHealth, ...]:
    visual = {f"{stage} (ms)": "1.00" for stage in bench_graph.VISUAL_STAGES}
    fusion = {f"{bench_graph.ARRIVAL} (ms)": "11.50", f"{bench_graph.FUSION} (ms)": "0.75"}
    return (NodeHealth("visual_node", "ok", "active", visual), NodeHealth("fusion_node", "ok", "active", fusion))


def test_the_stages_of_the_budget_add_up_to_the_measured_latency() -> None:
    budget = bench_graph.budget(health(), total_ms=14.0)
    total = budget.pop("total")
    assert total == 14.0 == pytest.approx(sum(budget.values()))
    assert list(budget)[: len(bench_graph.VISUAL_STAGES)] == list(bench_graph.VISUAL_STAGES)
    assert budget["transport of faces"] == pytest.approx(0.5)
    assert budget["transport of the state"] == pytest.approx(1.75)


def test_the_visual_path_reports_every_stage_of_the_budget() -> None:
    perception = VisualPerception(VisualConfig())
    image = next(iter_frames())
    seen: list[str] = []
    perception.on_stage = seen.append
    for number in range(4):
        perception.process(image, number * 400_000_000)
    own = [stage for stage in bench_graph.VISUAL_STAGES if stage in seen]
    assert own == ["detection", "tracking", "crops", "landmarks", "rotation check", "classification", "filter"]
    assert set(seen) == set(own)


def iter_frames():
    from emotion_perception.media.items import MediaFrame
    from emotion_perception.media.opening import open_media

    with open_media(demo_clip_path()) as clip:
        yield from (item.image for item in clip.read() if isinstance(item, MediaFrame))


def test_cpu_time_of_a_process_is_counted_and_idle_time_is_not() -> None:
    code = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(60)"
    busy = subprocess.Popen([sys.executable, "-c", code])
    try:
        usage = bench_graph.ProcessUsage()
        usage.begin([psutil.Process(busy.pid), psutil.Process(os.getpid())])
        while sum(psutil.Process(busy.pid).cpu_times()[:2]) < 0.3:
            pass
        (name, used), *_ = usage.end().items()
    finally:
        busy.kill()
        busy.wait()
    assert name.startswith("python")
    assert used["cpu_s"] < 1.0
    assert used["rss_mb"] > used["pss_mb"] > 0


def test_cpu_time_counts_per_processed_image() -> None:
    received = Measured((0.010, 0.020, 0.012), 1.5, 100, 4.0, health())
    used = {name: {"cpu_s": 0.6, "rss_mb": 100.0, "pss_mb": 60.0, "uss_mb": 50.0} for name in ("visual_node", "x")}
    found = bench_graph.summarise(received, used)
    assert found["cpu_percent"] == 30.0
    assert found["cpu_ms_per_image"] == 12.0
    assert found["rss_mb"] == 200.0
    assert found["nodes"]["visual_node"] == {"cpu_percent": 15.0, "rss_mb": 100.0, "pss_mb": 60.0, "uss_mb": 50.0}


@pytest.mark.parametrize(
    ("one", "further", "cores", "faces"), [(10, 8, 2, 3), (40, 8, 2, 0), (10, 0.5, 2, 8), (10, 8, 1, 2)]
)
def test_as_many_faces_are_served_as_fit_into_the_time_of_an_image(
    one: float, further: float, cores: int, faces: int
) -> None:
    assert bench_report.served_faces(one, further, others=10, fps=25, cores=cores, at_most=8) == faces


def test_the_verdict_and_the_report_state_what_was_measured(tmp_path: Path) -> None:
    received = Measured((0.010, 0.020, 0.012), 1.5, 100, 4.0, health())
    found = bench_graph.summarise(received, {"visual_node": {"cpu_s": 0.6, "rss_mb": 100.0}})
    found |= {"visual_cpu_ms_one_face": 12.0, "visual_cpu_ms_per_further_face": 6.0}
    found["verdict"] = bench_report.verdict(found, bench.MAX_FACES)
    assert found["verdict"] == "this CPU serves 4 faces at 25 fps"
    bench_report.write_report(tmp_path / "report.md", found, bench_report.machine())
    text = (tmp_path / "report.md").read_text()
    assert found["verdict"] in text
    for line in ("| detection | 1.00 |", "| visual_node | 15.0 | 100.0 |", "| end_to_end_ms_p50 | 12.0 |", "| cores |"):
        assert line in text


def test_a_scene_shows_the_face_as_often_as_asked_for() -> None:
    face = np.full((bench_report.CELL, bench_report.CELL, 3), 255, np.uint8)
    for count in bench_report.FACE_COUNTS:
        (image,) = bench_report.scene([face], count)
        assert (image == 255).all(2).sum() == count * bench_report.CELL**2


def test_a_report_of_the_graph_needs_the_graph(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--parts", "core", "--profile-robot", str(tmp_path / "report.md")])
    assert "--profile-robot" in capsys.readouterr().err
