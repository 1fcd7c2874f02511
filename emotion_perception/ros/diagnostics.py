"""The health of a node for /diagnostics, and reports of recurring problems that do not flood the log.

The messages follow diagnostic_updater's semantics (one status a task, level OK / WARN / ERROR / STALE, key-value
pairs); that package has no wheel, so the messages are made here.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from emotion_perception.types import NodeHealth

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


class WorkMeter:
    """Rate, latency and losses of the processed inputs over the last seconds; thread-safe.

    Args:
        window: s over which rate and latency are computed.
        clock: monotonic seconds; for tests.
    """

    def __init__(self, window: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window, self._clock = window, clock
        self._lock = threading.Lock()
        self._done: deque[tuple[float, float]] = deque(maxlen=1000)  # when, latency s
        self._stages: deque[tuple[float, dict[str, float]]] = deque(maxlen=1000)  # when, s by stage
        self._started = clock()
        self.total = 0
        self.dropped = 0
        self.rejected = 0

    def done(self, latency: float) -> None:
        """An input was processed, ``latency`` seconds after its capture."""
        with self._lock:
            self.total += 1
            self._done.append((self._clock(), latency))

    def stages(self, seconds: Mapping[str, float]) -> None:
        """How long each stage of one input took, s; an input without a stage counts as 0 in its mean."""
        with self._lock:
            self._stages.append((self._clock(), dict(seconds)))

    def drop(self, count: int = 1) -> None:
        """Inputs were dropped because newer ones had arrived."""
        with self._lock:
            self.dropped += count

    def reject(self) -> None:
        """An input could not be used."""
        with self._lock:
            self.rejected += 1

    def restart(self) -> None:
        """Forget rate, latency and time of the last input; totals are kept."""
        with self._lock:
            self._done.clear()
            self._stages.clear()
            self._started = self._clock()

    @property
    def staleness(self) -> float:
        """Seconds since an input was last processed, or since the start."""
        with self._lock:
            return self._clock() - (self._done[-1][0] if self._done else self._started)

    def values(self) -> dict[str, str]:
        """The figures as key-value pairs."""
        with self._lock:
            now = self._clock()
            recent = [(when, latency) for when, latency in self._done if now - when <= self._window]
            span = min(self._window, max(now - self._started, 1e-3))
            figures = {
                "rate (Hz)": f"{len(recent) / span:.1f}",
                "total": str(self.total),
                "dropped": str(self.dropped),
                "rejected": str(self.rejected),
            }
            inputs = [seconds for when, seconds in self._stages if now - when <= self._window]
            stages = {
                f"{name} (ms)": f"{1000 * sum(one.get(name, 0.0) for one in inputs) / len(inputs):.2f}"
                for name in dict.fromkeys(name for one in inputs for name in one)
            }
        if recent:
            p50, p95 = np.percentile([latency for _, latency in recent], (50, 95)) * 1000
            figures |= {"latency p50 (ms)": f"{p50:.1f}", "latency p95 (ms)": f"{p95:.1f}"}
        figures["staleness (s)"] = f"{self.staleness:.2f}"
        return figures | stages


class StageTimer:
    """Wall-clock time of the stages of one input after another. Not thread-safe.

    Example:
        >>> timer = StageTimer()
        >>> timer.begin({"waiting": 0.001})
        >>> timer.lap("conversion")
        >>> list(timer.seconds)
        ['waiting', 'conversion']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = 0.0

    def begin(self, before: Mapping[str, float]) -> None:
        """A new input, and the seconds that stages before this call took."""
        self.seconds = dict(before)
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the previous call belongs to this stage; a repeated stage adds up."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now


@dataclass
class _Burst:
    last: float  # time of the last occurrence
    reported: float  # time of the last report
    unreported: int = 0  # occurrences since that report


@dataclass
class BurstReporter:
    """Reports a recurring problem once, counts further occurrences, and sums them up while it continues.

    A problem that has not occurred for ``quiet`` seconds is reported again at once; one that continues is summed up
    every ``repeat`` seconds.
    """

    log: Callable[[str], None]
    quiet: float = 5.0
    repeat: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _bursts: dict[str, _Burst] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, problem: str, kind: str | None = None) -> None:
        """Report ``problem``. Texts that differ only in their numbers are one problem; ``kind`` groups other texts."""
        key = re.sub(r"[\d.]+", "#", problem) if kind is None else kind
        with self._lock:
            now = self.clock()
            burst = self._bursts.get(key)
            if burst is None or now - burst.last > self.quiet:
                more = burst.unreported if burst else 0
                text = problem + (f" (and {more} more since the last report)" if more else "")
                if len(self._bursts) > 100:  # bounded memory, whatever is sent
                    self._bursts.clear()
                self._bursts[key] = _Burst(now, now)
            else:
                burst.last = now
                burst.unreported += 1
                if now - burst.reported < self.repeat:
                    return
                text = f"{problem} ({burst.unreported} more in {now - burst.reported:.0f} s)"
                burst.reported, burst.unreported = now, 0
        self.log(text)


def make_status(name: str, level: bytes, message: str, values: Mapping[str, str], hardware_id: str) -> DiagnosticStatus:
    """The status of one task, named as REP-107 demands: "component: subcomponent"."""
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def make_array(header: Header, *statuses: DiagnosticStatus) -> DiagnosticArray:
    """The message on /diagnostics."""
    return DiagnosticArray(header=header, status=list(statuses))


def node_health(message: DiagnosticArray, namespace: str = "/") -> tuple[NodeHealth, ...]:
    """The health of this package's nodes in a namespace; other nodes are left out."""
    levels = {b"\x00": "ok", b"\x01": "warn", b"\x02": "error", b"\x03": "stale"}
    ours = f"{namespace.strip('/')}/".lstrip("/")
    found = []
    for status in message.status:
        name, _, task = status.name.partition(": ")
        node = name.lstrip("/").removeprefix(ours)
        if task == "emotion_perception" and name.lstrip("/").startswith(ours) and "/" not in node:
            values = {item.key: item.value for item in status.values}
            found.append(NodeHealth(node, levels.get(status.level, "error"), status.message, values))
    return tuple(found)
