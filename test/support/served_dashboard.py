"""A dashboard server in a process of its own that may open few files: ``python served_dashboard.py FILES [UPLOADS]``.

Prints its port, then a line for each log line. Ends with its standard input.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import UploadAnalyzer


@contextlib.contextmanager
def served(files: int, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process that may open so many files; the process and its port."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, __file__, str(files), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.stdin.close()
            process.wait(20)


def main() -> None:
    files = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    logging.basicConfig(stream=sys.stdout, format="%(message)s")  # what asyncio and aiohttp write counts too
    parts = Parts(Store(), analyzer=UploadAnalyzer() if sys.argv[2:] else None)
    server = DashboardServer(ServerConfig(port=0), parts, lambda text: print(text, flush=True))
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
