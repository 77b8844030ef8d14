"""What the odometry says about one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from superglue_ros.types import FloatArray, Pose


class TrackingState(str, Enum):
    """What the pose of an estimate is worth."""

    INITIALISING = "initialising"
    TRACKING = "tracking"
    LOST = "lost"


@dataclass(frozen=True)
class OdometryEstimate:
    """Result for one frame.

    pose: camera in the world, whose origin is the first keyframe; while initialising or lost the
    predicted one. covariance: (6, 6) of (x y z rx ry rz) in world axes, never zero: 1e4 on the
    diagonal while initialising; while lost it grows with the time since the last tracked pose,
    but stays under 9999. twist: (6,) of the camera in its own optical frame, linear xyz in units
    per second, then angular xyz in rad/s, with twist_covariance (6, 6); NaN where unknown.
    reset_count: grows whenever the pose is not continuous with the one before, as after a loss
    that only a guess of pose or scale got over, and in a new world. landmarks: (L, 3) world,
    those that the frame sees. num_inliers: landmarks that agree on the pose. reason: "" or why
    the frame is not tracked. backfill: (stamp_ns, pose) of earlier frames, found only now that a
    start succeeded.
    """

    stamp_ns: int
    state: TrackingState
    pose: Pose
    covariance: FloatArray
    twist: FloatArray
    twist_covariance: FloatArray
    reset_count: int
    scale_is_metric: bool
    num_matches: int
    num_inliers: int
    keyframe_id: int
    landmarks: FloatArray
    reason: str = ""
    backfill: tuple[tuple[int, Pose], ...] = ()
