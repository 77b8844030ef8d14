"""Start matcher_node and odometry_node, with RViz if wanted; the arguments of matcher.launch.py
count for both.

ros2 launch superglue_ros odometry.launch.py image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from superglue_ros.nodes.launching import (
    both_nodes,
    config,
    given,
    matcher_arguments,
    matcher_setting,
    need,
    params_argument,
    superglue_node,
    text,
    typed,
)

RVIZ_TOPICS = (
    *("/odometry_node/path", "/odometry_node/odometry", "/odometry_node/landmarks"),
    "/matcher_node/match_picture",
)
"""Of config/odometry.rviz, which are the nodes' without a namespace."""


def generate_launch_description() -> LaunchDescription:
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
            "frame_prefix",
            default_value="",
            description="What the robot's frames begin with, as robot1/: goes before odom and "
            "base_frame. Empty: as in the parameter file.",
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
        params_argument("odometry"),
        DeclareLaunchArgument(
            "one_process",
            default_value="false",
            choices=["true", "false"],
            description="Both nodes in one process, which needs less memory.",
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="Show it in RViz."),
    ]
    return LaunchDescription(
        [
            *matcher_arguments(),
            *arguments,
            OpaqueFunction(
                function=lambda context: need("rviz2", "rviz:=true"),
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
            OpaqueFunction(function=nodes),
            OpaqueFunction(function=rviz, condition=IfCondition(LaunchConfiguration("rviz"))),
        ]
    )


def nodes(context: LaunchContext) -> list[Node]:
    """Both, with depth, or a right camera, where there is a topic of it."""
    matcher = matcher_setting(context)
    parameters = given(context, base_frame=str, frame_prefix=str, publish_tf=bool, rectified=bool)
    remappings = [
        ("matches", "matcher_node/matches"),
        ("camera_info", LaunchConfiguration("camera_info")),
    ]
    if depth := text(context, "depth"):
        parameters["use_depth"] = True
        remappings.append(("depth", depth))
    right = text(context, "camera_info_right")
    if bool(right) != bool(text(context, "image_right")):
        raise RuntimeError("image_right and camera_info_right need each other")
    if right:
        parameters["use_stereo"] = True
        remappings.append(("camera_info_right", right))
    if text(context, "one_process") == "true":
        return [both_nodes(context, matcher[0], parameters, [*matcher[1], *remappings])]
    return [
        superglue_node("matcher", *matcher),
        superglue_node("odometry", parameters, remappings),
    ]


def rviz(context: LaunchContext) -> list[Node]:
    """RViz on the topics and the frame of these nodes."""
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=[
                *("-d", config("odometry.rviz")),
                *("-f", f"{text(context, 'frame_prefix')}odom"),
            ],
            parameters=[{"use_sim_time": typed("use_sim_time", bool)}],
            remappings=[
                (topic, [LaunchConfiguration("namespace"), topic]) for topic in RVIZ_TOPICS
            ],
        )
    ]
