"""Nothing leaves the machine and no file is written but those that docs/security.md lists, whoever wrote the library.

Each entry point runs with an empty HOME in a network namespace that has loopback alone, under strace.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from clips import write_clip
from sounds import tone

from emotion_perception.media import demo_clip

ROOT = Path(__file__).parents[2]
NAMESPACE = ("unshare", "--map-root-user", "--net")
# Runs in the namespace: brings up loopback (interface flags UP and RUNNING by ioctl SIOCSIFFLAGS), then the command.
LOOPBACK = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14s", b"lo", 0x49, b""))
os.execvp(sys.argv[1], sys.argv[1:])
"""
CALLS = "connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat"
CALLS += ",rename,renameat,renameat2,link,linkat,symlink,symlinkat"
OPENED_TO_WRITE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT")
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')
CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
UNFINISHED = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')
LOOPBACK_ADDRESS = re.compile(r"127\.|::1$|0\.0\.0\.0$|::$|::ffff:127\.")
DDS_MULTICAST = "239.255.0.1"  # discovery of the middleware, on loopback alone with ROS_AUTOMATIC_DISCOVERY_RANGE
LISTED = (  # outside HOME
    r"/dev/(null|tty|urandom)$",
    r"/dev/shm/(sem\.)?\w*fastrtps\w*",  # messages on their way
    r"/dev/shm/(sem\.)?(mp-|loky|psm_|\w{6}$)",  # semaphores of Python's multiprocessing
    r"/dev/shm/sem\.(joblib-|\w{6}$)",  # joblib (imported by noisereduce) tries whether it may make one
    r"/tmp/\w{8}$",  # Python's tempfile tries whether it may write there
    r"/tmp/tmp\w{8}(/face_(landmarks_detector|blendshapes)\.tflite)?$",  # landmark networks, unpacked for OpenVINO
    r"/proc/",
    r"/sys/",
    r".*/__pycache__(/|$)",  # byte code beside the installed files
)
LOGS = r"\.ros(/log(/.*)?)?$"  # of nodes
MEMORY = r"\.cache(/emotion_perception(/precision(/.*)?)?)?$"  # which precision is fast here, of inference/choices.py
FONTS = r"\.(cache|config)(/matplotlib(/.*)?)?$"  # matplotlib's list of the machine's fonts


@dataclass(frozen=True)
class Trace:
    """What a traced command and its children did."""

    output: str
    addresses: tuple[tuple[str, int], ...]  # contacted outside loopback
    lookups: tuple[str, ...]  # calls that ask a name server
    written: tuple[str, ...]  # absolute paths of files and folders that were created or opened to write


def calls_of(log: Path) -> list[tuple[str, str, int]]:
    """(name, arguments, result) of each call; strace splits those that another process interrupts."""
    begun: dict[str, str] = {}
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if match := UNFINISHED.match(line):
            begun[match[1]] = match[2]
            continue
        if match := RESUMED.match(line):
            line = f"{match[1]} {begun.pop(match[1], match[2] + '(')}{match[3]}"
        if match := CALL.match(line):
            found.append((match[1], match[2], int(match[3])))
    return found


def trace_of(log: Path, output: str) -> Trace:
    addresses, lookups, written = [], [], []
    for name, arguments, result in calls_of(log):
        if name in ("connect", "sendto", "sendmsg", "sendmmsg"):
            for port, four, six in ADDRESS.findall(arguments):
                if int(port) == 53:
                    lookups.append(arguments)
                if not LOOPBACK_ADDRESS.match(four or six) and int(port):
                    addresses.append((four or six, int(port)))
            if "systemd/resolve" in arguments:
                lookups.append(arguments)
        elif result >= 0 and (OPENED_TO_WRITE.search(arguments) or not name.startswith("open")):
            paths = QUOTED.findall(arguments)
            if paths and "O_TMPFILE" not in arguments:
                written.append(paths[-1][0])
    return Trace(output, tuple(addresses), tuple(lookups), tuple(written))


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """What this needs of the machine, or the reason why it is skipped."""
    if sys.platform != "linux" or not shutil.which("strace"):
        pytest.skip("strace is not installed")
    attempt = subprocess.run([*NAMESPACE, "strace", "-f", "-qq", "-e", "trace=connect", "true"], capture_output=True)
    if attempt.returncode:
        pytest.skip(f"no network namespace or no tracing here: {attempt.stderr.decode().strip()[:200]}")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of a face and a voice-like buzz."""
    from skimage import data

    (tmp_path / "in").mkdir()
    images = [image[:, :, ::-1] for image in itertools.islice(demo_clip.frames(data.astronaut()), 50)]
    sound = (32767 * tone(2.0)).astype(np.int16)
    return write_clip(tmp_path / "in" / "clip.mp4", images, sound, fps=demo_clip.FPS)


@pytest.fixture
def traced(tmp_path: Path) -> Callable[..., Trace]:
    """Runs Python with arguments under strace in the namespace; ends it by SIGINT after ``seconds``, if given."""

    def run(*arguments: str, seconds: float | None = None) -> Trace:
        home, out, log = tmp_path / "home", tmp_path / "out", tmp_path / "trace.log"
        home.mkdir()
        out.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ROS_LOG", "MPL", "ORT_"))}
        environment = kept | {"HOME": str(home), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        tracer = ("strace", "-f", "-qq", "--seccomp-bpf", "-s", "400", "-o", str(log), "-e", f"trace={CALLS}")
        process = subprocess.Popen(
            [*NAMESPACE, sys.executable, "-c", LOOPBACK, *tracer, sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=out,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds or 400)
        except subprocess.TimeoutExpired:
            assert seconds is not None, "the command has not ended"
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=100)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return trace_of(log, output)

    return run


def stays_here(trace: Trace, tmp_path: Path, ros: bool = False, listed_at_home: tuple[str, ...] = ()) -> None:
    """Fails where the command asked for a name, contacted anybody, or wrote a file that is not listed."""
    assert not trace.lookups, trace.lookups[:5]
    contacted = {address for address, _ in trace.addresses if not (ros and address == DDS_MULTICAST)}
    assert not contacted, sorted(contacted)[:5]
    home, out = tmp_path / "home", tmp_path / "out"
    allowed = [re.compile(pattern) for pattern in LISTED]
    at_home = [re.compile(pattern) for pattern in (*listed_at_home, MEMORY)]
    others = set()
    for name in trace.written:
        path = Path(os.path.normpath(out / name))
        if path == out or out in path.parents or any(pattern.match(str(path)) for pattern in allowed):
            continue
        if home in path.parents and any(p.match(str(path.relative_to(home))) for p in at_home):
            continue
        others.add(str(path))
    assert not others, sorted(others)[:10]
    left = {str(path.relative_to(home)) for path in home.rglob("*")}
    assert all(any(pattern.match(path) for pattern in at_home) for path in left), sorted(left)


UPLOAD = """
import asyncio, pathlib, sys
from emotion_perception.dashboard.uploads import MemoryFile, UploadAnalyzer
async def main():
    file = MemoryFile()
    file.write(pathlib.Path(sys.argv[1]).read_bytes())
    analyzer = UploadAnalyzer(seconds=300.0)
    print(await analyzer.analyze(file))
