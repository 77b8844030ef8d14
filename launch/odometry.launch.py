"""Start matcher_node and odometry_node; the arguments of matcher.launch.py count for both.

ros2 launch superglue_ros odometry.launch.py image:=/camera/image_raw
"""

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
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
    # Before the matcher's file, which asks it.
    one_process = [
        DeclareLaunchArgument(
            "one_process",
            default_value="false",
            description="true: matcher and odometry in one process, which needs less memory.",
        ),
        SetLaunchConfiguration("matcher_elsewhere", LaunchConfiguration("one_process")),
    ]
    arguments = [
        DeclareLaunchArgument(
            "depth",
            default_value="",
            description="Topic of depth images registered to the images, for poses in metres; "
            "compressed ones where it ends in /compressedDepth.",
        ),
        DeclareLaunchArgument(
            "camera_info_right",
            default_value="",
            description="Topic of the CameraInfo of image_right, for poses in metres.",
        ),
        DeclareLaunchArgument(
            "base_frame",
            default_value="",
            description="Frame of the robot whose pose is published, as base_link; the camera's "
            "place on it is taken from TF. Empty: as in the parameter file.",
        ),
        DeclareLaunchArgument(
            "publish_tf",
            default_value="",
            description="true: the odometry publishes odom -> base_frame. Empty: as in the "
            "parameter file.",
        ),
        DeclareLaunchArgument(
            "rectified",
            default_value="",
            description="true: the images are rectified (image_rect). Empty: as in the parameter "
            "file.",
        ),
        DeclareLaunchArgument(
            "odometry_params",
            default_value=PathJoinSubstitution([CONFIG, "odometry.yaml"]),
            description="Parameter file of the odometry, for what differs from "
            "config/odometry.yaml.",
        ),
    ]
    # The matcher's file declares the arguments that both have, so it comes first.
    return LaunchDescription(
        [*one_process, matcher, *arguments, OpaqueFunction(function=odometry)]
    )


def odometry(context: LaunchContext) -> list[Node]:
    """The node, with depth, or a right camera, where there is a topic of it; with one_process
    both nodes."""
    depth = LaunchConfiguration("depth").perform(context)
    # What is not given is left to the parameter files.
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in (("base_frame", str), ("publish_tf", bool), ("rectified", bool))
        if LaunchConfiguration(name).perform(context)
    }
    if depth:
        given["use_depth"] = True
    right = LaunchConfiguration("camera_info_right").perform(context)
    if bool(right) != bool(LaunchConfiguration("image_right").perform(context)):
        raise RuntimeError("image_right and camera_info_right need each other")
    if right:
        given["use_stereo"] = True
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    remappings = [
        ("matches", "matcher_node/matches"),
        ("camera_info", LaunchConfiguration("camera_info")),
        *([("depth", depth)] if depth else []),
        *([("camera_info_right", right)] if right else []),
    ]
    if LaunchConfiguration("one_process").perform(context) == "true":
        return [both(context, given, remappings)]
    return [
        Node(
            package="superglue_ros",
            executable="odometry_node",
            name="odometry_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                PathJoinSubstitution([CONFIG, "odometry.yaml"]),
                LaunchConfiguration("odometry_params"),
                {"use_sim_time": use_sim_time, **given},
            ],
            remappings=remappings,
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]


def both(context: LaunchContext, given: dict[str, Any], remappings: list[tuple[Any, Any]]) -> Node:
    """Matcher and odometry in one process; given: parameters of the odometry."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    image_right = value("image_right")
    use_sim_time = ["use_sim_time=", LaunchConfiguration("use_sim_time")]
    of_launch = {name: value(name) for name in ("base_frame", "publish_tf", "rectified")}
    return Node(
        package="superglue_ros",
        executable="matcher_and_odometry",
        namespace=LaunchConfiguration("namespace"),
        remappings=[
            *remappings,
            ("image", LaunchConfiguration("image")),
            *([("image_right", image_right)] if image_right else []),
        ],
        # Parameters go the way that tells the two nodes apart.
        arguments=[
            "--matcher",
            PathJoinSubstitution([CONFIG, "matcher.yaml"]),
            LaunchConfiguration("matcher_params"),
            use_sim_time,
            *(["use_stereo=true"] if image_right else []),
            "--odometry",
            PathJoinSubstitution([CONFIG, "odometry.yaml"]),
            LaunchConfiguration("odometry_params"),
            use_sim_time,
            *(f"{name}={of_launch.get(name, 'true')}" for name in given),
            *("--ros-args", "--log-level", LaunchConfiguration("log_level")),
        ],
        output="screen",
    )
