r"""Start matcher_node, odometry_node, rtabmap_node and rtabmap; the arguments of
odometry.launch.py count as well, and depth, or image_right with camera_info_right, is needed.

ros2 launch superglue_ros rtabmap.launch.py image:=/camera/color/image_raw \
    camera_info:=/camera/color/camera_info depth:=/camera/aligned_depth_to_color/image_raw \
    camera_frame:=camera_color_optical_frame
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
        DeclareLaunchArgument(
            "camera_frame",
            default_value="camera",
            description="Without a base_frame: the frame_id of the images, which the odometry is "
            "of then.",
        ),
        DeclareLaunchArgument(
            "max_keypoints",
            default_value="1024",
            description="The matcher's max_keypoints, as rtabmap is to keep all of them.",
        ),
        DeclareLaunchArgument(
            "rtabmap_params",
            default_value=PathJoinSubstitution([CONFIG, "rtabmap.yaml"]),
            description="Parameter file of rtabmap_node, for what differs from "
            "config/rtabmap.yaml.",
        ),
        DeclareLaunchArgument(
            "database_path",
            default_value="~/.ros/rtabmap.db",
            description="Where rtabmap keeps its map.",
        ),
    ]
    return LaunchDescription([odometry, *arguments, OpaqueFunction(function=mapping)])


def mapping(context: LaunchContext) -> list[Node]:
    """rtabmap, and the node that it gets its images from."""
    depth = LaunchConfiguration("depth").perform(context)
    right = LaunchConfiguration("image_right").perform(context)
    if bool(depth) == bool(right):
        raise RuntimeError("rtabmap needs depth, or image_right and camera_info_right")
    common = {
        "namespace": LaunchConfiguration("namespace"),
        "arguments": ["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        "output": "screen",
    }
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    joined = Node(
        package="superglue_ros",
        executable="rtabmap_node",
        name="rtabmap_node",
        parameters=[
            PathJoinSubstitution([CONFIG, "rtabmap.yaml"]),
            LaunchConfiguration("rtabmap_params"),
            {"use_sim_time": use_sim_time, **({"use_stereo": True} if right else {})},
        ],
        remappings=[
            ("image", LaunchConfiguration("image")),
            ("camera_info", LaunchConfiguration("camera_info")),
            ("features", "matcher_node/features"),
            *([("depth", depth)] if depth else []),
            *([("image_right", right)] if right else []),
            *([("camera_info_right", LaunchConfiguration("camera_info_right"))] if right else []),
        ],
        **common,
    )
    base_frame = LaunchConfiguration("base_frame").perform(context)
    camera_frame = LaunchConfiguration("camera_frame").perform(context)
    rectified = right or LaunchConfiguration("rectified").perform(context) == "true"
    max_keypoints = LaunchConfiguration("max_keypoints").perform(context)
    rtabmap = Node(
        package="rtabmap_slam",
        executable="rtabmap",
        name="rtabmap",
        parameters=[
            {
                "use_sim_time": use_sim_time,
                "frame_id": base_frame or camera_frame,
                "subscribe_rgbd": True,
                "subscribe_depth": False,
                "subscribe_rgb": False,
                # An RGBDImage has its image's stamp, and the odometry has it too.
                "approx_sync": False,
                "database_path": LaunchConfiguration("database_path"),
                # rtabmap's own parameters are text.
                "Mem/UseOdomFeatures": "true",
                "Kp/MaxFeatures": max_keypoints,
                "Vis/MaxFeatures": max_keypoints,
                "Vis/CorNNType": "5",
                "Rtabmap/ImagesAlreadyRectified": "true" if rectified else "false",
            }
        ],
        remappings=[
            ("rgbd_image", "rtabmap_node/rgbd_image"),
            ("odom", "odometry_node/odometry"),
        ],
        **common,
    )
    return [joined, rtabmap]
