"""Start matcher_node.

ros2 launch superglue_ros matcher.launch.py image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from superglue_ros.nodes.launching import params_argument, superglue_node, text


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "image",
            default_value="camera/image_raw",
            description="Topic of the images; compressed ones where it ends in /compressed. Names "
            "without a leading / are in the namespace.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="camera/camera_info",
            description="Topic of the CameraInfo of the images; the matcher can do without.",
        ),
        DeclareLaunchArgument(
            "image_right",
            default_value="",
            description="Topic of the right images of a rectified stereo pair, whose left ones "
            "are on image.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes, as robot1."
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", description="Take the time from /clock."
        ),
        params_argument(
            "matcher", "; presets are config/matcher_cpu.yaml and config/matcher_gpu.yaml"
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="From which severity on the nodes' lines are shown.",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=matcher)])


def matcher(context: LaunchContext) -> list[Node]:
    """The node, with pairs of images where there is a topic of right ones."""
    right = text(context, "image_right")
    remappings = [(name, LaunchConfiguration(name)) for name in ("image", "camera_info")]
    if right:
        remappings.append(("image_right", right))
    return [superglue_node("matcher", {"use_stereo": True} if right else {}, remappings)]
