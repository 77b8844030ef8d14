"""Matches and tracks that are likely right: one motion of the camera explains them, and what is
beside them moves alike."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from superglue_ros.geometry import mean_focal, normalize_points
from superglue_ros.geometry.two_view import robust_essential
from superglue_ros.types import BoolArray, CameraModel, FloatArray, FrameMatches, IntArray

EPIPOLAR_THRESHOLD_PX = 2.0
"""Largest distance of a verified match from its epipolar line, unless told otherwise."""

_LEAST = 8
_NEIGHBOURS = 10
_ALIKE = 2
"""Of the neighbours, how many must move alike."""
_ALIKE_PX = 3.0
_ALIKE_SHARE = 0.5
"""Of the neighbour's step: points at other depths move otherwise by as much."""


def agree_with_one_motion(
    matches: FrameMatches, camera: CameraModel, threshold_px: float
) -> BoolArray:
    """(M,) bool: matches within `threshold_px` of the epipolar lines that most agree on.

    Fewer than eight matches are not enough to say so, so that none of them is known to agree.
    Raises CameraError for an unusable camera. Pixels are those of a camera of the same focal
    length without distortion.
    """
    agree = np.zeros(len(matches), bool)
    points = [
        normalize_points(pixels, camera) for pixels in (matches.keyframe_points, matches.points)
    ]
    usable = np.flatnonzero(
        np.isfinite(points[0]).all(axis=1) & np.isfinite(points[1]).all(axis=1)
    )
    if len(usable) >= _LEAST:
        first, second = (np.ascontiguousarray(seen[usable], float) for seen in points)
        agree[usable] = robust_essential(first, second, threshold_px / mean_focal(camera))[1]
    return agree


def move_with_neighbours(
    previous_points: FloatArray, points: FloatArray, elapsed_ns: IntArray
) -> BoolArray:
    """(M,) bool: tracks that move as at least two of the ten nearest ones do, by their speed.

    A wrong match on the right epipolar line is one that jumps. previous_points, points (M, 2)
    pixels, elapsed_ns (M,) between them. Where there are no ten others, nothing is said against
    any of them.
    """
    if len(points) <= _NEIGHBOURS:
        return np.ones(len(points), bool)
    _, near = cKDTree(previous_points).query(previous_points, _NEIGHBOURS + 1)
    elapsed = np.maximum(elapsed_ns, 1)[:, None].astype(float)
    speeds = (points - previous_points) / elapsed
    expected = speeds[near[:, 1:]] * elapsed[:, None]
    off = np.linalg.norm((points - previous_points)[:, None] - expected, axis=2)
    allowed = _ALIKE_PX + _ALIKE_SHARE * np.linalg.norm(expected, axis=2)
    return np.asarray((off <= allowed).sum(axis=1) >= _ALIKE)
