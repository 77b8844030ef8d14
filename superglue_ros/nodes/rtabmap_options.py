"""Options of rtabmap_node."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.options import check_options, option
from superglue_ros.stamps import DEPTH_TOLERANCE_S


@dataclass(frozen=True)
class RtabmapNodeOptions:
    """What rtabmap_node joins, and how often; ValueError for a value that is none."""

    rate_hz: float = option(
        2.0,
        "Most images a second that rtabmap is sent, 0 for all: it needs fewer than the odometry",
        unit="Hz",
        range=(0.0, 100.0),
    )
    use_stereo: bool = option(
        False,
        "Send the right images of a rectified stereo pair (image_right, camera_info_right) in the "
        "place of depth images",
    )
    tolerance_s: float = option(
        DEPTH_TOLERANCE_S,
        "By which the stamps of an image and of the depth or right image that goes with it may "
        "differ",
        unit="s",
        range=(0.0, 1.0),
    )

    def __post_init__(self) -> None:
        check_options(self)
