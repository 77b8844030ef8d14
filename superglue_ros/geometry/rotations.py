"""Rotations by their vectors (axis times angle), and the rotation between bundles of rays."""

from __future__ import annotations

import numpy as np

from superglue_ros.types import FloatArray


def cross_matrix(vectors: FloatArray) -> FloatArray:
    """(..., 3) vectors to (..., 3, 3) matrices whose product with u is the cross product v x u."""
    vectors = np.asarray(vectors, float)
    matrices = np.zeros((*vectors.shape[:-1], 3, 3))
    matrices[..., 0, 1], matrices[..., 0, 2] = -vectors[..., 2], vectors[..., 1]
    matrices[..., 1, 0], matrices[..., 1, 2] = vectors[..., 2], -vectors[..., 0]
    matrices[..., 2, 0], matrices[..., 2, 1] = -vectors[..., 1], vectors[..., 0]
    return matrices


def exp_rotation(rotation_vectors: FloatArray) -> FloatArray:
    """(..., 3) rotation vectors in radians to (..., 3, 3) rotation matrices (Rodrigues)."""
    vectors = np.asarray(rotation_vectors, float)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    skew = cross_matrix(vectors)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    second = np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * skew + second * (skew @ skew)


def log_rotation(rotation: FloatArray) -> FloatArray:
    """(3, 3) rotation matrix to its (3,) rotation vector in radians, of angle at most pi."""
    rotation = np.asarray(rotation, float)
    axis = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    sine, cosine = np.linalg.norm(axis) / 2, (np.trace(rotation) - 1) / 2
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        return axis * (angle / (2 * sine))
    if cosine > 0:
        return axis / 2
    # Near pi the skew part vanishes; (R + I) / 2 is the outer product of the axis with itself.
    outer = (rotation + np.eye(3)) / 2
    column = outer[:, np.argmax(np.diag(outer))]
    return angle * column / np.linalg.norm(column)


def log_motion(rotation: FloatArray, translation: FloatArray) -> FloatArray:
    """(6,) constant twist (linear, angular), in the moving body's own axes, that brings about this
    rotation (3, 3) and translation (3,) in a unit of time: the logarithm of the motion.

    Source: Barfoot 2017, State Estimation for Robotics, section 7.1.3.
    """
    vector = log_rotation(rotation)
    angle = float(np.linalg.norm(vector))
    if angle < 1e-4:
        second = 1 / 12
    else:
        second = (1 - angle * np.sin(angle) / (2 * (1 - np.cos(angle)))) / angle**2
    skew = cross_matrix(vector)
    linear = translation - 0.5 * skew @ translation + second * skew @ skew @ translation
    return np.concatenate([linear, vector])


def nearest_rotation(matrix: FloatArray) -> FloatArray:
    """The rotation nearest to a (3, 3) matrix in the Frobenius norm."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


def rays(points: FloatArray) -> FloatArray:
    """(..., 2) normalised points to (..., 3) unit vectors."""
    points = np.asarray(points, float)
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    return homogeneous / np.linalg.norm(homogeneous, axis=-1, keepdims=True)


def fit_rotation(
    points0: FloatArray, points1: FloatArray, scale_rad: float, iterations: int = 10
) -> FloatArray:
    """The rotation that turns rays 0 into rays 1, robust by reweighting (Cauchy kernel).

    points0, points1: (N, 2) normalised; scale_rad: angle at which a residual loses half its
    weight. Returns (3, 3) R_0to1, identity for fewer than two points. Source: Kabsch's solution
    of Wahba's problem, iterated.
    """
    rotation: FloatArray = np.eye(3)
    if len(points0) < 2:
        return rotation
    rays0, rays1 = rays(points0), rays(points1)
    weights = np.ones(len(rays0))
    for iteration in range(iterations):
        rotation = nearest_rotation((rays1 * weights[:, None]).T @ rays0)
        residual = np.linalg.norm(rays1 - rays0 @ rotation.T, axis=1)
        # Start wide and narrow down, so that the majority decides before the kernel does.
        wide = max(scale_rad, float(np.median(residual)) * 0.5**iteration)
        weights = 1 / (1 + (residual / wide) ** 2)
    return rotation
