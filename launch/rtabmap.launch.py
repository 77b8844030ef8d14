r"""Start matcher_node, odometry_node, rtabmap_node and rtabmap; the arguments of
odometry.launch.py count as well, and depth, or image_right with camera_info_right, is needed.

ros2 launch superglue_ros rtabmap.launch.py image:=/camera/color/image_raw \
    camera_info:=/camera/color/camera_info depth:=/camera/aligned_depth_to_color/image_raw \
    camera_frame:=camera_color_optical_frame
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from superglue_ros.nodes.launching import (
    common,
    included,
    need,
    params_argument,
    superglue_node,
    text,
    typed,
)


def generate_launch_description() -> LaunchDescription:
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
        params_argument("rtabmap"),
        DeclareLaunchArgument(
            "database_path",
            default_value="~/.ros/rtabmap.db",
            description="Where rtabmap keeps its map.",
        ),
    ]
    return LaunchDescription(
        [
            *arguments,
            OpaqueFunction(function=lambda context: need("rtabmap_slam", "rtabmap.launch.py")),
            included("odometry"),
            OpaqueFunction(function=mapping),
        ]
    )


def mapping(context: LaunchContext) -> list[Node]:
    """rtabmap, and the node that it gets its images from."""
    depth, right = text(context, "depth"), text(context, "image_right")
    if bool(depth) == bool(right):
        raise RuntimeError("rtabmap needs depth, or image_right and camera_info_right")
    beside = ("image_right", "camera_info_right") if right else ("depth",)
    joined = superglue_node(
        "rtabmap",
        {"use_stereo": True} if right else {},
        [
            ("features", "matcher_node/features"),
            *((name, LaunchConfiguration(name)) for name in ("image", "camera_info", *beside)),
        ],
    )
    base_frame = text(context, "base_frame")
    frame = text(context, "frame_prefix") + base_frame if base_frame else None
    rectified = right or text(context, "rectified") == "true"
    max_keypoints = text(context, "max_keypoints")
    rtabmap = Node(
        package="rtabmap_slam",
        executable="rtabmap",
        name="rtabmap",
        parameters=[
            {
                "use_sim_time": typed("use_sim_time", bool),
                "frame_id": frame or text(context, "camera_frame"),
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
        **common(),
    )
    return [joined, rtabmap]
