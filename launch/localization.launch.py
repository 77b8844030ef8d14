"""Start matcher_node, odometry_node and localization_node; the arguments of odometry.launch.py
count as well.

ros2 launch superglue_ros localization.launch.py map:=/path/to/map.npz image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("superglue_ros")
CONFIG = PathJoinSubstitution([SHARE, "config"])


def generate_launch_description() -> LaunchDescription:
    odometry = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([SHARE, "launch", "odometry.launch.py"])
        )
    )
    arguments = [
        DeclareLaunchArgument("map", description="File of `superglue_ros map`."),
        DeclareLaunchArgument(
            "publish_map_tf",
            default_value="false",
            description="true: publish map -> odom, for a map and an odometry in metres.",
        ),
        DeclareLaunchArgument(
            "localization_params",
            default_value=PathJoinSubstitution([CONFIG, "localization.yaml"]),
            description="Parameter file of localization_node, for what differs from "
            "config/localization.yaml.",
        ),
    ]
    return LaunchDescription([odometry, *arguments, OpaqueFunction(function=localization)])


def localization(context: LaunchContext) -> list[Node]:
    """The node, with what the odometry is given too."""
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in (("base_frame", str), ("rectified", bool))
        if LaunchConfiguration(name).perform(context)
    }
    return [
        Node(
            package="superglue_ros",
            executable="localization_node",
            name="localization_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                PathJoinSubstitution([CONFIG, "localization.yaml"]),
                LaunchConfiguration("localization_params"),
                {
                    "use_sim_time": ParameterValue(
                        LaunchConfiguration("use_sim_time"), value_type=bool
                    ),
                    "map": ParameterValue(LaunchConfiguration("map"), value_type=str),
                    "publish_tf": ParameterValue(
                        LaunchConfiguration("publish_map_tf"), value_type=bool
                    ),
                    **given,
                },
            ],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("camera_info", LaunchConfiguration("camera_info")),
                ("odometry", "odometry_node/odometry"),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
