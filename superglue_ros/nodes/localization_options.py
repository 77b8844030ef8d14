"""Options of localization_node."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.nodes.options import check_pose
from superglue_ros.options import check_options, option


@dataclass(frozen=True)
class LocalizationNodeOptions:
    """What localization_node looks in, and its frames; ValueError for a value that is none."""

    map: str = option("", "File of `superglue_ros map`; needed")
    map_frame: str = option("map", "Frame of the map (REP 105)")
    base_frame: str = option(
        "",
        "Frame whose pose is published, as base_link: the odometry's child frame. Empty: the "
        "camera's optical frame",
    )
    frame_prefix: str = option(
        "",
        "Goes before base_frame, as robot_state_publisher's frame_prefix does before its robot's "
        "frames: robot1/. Not before map_frame: robots share a map",
    )
    base_to_camera: str = option(
        "",
        "Place of the camera's optical frame in base_frame, 'x y z roll pitch yaw' or "
        "'x y z qx qy qz qw' in m and rad; empty: from TF",
    )
    rate_hz: float = option(
        1.0,
        "Most images a second that are looked for in the map, 0: only when ~/localize is called",
        unit="Hz",
        range=(0.0, 100.0),
    )
    publish_tf: bool = option(
        False,
        "Publish the transform map_frame -> the frame of `odometry`, for a map in metres; then no "
        "other node may",
    )
    rectified: bool = option(
        False, "The images are rectified (image_rect): CameraInfo's P counts, not its K and D"
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not self.map:
            raise ValueError("map must be a file of `superglue_ros map`")
        if not self.map_frame:
            raise ValueError("map_frame must not be empty")
        if self.base_to_camera:
            if not self.base_frame:
                raise ValueError("base_to_camera needs a base_frame")
            check_pose("base_to_camera", self.base_to_camera)

    @property
    def base(self) -> str:
        """base_frame with its prefix, "" where there is none."""
        return self.base_frame and self.frame_prefix + self.base_frame
