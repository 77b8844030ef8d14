"""Start matcher_node, odometry_node and localization_node; the arguments of odometry.launch.py
count as well.

ros2 launch superglue_ros localization.launch.py map:=/path/to/map.npz image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from superglue_ros.nodes.launching import (
    given,
    included,
    params_argument,
    superglue_node,
    typed,
)


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("map", description="File of `superglue_ros map`."),
        DeclareLaunchArgument(
            "publish_map_tf",
            default_value="false",
            description="true: publish map -> odom, for a map and an odometry in metres.",
        ),
        params_argument("localization"),
    ]
    return LaunchDescription(
        [*arguments, included("odometry"), OpaqueFunction(function=localization)]
    )


def localization(context: LaunchContext) -> list[Node]:
    """The node, with what the odometry is given too."""
    parameters = {
        "map": typed("map", str),
        "publish_tf": typed("publish_map_tf", bool),
        **given(context, base_frame=str, frame_prefix=str, rectified=bool),
    }
    remappings = [
        *((name, LaunchConfiguration(name)) for name in ("image", "camera_info")),
        ("odometry", "odometry_node/odometry"),
    ]
    return [superglue_node("localization", parameters, remappings)]
