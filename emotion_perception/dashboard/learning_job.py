"""Learning from corrections at the push of a button: one training at a time, in a process of low priority.

The process is the command ``emotion-train --feedback --background``: the page and the command line share code, gates
and versions, and this process never imports torch. The weights in use change only by an atomic link after a training
that passed its gates, so a training that is cancelled or killed changes nothing.

The last result and the ids of the corrections that were used are in ``learning.json`` in the folder of the corrections.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emotion_perception.dashboard.security import TOKEN_VARIABLE
from emotion_perception.feedback.learnable import MIN_CORRECTIONS, learnable
from emotion_perception.feedback.model_versions import FOLDERS, ModelVersions
from emotion_perception.files import parse_json, read_json, write_atomically

RECORD = "learning.json"
MODELS = {"face": "visual", "voice": "acoustic"}  # argument of emotion-train by kind of correction
BASE_DATA = {"face": "ferplus.npz", "voice": ""}  # in the folder of the base data
INSTALL = "scripts/setup.sh learn"
SCORES = ("accuracy", "mean_recall", "corrections_right", "held_out_right")  # of a report, shares 0..1
MAX_LINE = 4_000_000  # bytes of a line of the command
MAX_REASON = 400  # characters
GRACE_S = 5.0  # between the request to end and the kill


class LearningError(ValueError):
    """A training cannot start, be cancelled or be rolled back now; the message gives the reason."""

    status = 409


def learn_profile_installed() -> bool:
    """Whether the install profile ``learn`` is here; imports nothing of it."""
    return all(importlib.util.find_spec(package) is not None for package in ("torch", "onnx"))


@dataclass(frozen=True)
class LearningConfig:
    """What is learnt from, and with which command."""

    corrections: Path
    data: Path | None = None  # folder of the base data; None: not configured
    command: tuple[str, ...] = (sys.executable, "-m", "emotion_perception.cli.train")
    installed: Callable[[], bool] = learn_profile_installed
    max_hours: float = 12.0  # a longer training is ended


@dataclass
class _Run:
    kind: str
    started: float  # s since the epoch
    version: int  # in use at the start
    process: asyncio.subprocess.Process | None = None
    stage: str = "start"
    done: int = 0
    total: int = 0  # 0: not countable
    cancelled: bool = False
    report: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    ended: asyncio.Task[None] | None = None

    def add_line(self, line: bytes) -> None:
        """A line of the command's standard output: progress, the report, or something to ignore."""
        try:
            fields = parse_json(line)
        except ValueError:
            return
        if not isinstance(fields, dict):
            return
        if isinstance(fields.get("progress"), str):
            self.stage, self.done, self.total = fields["progress"], int(fields["done"]), int(fields["total"])
        elif "replaced" in fields:
            self.report = fields


