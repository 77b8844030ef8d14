"""Start matcher_node.

ros2 launch superglue_ros matcher.launch.py image:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("superglue_ros"), "config"])


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "image",
            default_value="/camera/image_raw",
            description="Topic of the images; compressed ones where it ends in /compressed.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/camera/camera_info",
            description="Topic of the CameraInfo of the images; the matcher can do without.",
        ),
        DeclareLaunchArgument(
            "image_right",
            default_value="",
            description="Topic of the right images of a rectified stereo pair, whose left ones "
            "are on image.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes."
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", description="Take the time from /clock."
        ),
        DeclareLaunchArgument(
            "matcher_params",
            default_value=PathJoinSubstitution([CONFIG, "matcher.yaml"]),
            description="Parameter file, for what differs from config/matcher.yaml; presets are "
            "config/matcher_cpu.yaml and config/matcher_gpu.yaml.",
        ),
        DeclareLaunchArgument(
            "log_level", default_value="info", description="debug, info, warn or error."
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=matcher)])


def matcher(context: LaunchContext) -> list[Node]:
    """The node, with pairs of images where there is a topic of right ones; none where whoever
    includes this file starts the matcher itself."""
    if LaunchConfiguration("matcher_elsewhere", default="false").perform(context) == "true":
        return []
    image_right = LaunchConfiguration("image_right").perform(context)
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    return [
        Node(
            package="superglue_ros",
            executable="matcher_node",
            name="matcher_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                PathJoinSubstitution([CONFIG, "matcher.yaml"]),
                LaunchConfiguration("matcher_params"),
                {"use_sim_time": use_sim_time, **({"use_stereo": True} if image_right else {})},
            ],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("camera_info", LaunchConfiguration("camera_info")),
                *([("image_right", image_right)] if image_right else []),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
