"""Start matcher_node and tracks_node; with vins:=mono or fusion in the place of VINS's tracker.

ros2 launch superglue_ros tracks.launch.py image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from superglue_ros.nodes.launching import given, included, params_argument, superglue_node


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "vins",
            default_value="",
            description="mono or fusion: publish what the estimator of VINS-Mono or VINS-Fusion "
            "listens to. Empty: as in the parameter file.",
        ),
        params_argument("tracks"),
    ]
    return LaunchDescription([*arguments, included("matcher"), OpaqueFunction(function=tracks)])


def tracks(context: LaunchContext) -> list[Node]:
    """The node, with VINS's topics where they are asked for."""
    remappings = [
        ("matches", "matcher_node/matches"),
        ("camera_info", LaunchConfiguration("camera_info")),
    ]
    return [superglue_node("tracks", given(context, vins=str), remappings)]
