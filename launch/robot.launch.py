"""Start emotion perception on a robot: ``ros2 launch emotion_perception robot.launch.py``.

``--show-args`` lists the arguments. The nodes come from ``emotion_perception.nodes.graph``, the table that
``emotion-bringup`` starts without launch. Each node configures and activates itself; a node that dies is started again.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode

from emotion_perception.nodes.graph import ARGUMENTS, GraphNode, graph_nodes
from emotion_perception.resources import config_path

RESPAWN_DELAY = 2.0  # s


def lifecycle_node(node: GraphNode) -> LifecycleNode:
    """The launch action of one row of the table."""
    return LifecycleNode(
        package="emotion_perception",
        executable=node.executable,
        name=node.name,
        namespace=node.namespace,
        remappings=list(node.remappings),
        parameters=[node.parameter_file, dict(node.parameters)],
        ros_arguments=["--log-level", f"{node.logger}:={node.log_level}"],
        output="screen",
        respawn=True,
        respawn_delay=RESPAWN_DELAY,
    )


def start_nodes(context: LaunchContext) -> list[LifecycleNode]:
    """Evaluate the arguments and make the nodes."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    return [lifecycle_node(node) for node in graph_nodes(values)]


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
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
