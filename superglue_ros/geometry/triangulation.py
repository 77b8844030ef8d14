"""Points from two or more views, with the checks that make them landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.rotations import rays
from superglue_ros.types import BoolArray, FloatArray


@dataclass(frozen=True)
class Triangulation:
    """points (N, 3) world, NaN where unsolvable; parallax_rad (N,) widest angle at which a point
    is seen; residuals (N,) largest reprojection error, normalised units; covariances (N, 3, 3)
    for unit noise on the normalised plane; in_front (N,) of every camera that sees the point."""

    points: FloatArray
    parallax_rad: FloatArray
    residuals: FloatArray
    covariances: FloatArray
    in_front: BoolArray

    def good(self, min_parallax_rad: float, max_residual: float) -> BoolArray:
        """(N,) bool: in front, seen at enough parallax, and near its observations."""
        with np.errstate(invalid="ignore"):
            return (
                self.in_front
                & (self.parallax_rad >= min_parallax_rad)
                & (self.residuals <= max_residual)
            )


def triangulate(
    observations: FloatArray, rotations: FloatArray, positions: FloatArray
) -> Triangulation:
    """Triangulate N points from V views by linear least squares, reweighted by inverse depth.

    observations: (N, V, 2) normalised points, NaN where a view does not see the point; rotations
    (V, 3, 3) and positions (V, 3) of the cameras in the world. Source: Hartley & Zisserman,
    Multiple View Geometry, 12.2 (inhomogeneous form) with the reweighting of 12.2's iterative
    variant (Hartley & Sturm 1997).
    """
    count, views = observations.shape[:2]
    if count == 0 or views == 0:
        return _empty(count)
    seen: BoolArray = np.all(np.isfinite(observations), axis=2)
    points_2d = np.where(seen[..., None], observations, 0.0)
    axes = np.swapaxes(rotations, 1, 2)  # rows: the camera axes in the world
    # Row pair of a view: (x * z_axis - x_axis) . (X - position) = 0, and the same in y.
    rows = points_2d[..., None] * axes[None, :, None, 2] - axes[None, :, :2]  # (N, V, 2, 3)
    right = np.einsum("nvij,vj->nvi", rows, positions)
    weights = seen.astype(float)
    points = np.full((count, 3), np.nan)
    depths = np.ones((count, views))
    for _ in range(2):
        weighted = rows * weights[:, :, None, None]
        normal = np.einsum("nvij,nvik->njk", weighted, rows)
        vector = np.einsum("nvij,nvi->nj", weighted, right)
        points = _solve(normal, vector)
        depths = np.einsum("nvi,vi->nv", points[:, None] - positions, axes[:, 2])
        weights = seen / np.maximum(depths**2, 1e-12)
    return _checked(points, points_2d, seen, depths, rotations, positions)


def _checked(
    points: FloatArray,
    points_2d: FloatArray,
    seen: BoolArray,
    depths: FloatArray,
    rotations: FloatArray,
    positions: FloatArray,
) -> Triangulation:
    in_camera = np.einsum("nvi,vij->nvj", points[:, None] - positions, rotations)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.linalg.norm(in_camera[..., :2] / depths[..., None] - points_2d, axis=2)
    residuals = np.where(seen, errors, 0.0).max(axis=1)
    in_front = np.where(seen, depths > 0, True).all(axis=1) & (seen.sum(axis=1) >= 2)
    directions = np.einsum("vij,nvj->nvi", rotations, rays(points_2d)) * seen[..., None]
    cosines = np.einsum("nvi,nwi->nvw", directions, directions)
    both = seen[:, :, None] & seen[:, None, :]
    parallax = np.arccos(np.clip(np.where(both, cosines, 1.0).min(axis=(1, 2)), -1.0, 1.0))
    covariances = _covariances(in_camera, seen, rotations)
    return Triangulation(points, parallax, residuals, covariances, in_front)


def _covariances(in_camera: FloatArray, seen: BoolArray, rotations: FloatArray) -> FloatArray:
    depth = np.where(in_camera[..., 2] > 1e-9, in_camera[..., 2], np.nan)
    jacobian = np.zeros((*seen.shape, 2, 3))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1 / depth
    jacobian[..., 0, 2] = -in_camera[..., 0] / depth**2
    jacobian[..., 1, 2] = -in_camera[..., 1] / depth**2
    jacobian = np.where(seen[..., None, None], jacobian, 0.0) @ np.swapaxes(rotations, 1, 2)
    return _inverse(np.einsum("nvij,nvik->njk", jacobian, jacobian))


def _solve(normal: FloatArray, vector: FloatArray) -> FloatArray:
    return np.einsum("nij,nj->ni", _inverse(normal), vector)


def _inverse(matrices: FloatArray) -> FloatArray:
    """Inverses of (N, 3, 3) symmetric matrices, NaN where singular."""
    scale = np.trace(matrices, axis1=1, axis2=2)
    usable = np.isfinite(matrices).all(axis=(1, 2)) & (scale > 0)
    normed = np.where(
        usable[:, None, None], matrices / np.where(usable, scale, 1.0)[:, None, None], np.eye(3)
    )
    usable &= np.linalg.det(normed) > 1e-18
    normed = np.where(usable[:, None, None], normed, np.eye(3))
    inverses = np.linalg.inv(normed) / np.where(usable, scale, 1.0)[:, None, None]
    return np.where(usable[:, None, None], inverses, np.nan)


def _empty(count: int) -> Triangulation:
    return Triangulation(
        np.full((count, 3), np.nan),
        np.zeros(count),
        np.full(count, np.inf),
        np.full((count, 3, 3), np.nan),
        np.zeros(count, bool),
    )
