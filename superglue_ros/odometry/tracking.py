"""The pose of a frame on known landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.pnp import estimate_pose, refine_pose
from superglue_ros.odometry.frames import FLOOR_COVARIANCE, Tolerances
from superglue_ros.types import BoolArray, FloatArray, Pose

_REFINE_REACH = 2.0


@dataclass(frozen=True)
class TrackedPose:
    """pose in the world; covariance (6, 6) given the landmarks' covariances, and point_covariance
    given the landmarks themselves, NaN where there is no pose; inliers (M,) of the frame's
    observations; reason: "" or why there is no pose; deviation: of the position given the
    landmarks."""

    pose: Pose
    covariance: FloatArray
    point_covariance: FloatArray
    inliers: BoolArray
    reason: str = ""
    deviation: float = 0.0

    @staticmethod
    def predicted(pose: Pose, covariance: FloatArray, count: int, reason: str) -> TrackedPose:
        """Where the frame, of `count` observations, is not located."""
        return TrackedPose(
            pose, covariance, np.full((6, 6), np.nan), np.zeros(count, bool), reason
        )

    @property
    def ok(self) -> bool:
        """Whether there is a pose."""
        return not self.reason


def locate_on_landmarks(
    positions: FloatArray,
    covariances: FloatArray,
    points: FloatArray,
    tolerances: Tolerances,
    min_inliers: int,
    prior: Pose | None = None,
) -> TrackedPose:
    """Robust pose on landmarks (M, 3) seen at points (M, 2), those without position left out;
    then refined with their covariances (M, 3, 3)."""
    known = np.flatnonzero(np.isfinite(positions).all(axis=1))
    landmarks, points = positions[known], points[known]
    estimate = estimate_pose(landmarks, points, tolerances.threshold, prior, min_inliers)
    if estimate.ok:
        estimate = refine_pose(
            landmarks,
            points,
            estimate.pose,
            tolerances.noise,
            covariances[known],
            _REFINE_REACH * tolerances.threshold,
        )
    inliers = np.zeros(len(positions), bool)
    inliers[known] = estimate.inliers
    reason = estimate.reason
    if not reason and inliers.sum() < min_inliers:
        reason = f"{int(inliers.sum())} of {len(known)} landmarks agree, {min_inliers} needed"
    covariance = estimate.covariance + FLOOR_COVARIANCE * np.eye(6)
    point_covariance = estimate.point_covariance + FLOOR_COVARIANCE * np.eye(6)
    deviation = float(np.sqrt(np.trace(covariance[:3, :3])))
    return TrackedPose(estimate.pose, covariance, point_covariance, inliers, reason, deviation)
