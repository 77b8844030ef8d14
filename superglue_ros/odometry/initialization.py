"""The first landmarks, from two views or from depths, and their place and scale in the world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from superglue_ros.geometry.pnp import estimate_pose
from superglue_ros.geometry.triangulation import triangulate
from superglue_ros.geometry.two_view import TwoViewGeometry, estimate_two_view
from superglue_ros.odometry.landmarks import LandmarkStore, View
from superglue_ros.odometry.mapping import (
    Observation,
    Tolerances,
    measured_depths,
    measured_points,
    place_measured_depths,
    required_parallax,
)
from superglue_ros.odometry.window import adjust_window
from superglue_ros.types import FloatArray, IntArray, Pose

_SHARED_ROWS = 2
_MIN_SCALE_LANDMARKS = 8
_MAX_DIRECTION_DEVIATION = 0.05
"""Radians; a start whose direction of motion is less certain waits for more parallax."""


@dataclass(frozen=True)
class Start:
    """pose of the frame in the world once the store has landmarks; else reason says why not."""

    pose: Pose
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether there are landmarks now."""
        return not self.reason


def start_landmarks(
    store: LandmarkStore,
    place: int,
    observation: Observation,
    tolerances: Tolerances,
    min_inliers: int,
    speed: float,
    guess: FloatArray,
) -> Start:
    """Two-view start of a frame against the keyframe at `place`, else against an earlier view.

    On success the store's landmarks are replaced. The keyframe keeps the pose it has. The scale
    is carried over from landmarks of before that are seen again, else from the last speed (units
    per second), else the distance between the two views is 1. guess: covariance (6, 6) of the
    keyframe's pose where that is only predicted.
    """
    reason = "no keyframe shares matches with this frame"
    for candidate in _candidates(store, place, observation, min_inliers):
        first = store.observations[observation.rows, candidate, :2]
        shared = np.isfinite(first[:, 0])
        geometry = _try_pair(first[shared], observation.points[shared], tolerances, min_inliers)
        if geometry.ok:
            rows = observation.rows[shared]
            points = np.stack([first[shared], observation.points[shared]], axis=1)
            pair = _refine(rows, points, geometry, tolerances, min_inliers)
            if not pair.reason:
                view = store.views[candidate]
                elapsed_s = abs(observation.stamp_ns - view.stamp_ns) * 1e-9
                return _place(store, view, pair, speed * elapsed_s, guess)
            geometry = replace(geometry, reason=pair.reason)
        if candidate == place:
            reason = geometry.reason
    return Start(Pose.identity(), reason)


def start_from_depths(
    store: LandmarkStore,
    place: int,
    observation: Observation,
    tolerances: Tolerances,
    min_inliers: int,
    guess: FloatArray,
) -> Start:
    """Start of a frame on the keyframe at `place` alone, whose depths are the landmarks.

    On success they replace the store's landmarks, and the keyframe keeps the pose it has. guess:
    covariance (6, 6) of that pose where it is only predicted.
    """
    view = store.views[place]
    known = measured_depths(store, place)[observation.rows]
    if known.sum() < min_inliers:
        reason = f"{int(known.sum())} matches have a depth in the keyframe, {min_inliers} needed"
        return Start(Pose.identity(), reason)
    found = estimate_pose(
        measured_points(store, place, observation.rows[known]),
        observation.points[known],
        tolerances.threshold,
        min_inliers=min_inliers,
    )
    if not found.ok:
        return Start(Pose.identity(), found.reason)
    store.forget_positions()
    _hold(store, view, guess)
    place_measured_depths(store, place, tolerances)
    return Start(view.pose @ found.pose)


def _hold(store: LandmarkStore, view: View, guess: FloatArray) -> None:
    """The view that a start goes from is the only one located."""
    if not view.located:
        view.covariance = guess
    for other in store.views:
        other.located = other is view


