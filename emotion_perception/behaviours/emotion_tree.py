"""``emotion-tree``: runs the empathetic behaviour tree on the live emotion state and draws it in the terminal.

Reads ``emotion_state`` (emotion_msgs/EmotionState), publishes ``emotion/action`` (std_msgs/String, latched, on change).
In a terminal the tree is drawn at every tick; written to a file or a pipe, one line per change of action is printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any

import py_trees

from emotion_perception.behaviours.empathy import ACTIONS, PublishAction, create_root
from emotion_perception.behaviours.to_blackboard import ToBlackboard

EPILOG = """actions, most urgent first:
{actions}

examples:
  emotion-tree                                  # live, while robot.launch.py or emotion-demo runs
  emotion-tree --once                           # print the tree and exit; needs no ROS
  emotion-tree --once --dot | dot -Tsvg > tree.svg
  emotion-tree --max-age 5                      # a robot with a microphone alone
  emotion-tree --ros-args -r __ns:=/robot1 -p use_sim_time:=true
  ros2 topic echo /emotion/action               # what it chose

Exit code: 0 at the end, 2 for wrong arguments."""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-tree``; ROS arguments follow ``--ros-args``."""
    actions = "\n".join(f"  {name:26} {meaning}" for name, meaning in ACTIONS.items())
    parser = argparse.ArgumentParser(
        prog="emotion-tree",
        description=__doc__,
        epilog=EPILOG.format(actions=actions),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=10.0, help="ticks per second, 0.5 to 100 (10)")
    parser.add_argument(
        "--max-age", type=float, default=2.0, help="s since capture; an older state is not reacted to (2)"
    )
    parser.add_argument("--once", action="store_true", help="print the tree and exit")
    parser.add_argument("--dot", action="store_true", help="with --once: as Graphviz dot text")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII alone, no colours")
    parser.add_argument("--lines", action="store_true", help="a line per change of action, no drawing")
    return parser


def draw(root: py_trees.behaviour.Behaviour, ascii_only: bool, live: bool) -> str:
    """The tree as text; ``live``: with the status and the words of every behaviour."""
    draw_tree = py_trees.display.ascii_tree if ascii_only else py_trees.display.unicode_tree
    return str(draw_tree(root, show_status=live))


def screen(root: py_trees.behaviour.Behaviour, ascii_only: bool, title: str) -> str:
    """Output of one tick: title, tree and legend, drawn over the output of the tick before."""
    success, failure = ("o", "x") if ascii_only else ("✓", "✕")
    legend = f"{success} success, {failure} failure, * running, - not asked; Ctrl-C ends"
    text = f"{title}\n\n{draw(root, ascii_only, live=True)}\n{legend}\n"
    # Home, every line erased to its end, then the rest of the screen: no flicker as with a cleared screen.
    return "\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J"


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    cut = arguments.index("--ros-args") if "--ros-args" in arguments else len(arguments)
    parser = build_parser()
    args = parser.parse_args(arguments[:cut])
    if not 0.5 <= args.rate <= 100:
        parser.error(f"--rate must be 0.5 to 100 Hz, got {args.rate:g}")
    if not 0 < args.max_age <= 600:
        parser.error(f"--max-age must be above 0 and at most 600 s, got {args.max_age:g}")
    if args.dot and not args.once:
        parser.error("--dot goes with --once")
    root = create_root(max_age=args.max_age)
    ascii_only = args.ascii or not py_trees.console.has_unicode()
    if args.once:
        print(py_trees.display.dot_tree(root).to_string() if args.dot else draw(root, ascii_only, live=False))
        return 0
    return _run(root, args, ascii_only, arguments[cut:])


def _run(
    root: py_trees.behaviour.Behaviour, args: argparse.Namespace, ascii_only: bool, ros_arguments: list[str]
) -> int:
    import rclpy
    from rclpy.clock import Clock, ClockType
    from rclpy.executors import ExternalShutdownException
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from emotion_perception.ros.private_files import make_new_files_private

    make_new_files_private()
    # Signals become KeyboardInterrupt here: rclpy's own handlers end the context before "idle" could be said.
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with SIGINT ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node: Any = None
    tree = py_trees.trees.BehaviourTree(root)
    drawing = sys.stdout.isatty() and not args.lines
    try:
        node = Node("emotion_tree")
        tree.setup(node=node)
        source = next(b for b in root.iterate() if isinstance(b, ToBlackboard))
        sink = next(b for b in root.iterate() if isinstance(b, PublishAction))
        title = f"{node.resolve_topic_name(source.topic_name)} -> {node.resolve_topic_name(sink.topic_name)}"
        before = ""

        def tick() -> None:
            nonlocal before
            tree.tick()
            if drawing:
                sys.stdout.write(screen(root, ascii_only, f"{title}: {sink.published}"))
                sys.stdout.flush()
            elif sink.published != before:
                print(f"{time.strftime('%H:%M:%S')} {sink.published} ({reason(root)})", flush=True)
            before = sink.published

        # On a clock that always runs: a tree must notice that simulated time stands still or jumps.
        node.create_timer(1.0 / args.rate, tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except BrokenPipeError:  # the reader of the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        tree.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def reason(root: py_trees.behaviour.Behaviour) -> str:
    """Why the tree chose what it chose: the words of the last condition that was met, or of the state."""
    words = ""
    for behaviour in root.iterate():
        if isinstance(behaviour, ToBlackboard):
            words = behaviour.feedback_message
        elif (
            behaviour.feedback_message
            and not isinstance(behaviour, PublishAction)
            and behaviour.status is py_trees.common.Status.SUCCESS
        ):
            words = f"{behaviour.name} {behaviour.feedback_message}"
    return words


if __name__ == "__main__":
    sys.exit(main())
