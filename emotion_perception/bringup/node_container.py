"""Runs several nodes of the graph in one process; started by ``composed:=true`` of launch and ``emotion-bringup``."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.utilities import remove_ros_args

from emotion_perception.ros.lifecycle import PerceptionNode, run_together


def node_factory(word: str) -> Callable[[], PerceptionNode]:
    """Factory of the node described by an argument of :func:`~emotion_perception.bringup.graph.container_arguments`.

    Raises:
        ValueError: the argument is no node description, or the node does not exist; names it.
    """
    try:
        described: dict[str, Any] = json.loads(word)
        module = importlib.import_module(f"emotion_perception.nodes.{described['node']}")
        node_class: Callable[..., PerceptionNode] = next(
            found
            for found in vars(module).values()
            if isinstance(found, type) and issubclass(found, PerceptionNode) and found.__module__ == module.__name__
        )
        arguments = list(described["arguments"])
    except (ValueError, KeyError, TypeError, ImportError, StopIteration) as error:
        raise ValueError(f"{word!r} describes no node of the graph ({type(error).__name__}: {error})") from error
    return lambda: node_class(cli_args=arguments, use_global_arguments=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Executable ``node_container``: one JSON argument per node, see ``graph.container_arguments``."""
    args = list(sys.argv if argv is None else ["node_container", *argv])
    words = remove_ros_args(args)[1:]
    try:
        if not words:
            raise ValueError("no node given; composed:=true starts this executable with its arguments")
        factories = [node_factory(word) for word in words]
    except ValueError as error:
        print(f"node_container: {error}", file=sys.stderr)
        return 2
    return run_together(factories, args)


if __name__ == "__main__":
    sys.exit(main())
