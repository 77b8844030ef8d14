"""Relative pose of two views from matched points, and whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from superglue_ros.geometry.epipolar import (
    direction_for_rotation,
    epipolar_errors,
    refine_motion,
)
from superglue_ros.geometry.rotations import fit_rotation, rays
from superglue_ros.geometry.triangulation import Triangulation, triangulate
from superglue_ros.types import BoolArray, FloatArray

_MIN_POINTS = 8
_ROTATION_SHARE = 0.9
_PLANE_SHARE = 0.9
_PLANAR = 1.25
"""Errors in two directions over those across a line, 95 % of chi-square: sqrt(5.99 / 3.84)."""
_EQUAL = 0.9
_QUIET = 0.8
_MAX_ITERATIONS = 500


@dataclass(frozen=True)
class TwoViewGeometry:
    """rotation (3, 3) and unit translation (3,) of T_0to1; inliers (N,) bool; triangulation of
    all N matches in camera 0, baseline 1; model "essential" or "homography"; reason: "" or why
    the geometry is not to be used (it then holds the rotation where one is known)."""

    rotation: FloatArray
    translation: FloatArray
    inliers: BoolArray
    triangulation: Triangulation
    model: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the geometry is to be used."""
        return not self.reason


def estimate_two_view(
    points0: FloatArray,
    points1: FloatArray,
    threshold: float,
    min_parallax_rad: float = 0.0,
    min_inliers: int = _MIN_POINTS,
) -> TwoViewGeometry:
    """Robust relative pose of two calibrated views.

    points0, points1: (N, 2) normalised; threshold: error of an inlier, normalised units. Needs
    min_inliers points in front of both cameras, within the threshold and at min_parallax_rad.
    A motion that a rotation alone explains, and one with two equally good explanations, come
    back with a reason. Source: Nister 2004 in MAGSAC++ (Barath 2020); for planes the homography's
    decomposition (Malis & Vargas 2007); model choice as in ORB-SLAM (Mur-Artal 2015, IV).
    """
    count = len(points0)
    points0 = np.ascontiguousarray(points0, float).reshape(-1, 2)
    points1 = np.ascontiguousarray(points1, float).reshape(-1, 2)
    needed = max(_MIN_POINTS, min_inliers)
    if count < needed:
        return _nothing(count, np.eye(3), f"{count} matches, {needed} needed")
    rotation = fit_rotation(points0, points1, threshold)
    off_rotation = np.linalg.norm(rays(points1) - rays(points0) @ rotation.T, axis=1)
    turned = off_rotation <= _PLANAR * threshold
    quiet_score, quiet, quiet_support = _quiet_motion(points0, points1, rotation, threshold)
    still = "standstill or rotation without parallax"
    if turned.sum() >= max(needed, _ROTATION_SHARE * quiet_support):
        return _nothing(count, rotation, still)
    essential, support = robust_essential(points0, points1, threshold)
    if essential is None or support.sum() < needed:
        reason = f"{int(support.sum())} matches agree on a motion, {needed} needed"
        return _nothing(count, rotation, reason)
    if turned.sum() >= _ROTATION_SHARE * support.sum():
        return _nothing(count, rotation, still)
    motions = _essential_motions(points0, points1, essential, threshold)
    motions += _plane_motions(points0, points1, threshold, int(support.sum()))
    ranked = sorted(
        (_score(points0, points1, motion, threshold) for motion in motions),
        key=lambda result: -result[0],
    )
    best_score, best = ranked[0]
    if quiet_score > _QUIET * best_score:
        best = quiet
    elif any(score > _EQUAL * best_score and _differ(best, other) for score, other in ranked):
        return _with_reason(best, "two motions explain the matches equally well")
    good = best.triangulation.good(min_parallax_rad, threshold)
    if good.sum() < needed:
        reason = (
            f"{int(good.sum())} points with {np.degrees(min_parallax_rad):.1f} degrees of "
            f"parallax, {needed} needed"
        )
        return _with_reason(best, reason)
    return best


def robust_essential(
    points0: FloatArray, points1: FloatArray, threshold: float
) -> tuple[FloatArray | None, BoolArray]:
    """The essential matrix (3, 3) that most of (N, 2) normalised points agree on, and which of
    them (N,) bool do; None and none of them where there is none.

    threshold: distance to the epipolar line, normalised units. Source: Nister 2004 in MAGSAC++
    (Barath 2020) by OpenCV.
    """
    nothing = None, np.zeros(len(points0), bool)
    try:
        essential, mask = cv2.findEssentialMat(
            points0,
            points1,
            np.eye(3),
            method=cv2.USAC_MAGSAC,
            prob=0.9999,
            threshold=threshold,
            maxIters=_MAX_ITERATIONS,
        )
    except cv2.error:
        return nothing  # OpenCV 5 raises where a model comes out empty
    if essential is None or essential.shape != (3, 3) or not np.isfinite(essential).all():
        return nothing
    return np.asarray(essential, float), np.asarray(mask).ravel() > 0


