"""Process supervision: prefixed logs, restart with back-off, orderly shutdown."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from emotion_perception.ros.shared_memory import tidy_shared_memory

FIRST_BACKOFF = 0.5  # s before the first restart; doubled at each further exit
LONGEST_BACKOFF = 30.0
HEALTHY_AFTER = 60.0  # s of uptime after which the back-off is reset
TERMINATE_TIMEOUT = 2.0  # s between SIGTERM and SIGKILL
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before the first fork


class Backoff:
    """Exponential back-off before a restart."""

    def __init__(self) -> None:
        self._next = FIRST_BACKOFF

    def after(self, lived: float) -> float:
        """Delay before the restart, s, of a process that ran for ``lived`` s."""
        if lived > HEALTHY_AFTER:
            self._next = FIRST_BACKOFF
        wait = self._next
        self._next = min(2 * wait, LONGEST_BACKOFF)
        return wait


class Supervised:
    """One supervised process.

    Args:
        name: prefix of its log lines.
        command: argv.
        restart: whether to restart after an exit with this code.
        log: receives its log lines.
    """

    def __init__(self, name: str, command: Sequence[str], restart: Callable[[int], bool], log: TextIO) -> None:
        self.name, self._command, self._restart, self._log = name, list(command), restart, log
        self._process: subprocess.Popen[str] | None = None
        self._started = self._due = 0.0
        self._backoff = Backoff()
        self.exit_code: int | None = None  # set after an exit without restart
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id; None if it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process."""
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(environment),
            start_new_session=True,  # Ctrl-C in the terminal reaches only the supervisor, which forwards it
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        threading.Thread(target=self._copy_log, args=(self._process,), daemon=True).start()

    def watch(self, environment: Mapping[str, str]) -> None:
        """Detect an exit and restart after the back-off."""
        if self.exit_code is not None:
            return
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self.restarts += 1
                self.start(environment)
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        if not self._restart(code):
            self.exit_code = code
            self.say(f"ended ({describe_exit(code)})")
            return
        wait = self._backoff.after(now - self._started)
        self._due = now + wait
        self.say(f"died ({describe_exit(code)}); starting again in {wait:g} s")

    def send(self, number: int) -> None:
        """Send a signal to the process group."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def wait(self, until: float) -> bool:
        """Wait until this time (monotonic, s); whether the process has ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def say(self, text: str) -> None:
        """Write a log line with the name of the process."""
        print(f"[{self.name}] {text}", file=self._log, flush=True)

    def _copy_log(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.say(line.rstrip("\n"))


class Supervisor:
    """A group of supervised processes. Use it from one thread, which must outlive them.

    Args:
        log: receives all log lines.
    """

    def __init__(self, log: TextIO = sys.stderr) -> None:
        self._log = log
        self.processes: dict[str, Supervised] = {}
        self._stopped = False
        # One thread per library: the processes share few cores, and extra threads compete for them.
        self._environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **os.environ}

    def add(self, name: str, command: Sequence[str], restart: Callable[[int], bool] = lambda code: True) -> None:
        """Start a process; restart it whenever it exits, unless ``restart`` is false for its exit code."""
        process = Supervised(name, command, restart, self._log)
        self.processes[name] = process
        process.start(self._environment)

    def watch(self) -> None:
        """Check all processes; call it several times a second."""
        if self._stopped:
            return
        for process in self.processes.values():
            process.watch(self._environment)

    def stop(self) -> None:
        """Stop all processes: SIGTERM, and SIGKILL after 2 s."""
        self._stopped = True
        for process in self.processes.values():
            process.send(signal.SIGTERM)
        until = time.monotonic() + TERMINATE_TIMEOUT
        for process in self.processes.values():
            if not process.wait(until):
                process.say("did not stop in time; killed")
                process.send(signal.SIGKILL)
        for process in self.processes.values():
            process.wait(time.monotonic() + 1.0)
        tidy_shared_memory()


def describe_exit(code: int) -> str:
    """``exit code 3``, or ``signal SIGKILL``."""
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _die_with_parent() -> None:
    """Let Linux terminate this child when its parent thread dies, so that no orphan keeps the camera open."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
