"""Start emotion perception on a robot: ``ros2 launch emotion_perception robot.launch.py``.

``--show-args`` lists the arguments. The nodes are those of ``emotion_perception.bringup.graph``, which
``emotion-bringup`` starts without launch. Each node configures and activates itself unless ``lifecycle`` is set; a
process that crashes is restarted with exponential back-off.
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
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited
from launch.logging import launch_config
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from emotion_perception.bringup.graph import (
    ARGUMENTS,
    CONTAINER,
    GraphNode,
    check_parameter_file,
    container_arguments,
    graph_nodes,
)
from emotion_perception.bringup.supervisor import Backoff, describe_exit
from emotion_perception.ros.distributions import FAST_DDS_PROFILE_VARIABLES, fast_dds_profile
from emotion_perception.ros.lifecycle import EXIT_BAD_ARGUMENT
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.shared_memory import tidy_shared_memory

PACKAGE = "emotion_perception"
# One thread per library, as in emotion-bringup: the nodes share few cores.
ONE_THREAD = {"OMP_NUM_THREADS": EnvironmentVariable("OMP_NUM_THREADS", default_value="1")}


def lifecycle_node(node: GraphNode) -> LifecycleNode:
    """The launch action of one node."""
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
    """The launch action of the process that runs all nodes."""
    return Node(
        package=PACKAGE,
        executable=CONTAINER,
        arguments=container_arguments(nodes),
        additional_env=ONE_THREAD,
        output="screen",
    )


def configured_and_activated(action: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Life-cycle events of one node: configure when its process starts, activate once it is configured."""

    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(action), transition_id=transition))

    return [
        RegisterEventHandler(OnProcessStart(target_action=action, on_start=[change(Transition.TRANSITION_CONFIGURE)])),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=action,
                start_state="configuring",  # not after deactivation
                goal_state="inactive",
                entities=[change(Transition.TRANSITION_ACTIVATE)],
            )
        ),
    ]


class RestartedProcess:
    """A process that is restarted when it exits; the ``respawn`` of launch has no back-off.

    Args:
        name: name in the log.
        nodes: its nodes; several run in a container.
        by_events: whether launch configures and activates its node.
    """

    def __init__(self, name: str, nodes: Sequence[GraphNode], by_events: bool) -> None:
        self._name, self._nodes, self._by_events = name, nodes, by_events
        self._backoff = Backoff()
        self._started = 0.0
        self._events: list[LaunchDescriptionEntity] = []  # life-cycle event handlers of the running process

    def start(self) -> list[LaunchDescriptionEntity]:
        """The process and its exit handler. An action runs only once, so each start creates a new one."""
        action = container(self._nodes) if self._name == CONTAINER else lifecycle_node(self._nodes[0])
        self._started = time.monotonic()
        self._events = configured_and_activated(action) if self._by_events else []
        watch = RegisterEventHandler(OnProcessExit(target_action=action, on_exit=self._on_exit))
        return [watch, *self._events, action]

    def _start_again(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if self._by_events:
            # launch_ros would call the service of the dead node, which DDS still advertises for a while: the new node
            # configures and activates itself.
            (node,) = self._nodes
            self._nodes = [replace(node, parameters={**node.parameters, "autostart": True})]
            self._by_events = False
        return self.start()

    def _on_exit(self, event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        if context.is_shutdown:
            return None
        if event.returncode in (0, EXIT_BAD_ARGUMENT):  # interrupted, or a parameter that no restart makes right
            ended = LogInfo(msg=f"{self._name} ended ({describe_exit(event.returncode)})")
            if event.returncode == 0:
                return [ended]
            reason = f"{self._name} cannot start with these parameters"
            return [ended, EmitEvent(event=Shutdown(reason=reason))]
        wait = self._backoff.after(time.monotonic() - self._started)
        # The handlers match by node name and would also act on the next process of that name.
        over = [UnregisterEventHandler(registered.event_handler) for registered in self._events]
        self._events = []
        return [
            *over,
            LogInfo(msg=f"{self._name} died ({describe_exit(event.returncode)}); starting again in {wait:g} s"),
            TimerAction(period=wait, actions=[OpaqueFunction(function=self._start_again)]),
        ]


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Evaluate the arguments and create the processes."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    nodes = graph_nodes(values)
    if values["config"]:
        check_parameter_file(values["config"])
    if values["composed"] == "true":
        return RestartedProcess(CONTAINER, nodes, by_events=False).start()
    by_events = values["lifecycle"] == "launch"
    return [entity for node in nodes for entity in RestartedProcess(node.name, [node], by_events).start()]


def make_files_private() -> None:
    """Make logs and shared memory of the launch process and its nodes readable by this user only."""
    make_new_files_private()
    os.chmod(launch_config.log_dir, 0o700)  # created before this file was loaded


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
    profile = [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=fast_dds_profile()))
        for name in FAST_DDS_PROFILE_VARIABLES
    ]
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=start_nodes)])
