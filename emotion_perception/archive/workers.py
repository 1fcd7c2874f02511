"""Workers that run the jobs: processes of this machine, or a Ray cluster. Both run the same code.

There are no more running jobs than workers (a few more for Ray, to keep its workers busy), so that no queue grows. A
worker that dies, by a crash in a decoder or without memory, is replaced, and its job is reported as lost.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, Protocol

from emotion_perception.archive.jobs import Job, JobResult, Task, run_job

RAY_QUEUE = 2  # running jobs per CPU of the cluster


class Lost(Exception):
    """The worker of a job died; the message gives the reason."""


class Workers(Protocol):
    """Runs jobs."""

    @property
    def room(self) -> bool:
        """Whether another job can be submitted."""

    @property
    def busy(self) -> bool:
        """Whether a job is running."""

    def submit(self, job: Job) -> None:
        """Start a job; there must be room."""

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        """Wait for a job to finish; the finished jobs with their results. A job must be running.

        Raises:
            ArchiveError: the data set cannot be written.
            ModelError: a model is missing or not usable.
        """

    def close(self) -> None:
        """Kill all workers."""


class LocalWorkers:
    """Processes of this machine, each with one job at a time.

    Args:
        task: what all jobs have in common.
        count: number of processes; one per core.
    """

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        # Read when numpy is imported, which is first in a worker: several threads per worker would block each other.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # One pool per process, so that a broken pool identifies the job that broke it.
        self._free = [_new_pool() for _ in range(count)]
        self._running: dict[Future[JobResult], tuple[Job, ProcessPoolExecutor]] = {}

    @property
    def room(self) -> bool:
        return bool(self._free)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def submit(self, job: Job) -> None:
        pool = self._free.pop()
        self._running[pool.submit(run_job, self._task, job)] = job, pool

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        results: list[tuple[Job, JobResult | Lost]] = []
        for future in done:
            job, pool = self._running.pop(future)
            try:
                results.append((job, future.result()))
                self._free.append(pool)
            except BrokenProcessPool:
                results.append((job, Lost("the process that read it died, by a crash or without memory")))
                pool.shutdown(wait=False)
                self._free.append(_new_pool())
        return results

    def close(self) -> None:
        pools = [*self._free, *(pool for _, pool in self._running.values())]
        for pool in pools:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()  # files are written atomically
            pool.shutdown(wait=False, cancel_futures=True)


def _new_pool() -> ProcessPoolExecutor:
    # Not forked: OpenVINO has threads.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _set_up)


def _set_up() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit with the parent: a worker holds its own queue open, and would otherwise wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


class RayWorkers:
    """The CPUs of a Ray cluster; recordings and data set must have the same paths on all its machines.

    Args:
        task: what all jobs have in common.
        address: of the cluster (``auto``, ``host:port``); empty starts one on this machine with ``count`` CPUs.
        count: number of CPUs of a cluster started here.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster at the address, or it does not start in time.
    """

    def __init__(self, task: Task, address: str, count: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
        import ray

        self._ray = ray
        here: dict[str, Any] = {"address": address} if address else {"num_cpus": count, "include_dashboard": False}
        try:
            ray.init(**here, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except Exception as error:  # Ray has no exception of its own for a cluster that does not start in time
            raise ConnectionError(str(error)) from error
        self._task = ray.put(task)
        # The campaign repeats lost jobs, because it knows what else a recording needs; Ray does not retry.
        self._run = ray.remote(num_cpus=1, max_retries=0)(run_job)
        self._most = RAY_QUEUE * max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._running: dict[Any, Job] = {}

    @property
    def room(self) -> bool:
        return len(self._running) < self._most

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def submit(self, job: Job) -> None:
        self._running[self._run.remote(self._task, job)] = job

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        done, _ = self._ray.wait(list(self._running), num_returns=1)
        results: list[tuple[Job, JobResult | Lost]] = []
        for reference in done:
            job = self._running.pop(reference)
            try:
                results.append((job, self._ray.get(reference)))
            except self._ray.exceptions.RayTaskError as error:  # raised by the job
                raise error.cause from error
            except self._ray.exceptions.RayError as error:  # worker or machine lost
                results.append((job, Lost(f"the worker that read it died ({type(error).__name__})")))
        return results

    def close(self) -> None:
        with suppress(Exception):
            for reference in self._running:
                self._ray.cancel(reference, force=True)
        self._ray.shutdown()
