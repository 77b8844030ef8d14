"""Robust two-view estimators for evaluation, the same for every matching method."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from superglue_ros.geometry import mean_focal, normalize_points
from superglue_ros.types import CameraModel, FloatArray, IntArray, Pose

THRESHOLD_PX = 1.0
"""Inlier threshold of relative poses, as a distance in pixels of the first camera."""

HOMOGRAPHY_THRESHOLD_PX = 3.0
CONFIDENCE = 0.99999
MIN_RELATIVE_POSE = 5
MIN_HOMOGRAPHY = 4
MAX_ITERATIONS = 10_000
POSE_REPEATS = 5
HOMOGRAPHY_REPEATS = 25
"""Orders of the same matches that one estimate is repeated in. Homographies are quick, and five
left two points of noise in the area under their curve."""


@dataclass(frozen=True)
class RelativePose:
    """T_0to1 with a translation of length 1, None with a reason where there is no estimate."""

    T_0to1: Pose | None
    num_inliers: int = 0
    reason: str = ""


Estimator = Callable[[FloatArray, FloatArray, CameraModel, CameraModel], RelativePose]
"""Takes (M, 2) pixel points of both images and both cameras."""


def estimate_opencv(
    points0: FloatArray, points1: FloatArray, camera0: CameraModel, camera1: CameraModel
) -> RelativePose:
    """Relative pose by OpenCV's five-point RANSAC and the cheirality check of its four solutions.

    Where the five points allow several essential matrices the one with most points in front wins.
    """
    normalised0, normalised1 = _normalised(points0, points1, camera0, camera1)
    if len(normalised0) < MIN_RELATIVE_POSE:
        return RelativePose(None, reason=f"{len(normalised0)} matches; 5 needed")
    threshold = THRESHOLD_PX / _focal(camera0, camera1)
    essentials, mask = cv2.findEssentialMat(
        normalised0, normalised1, np.eye(3), cv2.RANSAC, CONFIDENCE, threshold
    )
    if essentials is None or essentials.shape[0] < 3:
        return RelativePose(None, reason="no essential matrix")
    best = RelativePose(None, reason="no points in front of both cameras")
    for essential in np.split(essentials, len(essentials) // 3):
        count, rotation, translation, _ = cv2.recoverPose(
            essential, normalised0, normalised1, np.eye(3), 1e9, mask=mask.copy()
        )[:4]
        if count > best.num_inliers:
            pose = Pose(np.array(rotation, float), np.array(translation, float).ravel())
            best = RelativePose(pose, int(count))
    return best


def estimate_poselib(
    points0: FloatArray, points1: FloatArray, camera0: CameraModel, camera1: CameraModel
) -> RelativePose:
    """Relative pose by PoseLib's LO-RANSAC, on undistorted points; PoseLib must be installed."""
    import poselib

    focal = _focal(camera0, camera1)
    normalised0, normalised1 = _normalised(points0, points1, camera0, camera1)
    if len(normalised0) < MIN_RELATIVE_POSE:
        return RelativePose(None, reason=f"{len(normalised0)} matches; 5 needed")
    pinhole = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal, 0.0, 0.0]}
    pose, info = poselib.estimate_relative_pose(
        focal * normalised0,
        focal * normalised1,
        pinhole,
        pinhole,
        {"max_epipolar_error": THRESHOLD_PX, "success_prob": CONFIDENCE},
        {},
    )
    translation = np.asarray(pose.t, float)
    if info["num_inliers"] < MIN_RELATIVE_POSE or not np.linalg.norm(translation):
        return RelativePose(None, reason="no essential matrix")
    return RelativePose(
        Pose(np.asarray(pose.R, float), translation / np.linalg.norm(translation)),
        int(info["num_inliers"]),
    )


def shuffled_orders(count: int, repeats: int) -> list[IntArray]:
    """Orders of `count` matches in which an estimate is repeated.

    A RANSAC's samples decide so much that one run says little: on a dozen pairs the area under
    the recall curve moved by ten points with the order of the same matches.
    """
    rng = np.random.default_rng(0)
    return [rng.permutation(count) for _ in range(repeats)]


def available_estimators() -> dict[str, Estimator]:
    """Estimators by name: OpenCV's always, PoseLib's where it is installed."""
    estimators: dict[str, Estimator] = {"opencv": estimate_opencv}
    if importlib.util.find_spec("poselib") is not None:
        estimators["poselib"] = estimate_poselib
    return estimators


def estimate_homography(points0: FloatArray, points1: FloatArray) -> FloatArray | None:
    """(3, 3) homography from image 0 to image 1 by OpenCV's RANSAC, None if there is none."""
    if len(points0) < MIN_HOMOGRAPHY:
        return None
    homography, _ = cv2.findHomography(
        np.asarray(points0, float),
        np.asarray(points1, float),
        cv2.RANSAC,
        HOMOGRAPHY_THRESHOLD_PX,
        maxIters=MAX_ITERATIONS,
        confidence=CONFIDENCE,
    )
    return None if homography is None else np.array(homography, float)


def _focal(camera0: CameraModel, camera1: CameraModel) -> float:
    return (mean_focal(camera0) + mean_focal(camera1)) / 2


def _normalised(
    points0: FloatArray, points1: FloatArray, camera0: CameraModel, camera1: CameraModel
) -> tuple[FloatArray, FloatArray]:
    """Normalised points of the matches whose both points the distortion lets undo."""
    normalised0 = normalize_points(points0, camera0)
    normalised1 = normalize_points(points1, camera1)
    known = np.isfinite(normalised0).all(axis=1) & np.isfinite(normalised1).all(axis=1)
    return normalised0[known], normalised1[known]
