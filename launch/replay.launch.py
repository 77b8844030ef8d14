"""Play a bag through matcher_node and odometry_node once they are ready, with RViz if wanted; the
arguments of odometry.launch.py count as well. Ends with an error where nothing was matched.

ros2 launch superglue_ros replay.launch.py bag:=/path/to/bag rviz:=true
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from superglue_ros.nodes.launching import PACKAGE, common, included, need, text, typed


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("bag", description="Folder or file of the bag."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of playing."),
    ]
    return LaunchDescription(
        [
            *arguments,
            OpaqueFunction(function=lambda context: need("ros2bag", "replay.launch.py")),
            included("odometry", use_sim_time="true"),
            OpaqueFunction(function=player),
            RegisterEventHandler(OnProcessExit(on_exit=ended)),
        ]
    )


def player(context: LaunchContext) -> list[Node]:
    """What plays the bag, and counts the matches."""
    return [
        Node(
            package=PACKAGE,
            executable="bag_player",
            name="bag_player",
            parameters=[{"bag": typed("bag", str), "rate": typed("rate", float)}],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("matches", "matcher_node/matches"),
                ("status", "odometry_node/status"),
            ],
            **common(),
        )
    ]


def ended(event: ProcessExited, context: LaunchContext) -> list[EmitEvent]:
    """End all with the bag, or with RViz where it shows what came of it; RuntimeError where
    another process, or the playing, failed."""
    name = event.action.node_executable
    if context.is_shutdown or (name == "bag_player" and not event.returncode and rviz(context)):
        return []
    if event.returncode or name not in ("bag_player", "rviz2"):
        raise RuntimeError(f"{name} ended with status {event.returncode}")
    return [EmitEvent(event=Shutdown(reason=f"{name} has ended"))]


def rviz(context: LaunchContext) -> bool:
    """Whether RViz was asked for."""
    return text(context, "rviz").lower() in ("true", "1")
