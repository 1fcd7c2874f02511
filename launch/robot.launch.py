"""Start emotion perception on a robot: ``ros2 launch emotion_perception robot.launch.py``.

``--show-args`` lists the arguments. The nodes come from ``emotion_perception.bringup.graph``, the table that
``emotion-bringup`` starts without launch. Each node configures and activates itself, unless ``lifecycle`` says who
does; a process that dies is started again, later with every death that follows soon.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
    UnregisterEventHandler,
)
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.logging import launch_config
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from emotion_perception.bringup.graph import ARGUMENTS, CONTAINER, GraphNode, container_arguments, graph_nodes
from emotion_perception.bringup.supervisor import Backoff, describe_exit
from emotion_perception.resources import config_path
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.shared_memory import tidy_shared_memory

PACKAGE = "emotion_perception"
# The nodes share few cores, and idle helper threads only steal from each other; as emotion-bringup has it.
ONE_THREAD = {"OMP_NUM_THREADS": EnvironmentVariable("OMP_NUM_THREADS", default_value="1")}


def lifecycle_node(node: GraphNode) -> LifecycleNode:
    """The launch action of one row of the table."""
    return LifecycleNode(
        package=PACKAGE,
        executable=node.executable,
        name=node.name,
        namespace=node.namespace,
        remappings=list(node.remappings),
        parameters=[node.parameter_file, dict(node.parameters)],
        ros_arguments=node.process_arguments(),
        additional_env=ONE_THREAD,
        output="screen",
    )


def container(nodes: Sequence[GraphNode]) -> Node:
    """The launch action of the process that runs all rows."""
    return Node(
        package=PACKAGE,
        executable=CONTAINER,
        arguments=container_arguments(nodes),
        additional_env=ONE_THREAD,
        output="screen",
    )


def configured_and_activated(action: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Life-cycle events for one node: configure when its process starts, activate when it is inactive by that."""

    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(action), transition_id=transition))

    return [
        RegisterEventHandler(OnProcessStart(target_action=action, on_start=[change(Transition.TRANSITION_CONFIGURE)])),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=action,
                start_state="configuring",  # not on the way down from active
                goal_state="inactive",
                entities=[change(Transition.TRANSITION_ACTIVATE)],
            )
        ),
    ]


class KeptAlive:
    """A process that is started again when it dies; launch's own ``respawn`` knows no back-off.

    Args:
        name: for the log.
        nodes: what it runs; several make a container.
        by_events: whether launch configures and activates its node.
    """

    def __init__(self, name: str, nodes: Sequence[GraphNode], by_events: bool) -> None:
        self._name, self._nodes, self._by_events = name, nodes, by_events
        self._backoff = Backoff()
        self._started = 0.0
        self._events: list[LaunchDescriptionEntity] = []  # the life-cycle events of the process that runs

    def start(self) -> list[LaunchDescriptionEntity]:
        """The process, and what watches over it. An action can be run once, so each start makes a new one."""
        action = container(self._nodes) if self._name == CONTAINER else lifecycle_node(self._nodes[0])
        self._started = time.monotonic()
        self._events = configured_and_activated(action) if self._by_events else []
        watch = RegisterEventHandler(OnProcessExit(target_action=action, on_exit=self._on_exit))
        return [watch, *self._events, action]

    def _start_again(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if self._by_events:
            # launch_ros would call the service of the dead node, which DDS still shows for a while: the new one starts
            # itself.
            (node,) = self._nodes
            self._nodes = [replace(node, parameters={**node.parameters, "autostart": True})]
            self._by_events = False
        return self.start()

    def _on_exit(self, event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        if context.is_shutdown:
            return None
        wait = self._backoff.after(time.monotonic() - self._started)
        # They listen by the node's name, and would drive the next process of that name, too.
        over = [UnregisterEventHandler(registered.event_handler) for registered in self._events]
        self._events = []
        return [
            *over,
            LogInfo(msg=f"{self._name} died ({describe_exit(event.returncode)}); starting again in {wait:g} s"),
            TimerAction(period=wait, actions=[OpaqueFunction(function=self._start_again)]),
        ]


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Evaluate the arguments and make the processes."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    nodes = graph_nodes(values)
    if values["composed"] == "true":
        return KeptAlive(CONTAINER, nodes, by_events=False).start()
    by_events = values["lifecycle"] == "launch"
    return [entity for node in nodes for entity in KeptAlive(node.name, [node], by_events).start()]


def make_files_private() -> None:
    """Let nobody but this user read logs and shared memory of the launch process and of the nodes it starts."""
    make_new_files_private()
    os.chmod(launch_config.log_dir, 0o700)  # made before this file was loaded


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    make_files_private()
    tidy_shared_memory()
    arguments = [
        DeclareLaunchArgument(
            name,
            default_value=argument.default,
            description=argument.description,
            **({"choices": list(argument.choices)} if argument.choices else {}),
        )
        for name, argument in ARGUMENTS.items()
    ]
    # A camera picture does not fit Fast DDS' default shared memory; other middleware ignores the variable.
    # Fast DDS 2 (Jazzy) and 3 (Kilted and newer) read it by different names.
    profile = [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=str(config_path("fastdds.xml"))))
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    ]
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=start_nodes)])
