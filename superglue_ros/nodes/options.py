"""Options that only the nodes have; without torch, which odometry_node does not need."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.geometry.rigid_body import pose_from_text
from superglue_ros.options import check_options, option
from superglue_ros.stamps import DEPTH_TOLERANCE_S, PAIR_TOLERANCE_S


@dataclass(frozen=True)
class MatcherNodeOptions:
    """What matcher_node listens to, and how; ValueError for a value that is none."""

    use_stereo: bool = option(
        False,
        "Take images in pairs, of the topics `image` and `image_right`, and send the keyframes' "
        "right points with the matches; both rectified, as stereo_image_proc does",
    )
    pair_tolerance_s: float = option(
        PAIR_TOLERANCE_S,
        "By which the stamps of the two images of a pair may differ",
        unit="s",
        range=(0.0, 1.0),
    )
    decoder: str = option(
        "own",
        "What reads image messages and writes match pictures: this package, or a compiled "
        "cv_bridge, which knows more encodings; both give the same pixels",
        choices=("own", "cv_bridge"),
    )
    frame_id: str = option(
        "",
        "frame_id of the images to match, those of others are dropped; empty: that of the first, "
        "until nothing more comes of it",
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class OdometryNodeOptions:
    """What odometry_node listens to, and its frames; ValueError for a value that is none."""

    odom_frame: str = option(
        "odom", "Frame of the odometry (REP 105): its origin is the first pose, or initial_pose"
    )
    base_frame: str = option(
        "",
        "Frame whose pose is published, as base_link; empty: the camera's optical frame, with "
        "odom_frame the first camera's place in ROS axes",
    )
    frame_prefix: str = option(
        "",
        "Goes before odom_frame and base_frame, as robot_state_publisher's frame_prefix does "
        "before its robot's frames: robot1/",
    )
    base_to_camera: str = option(
        "",
        "Place of the camera's optical frame in base_frame, 'x y z roll pitch yaw' or "
        "'x y z qx qy qz qw' in m and rad; empty: from TF, at the stamp of the first image",
    )
    wait_for_transform_s: float = option(
        1.0,
        "How long the first images wait for the camera's place in TF before they are dropped",
        unit="s",
        range=(0.0, 60.0),
    )
    publish_tf: bool = option(
        False,
        "Publish the transform odom_frame -> base_frame, or -> the camera's optical frame where "
        "there is no base_frame: then no other node may, since tf allows one parent",
    )
    rectified: bool = option(
        False, "The images are rectified (image_rect): CameraInfo's P counts, not its K and D"
    )
    use_depth: bool = option(
        False,
        "Poses in metres, by the depth images of the topic `depth` (16UC1 in millimetres or 32FC1 "
        "in metres, raw or compressed), registered to the images; nothing starts without",
    )
    use_stereo: bool = option(
        False,
        "Poses in metres, by the right points in the matches (use_stereo of the matcher) and the "
        "baseline in P of `camera_info_right`; the images are rectified; nothing starts without",
    )
    depth_tolerance_s: float = option(
        DEPTH_TOLERANCE_S,
        "By which the stamp of a depth image may differ from its image's",
        unit="s",
        range=(0.0, 1.0),
    )
    path_max_poses: int = option(
        2000, "Latest poses that ~/path holds", unit="poses", range=(1, 100000)
    )

    def __post_init__(self) -> None:
        if not self.odom_frame:
            raise ValueError("odom_frame must not be empty")
        if self.base_to_camera:
            if not self.base_frame:
                raise ValueError("base_to_camera needs a base_frame")
            check_pose("base_to_camera", self.base_to_camera)
        check_options(self)

    @property
    def odom(self) -> str:
        """odom_frame with its prefix."""
        return self.frame_prefix + self.odom_frame

    @property
    def base(self) -> str:
        """base_frame with its prefix, "" where there is none."""
        return self.base_frame and self.frame_prefix + self.base_frame


@dataclass(frozen=True)
class OdometryOutputs:
    """What odometry_node publishes; ValueError for a value that is none."""

    initial_pose: str = option(
        "",
        "Pose of base_frame in odom_frame where the odometry begins, 'x y z roll pitch yaw' or "
        "'x y z qx qy qz qw' in m and rad, empty: the origin; counts from the next ~/reset on",
    )
    when_lost: str = option(
        "publish",
        "What ~/odometry has while not tracking: the last or predicted pose, its covariance "
        "growing (publish), nothing (silent), or a zero quaternion and variances of 9999 (null)",
        choices=("publish", "silent", "null"),
    )
    path_period_s: float = option(
        1.0, "Least time between two ~/path messages", unit="s", range=(0.0, 3600.0)
    )
    max_landmarks: int = option(
        5000, "Most points in ~/landmarks", unit="points", range=(1, 1000000)
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.initial_pose:
            check_pose("initial_pose", self.initial_pose)


def check_pose(name: str, text: str) -> None:
    """ValueError, naming the option, for text that is no pose."""
    try:
        pose_from_text(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
