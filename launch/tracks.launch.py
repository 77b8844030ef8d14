"""Start matcher_node and tracks_node; with vins:=mono or fusion in the place of VINS's tracker.

ros2 launch superglue_ros tracks.launch.py image:=/camera/image_raw
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
            "vins",
            default_value="",
            description="mono or fusion: publish what the estimator of VINS-Mono or VINS-Fusion "
            "listens to. Empty: as in the parameter file.",
        ),
        DeclareLaunchArgument(
            "tracks_params",
            default_value=PathJoinSubstitution([CONFIG, "tracks.yaml"]),
            description="Parameter file of the tracks, for what differs from config/tracks.yaml.",
        ),
    ]
    # The matcher's file declares the arguments that both have, so it comes first.
    return LaunchDescription([matcher, *arguments, OpaqueFunction(function=tracks)])


def tracks(context: LaunchContext) -> list[Node]:
    """The node, with VINS's topics where they are asked for."""
    vins = LaunchConfiguration("vins").perform(context)
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    return [
        Node(
            package="superglue_ros",
            executable="tracks_node",
            name="tracks_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                PathJoinSubstitution([CONFIG, "tracks.yaml"]),
                LaunchConfiguration("tracks_params"),
                {"use_sim_time": use_sim_time, **({"vins": vins} if vins else {})},
            ],
            remappings=[
                ("matches", "matcher_node/matches"),
                ("camera_info", LaunchConfiguration("camera_info")),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
