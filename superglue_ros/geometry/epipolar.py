"""Relative motion by its epipolar errors: direction for a known rotation, local refinement."""

from __future__ import annotations

import numpy as np

from superglue_ros.geometry.camera import mean_focal, normalize_points
from superglue_ros.geometry.rotations import cross_matrix, exp_rotation, nearest_rotation, rays
from superglue_ros.types import BoolArray, CameraModel, FloatArray, Pose

Motion = tuple[FloatArray, FloatArray]
"""Rotation (3, 3) and unit translation (3,) of T_0to1."""

_PAIRS = 300
_ITERATIONS = 15
_STEP = 1e-6


def epipolar_errors(points0: FloatArray, points1: FloatArray, motion: Motion) -> FloatArray:
    """(N,) signed Sampson errors of normalised points (N, 2): first-order distances to the
    epipolar constraint. Source: Hartley & Zisserman, Multiple View Geometry, 11.4.3."""
    rotation, translation = motion
    essential = cross_matrix(translation) @ rotation
    line1 = points0 @ essential[:, :2].T + essential[:, 2]
    line0 = points1 @ essential[:2] + essential[2]
    value = points1[:, 0] * line1[:, 0] + points1[:, 1] * line1[:, 1] + line1[:, 2]
    slope = line1[:, 0] ** 2 + line1[:, 1] ** 2 + line0[:, 0] ** 2 + line0[:, 1] ** 2
    return value / np.sqrt(np.maximum(slope, 1e-18))


def agree_with_motion(
    points0: FloatArray,
    points1: FloatArray,
    cameras: tuple[CameraModel, CameraModel],
    T_0to1: Pose,
    threshold_px: float,
) -> BoolArray:
    """(N,) matches of points (N, 2) in pixels of two images that lie within `threshold_px` of
    each other's epipolar lines; without translation, of each other's place after the rotation.

    Raises CameraError for an unusable camera.
    """
    normalised0 = normalize_points(points0, cameras[0])
    normalised1 = normalize_points(points1, cameras[1])
    threshold = threshold_px / mean_focal(cameras[1])
    length = float(np.linalg.norm(T_0to1.position))
    if length == 0:
        turned = rays(normalised0) @ T_0to1.rotation.T
        with np.errstate(divide="ignore", invalid="ignore"):
            offsets = turned[:, :2] / turned[:, 2:] - normalised1
        return (turned[:, 2] > 0) & (np.linalg.norm(offsets, axis=1) <= threshold)
    motion = T_0to1.rotation, T_0to1.position / length
    return np.abs(epipolar_errors(normalised0, normalised1, motion)) <= threshold


def direction_for_rotation(
    points0: FloatArray, points1: FloatArray, rotation: FloatArray, threshold: float
) -> FloatArray:
    """Unit translation (3,) that most matches agree on, the rotation being known.

    Two matches give a direction, perpendicular to both their epipolar planes' normals; of a fixed
    draw of pairs the one with the most support (truncated squares) wins.
    """
    normals = np.cross(rays(points0) @ rotation.T, rays(points1))
    lengths = np.linalg.norm(normals, axis=1)
    # Matches that a rotation explains say nothing about the direction.
    moving = np.flatnonzero(lengths > threshold)
    if len(moving) < 2:
        return np.array([0.0, 0.0, 1.0])
    pairs = np.random.default_rng(0).integers(len(moving), size=(_PAIRS, 2))
    first, second = normals[moving[pairs[:, 0]]], normals[moving[pairs[:, 1]]]
    directions = np.cross(first, second)
    norms = np.linalg.norm(directions, axis=1)
    usable = norms > 1e-12
    directions = directions[usable] / norms[usable, None]
    if not len(directions):
        return np.array([0.0, 0.0, 1.0])
    planes = normals[moving]
    # The normal is as long as the flow; the part along the direction is the flow off its line.
    errors = np.abs(np.einsum("ni,di->nd", planes, directions)) / threshold
    support = np.maximum(1 - errors**2, 0.0).sum(axis=0)
    return directions[int(np.argmax(support))]


def refine_motion(
    points0: FloatArray, points1: FloatArray, motion: Motion, scale: float
) -> Motion:
    """Levenberg-Marquardt on the Sampson errors of all matches, with a Cauchy kernel.

    scale: error at which a match loses half its weight, normalised units. Five parameters: a
    rotation and the two that move the unit translation.
    """
    errors = epipolar_errors(points0, points1, motion)
    cost, damping = _cost(errors, scale), 1e-3
    for _ in range(_ITERATIONS):
        jacobian = np.stack(
            [
                (epipolar_errors(points0, points1, _moved(motion, axis * _STEP)) - errors) / _STEP
                for axis in np.eye(5)
            ],
            axis=1,
        )
        weighted = jacobian / (1 + (errors / scale) ** 2)[:, None]
        normal = weighted.T @ jacobian
        normal += damping * np.diag(np.diag(normal)) + 1e-12 * np.eye(5)
        candidate = _moved(motion, -np.linalg.solve(normal, weighted.T @ errors))
        moved_errors = epipolar_errors(points0, points1, candidate)
        moved_cost = _cost(moved_errors, scale)
        if moved_cost >= cost:
            damping *= 10
            continue
        converged = cost - moved_cost < 1e-4 * cost
        motion, errors, cost = candidate, moved_errors, moved_cost
        damping /= 10
        if converged:
            break
    return nearest_rotation(motion[0]), motion[1]


def _cost(errors: FloatArray, scale: float) -> float:
    return float(np.log1p((errors / scale) ** 2).sum())


def _moved(motion: Motion, step: FloatArray) -> Motion:
    rotation, translation = motion
    across = np.linalg.svd(translation[None])[2][1:]
    direction = translation + step[3:] @ across
    return exp_rotation(step[:3]) @ rotation, direction / np.linalg.norm(direction)
