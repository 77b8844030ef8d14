"""Matches that one motion of the camera explains."""

from __future__ import annotations

import cv2
import numpy as np

from superglue_ros.geometry import mean_focal, normalize_points
from superglue_ros.types import BoolArray, CameraModel, FrameMatches

_LEAST = 8
_ITERATIONS = 500


def agree_with_one_motion(
    matches: FrameMatches, camera: CameraModel, threshold_px: float
) -> BoolArray:
    """(M,) bool: matches within `threshold_px` of the epipolar lines that most agree on.

    Fewer than eight matches determine no epipolar lines, so that none of them is known to agree.
    Raises CameraError for an unusable camera. Source: MAGSAC++ (Barath 2020) by OpenCV, on points
    without distortion, in pixels of a camera of the same focal length.
    """
    nothing = np.zeros(len(matches), bool)
    points = [
        normalize_points(pixels, camera) for pixels in (matches.keyframe_points, matches.points)
    ]
    usable = np.flatnonzero(
        np.isfinite(points[0]).all(axis=1) & np.isfinite(points[1]).all(axis=1)
    )
    if len(usable) < _LEAST:
        return nothing
    focal = mean_focal(camera)
    found, mask = cv2.findFundamentalMat(
        np.ascontiguousarray(points[0][usable] * focal),
        np.ascontiguousarray(points[1][usable] * focal),
        method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=threshold_px,
        confidence=0.999,
        maxIters=_ITERATIONS,
    )
    if found is None or mask is None:
        return nothing
    nothing[usable] = mask.ravel() > 0
    return nothing
