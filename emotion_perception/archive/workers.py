"""Who does the jobs: processes of this machine, or a Ray cluster. Both run the same code and keep the same promises.

No more jobs are under way than there are workers to do them (and a few to keep Ray's busy), so that nothing piles up; a
worker that dies, by a crash in a decoder or for want of memory, is replaced, and its job comes back as lost.
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

RAY_QUEUE = 2  # jobs under way for each of the cluster's processors


class Lost(Exception):
    """The worker that had a job is gone; the message says how."""


class Workers(Protocol):
    """Who does the jobs."""

    @property
    def room(self) -> bool:
        """Whether another job can be taken."""

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""

    def submit(self, job: Job) -> None:
        """Take a job; there must be room."""

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        """The jobs that are done, as soon as there is one; there must be one under way.

        Raises:
            ArchiveError: the data set cannot be written.
            ModelError: a model is missing or not usable.
        """

    def close(self) -> None:
        """End all workers, whatever they do."""


class LocalWorkers:
    """Processes of this machine, each with a job at a time.

    Args:
        task: what all jobs have in common.
        count: processes; one a core.
    """

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        # Read when numpy is loaded, which in a worker is before anything else: its threads would wait for each other.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # A pool each: one that breaks says whose job broke it.
        self._free = [_new_pool() for _ in range(count)]
        self._under_way: dict[Future[JobResult], tuple[Job, ProcessPoolExecutor]] = {}

    @property
    def room(self) -> bool:
        return bool(self._free)

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def submit(self, job: Job) -> None:
        pool = self._free.pop()
        self._under_way[pool.submit(run_job, self._task, job)] = job, pool

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
        results: list[tuple[Job, JobResult | Lost]] = []
        for future in done:
            job, pool = self._under_way.pop(future)
            try:
                results.append((job, future.result()))
                self._free.append(pool)
            except BrokenProcessPool:
                results.append((job, Lost("the process that read it died, by a crash or for want of memory")))
                pool.shutdown(wait=False)
                self._free.append(_new_pool())
        return results

    def close(self) -> None:
        pools = [*self._free, *(pool for _, pool in self._under_way.values())]
        for pool in pools:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()  # what it writes is whole or not there
            pool.shutdown(wait=False, cancel_futures=True)


def _new_pool() -> ProcessPoolExecutor:
    # Not forked: OpenVINO and ONNX Runtime have threads.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _set_up)


def _set_up() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the terminal
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker holds its own queue open, and would wait in it for ever once nobody is left to fill it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


class RayWorkers:
    """The processors of a Ray cluster; recordings and data set lie on a disk that all of its machines see.

    Args:
        task: what all jobs have in common.
        address: of the cluster (``auto``, ``host:port``); empty starts one on this machine, of ``count`` processors.
        count: where the cluster is started here.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster at the address, or none starts here in the time that Ray allows.
    """

    def __init__(self, task: Task, address: str, count: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machines
        import ray

        self._ray = ray
        here: dict[str, Any] = {"address": address} if address else {"num_cpus": count, "include_dashboard": False}
        try:
            ray.init(**here, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except Exception as error:  # of a cluster that does not start in time, Ray raises no exception of its own
            raise ConnectionError(str(error)) from error
        self._task = ray.put(task)
        # Lost jobs are given out again by who knows what else a recording needs, not by Ray.
        self._run = ray.remote(num_cpus=1, max_retries=0)(run_job)
        self._most = RAY_QUEUE * max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._under_way: dict[Any, Job] = {}

    @property
    def room(self) -> bool:
        return len(self._under_way) < self._most

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def submit(self, job: Job) -> None:
        self._under_way[self._run.remote(self._task, job)] = job

    def finished(self) -> list[tuple[Job, JobResult | Lost]]:
        done, _ = self._ray.wait(list(self._under_way), num_returns=1)
        results: list[tuple[Job, JobResult | Lost]] = []
        for reference in done:
            job = self._under_way.pop(reference)
            try:
                results.append((job, self._ray.get(reference)))
            except self._ray.exceptions.RayTaskError as error:  # raised by the job
                raise error.cause from error
            except self._ray.exceptions.RayError as error:  # worker or machine gone
                results.append((job, Lost(f"the worker that read it is gone ({type(error).__name__})")))
        return results

    def close(self) -> None:
        with suppress(Exception):
            for reference in self._under_way:
                self._ray.cancel(reference, force=True)
        self._ray.shutdown()
