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
    return LaunchDescription([matcher, *arguments, OpaqueFunction(function=odometry)])


def odometry(context: LaunchContext) -> list[Node]:
    """The node, with depth, or a right camera, where there is a topic of it."""
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
            remappings=[
                ("matches", "matcher_node/matches"),
                ("camera_info", LaunchConfiguration("camera_info")),
                *([("depth", depth)] if depth else []),
                *([("camera_info_right", right)] if right else []),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
