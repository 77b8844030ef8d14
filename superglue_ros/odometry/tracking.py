"""The pose of a frame on known landmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from superglue_ros.geometry.pnp import (
    PoseEstimate,
    estimate_pose,
    refine_pose,
    reprojection_errors,
)
from superglue_ros.odometry.frames import FLOOR_COVARIANCE, Tolerances
from superglue_ros.types import BoolArray, FloatArray, IntArray, Pose

_REFINE_REACH = 2.0
_FEWEST_SETTLED = 8
_SETTLED_SHARE = 0.5
"""Of the settled landmarks that a frame sees."""
_WORSE = 2.0
"""Times that their median error must be that of their own pose."""


@dataclass(frozen=True)
class TrackedPose:
    """pose in the world; covariance (6, 6) given the landmarks' covariances, and point_covariance
    given the landmarks themselves, NaN where there is no pose; inliers (M,) of the frame's
    observations; reason: "" or why there is no pose; deviation: of the position given the
    landmarks; contradicted: a majority of the landmarks moves, and was not followed."""

    pose: Pose
    covariance: FloatArray
    point_covariance: FloatArray
    inliers: BoolArray
    reason: str = ""
    deviation: float = 0.0
    contradicted: bool = False

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
    noise: FloatArray,
    settled: BoolArray,
    tolerances: Tolerances,
    min_inliers: int,
    prior: Pose | None = None,
) -> TrackedPose:
    """Robust pose on landmarks (M, 3) seen at points (M, 2) with standard deviations noise
    (M,), those without position left out; then refined with their covariances (M, 3, 3).

    settled (M,): landmarks that many frames have confirmed. Where most of these contradict the
    majority and agree among themselves, the majority moves, and they have the say.
    """
    known = np.flatnonzero(np.isfinite(positions).all(axis=1))
    seen = _Seen(
        positions[known], covariances[known], points[known], noise[known], tolerances.threshold
    )
    estimate = estimate_pose(seen.positions, seen.points, tolerances.threshold, prior, min_inliers)
    if estimate.ok:
        estimate = seen.refine(estimate.pose)
    against = seen.contradiction(estimate, np.flatnonzero(settled[known]), prior)
    if against is not None:
        estimate = against
    inliers = np.zeros(len(positions), bool)
    inliers[known] = estimate.inliers
    reason = estimate.reason
    if not reason and inliers.sum() < min_inliers:
        reason = f"{int(inliers.sum())} of {len(known)} landmarks agree, {min_inliers} needed"
    if reason and against is not None:
        reason += "; those that stood still for long contradict the majority"
    covariance = estimate.covariance + FLOOR_COVARIANCE * np.eye(6)
    point_covariance = estimate.point_covariance + FLOOR_COVARIANCE * np.eye(6)
    deviation = float(np.sqrt(np.trace(covariance[:3, :3])))
    return TrackedPose(
        estimate.pose,
        covariance,
        point_covariance,
        inliers,
        reason,
        deviation,
        against is not None,
    )


@dataclass(frozen=True)
class _Seen:
    """Landmarks (N, 3) with covariances (N, 3, 3), seen at points (N, 2) with noise (N,)."""

    positions: FloatArray
    covariances: FloatArray
    points: FloatArray
    noise: FloatArray
    threshold: float

    def only(self, chosen: IntArray) -> _Seen:
        return _Seen(
            self.positions[chosen],
            self.covariances[chosen],
            self.points[chosen],
            self.noise[chosen],
            self.threshold,
        )

    def refine(self, pose: Pose) -> PoseEstimate:
        reach = _REFINE_REACH * self.threshold
        return refine_pose(self.positions, self.points, pose, self.noise, self.covariances, reach)

    def errors(self, pose: Pose) -> FloatArray:
        return reprojection_errors(self.positions, self.points, pose)

    def contradiction(
        self, majority: PoseEstimate, settled: IntArray, prior: Pose | None
    ) -> PoseEstimate | None:
        """Pose on which most of the settled landmarks agree much better than on the majority's;
        None if there is none. Between a thing that moves and what lies behind it there often is a
        pose that both fit somehow, but none that what stands still fits as well as alone."""
        needed = max(_FEWEST_SETTLED, int(np.ceil(_SETTLED_SHARE * len(settled))))
        if not majority.ok or len(settled) < needed:
            return None
        old, threshold = self.only(settled), self.threshold
        errors = old.errors(majority.pose)
        start = majority.pose
        if np.sum(errors <= threshold) < needed:
            found = estimate_pose(old.positions, old.points, threshold, prior, needed)
            if not found.ok:
                return None
            start = found.pose
        own = old.refine(start)
        if not own.ok or own.inliers.sum() < needed:
            return None
        if np.median(errors) < _WORSE * np.median(old.errors(own.pose)):
            return None
        return replace(own, inliers=self.errors(own.pose) <= threshold)
