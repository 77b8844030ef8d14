"""Options that only odometry_node has; without torch, which that node does not need."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.options import check_options, option
from superglue_ros.stamps import DEPTH_TOLERANCE_S


@dataclass(frozen=True)
class OdometryNodeOptions:
    """What odometry_node publishes, and where; ValueError for a value out of range."""

    odom_frame: str = option("odom", "Frame of the odometry: the first camera in ROS axes")
    publish_tf: bool = option(
        False,
        "Publish the transform odom_frame -> camera optical frame: for a camera frame that has no "
        "other parent, since tf allows one",
    )
    use_depth: bool = option(
        False,
        "Poses in metres, by the depth images of the topic `depth` (16UC1 in millimetres or 32FC1 "
        "in metres, raw or compressed), registered to the images; nothing starts without",
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
    path_period_s: float = option(
        1.0, "Least time between two ~/path messages", unit="s", range=(0.0, 3600.0)
    )
    max_landmarks: int = option(
        5000, "Most points in ~/landmarks", unit="points", range=(1, 1000000)
    )

    def __post_init__(self) -> None:
        if not self.odom_frame:
            raise ValueError("odom_frame must not be empty")
        check_options(self)
