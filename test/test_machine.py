"""Time limits of tests count in seconds of an idle machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from machine import Machine, Sample, elapsed, scaled


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0.0, 1.0, 1.0),  # idle
        (1.0, 3.0, 0.5),  # four times as slow
        (0.5, 1.5, 0.5 + 0.125),
        (3.0, 5.0, 1.0 + 1.0),  # the last second was not measured
        (-1.0, 0.0, 1.0),  # before the first sample
        (2.0, 2.0, 0.0),
    ],
)
def test_time_is_divided_by_the_slowness_of_its_moment(begin: float, end: float, expected: float):
    samples = [Sample(0.0, 9.0), Sample(1.0, 1.0), Sample(3.0, 4.0), Sample(4.0, 1.0)]
    assert scaled(samples, begin, end) == pytest.approx(expected)


def test_busy_cores_make_seconds_longer_and_never_shorter():
    began = time.monotonic()
    elapsed(began)  # starts the probe
    time.sleep(1.0)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * (os.cpu_count() or 1))]
    try:
        time.sleep(1.0)  # they start
        began = time.monotonic()
        time.sleep(2.0)
        under_load, wall = elapsed(began), time.monotonic() - began
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert under_load < 0.7 * wall
    assert elapsed(began) <= time.monotonic() - began


def test_a_probe_that_gets_no_time_counts_as_a_slow_machine():
    machine = Machine()
    try:
        end = time.monotonic() + 10
        while not machine.elapsed(0, 1) or not machine._samples:
            assert time.monotonic() < end
            time.sleep(0.05)
        machine._process.kill()
        machine._process.wait()
        began = machine._samples[-1].end
        assert machine.elapsed(began, began + 5.0) == pytest.approx(0.1, abs=0.02)
    finally:
        machine._process.kill()
