"""Analysis of visitors' files: each is decoded in a restricted process of its own and is not stored.

A file is held in a memfd: not on a disk, where the blocks even of a deleted file could be recovered, and not in the
heap of this process, so that its memory returns to the system as soon as it is closed. The process that decodes it
(:mod:`emotion_perception.dashboard.upload_worker`) gets the memfd's descriptor, so there is one copy. Only one process
exists at a time for all visitors: it loads the models when a visitor opens the page (:meth:`UploadAnalyzer.prepare`)
and ends with its file, or after :data:`SPARE_S` without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import mmap
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from emotion_perception.dashboard.file_types import MAX_PIXELS, UploadError, sniff
from emotion_perception.dashboard.security import TOKEN_VARIABLE
from emotion_perception.media.formats import FileFormat

MAX_SECONDS = 120  # of a recording that are analysed
MAX_ANSWER = 32_000_000  # bytes
SPARE_S = 120.0  # a process that waits for a file is ended after this
MAX_UPLOADS = 3  # files at a time, received or analysed; one is analysed

__all__ = ["MAX_PIXELS", "MAX_SECONDS", "MemoryFile", "UploadAnalyzer", "UploadError"]


class MemoryFile:
    """An anonymous file in memory; its pages are freed when it is closed. Use it as a context manager."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("upload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.size = 0  # bytes

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        view = memoryview(data)
        while view:
            written = os.write(self.descriptor, view)
            self.size += written
            view = view[written:]

    def file_type(self) -> FileFormat:
        """What the file is; see :func:`~emotion_perception.dashboard.file_types.sniff`.

        Raises:
            UploadError: its type is not accepted.
        """
        if not self.size:
            return sniff(b"")
        with mmap.mmap(self.descriptor, self.size, prot=mmap.PROT_READ) as data:
            return sniff(data)

    def seal(self) -> None:
        """Seal the content, so that no holder of a descriptor can change it."""
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)


@dataclass(frozen=True)
class _Worker:
    process: asyncio.subprocess.Process
    channel: socket.socket  # takes one message with the descriptor of the file

    @property
    def alive(self) -> bool:
        return self.process.returncode is None and self.channel.fileno() >= 0

    def kill(self) -> None:
        self.channel.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, RuntimeError):
                self.process.kill()


def worker_environment() -> dict[str, str]:
    """Environment of the process that decodes files: without the token, which a hostile file could look for."""
    inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return {**inherited, "OMP_NUM_THREADS": "1", "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS)}


class UploadAnalyzer:
    """Analyses files one after the other, each in a process of its own.

    Args:
        seconds: time limit of one file, loading of the models included.
        memory_mb: memory for decoding and analysis on top of the models.
    """

    def __init__(self, seconds: float = 90.0, memory_mb: int = 1500) -> None:
        self.seconds, self.memory_mb = seconds, memory_mb
        self._turn = asyncio.Lock()  # held by whoever starts or uses the process
        self._reserved = 0
        self._spare: _Worker | None = None
        self._spare_timer: asyncio.TimerHandle | None = None

    async def prepare(self) -> None:
        """Start the process, so that the models are loaded when a file comes. Does nothing while it is in use."""
        if self._turn.locked():
            return
        async with self._turn:
            if self._spare is None or not self._spare.alive:
                self._spare = await self._start()
            self._cancel_timer()
            self._spare_timer = asyncio.get_running_loop().call_later(SPARE_S, self._end_spare)

    @contextlib.contextmanager
    def reserve(self) -> Iterator[None]:
        """One of :data:`MAX_UPLOADS` slots; acquire it before the file is received.

        Raises:
            UploadError: all slots are in use.
        """
        if self._reserved >= MAX_UPLOADS:
            raise UploadError("others are being served; try again in a moment", 503)
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    async def analyze(self, file: MemoryFile) -> str:
        """The analysis of a file, as JSON (see :mod:`~emotion_perception.dashboard.upload_worker`).

        Raises:
            UploadError: the file is refused, cannot be decoded, or needs too much time or memory.
        """
        file.file_type()
        file.seal()
        async with self._turn:
            self._cancel_timer()
            worker, self._spare = self._spare, None
            if worker is None or not worker.alive:
                worker = await self._start()
            try:
                return await asyncio.wait_for(self._ask(worker, file), self.seconds)
            except asyncio.TimeoutError:
                raise UploadError(f"the file took longer than {self.seconds:.0f} s; try a shorter one", 422) from None
            finally:
                worker.kill()
                await worker.process.communicate()  # until it has ended: one process at a time

    async def close(self) -> None:
        """End the process that waits for a file; the analyzer can be used again, by another event loop too."""
        self._cancel_timer()
        self._end_spare()
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.process.communicate()  # until its pipe is closed
        self._turn = asyncio.Lock()

    def _cancel_timer(self) -> None:
        if self._spare_timer is not None:
            self._spare_timer.cancel()
            self._spare_timer = None

    def _end_spare(self) -> None:
        if self._spare is not None:
            self._spare.kill()

    async def _start(self) -> _Worker:
        channel, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = (sys.executable, "-m", "emotion_perception.dashboard.upload_worker")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(self.memory_mb),
                str(round(self.seconds)),
                str(round(SPARE_S)),
                stdin=far_end.fileno(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=worker_environment(),
            )
        except BaseException:
            channel.close()
            raise
        finally:
            far_end.close()
        return _Worker(process, channel)

    async def _ask(self, worker: _Worker, file: MemoryFile) -> str:
        answer = bytearray()
        with contextlib.suppress(OSError):  # nor does a process that has died in the meantime give an answer
            socket.send_fds(worker.channel, [b"file"], [file.descriptor])
        assert worker.process.stdout is not None
        while chunk := await worker.process.stdout.read(65536):
            answer += chunk
            if len(answer) > MAX_ANSWER:
                raise UploadError("the analysis of this file is too large to show", 422)
        try:
            fields = json.loads(answer)
        except ValueError:
            # Killed by one of its limits, or by a decoder that the file broke: the separate process exists to contain
            # this.
            raise UploadError("the file cannot be decoded within the limits of time and memory", 422) from None
        if "error" in fields:
            raise UploadError(str(fields["error"]), 422)
        return answer.decode()
