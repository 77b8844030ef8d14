"""Measures of relative poses, matches and homographies."""

from __future__ import annotations

import numpy as np

from superglue_ros.geometry.rotations import cross_matrix
from superglue_ros.types import FloatArray, Pose

POSE_THRESHOLDS_DEG = (5.0, 10.0, 20.0)
EPIPOLAR_THRESHOLD = 5e-4
"""Bound on `symmetric_epipolar_errors` of a right match (SuperGlue, arXiv:1911.11763, 5.2)."""


def symmetric_epipolar_errors(
    normalised0: FloatArray, normalised1: FloatArray, T_0to1: Pose
) -> FloatArray:
    """(M,) sums of squared distances to both epipolar lines of (M, 2) points on the plane z = 1.

    Hartley and Zisserman, Multiple View Geometry, equation 11.10.
    """
    essential = cross_matrix(T_0to1.position) @ T_0to1.rotation
    homogeneous0 = np.column_stack([normalised0, np.ones(len(normalised0))])
    homogeneous1 = np.column_stack([normalised1, np.ones(len(normalised1))])
    lines1 = homogeneous0 @ essential.T
    lines0 = homogeneous1 @ essential
    residuals = np.sum(homogeneous1 * lines1, axis=1)
    squares = np.sum(lines1[:, :2] ** 2, axis=1), np.sum(lines0[:, :2] ** 2, axis=1)
    tiny = np.finfo(float).tiny
    return residuals**2 * sum(1.0 / np.maximum(square, tiny) for square in squares)


def warp_points(homography: FloatArray, points: FloatArray) -> FloatArray:
    """(N, 2) points mapped by a (3, 3) homography; infinite where they go to infinity."""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ homography.T
    with np.errstate(divide="ignore", invalid="ignore"):
        warped = homogeneous[:, :2] / homogeneous[:, 2:]
    return np.where(np.isfinite(warped), warped, np.inf)


def corner_error_px(
    estimated: FloatArray | None, truth: FloatArray, size: tuple[int, int]
) -> float:
    """Mean distance of the four corners of a (width, height) image under two homographies.

    Infinite without an estimate (SuperPoint, arXiv:1712.07629, appendix B).
    """
    if estimated is None:
        return float("inf")
    right, bottom = size[0] - 1.0, size[1] - 1.0
    corners = np.array([[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]])
    with np.errstate(invalid="ignore"):
        offsets = warp_points(estimated, corners) - warp_points(truth, corners)
    distance = float(np.mean(np.linalg.norm(offsets, axis=1)))
    return distance if np.isfinite(distance) else float("inf")