def _essential_motions(
    points0: FloatArray, points1: FloatArray, essential: FloatArray, threshold: float
) -> list[tuple[FloatArray, FloatArray, str]]:
    rotation_a, rotation_b, direction = cv2.decomposeEssentialMat(essential)
    motions = []
    for start in (rotation_a, rotation_b):
        rotation, translation = refine_motion(
            points0,
            points1,
            (np.asarray(start, float), np.asarray(direction, float).ravel()),
            threshold,
        )
        motions += [(rotation, translation, "essential"), (rotation, -translation, "essential")]
    return motions


def _quiet_motion(
    points0: FloatArray, points1: FloatArray, rotation: FloatArray, threshold: float
) -> tuple[float, TwoViewGeometry, int]:
    """The motion next to the best rotation without translation, its score, and the number of
    matches that fit its epipolar lines.

    Far points near one line in the image, as the horizon of a road, fit a whole family of large
    rotations with a translation across; this is the member that video has.
    """
    direction = direction_for_rotation(points0, points1, rotation, threshold)
    rotation, direction = refine_motion(points0, points1, (rotation, direction), threshold)
    support = np.abs(epipolar_errors(points0, points1, (rotation, direction))) <= threshold
    signed = [(rotation, sign * direction, "essential") for sign in (1, -1)]
    score, geometry = max(
        (_score(points0, points1, motion, threshold) for motion in signed),
        key=lambda result: result[0],
    )
    return score, geometry, int(support.sum())


def _plane_motions(
    points0: FloatArray, points1: FloatArray, threshold: float, support: int
) -> list[tuple[FloatArray, FloatArray, str]]:
    """Motions of the homography where a plane explains nearly all that the essential does."""
    try:
        homography, mask = cv2.findHomography(
            points0, points1, method=cv2.USAC_MAGSAC, ransacReprojThreshold=threshold, maxIters=500
        )
    except cv2.error:
        return []  # as in robust_essential
    if homography is None or not np.isfinite(homography).all():
        return []
    if mask.sum() < _PLANE_SHARE * support:
        return []
    _, rotations, translations, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
    motions = []
    for rotation, translation in zip(rotations, translations):
        length = np.linalg.norm(translation)
        if length > 1e-6:
            direction = np.asarray(translation, float).ravel() / length
            motions.append((np.asarray(rotation, float), direction, "homography"))
    return motions


def _score(
    points0: FloatArray,
    points1: FloatArray,
    motion: tuple[FloatArray, FloatArray, str],
    threshold: float,
) -> tuple[float, TwoViewGeometry]:
    rotation, translation, model = motion
    triangulation = triangulate(
        np.stack([points0, points1], axis=1),
        np.stack([np.eye(3), rotation.T]),
        np.stack([np.zeros(3), -rotation.T @ translation]),
    )
    inliers = triangulation.good(0.0, threshold)
    errors = triangulation.residuals[inliers] / threshold
    score = float((1 - errors**2).sum())
    return score, TwoViewGeometry(rotation, translation, inliers, triangulation, model)


def _differ(one: TwoViewGeometry, other: TwoViewGeometry) -> bool:
    """Whether two motions are more than a few degrees apart in rotation or direction."""
    cosine_rotation = (np.trace(one.rotation.T @ other.rotation) - 1) / 2
    cosine_direction = float(one.translation @ other.translation)
    return bool(min(cosine_rotation, cosine_direction) < np.cos(np.radians(5.0)))


def _with_reason(result: TwoViewGeometry, reason: str) -> TwoViewGeometry:
    return TwoViewGeometry(
        result.rotation,
        result.translation,
        result.inliers,
        result.triangulation,
        result.model,
        reason,
    )


def _nothing(count: int, rotation: FloatArray, reason: str) -> TwoViewGeometry:
    empty = triangulate(np.zeros((count, 0, 2)), np.zeros((0, 3, 3)), np.zeros((0, 3)))
    return TwoViewGeometry(
        rotation, np.zeros(3), np.zeros(count, bool), empty, "essential", reason
    )
