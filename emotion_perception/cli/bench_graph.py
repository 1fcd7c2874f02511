"""Cost of the running graph: latency, where each millisecond goes, CPU time and memory of each node."""

from __future__ import annotations

import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

    from emotion_perception.bringup.latency_probe import Measured
    from emotion_perception.types import NodeHealth

MIB = 2**20
# Stages from an image to its state, in order, by the keys of /diagnostics of visual_node.
VISUAL_STAGES = (
    "image transport",
    "waiting",
    "conversion",
    "detection",
    "tracking",
    "crops",
    "landmarks",
    "rotation check",
    "classification",
    "filter",
    "publication",
)
ARRIVAL, FUSION = "age of arriving faces", "fusion"  # of fusion_node


def measure_graph(source: Path | None, duration: float, composed: bool = False) -> dict[str, Any]:
    """Start the whole graph, subscribe to ``/emotion_state`` here, and add up the usage of the graph's processes.

    Args:
        source: video that is played in a loop; None: the built-in clip.
        duration: s of measurement.
        composed: all nodes in one process.

    Raises:
        RuntimeError: the graph ended, or there was no state with evidence within a minute.
    """
    import psutil

    from emotion_perception.bringup.latency_probe import listen
    from emotion_perception.resources import demo_clip_path

    # A ROS domain of its own, so that no other graph on this machine is measured.
    os.environ["ROS_DOMAIN_ID"] = str(random.randint(1, 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    command = [sys.executable, "-m", "emotion_perception.bringup.command", "--source", str(source or demo_clip_path())]
    command += ["--loop", "--composed", str(composed).lower()]
    started = time.monotonic()
    graph = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    usage = ProcessUsage()
    try:
        received = listen(duration, on_start=lambda: usage.begin(psutil.Process(graph.pid).children(recursive=True)))
        if not received.latencies:
            raise RuntimeError(f"no state with evidence within {time.monotonic() - started:.0f} s")
        used = usage.end()
    finally:
        graph.send_signal(signal.SIGINT)
        try:
            graph.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(graph.pid, signal.SIGKILL)
    return summarise(received, used)


class ProcessUsage:
    """CPU time and memory of processes over a period; other programs on the machine do not count."""

    def begin(self, processes: Sequence[psutil.Process]) -> None:
        """Start the period for these processes."""
        self._before = [(process, _cpu_seconds(process)) for process in processes if process.is_running()]

    def end(self) -> dict[str, dict[str, float]]:
        """By the name of the node: CPU seconds since :meth:`begin`, and memory now, MiB.

        ``rss_mb`` counts shared pages in every process, ``pss_mb`` once in all, ``uss_mb`` not at all; the last two are
        missing where the system does not tell.
        """
        used: dict[str, dict[str, float]] = {}
        for process, before in self._before:
            if not process.is_running():
                continue
            memory = process.memory_full_info()
            kinds = {
                f"{kind}_mb": getattr(memory, kind) / MIB for kind in ("rss", "pss", "uss") if hasattr(memory, kind)
            }
            used[node_name(process.cmdline())] = {"cpu_s": _cpu_seconds(process) - before, **kinds}
        return used


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def node_name(command: Sequence[str]) -> str:
    """The node that a command line of the graph runs.

    Example:
        >>> node_name(["/usr/bin/python3", "-m", "emotion_perception.nodes.visual_node", "--ros-args"])
        'visual_node'
    """
    modules = [word.rpartition(".")[2] for word in command if word.startswith("emotion_perception.")]
    return modules[0] if modules else Path(command[0]).name


def summarise(received: Measured, used: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The fields of the result from what the probe received and what the processes used."""
    import numpy as np

    p50, p95 = np.percentile(received.latencies, (50, 95)) * 1000
    cpu_s = sum(node["cpu_s"] for node in used.values())
    found: dict[str, Any] = {
        "end_to_end_ms_p50": round(float(p50), 2),
        "end_to_end_ms_p95": round(float(p95), 2),
        "fps": round(received.frames / received.seconds, 2),
        "start_s": round(received.first, 2),
        "cpu_percent": round(100 * cpu_s / received.seconds, 1),
        "cpu_ms_per_image": round(1000 * cpu_s / max(1, received.frames), 2),
    }
    for kind in ("rss_mb", "pss_mb", "uss_mb"):
        if all(kind in node for node in used.values()):
            found[kind] = round(sum(node[kind] for node in used.values()), 1)
    found["nodes"] = {
        name: {"cpu_percent": round(100 * node["cpu_s"] / received.seconds, 1)}
        | {kind: round(value, 1) for kind, value in node.items() if kind != "cpu_s"}
        for name, node in used.items()
    }
    found["budget_ms"] = budget(received.health, 1000 * statistics.fmean(received.latencies))
    return found


def budget(health: Sequence[NodeHealth], total_ms: float) -> dict[str, float]:
    """Where the mean latency from image stamp to reception of the state goes, ms, in order of time.

    Args:
        health: what the nodes reported.
        total_ms: mean latency from the image's stamp to the reception of its state.
    """

    def mean(node: str, stage: str) -> float:
        values = [
            float(one.values[f"{stage} (ms)"]) for one in health if one.name == node and f"{stage} (ms)" in one.values
        ]
        return statistics.fmean(values) if values else math.nan

    visual = {stage: value for stage in VISUAL_STAGES if not math.isnan(value := mean("visual_node", stage))}
    arrival, fusion = mean("fusion_node", ARRIVAL), mean("fusion_node", FUSION)
    spent = visual | {
        "transport of faces": arrival - sum(visual.values()),
        "fusion": fusion,
        "transport of the state": total_ms - arrival - fusion,
    }
    # The nodes report means over slightly other images than the probe saw: a difference may come out below 0.
    spent = {stage: max(0.0, value) for stage, value in spent.items()}
    return {stage: round(value, 2) for stage, value in spent.items()} | {"total": round(total_ms, 2)}
