"""``emotion-bringup``: starts the graph of ``launch/robot.launch.py`` without launch."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TextIO

from emotion_perception.bringup.graph import (
    ARGUMENTS,
    CONTAINER,
    TRUE_FALSE,
    check_parameter_file,
    container_command,
    graph_nodes,
)
from emotion_perception.bringup.supervisor import Supervisor
from emotion_perception.media.items import MediaError
from emotion_perception.media.playback import check_source, is_live
from emotion_perception.ros.distributions import set_fast_dds_profile
from emotion_perception.ros.lifecycle import EXIT_BAD_ARGUMENT
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.shared_memory import tidy_shared_memory

EXIT_NO_INPUT = 66  # same as media_source_node
SOURCE = "media_source_node"
WATCH_PERIOD = 0.1  # s

EXAMPLES = """examples:
  emotion-bringup                                     the robot's drivers publish /image_raw and /audio
  emotion-bringup --image-topic /camera/image_raw --audio-topic /mic/audio
  emotion-bringup --source webcam                     camera and microphone of this computer
  emotion-bringup --source talk.mp4 --loop            a file, repeated
  emotion-bringup --namespace robot1 --config my_robot.yaml
  emotion-bringup --composed true                     all nodes in one process
"""


def start_graph(
    arguments: Mapping[str, str], source_parameters: Mapping[str, Any] | None = None, log: TextIO = sys.stderr
) -> Supervisor:
    """Start the processes of the graph.

    Args:
        arguments: values of :data:`emotion_perception.bringup.graph.ARGUMENTS`.
        source_parameters: additional parameters of ``media_source_node``.
        log: receives the log lines of all nodes.

    Raises:
        MediaError: the source cannot be read; nothing has been started.
        ValueError: an argument has an invalid value.
        FileNotFoundError: the parameter file does not exist.
    """
    nodes = graph_nodes(arguments, source_parameters)
    if arguments.get("config"):
        check_parameter_file(arguments["config"])
    if arguments.get("lifecycle") == "launch":
        raise ValueError("lifecycle:=launch works only with robot.launch.py; use self or manager here")
    if arguments.get("source") and not is_live(arguments["source"]):  # a device may be plugged in later
        check_source(arguments["source"])
    set_fast_dds_profile(os.environ)
    tidy_shared_memory()
    supervisor = Supervisor(log)
    if arguments.get("composed") == "true":
        commands = {CONTAINER: container_command(nodes)}
        source = CONTAINER if arguments.get("source") else ""
    else:
        commands = {node.name: node.command() for node in nodes}
        source = SOURCE
    for name, command in commands.items():
        # Final exits, not failures to restart from: the end of the source, an interrupted node, a source that cannot
        # be read, a parameter that the node refuses.
        final = (0, EXIT_BAD_ARGUMENT, EXIT_NO_INPUT) if name == source else (0, EXIT_BAD_ARGUMENT)
        supervisor.add(name, command, restart=partial(_is_failure, final))
    return supervisor


def _is_failure(final: tuple[int, ...], code: int) -> bool:
    return code not in final


def source_ended(supervisor: Supervisor) -> int | None:
    """Exit code of the process that plays the source; None while it runs, or without a source."""
    process = supervisor.processes.get(SOURCE) or supervisor.processes.get(CONTAINER)
    return None if process is None else process.exit_code


def wait_for_signal(stop: threading.Event) -> None:
    """Set ``stop`` on Ctrl-C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def main(argv: Sequence[str] | None = None) -> int:
    """Console script ``emotion-bringup``: returns 0 after a signal to stop, 66 for a source that cannot be read."""
    parser = argparse.ArgumentParser(
        "emotion-bringup",
        description="Start the emotion perception nodes; processes that crash are restarted; Ctrl-C stops all.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, argument in ARGUMENTS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=argument.default,
            choices=argument.choices or None,
            nargs="?" if argument.choices == TRUE_FALSE else None,  # --loop alone is --loop true
            const="true" if argument.choices == TRUE_FALSE else None,
            help=f"{argument.description} [{argument.default or 'empty'}]",
        )
    options = vars(parser.parse_args(argv))
    make_new_files_private()
    # The graph stops when the source ends or cannot be read.
    source_parameters = {"at_end": "exit"}
    stop = threading.Event()
    wait_for_signal(stop)
    try:
        supervisor = start_graph(options, source_parameters)
    except (MediaError, ValueError, FileNotFoundError) as error:
        print(f"emotion-bringup: {error}", file=sys.stderr)
        return EXIT_NO_INPUT if isinstance(error, MediaError) else EXIT_BAD_ARGUMENT
    code = 0
    try:
        while not stop.wait(WATCH_PERIOD):
            supervisor.watch()
            if bad := [name for name, one in supervisor.processes.items() if one.exit_code == EXIT_BAD_ARGUMENT]:
                print(f"emotion-bringup: {', '.join(bad)} cannot start with these parameters", file=sys.stderr)
                code = EXIT_BAD_ARGUMENT
                break
            if all(one.exit_code == 0 for one in supervisor.processes.values()):
                break  # each was interrupted by somebody else
            ended = source_ended(supervisor)
            if ended is not None:
                code = ended
                stop.wait(1.0)  # states of the last images and sound are still being processed
                break
    finally:
        supervisor.stop()
    return code


if __name__ == "__main__":
    sys.exit(main())