class LearningJob:
    """Trains one model at a time. All coroutines run in one event loop; :meth:`state` may run in any thread.

    Args:
        config: folders and command.
        audit: called with what happened ("started", "installed", "refused", "failed", "cancelled", "rolled back"),
            "face" or "voice", and a detail.
        clock: seconds since the epoch; for tests.
    """

    def __init__(
        self,
        config: LearningConfig,
        audit: Callable[[str, str, str], object] = lambda action, kind, detail: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config, self._audit, self._clock = config, audit, clock
        self._run: _Run | None = None

    # --- what the page shows --------------------------------------------------------------------------------------

    def running(self) -> dict[str, Any] | None:
        """The training in progress: ``kind``, ``stage``, ``done`` of ``total`` steps, ``elapsed_s``; None without."""
        run = self._run
        if run is None:
            return None
        elapsed = max(0.0, self._clock() - run.started)
        fields = {"kind": run.kind, "stage": run.stage, "done": run.done, "total": run.total}
        return {**fields, "cancelled": run.cancelled, "elapsed_s": round(elapsed, 1)}

    def state(self) -> dict[str, Any]:
        """All that the page shows; reads files."""
        record = self._read_record()
        return {
            "installed": self.config.installed(),
            "install": INSTALL,
            "needed": MIN_CORRECTIONS,
            "running": self.running(),
            "models": [self._model(kind, record) for kind in MODELS],
        }

    def _model(self, kind: str, record: dict[str, Any]) -> dict[str, Any]:
        versions = self._versions(kind)
        cards, problem = self._cards(kind)
        own = record.get(kind, {})
        used = set(own.get("used", ())) | set((cards[-1].get("ids") or ()) if cards else ())
        found = learnable(self.config.corrections, kind, frozenset(map(str, used)))
        current = versions.current
        card = next((card for card in cards if card.get("version") == current), {})
        last = own.get("last")
        if last is not None and last.get("outcome") == "started" and (self._run is None or self._run.kind != kind):
            last = {**last, "outcome": "interrupted"}  # the robot was switched off during the training
        return {
            "kind": kind,
            "accepted": dict(found.accepted),
            "new": dict(found.new),
            "held_out": found.held_out,
            "to_learn": found.to_learn,
            "pending": found.pending,
            "enough": found.enough,
            "problem": problem or self._data_problem(kind),
            "version": current,
            "versions": len(cards),
            "previous": card.get("parent"),
            "link": str(versions.link),
            "last": last,
        }

    def _versions(self, kind: str) -> ModelVersions:
        return ModelVersions(self.config.corrections / FOLDERS[kind])

    def _cards(self, kind: str) -> tuple[list[dict[str, Any]], str]:
        """The cards of all versions, oldest first, and what is wrong with them."""
        try:
            return self._versions(kind).cards(), ""
        except ValueError as error:
            return [], str(error)

    def _data_problem(self, kind: str) -> str:
        if self.config.data is None:
            return "the folder of the base data is not set: learning_data_directory"
        path = self.config.data / BASE_DATA[kind]
        return "" if path.exists() else f"there are no base data at {path}"

    # --- what the page does ---------------------------------------------------------------------------------------

    async def start(self, kind: str) -> None:
        """Start a training from the accepted corrections of a kind, "face" or "voice".

        Raises:
            LearningError: one is running, the corrections are too few, or something that it needs is missing.
            OSError: the command cannot be started.
        """
        if self._run is not None:
            raise LearningError("a training is running already")
        run = self._run = _Run(kind, self._clock(), 1)  # before anything is awaited, so that there is only one
        try:
            await asyncio.to_thread(self._check, kind)
            run.version = self._versions(kind).current or 1
            await asyncio.to_thread(self._keep, kind, {"outcome": "started", "started": run.started})
            run.process = await self._launch(kind)
        except BaseException:
            self._run = None
            raise
        self._audit("started", kind, f"version {run.version}")
        run.ended = asyncio.create_task(self._watch(run, run.process))

    async def cancel(self) -> None:
        """End the training in progress, and wait until it has ended.

        Raises:
            LearningError: there is none.
        """
        run = self._run
        if run is None or run.process is None or run.ended is None:
            raise LearningError("no training is running")
        run.cancelled = True
        _signal(run.process, signal.SIGTERM)
        done, _ = await asyncio.wait((run.ended,), timeout=GRACE_S)
        if not done:
            _signal(run.process, signal.SIGKILL)
            await asyncio.wait((run.ended,))

    async def roll_back(self, kind: str) -> int:
        """Return to the version from which the current one was trained; its number.

        Raises:
            LearningError: there is none, or a training is running.
        """
        if self._run is not None:
            raise LearningError("a training is running; wait for its end or cancel it")
        number = await asyncio.to_thread(self._roll_back, kind)
        self._audit("rolled back", kind, f"version {number}")
        return number

    async def close(self) -> None:
        """End a training, because the server ends."""
        with contextlib.suppress(LearningError):
            await self.cancel()

    def _roll_back(self, kind: str) -> int:
        versions = self._versions(kind)
        try:
            with versions.exclusive():
                number = versions.roll_back()
        except ValueError as error:
            raise LearningError(str(error)) from None
        self._keep(kind, {"outcome": "rolled back", "finished": self._clock(), "version": number})
        return number

    def _check(self, kind: str) -> None:
        if not self.config.installed():
            raise LearningError(f"learning needs the install profile learn: run {INSTALL}")
        if problem := self._cards(kind)[1] or self._data_problem(kind):
            raise LearningError(problem)
        found = learnable(self.config.corrections, kind)
        if not found.enough:
            text = f"{found.to_learn} accepted {kind}s to learn from, at least {MIN_CORRECTIONS} are needed"
            raise LearningError(text)

    async def _launch(self, kind: str) -> asyncio.subprocess.Process:
        assert self.config.data is not None
        data = (self.config.data / BASE_DATA[kind]).resolve()
        threads = max(1, len(os.sched_getaffinity(0)) // 2)
        environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        environment["PYTHONSAFEPATH"] = "1"  # import nothing from the folder of the corrections
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return await asyncio.create_subprocess_exec(
            *self.config.command,
            *(MODELS[kind], "--background", "--feedback", str(self.config.corrections.resolve())),
            *("--data", str(data), "--threads", str(threads)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            cwd=self.config.corrections,  # caches of the training are kept there
            env=environment,
            start_new_session=True,
        )

    async def _watch(self, run: _Run, process: asyncio.subprocess.Process) -> None:
        """Follow the command to its end, then record the result."""
        try:
            await asyncio.wait_for(self._follow(run, process), 3600 * self.config.max_hours)
        except (asyncio.TimeoutError, ValueError) as error:  # too long, or a line beyond all limits
            run.error = str(error) or f"it took longer than {self.config.max_hours:g} h"
            _signal(process, signal.SIGKILL)
            await process.wait()
        try:
            last = self._result(run, process.returncode)
            self._audit(last["outcome"], run.kind, last["reason"] or f"version {last['version']}")
            with contextlib.suppress(OSError):  # a full disk: the versions themselves still say what is in use
                await asyncio.to_thread(self._keep, run.kind, last, run.report.get("ids"))
        finally:
            self._run = None

    async def _follow(self, run: _Run, process: asyncio.subprocess.Process) -> None:
        async def errors() -> None:
            assert process.stderr is not None
            while chunk := await process.stderr.read(4096):
                run.error = (run.error + chunk.decode(errors="replace"))[-4096:]

        reading = asyncio.create_task(errors())
        try:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                run.add_line(line)
            await reading
        finally:
            reading.cancel()
        await process.wait()

    def _result(self, run: _Run, code: int | None) -> dict[str, Any]:
        """The result of a training, for the page and for the record."""
        report, current = run.report, self._versions(run.kind).current
        reason = str(report.get("reason") or "")
        if (current or 1) != run.version:
            outcome = "installed"
        elif run.cancelled:
            outcome = "cancelled"
        elif code == 3 and report:
            outcome = "refused"
        else:
            outcome, reason = "failed", _reason(run.error, code)
        return {
            "outcome": outcome,
            "reason": reason[:MAX_REASON],
            "started": run.started,
            "finished": self._clock(),
            "version": current,
            "corrections": report.get("corrections"),
            "held_out": report.get("held_out"),
            "before": _scores(report.get("before")),
            "after": _scores(report.get("after")),
        }

    # --- the record -----------------------------------------------------------------------------------------------

    def _read_record(self) -> dict[str, Any]:
        try:
            record = read_json(self.config.corrections / RECORD)
        except (OSError, ValueError):
            return {}
        return {kind: own for kind, own in record.items() if isinstance(own, dict)} if isinstance(record, dict) else {}

    def _keep(self, kind: str, last: dict[str, Any], used: list[str] | None = None) -> None:
        record = self._read_record()
        own = record.get(kind, {})
        record[kind] = {"last": last, "used": own.get("used", []) if used is None else used}
        write_atomically(self.config.corrections / RECORD, [json.dumps(record, indent=1), "\n"])


def _scores(scores: Any) -> dict[str, float | None] | None:
    return {name: scores.get(name) for name in SCORES} if isinstance(scores, dict) else None


def _reason(error: str, code: int | None) -> str:
    """Why a command failed: the line that it wrote for users, or how it ended."""
    lines = [line.strip() for line in error.replace("\r", "\n").splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("emotion-train")]
    if own:
        return own[-1].removeprefix("emotion-train").removeprefix(":").strip()
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"the training was ended by the signal {signal.Signals(-code).name}"
    return f"the training ended with code {code}" + (f": {lines[-1]}" if lines else "")


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal the process and its children, which are a group of their own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
