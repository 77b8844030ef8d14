"""Options of the odometry, validated on construction."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _option(default: Any, description: str, unit: str, low: float, high: float) -> Any:
    return field(
        default=default,
        metadata={"description": description, "unit": unit, "range": (low, high)},
    )


@dataclass(frozen=True)
class OdometryConfig:
    """Options of VisualOdometry; a value outside its range raises ValueError.

    Each field carries metadata: description, unit ("" for numbers without one), range (low, high).
    """

    min_confidence: float = _option(0.0, "Matches of lower confidence are left out.", "", 0.0, 1.0)
    point_noise_px: float = _option(
        1.0, "Standard deviation of a matched point's position.", "pixels", 0.05, 20.0
    )
    inlier_threshold_px: float = _option(
        3.0,
        "Largest reprojection error in RANSAC, triangulation and the start. A tracked landmark "
        "must then agree within three standard deviations: raise point_noise_px as well.",
        "pixels",
        0.1,
        50.0,
    )
    depth_noise: float = _option(
        0.005,
        "Standard deviation of the inverse of a measured depth: with 0.005, 2 cm at 2 m. Depths "
        "beyond a third of its inverse are not used.",
        "1/metres",
        1e-5,
        1.0,
    )
    min_inliers: int = _option(
        15, "Fewest landmarks that must agree on a pose, else tracking is lost.", "", 6, 10000
    )
    min_start_inliers: int = _option(
        30, "Fewest points that a start must triangulate, or have a depth of.", "", 8, 10000
    )
    min_parallax_deg: float = _option(
        1.0,
        "Angle between two rays from which on a point becomes a landmark.",
        "degrees",
        0.05,
        30.0,
    )
    window_views: int = _option(
        10, "Number of recent views that are optimised together.", "views", 3, 40
    )
    window_iterations: int = _option(10, "Most iterations of one window optimisation.", "", 0, 100)
    max_coast_s: float = _option(
        1.0,
        "Time for which a lost pose goes on at the last speed before it stands.",
        "seconds",
        0.0,
        60.0,
    )
    max_backfill_frames: int = _option(
        200, "Most frames before a start that get a pose once it succeeds.", "frames", 0, 10000
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            whole = isinstance(option.default, int)
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                kind = "a whole number" if whole else "a number"
                raise ValueError(f"{option.name} must be {kind}, found {value!r}")
            low, high = option.metadata["range"]
            if not low <= value <= high:
                raise ValueError(
                    f"{option.name} must be from {low:g} to {high:g}, found {value!r}"
                )
