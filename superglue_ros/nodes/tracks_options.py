"""Options of tracks_node."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.options import check_options, option
from superglue_ros.tracks import EPIPOLAR_THRESHOLD_PX

VINS_KINDS = ("none", "mono", "fusion")


@dataclass(frozen=True)
class TracksNodeOptions:
    """What tracks_node publishes; ValueError for a value that is none."""

    verify: bool = option(
        False,
        "Leave out matches that disagree with one motion of the camera; needs CameraInfo. Always "
        "on where there is a vins",
    )
    epipolar_threshold_px: float = option(
        EPIPOLAR_THRESHOLD_PX,
        "Largest distance of a verified match from its epipolar line",
        unit="px",
        range=(0.1, 50.0),
    )
    rectified: bool = option(
        False,
        "The images are rectified (image_rect): CameraInfo's P counts, not its K and D",
    )
    vins: str = option(
        "none",
        "Publish tracks as the estimator of VINS-Mono (mono) or VINS-Fusion (fusion) takes them, "
        "on feature_tracker/feature; needs CameraInfo",
        choices=VINS_KINDS,
    )
    max_tracks: int = option(
        150, "Most tracks for VINS, spread over the image", unit="tracks", range=(8, 2000)
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def needs_camera(self) -> bool:
        """Whether there is nothing without a CameraInfo."""
        return self.verify or self.vins != "none"
