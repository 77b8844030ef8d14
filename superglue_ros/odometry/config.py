"""Options of the odometry, validated on construction."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.options import check_options, option


@dataclass(frozen=True)
class OdometryConfig:
    """Options of VisualOdometry; ValueError for a value out of range."""

    min_confidence: float = option(
        0.0,
        "Matches of lower confidence are left out",
        range=(0.0, 1.0),
    )
    use_confidence: bool = option(
        False,
        "Points of less confident matches count as less exact",
    )
    point_noise_px: float = option(
        1.0,
        "Standard deviation of a matched point's position",
        unit="px",
        range=(0.05, 20.0),
    )
    inlier_threshold_px: float = option(
        3.0,
        "Largest reprojection error in RANSAC, triangulation and the start. A tracked "
        "landmark must then agree within three standard deviations: raise point_noise_px as "
        "well",
        unit="px",
        range=(0.1, 50.0),
    )
    depth_noise: float = option(
        0.005,
        "Standard deviation of the inverse of a measured depth: with 0.005, 2 cm at 2 m. "
        "Depths beyond a third of its inverse are not used",
        unit="1/m",
        range=(1e-5, 1.0),
    )
    disparity_noise_px: float = option(
        0.3,
        "Standard deviation of a stereo disparity",
        unit="px",
        range=(0.01, 20.0),
    )
    min_inliers: int = option(
        15,
        "Fewest landmarks that must agree on a pose, else tracking is lost",
        range=(6, 10000),
    )
    min_start_inliers: int = option(
        30,
        "Fewest points that a start must triangulate, or have a depth of",
        range=(8, 10000),
    )
    min_parallax_deg: float = option(
        1.0,
        "Angle between two rays from which on a point becomes a landmark",
        unit="deg",
        range=(0.05, 30.0),
    )
    window_frames: int = option(
        10,
        "Number of recent frames that are optimised together",
        unit="frames",
        range=(3, 40),
    )
    window_iterations: int = option(
        10,
        "Most iterations of one window optimisation",
        range=(0, 100),
    )
    max_coast_s: float = option(
        1.0,
        "Time for which a lost pose goes on at the last speed before it stands",
        unit="s",
        range=(0.0, 60.0),
    )
    max_backfill_frames: int = option(
        200,
        "Most frames before a start that get a pose once it succeeds",
        unit="frames",
        range=(0, 10000),
    )

    def __post_init__(self) -> None:
        check_options(self)
