"""The pose of a camera from landmarks: robust start, weighted refinement, covariance.

A pose is disturbed by (dc, dtheta), both in world axes: position' = position + dc and
rotation' = exp(dtheta) rotation; covariances are of (x y z rx ry rz) in that sense, as
nav_msgs/Odometry has them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from superglue_ros.geometry.rotations import cross_matrix, exp_rotation, nearest_rotation
from superglue_ros.types import BoolArray, FloatArray, Pose

CHI2_2DOF = 9.21
"""99th percentile of the chi-square distribution with two degrees of freedom."""

_RANSAC_ITERATIONS = 300
_REFINE_ITERATIONS = 10
_STEP_TOLERANCE = 1e-7


@dataclass(frozen=True)
class PoseEstimate:
    """pose of the camera in the world; covariance (6, 6), and the part of it that comes from the
    noise of the points alone, as between two frames that see the same landmarks; inliers (N,)
    bool; reason: "" or why there is no pose (the pose is then the one that was given, or
    identity)."""

    pose: Pose
    covariance: FloatArray
    point_covariance: FloatArray
    inliers: BoolArray
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a pose."""
        return not self.reason


def estimate_pose(
    landmarks: FloatArray,
    points: FloatArray,
    threshold: float,
    prior: Pose | None = None,
    min_inliers: int = 6,
) -> PoseEstimate:
    """Robust pose from N landmarks: P3P in RANSAC against the prior, the better one kept.

    landmarks: (N, 3) world; points: (N, 2) normalised; threshold: largest reprojection error of
    an inlier, normalised units; prior: a predicted pose that may win. The same input gives the
    same output (OpenCV's generator starts from a constant). Source: Ke & Roumeliotis 2017 (AP3P),
    Fischler & Bolles 1981.
    """
    count = len(landmarks)
    fallback = prior if prior is not None else Pose.identity()
    nothing = _unlocated(fallback, count)
    if count < max(4, min_inliers):
        return _failed(nothing, f"{count} landmarks seen, {max(4, min_inliers)} needed")
    candidates = [] if prior is None else [prior]
    # Far from the origin single-precision steps inside OpenCV would cost accuracy.
    centre = np.median(landmarks, axis=0)
    found, rotation_vector, translation, _ = cv2.solvePnPRansac(
        np.ascontiguousarray(landmarks - centre),
        np.ascontiguousarray(points, float),
        np.eye(3),
        None,
        iterationsCount=_RANSAC_ITERATIONS,
        reprojectionError=threshold,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if found and np.isfinite(rotation_vector).all() and np.isfinite(translation).all():
        rotation = exp_rotation(np.asarray(rotation_vector, float).ravel()).T
        candidates.append(
            Pose(rotation, centre - rotation @ np.asarray(translation, float).ravel())
        )
    best, best_cost = nothing, np.inf
    for pose in candidates:
        errors = reprojection_errors(landmarks, points, pose)
        cost = float(np.minimum(errors / threshold, 1.0).sum())
        if cost < best_cost:
            best = replace(nothing, pose=pose, inliers=errors <= threshold)
            best_cost = cost
    inliers = int(best.inliers.sum())
    if inliers < min_inliers:
        return _failed(nothing, f"{inliers} of {count} landmarks agree, {min_inliers} needed")
    return best


def refine_pose(
    landmarks: FloatArray,
    points: FloatArray,
    start: Pose,
    noise: float | FloatArray,
    landmark_covariances: FloatArray | None = None,
    threshold: float | None = None,
) -> PoseEstimate:
    """Gauss-Newton on the reprojection errors, each weighted by its own 2x2 covariance.

    landmarks (N, 3), points (N, 2) normalised, noise: standard deviation of the points, of all or
    (N,) of each, normalised units; landmark_covariances (N, 3, 3) or None for exact landmarks;
    threshold: error beyond which a point is left out at the start, None for no such limit. A
    Cauchy kernel limits the influence of outliers; inliers are those within the 99 % gate. The
    covariance is that of the normal equations, enlarged where the residuals exceed what the noise
    explains.
    """
    if landmark_covariances is None:
        landmark_covariances = np.zeros((len(landmarks), 3, 3))
    used = np.isfinite(landmark_covariances).all(axis=(1, 2)) & np.isfinite(points).all(axis=1)
    used &= np.isfinite(landmarks).all(axis=1)
    if threshold is not None:
        used &= reprojection_errors(landmarks, points, start) <= threshold
    chosen = np.flatnonzero(used)
    result = _unlocated(start, len(landmarks))
    if len(chosen) < 4:
        return _failed(result, f"{len(chosen)} landmarks to refine on, 4 needed")
    landmarks, points = landmarks[chosen], np.asarray(points, float)[chosen]
    landmark_covariances = landmark_covariances[chosen]
    noises = np.broadcast_to(noise, used.shape)[chosen]
    pose = start
    normal: FloatArray = np.eye(6)
    by_points: FloatArray = np.eye(6)
    distances: FloatArray = np.zeros(len(chosen))
    for _ in range(_REFINE_ITERATIONS):
        normal, gradient, distances, by_points = _normal_equations(
            landmarks, points, pose, noises, landmark_covariances
        )
        step = _solve(normal, gradient)
        if step is None:
            return _failed(result, "the landmarks do not determine the pose")
        pose = Pose(exp_rotation(step[3:]) @ pose.rotation, pose.position + step[:3])
        if np.abs(step).max() < _STEP_TOLERANCE:
            break
    inliers = distances <= CHI2_2DOF
    result.inliers[chosen[inliers]] = True
    if inliers.sum() < 4:
        return _failed(result, f"{int(inliers.sum())} landmarks agree after refinement, 4 needed")
    freedom = max(2 * int(inliers.sum()) - 6, 1)
    excess = max(1.0, float(distances[inliers].sum()) / freedom)
    inverse = np.linalg.inv(normal)
    parts = inverse, inverse @ by_points @ inverse
    covariance, point_covariance = (excess * (part + part.T) / 2 for part in parts)
    pose = Pose(nearest_rotation(pose.rotation), pose.position)
    return PoseEstimate(pose, covariance, point_covariance, result.inliers)


def reprojection_errors(landmarks: FloatArray, points: FloatArray, pose: Pose) -> FloatArray:
    """(N,) errors in normalised units, infinite for landmarks that are not in front."""
    in_camera = (landmarks - pose.position) @ pose.rotation
    depth = in_camera[:, 2]
    front = depth > 1e-9
    projected = in_camera[:, :2] / np.where(front, depth, 1.0)[:, None]
    errors = np.linalg.norm(projected - points, axis=1)
    return np.where(front & np.isfinite(errors), errors, np.inf)


def point_jacobians(in_camera: FloatArray) -> FloatArray:
    """(..., 3) points in the camera to (..., 2, 3) derivatives of their projections."""
    jacobian = np.zeros((*in_camera.shape[:-1], 2, 3))
    inverse = 1 / in_camera[..., 2]
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = inverse
    jacobian[..., 0, 2] = -in_camera[..., 0] * inverse**2
    jacobian[..., 1, 2] = -in_camera[..., 1] * inverse**2
    return jacobian


def _normal_equations(
    landmarks: FloatArray,
    points: FloatArray,
    pose: Pose,
    noise: FloatArray,
    landmark_covariances: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Hessian (6, 6), gradient (6,) and squared Mahalanobis distances (N,) at a pose, and the
    covariance (6, 6) that the noise of the points gives the gradient."""
    arms = landmarks - pose.position
    in_camera = arms @ pose.rotation
    front = in_camera[:, 2] > 1e-9
    in_camera[~front] = [0.0, 0.0, 1.0]
    by_landmark = point_jacobians(in_camera) @ pose.rotation.T
    by_pose = np.concatenate([-by_landmark, by_landmark @ cross_matrix(arms)], axis=2)
    residuals = points - in_camera[:, :2] / in_camera[:, 2:]
    spread = by_landmark @ landmark_covariances @ np.swapaxes(by_landmark, 1, 2)
    spread[:, 0, 0] += noise**2
    spread[:, 1, 1] += noise**2
    information = np.linalg.inv(spread)
    weighted = np.einsum("nij,nj->ni", information, residuals)
    distances = np.where(front, np.einsum("ni,ni->n", residuals, weighted), np.inf)
    kernel = 1 / (1 + distances / CHI2_2DOF)
    left = np.swapaxes(by_pose, 1, 2) * kernel[:, None, None]
    right = information @ by_pose
    hessian = np.einsum("nij,njk->ik", left, right)
    gradient = np.einsum("nij,nj->i", left, weighted)
    spread_by_points = (noise * kernel)[:, None, None] ** 2
    by_points = np.einsum("nji,njk->ik", right, right * spread_by_points)
    return hessian, gradient, distances, by_points


def _solve(normal: FloatArray, gradient: FloatArray) -> FloatArray | None:
    # Positions and angles have different units: condition is judged on the normed matrix.
    scale = np.sqrt(np.diag(normal))
    if not np.isfinite(scale).all() or (scale <= 0).any():
        return None
    normed = normal / np.outer(scale, scale)
    if np.linalg.eigvalsh(normed)[0] < 1e-10:
        return None
    return np.linalg.solve(normed, gradient / scale) / scale


def _failed(result: PoseEstimate, reason: str) -> PoseEstimate:
    return replace(result, inliers=np.zeros_like(result.inliers), reason=reason)


def _unlocated(pose: Pose, count: int) -> PoseEstimate:
    unknown = np.full((6, 6), np.nan)
    return PoseEstimate(pose, unknown, unknown, np.zeros(count, bool))
