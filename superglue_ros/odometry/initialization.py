"""The first landmarks, from two views, and their place and scale in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.two_view import TwoViewGeometry, estimate_two_view
from superglue_ros.odometry.landmarks import LandmarkStore
from superglue_ros.odometry.mapping import Observation, Tolerances
from superglue_ros.odometry.window import adjust_window
from superglue_ros.types import FloatArray, IntArray, Pose

_MAX_CANDIDATES = 2
_MIN_SCALE_LANDMARKS = 8


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
    """Two-view start of a frame against the keyframe at `place`, else against earlier ones.

    On success the store's landmarks are replaced. The keyframe keeps the pose it has. The scale
    is carried over from landmarks of before that are seen again, else from the last speed (units
    per second), else the distance between the two views is 1. guess: covariance (6, 6) of the
    keyframe's pose where that is only predicted.
    """
    reason = "no keyframe shares matches with this frame"
    keyframes = range(place, max(-1, place - _MAX_CANDIDATES), -1)
    for candidate in keyframes:
        first = store.observations[observation.rows, candidate]
        shared = np.isfinite(first[:, 0])
        geometry = _try_pair(first[shared], observation.points[shared], tolerances, min_inliers)
        if geometry.ok:
            rows = observation.rows[shared]
            points = np.stack([first[shared], observation.points[shared]], axis=1)
            return _build(
                store,
                candidate,
                rows,
                points,
                geometry,
                observation.stamp_ns,
                tolerances,
                min_inliers,
                speed,
                guess,
            )
        if candidate == place:
            reason = geometry.reason
    return Start(Pose.identity(), reason)


def _try_pair(
    points0: FloatArray, points1: FloatArray, tolerances: Tolerances, min_inliers: int
) -> TwoViewGeometry:
    return estimate_two_view(
        points0, points1, tolerances.threshold, tolerances.min_parallax_rad, min_inliers
    )


def _build(
    store: LandmarkStore,
    place: int,
    rows: IntArray,
    points: FloatArray,
    geometry: TwoViewGeometry,
    stamp_ns: int,
    tolerances: Tolerances,
    min_inliers: int,
    speed: float,
    guess: FloatArray,
) -> Start:
    good = geometry.triangulation.good(tolerances.min_parallax_rad, tolerances.threshold)
    rows, points = rows[good], points[good]
    local = Pose(geometry.rotation.T, -geometry.rotation.T @ geometry.translation)
    solution = adjust_window(
        (Pose.identity(), local),
        geometry.triangulation.points[good],
        points,
        np.array([True, False]),
        tolerances.noise,
        iterations=10,
    )
    usable = solution.inliers.all(axis=1)
    if usable.sum() < min_inliers:
        return Start(
            local, f"{int(usable.sum())} points agree after refinement, {min_inliers} needed"
        )
    rows, positions = rows[usable], solution.landmarks[usable]
    local, covariances = solution.poses[1], solution.landmark_covariances[usable]
    view = store.views[place]
    elapsed_s = abs(stamp_ns - view.stamp_ns) * 1e-9
    baseline = float(np.linalg.norm(local.position))
    scale = _scale(store.positions[rows], positions, view.pose, view.located)
    if scale is None:
        scale = (speed * elapsed_s if speed * elapsed_s > 0 else 1.0) / baseline
    rotation = view.pose.rotation
    store.forget_positions()
    store.positions[rows] = scale * positions @ rotation.T + view.pose.position
    store.covariances[rows] = scale**2 * rotation @ covariances @ rotation.T
    if not view.located:
        view.covariance = guess
    for other in store.views:
        other.located = other is view
    return Start(view.pose @ Pose(local.rotation, scale * local.position))


def _scale(before: FloatArray, local: FloatArray, pose: Pose, located: bool) -> float | None:
    """Ratio of distances from the keyframe to landmarks known before, None where too few."""
    known = np.isfinite(before).all(axis=1)
    if not located or known.sum() < _MIN_SCALE_LANDMARKS:
        return None
    distances = np.linalg.norm(before[known] - pose.position, axis=1)
    return float(np.median(distances / np.linalg.norm(local[known], axis=1)))
