"""What the odometry says about one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

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
    predicted one. covariance: (6, 6) of (x y z rx ry rz) in world axes, 1e4 on the diagonal while
    not tracking, never zero. landmarks: (L, 3) world, those that the frame sees. num_inliers:
    landmarks that agree on the pose. reason: "" or why the frame is not tracked. backfill:
    (stamp_ns, pose) of earlier frames, found only now that a start succeeded. twist: (6,) linear
    and angular velocity in the camera's axes, NaN where unknown; twist_covariance: (6, 6).
    reset_count grows whenever the pose does not go on from the one before.
    """

    stamp_ns: int
    state: TrackingState
    pose: Pose
    covariance: FloatArray
    scale_is_metric: bool
    num_matches: int
    num_inliers: int
    keyframe_id: int
    landmarks: FloatArray
    reason: str = ""
    backfill: tuple[tuple[int, Pose], ...] = ()
    twist: FloatArray = field(default_factory=lambda: np.full(6, np.nan))
    twist_covariance: FloatArray = field(default_factory=lambda: np.zeros((6, 6)))
    reset_count: int = 0
