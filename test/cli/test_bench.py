"""``emotion-bench``: the parts that need neither ROS nor another package."""

from __future__ import annotations

import pytest

from emotion_perception.cli import bench


def test_the_fusion_step_of_ten_people_is_timed_with_the_published_cards() -> None:
    found = bench.measure_fusion(60)
    assert set(found) == {"fusion_ms_p50", "fusion_ms_p95"}
    assert 0 < found["fusion_ms_p50"] <= found["fusion_ms_p95"]


@pytest.mark.parametrize("wrong", ["--frames", "--decisions", "--steps", "--duration"])
def test_nothing_is_measured_of_no_cases(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main([wrong, "0"])
    assert wrong in capsys.readouterr().err
