"""Start matcher_node and odometry_node; the arguments of matcher.launch.py count for both.

ros2 launch superglue_ros odometry.launch.py image:=/camera/image_raw
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
    matcher = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "matcher.launch.py"]))
    )
    arguments = [
        DeclareLaunchArgument(
            "depth",
            default_value="",
            description="Topic of depth images registered to the images, for poses in metres; "
            "compressed ones where it ends in /compressedDepth.",
        ),
        DeclareLaunchArgument(
            "odometry_params",
            default_value=PathJoinSubstitution([CONFIG, "odometry.yaml"]),
            description="Parameter file of the odometry, for what differs from "
            "config/odometry.yaml.",
        ),
    ]
    # The matcher's file declares the arguments that both have, so it comes first.
    return LaunchDescription([matcher, *arguments, OpaqueFunction(function=odometry)])


def odometry(context: LaunchContext) -> list[Node]:
    """The node with depth where there is a topic of it."""
    depth = LaunchConfiguration("depth").perform(context)
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    return [
        Node(
            package="superglue_ros",
            executable="odometry_node",
            name="odometry_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                PathJoinSubstitution([CONFIG, "odometry.yaml"]),
                LaunchConfiguration("odometry_params"),
                {"use_sim_time": use_sim_time, **({"use_depth": True} if depth else {})},
            ],
            remappings=[
                ("matches", "matcher_node/matches"),
                ("camera_info", LaunchConfiguration("camera_info")),
                *([("depth", depth)] if depth else []),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
