"""The pose of a frame on known landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.pnp import estimate_pose, refine_pose
from superglue_ros.odometry.landmarks import LandmarkStore
from superglue_ros.odometry.mapping import FLOOR_COVARIANCE, Observation, Tolerances
from superglue_ros.types import BoolArray, FloatArray, Pose

_REFINE_REACH = 2.0


@dataclass(frozen=True)
class TrackedPose:
    """pose in the world; covariance (6, 6) given the landmarks; inliers (M,) of the frame's
    observations; reason: "" or why there is no pose; deviation: of the position given the
    landmarks."""

    pose: Pose
    covariance: FloatArray
    inliers: BoolArray
    reason: str = ""
    deviation: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there is a pose."""
        return not self.reason


def track(
    store: LandmarkStore,
    observation: Observation,
    tolerances: Tolerances,
    min_inliers: int,
    prior: Pose | None = None,
) -> TrackedPose:
    """Robust pose on the landmarks that the frame sees, then refined with their covariances."""
    known = np.flatnonzero(store.located[observation.rows])
    rows, points = observation.rows[known], observation.points[known]
    landmarks = store.positions[rows]
    estimate = estimate_pose(landmarks, points, tolerances.threshold, prior, min_inliers)
    if estimate.ok:
        estimate = refine_pose(
            landmarks,
            points,
            estimate.pose,
            tolerances.noise,
            store.covariances[rows],
            _REFINE_REACH * tolerances.threshold,
        )
    inliers = np.zeros(len(observation.rows), bool)
    inliers[known] = estimate.inliers
    reason = estimate.reason
    if not reason and inliers.sum() < min_inliers:
        reason = f"{int(inliers.sum())} of {len(known)} landmarks agree, {min_inliers} needed"
    covariance = estimate.covariance + FLOOR_COVARIANCE * np.eye(6)
    deviation = float(np.sqrt(np.trace(covariance[:3, :3])))
    return TrackedPose(estimate.pose, covariance, inliers, reason, deviation)
