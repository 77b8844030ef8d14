"""Options that only the nodes have; those of the cores are in matching and odometry."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.matching.config import check_ranges, option


@dataclass(frozen=True)
class OdometryNodeOptions:
    """What odometry_node publishes, and where; ValueError for a value out of range."""

    odom_frame: str = option("odom", "Frame of the odometry: the first camera in ROS axes.")
    publish_tf: bool = option(True, "Publish the transform odom_frame -> camera optical frame.")
    path_max_poses: int = option(
        2000, "Latest poses that ~/path holds.", unit="poses", range=(1, 100000)
    )
    path_period_s: float = option(
        1.0, "Least time between two ~/path messages.", unit="seconds", range=(0.0, 3600.0)
    )
    max_landmarks: int = option(
        5000, "Most points in ~/landmarks.", unit="points", range=(1, 1000000)
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.odom_frame:
            raise ValueError("odom_frame must not be empty")