asyncio.run(main())
"""


def test_the_trace_finds_lookups_contacts_and_files(traced, tmp_path: Path) -> None:
    """What the tests below rely on: a program that does all that is forbidden is caught."""
    code = """
import contextlib, pathlib, socket
for call in (lambda: socket.getaddrinfo("example.org", 80), lambda: socket.create_connection(("192.0.2.1", 443), 1)):
    with contextlib.suppress(OSError):
        call()
with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
    socket.create_connection(server.getsockname()).close()
pathlib.Path.home().joinpath(".cache").mkdir()
pathlib.Path.home().joinpath(".cache/id").write_text("x")
"""
    trace = traced("-c", code)
    assert ("192.0.2.1", 443) in trace.addresses
    assert not any(address.startswith("127.") for address, _ in trace.addresses)
    assert any(path.endswith("home/.cache/id") for path in trace.written)
    with pytest.raises(AssertionError):
        stays_here(trace, tmp_path)
    nameservers = Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").is_file() else ""
    assert trace.lookups or "nameserver" not in nameservers


@pytest.mark.slow
def test_emotion_recognize_stays_on_this_machine(traced, clip: Path, tmp_path: Path) -> None:
    trace = traced("-m", "emotion_perception.cli.recognize", str(clip), "--report", "talk.html")
    assert '"status"' in trace.output, trace.output[-500:]
    assert (tmp_path / "out" / "talk.html").is_file()
    stays_here(trace, tmp_path)


@pytest.mark.slow
def test_emotion_archive_stays_on_this_machine(traced, clip: Path, tmp_path: Path) -> None:
    trace = traced("-m", "emotion_perception.cli.archive", "analyse", str(clip), "--out", "set", "--workers", "1")
    assert list((tmp_path / "out" / "set").rglob("*.parquet")), trace.output[-500:]
    stays_here(trace, tmp_path)


@pytest.mark.slow
def test_emotion_eval_stays_on_this_machine(traced, tmp_path: Path) -> None:
    data = tmp_path / "in" / "ravdess_speech" / "Actor_21"
    data.mkdir(parents=True)
    for emotion in range(1, 9):
        soundfile.write(data / f"03-01-{emotion:02d}-01-01-01-21.flac", tone(0.8, level=0.1 + 0.02 * emotion), 16_000)
    trace = traced("-m", "emotion_perception.cli.evaluate", "acoustic", "--data", str(data.parent), "--out", "scores")
    assert json.loads((tmp_path / "out" / "scores" / "report.json").read_text()), trace.output[-500:]
    stays_here(trace, tmp_path, listed_at_home=(FONTS,))


@pytest.mark.slow
def test_upload_worker_stays_on_this_machine(traced, clip: Path, tmp_path: Path) -> None:
    trace = traced("-c", UPLOAD, str(clip))
    assert '"kind":"recording"' in trace.output, trace.output[-500:]
    stays_here(trace, tmp_path)


@pytest.mark.slow
def test_all_nodes_stay_on_this_machine(traced, clip: Path, tmp_path: Path) -> None:
    optional = [part for name in ("overlay", "interaction", "dashboard") for part in (f"--{name}", "true")]
    command = ["-m", "emotion_perception.bringup.command", "--source", str(clip), "--loop", *optional]
    trace = traced(*command, seconds=45)
    assert "the dashboard is at" in trace.output and "[acoustic_node]: listening" in trace.output, trace.output[-2000:]
    # It starts once a face has gone through media_source_node, visual_node and fusion_node.
    assert re.search(r"\[interaction_node\]: interaction \S+ started", trace.output), trace.output[-2000:]
    stays_here(trace, tmp_path, ros=True, listed_at_home=(LOGS,))