def _candidates(
    store: LandmarkStore, place: int, observation: Observation, min_inliers: int
) -> list[int]:
    """The keyframe itself, then the oldest view that shares enough: it has most parallax."""
    seen = np.isfinite(store.observations[observation.rows, :place, 0])
    enough = np.flatnonzero(seen.sum(axis=0) >= _SHARED_ROWS * min_inliers)
    return [place, *enough[:1].tolist()]


def _try_pair(
    points0: FloatArray, points1: FloatArray, tolerances: Tolerances, min_inliers: int
) -> TwoViewGeometry:
    return estimate_two_view(
        points0, points1, tolerances.threshold, tolerances.min_parallax_rad, min_inliers
    )


@dataclass(frozen=True)
class _Pair:
    """Two views refined: pose of the second in the first, whose distance is 1, and landmarks
    with their rows, positions and covariances in the first; reason: "" or why it is not used."""

    pose: Pose
    rows: IntArray
    positions: FloatArray
    covariances: FloatArray
    reason: str = ""


def _refine(
    rows: IntArray,
    points: FloatArray,
    geometry: TwoViewGeometry,
    tolerances: Tolerances,
    min_inliers: int,
) -> _Pair:
    """Adjust the pair on all inliers, far ones too, since these hold the rotation."""
    start = geometry.triangulation
    used = geometry.inliers & np.isfinite(start.points).all(axis=1)
    rows, points = rows[used], points[used]
    solution = adjust_window(
        (Pose.identity(), Pose(geometry.rotation.T, -geometry.rotation.T @ geometry.translation)),
        start.points[used],
        points,
        np.array([True, False]),
        tolerances.noise,
        iterations=10,
    )
    pose = solution.poses[1]
    found = triangulate(
        points, np.stack([np.eye(3), pose.rotation]), np.stack([np.zeros(3), pose.position])
    )
    good = found.good(tolerances.min_parallax_rad, tolerances.threshold)
    good &= solution.inliers.all(axis=1)
    deviation = float(np.sqrt(np.trace(solution.pose_covariances[1, :3, :3])))
    deviation /= max(float(np.linalg.norm(pose.position)), 1e-12)
    reason = ""
    if good.sum() < min_inliers:
        reason = f"{int(good.sum())} points agree after refinement, {min_inliers} needed"
    elif deviation > _MAX_DIRECTION_DEVIATION:
        reason = f"direction of motion uncertain by {np.degrees(deviation):.0f} degrees"
    fits = found.good(0.0, tolerances.threshold) & solution.inliers.all(axis=1)
    good = fits & (
        found.parallax_rad >= required_parallax(found.parallax_rad[fits], 0, tolerances)
    )
    covariances = found.covariances[good] * tolerances.noise**2
    return _Pair(pose, rows[good], solution.landmarks[good], covariances, reason)


def _place(
    store: LandmarkStore, view: View, pair: _Pair, distance: float, guess: FloatArray
) -> Start:
    """Make the pair's landmarks the store's, from the first view's pose on; `distance` is that
    of the views by the last speed, 0 where it is not known."""
    scale = _scale(store.positions[pair.rows], pair.positions, view.pose, view.located)
    if scale is None:
        scale = (distance if distance > 0 else 1.0) / float(np.linalg.norm(pair.pose.position))
    rotation = view.pose.rotation
    store.forget_positions()
    store.positions[pair.rows] = scale * pair.positions @ rotation.T + view.pose.position
    store.covariances[pair.rows] = scale**2 * rotation @ pair.covariances @ rotation.T
    _hold(store, view, guess)
    return Start(view.pose @ Pose(pair.pose.rotation, scale * pair.pose.position))


def _scale(before: FloatArray, local: FloatArray, pose: Pose, located: bool) -> float | None:
    """Ratio of distances from the keyframe to landmarks known before, None where too few."""
    known = np.isfinite(before).all(axis=1)
    if not located or known.sum() < _MIN_SCALE_LANDMARKS:
        return None
    distances = np.linalg.norm(before[known] - pose.position, axis=1)
    return float(np.median(distances / np.linalg.norm(local[known], axis=1)))
