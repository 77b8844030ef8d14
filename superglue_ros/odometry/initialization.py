"""The first landmarks, from two frames or from depths, and their place and scale in the world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from superglue_ros.geometry.pnp import estimate_pose
from superglue_ros.geometry.triangulation import triangulate
from superglue_ros.geometry.two_view import TwoViewGeometry, estimate_two_view
from superglue_ros.odometry.frames import Observation, Tolerances
from superglue_ros.odometry.landmarks import required_parallax
from superglue_ros.odometry.local_map import LocalMap
from superglue_ros.odometry.window import adjust_window
from superglue_ros.types import FloatArray, IntArray, Pose

_SHARED_TRACKS = 2
"""Times the inliers that are asked for."""
_MIN_SCALE_LANDMARKS = 8
_MAX_DIRECTION_DEVIATION = 0.05
"""Radians; a start whose direction of motion is less certain waits for more parallax."""


@dataclass(frozen=True)
class Start:
    """pose of the frame in the world once the map has landmarks; else reason says why not.
    guessed: the keyframe's pose or the scale comes from the last motion, is not measured."""

    pose: Pose
    reason: str = ""
    guessed: bool = False

    @property
    def ok(self) -> bool:
        """Whether there are landmarks now."""
        return not self.reason


def start_from_two_frames(
    local_map: LocalMap,
    keyframe: int,
    observation: Observation,
    min_inliers: int,
    speed: float,
    guess: FloatArray,
) -> Start:
    """Start from a frame and the keyframe at a place, else from the frame and an earlier one.

    On success the map's landmarks are replaced. The keyframe keeps the pose it has. The scale
    is carried over from landmarks of before that are seen again, else from the last speed (units
    per second), else the distance between the two frames is 1. guess: covariance (6, 6) of the
    keyframe's pose where that is only predicted.
    """
    tolerances = local_map.tolerances
    reason = "no keyframe shares matches with this frame"
    for candidate in _candidates(local_map, keyframe, observation, min_inliers):
        first = local_map.tracks.observations[observation.tracks, candidate, :2]
        shared = np.isfinite(first[:, 0])
        geometry = _try_pair(first[shared], observation.points[shared], tolerances, min_inliers)
        if geometry.ok:
            tracks = observation.tracks[shared]
            points = np.stack([first[shared], observation.points[shared]], axis=1)
            before = local_map.tracks.noise[tracks, candidate]
            noise = np.stack([before, observation.noise[shared]], axis=1)
            pair = _refine(tracks, points, noise, geometry, tolerances, min_inliers)
            if not pair.reason:
                elapsed_ns = abs(observation.stamp_ns - local_map.frames[candidate].stamp_ns)
                return _place(local_map, candidate, pair, speed * elapsed_ns * 1e-9, guess)
            geometry = replace(geometry, reason=pair.reason)
        if candidate == keyframe:
            reason = geometry.reason
    return Start(Pose.identity(), reason)


def start_from_depths(
    local_map: LocalMap,
    keyframe: int,
    observation: Observation,
    min_inliers: int,
    guess: FloatArray,
) -> Start:
    """Start of a frame on the keyframe at a place alone, whose depths are the landmarks.

    On success they replace the map's landmarks, and the keyframe keeps the pose it has. guess:
    covariance (6, 6) of that pose where it is only predicted.
    """
    known = local_map.tracks.measured_in(keyframe)[observation.tracks]
    if known.sum() < min_inliers:
        reason = f"{int(known.sum())} matches have a depth in the keyframe, {min_inliers} needed"
        return Start(Pose.identity(), reason)
    found = estimate_pose(
        local_map.tracks.measured_points(keyframe, observation.tracks[known]),
        observation.points[known],
        local_map.tolerances.threshold,
        min_inliers=min_inliers,
    )
    if not found.ok:
        return Start(Pose.identity(), found.reason)
    guessed = not local_map.frames[keyframe].located
    local_map.restart_from(keyframe, guess)
    local_map.place_measured_depths(keyframe)
    return Start(local_map.frames[keyframe].pose @ found.pose, guessed=guessed)


def _candidates(
    local_map: LocalMap, keyframe: int, observation: Observation, min_inliers: int
) -> list[int]:
    """The keyframe itself, then the oldest frame that shares enough: it has most parallax."""
    seen = np.isfinite(local_map.tracks.observations[observation.tracks, :keyframe, 0])
    enough = np.flatnonzero(seen.sum(axis=0) >= _SHARED_TRACKS * min_inliers)
    return [keyframe, *enough[:1].tolist()]


def _try_pair(
    points0: FloatArray, points1: FloatArray, tolerances: Tolerances, min_inliers: int
) -> TwoViewGeometry:
    return estimate_two_view(
        points0, points1, tolerances.threshold, tolerances.min_parallax_rad, min_inliers
    )


@dataclass(frozen=True)
class _Pair:
    """Two frames refined: pose of the second in the first, whose distance is 1, and landmarks
    with their tracks, positions and covariances in the first; reason: "" or why it is not used."""

    pose: Pose
    tracks: IntArray
    positions: FloatArray
    covariances: FloatArray
    reason: str = ""


def _refine(
    tracks: IntArray,
    points: FloatArray,
    noise: FloatArray,
    geometry: TwoViewGeometry,
    tolerances: Tolerances,
    min_inliers: int,
) -> _Pair:
    """Adjust the pair on all inliers, far ones too, since these hold the rotation."""
    start = geometry.triangulation
    used = geometry.inliers & np.isfinite(start.points).all(axis=1)
    tracks, points, noise = tracks[used], points[used], noise[used]
    solution = adjust_window(
        (Pose.identity(), Pose(geometry.rotation.T, -geometry.rotation.T @ geometry.translation)),
        start.points[used],
        points,
        np.array([True, False]),
        noise,
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
    covariances = found.covariances[good] * noise[good, 1, None, None] ** 2
    return _Pair(pose, tracks[good], solution.landmarks[good], covariances, reason)


def _place(
    local_map: LocalMap, place: int, pair: _Pair, distance: float, guess: FloatArray
) -> Start:
    """Make the pair's landmarks the map's, from the pose of the frame at `place` on; `distance`
    is that of the two frames by the last speed, 0 where it is not known."""
    first = local_map.frames[place]
    before = local_map.tracks.positions[pair.tracks]
    scale = _scale(before, pair.positions, first.pose, first.located)
    guessed = scale is None or not first.located
    if scale is None:
        scale = (distance if distance > 0 else 1.0) / float(np.linalg.norm(pair.pose.position))
    rotation = first.pose.rotation
    local_map.restart_from(place, guess)
    local_map.tracks.set_landmarks(
        pair.tracks,
        scale * pair.positions @ rotation.T + first.pose.position,
        scale**2 * rotation @ pair.covariances @ rotation.T,
    )
    pose = first.pose @ Pose(pair.pose.rotation, scale * pair.pose.position)
    return Start(pose, guessed=guessed)


def _scale(before: FloatArray, local: FloatArray, pose: Pose, located: bool) -> float | None:
    """Ratio of distances from the keyframe to landmarks known before, None where too few."""
    known = np.isfinite(before).all(axis=1)
    if not located or known.sum() < _MIN_SCALE_LANDMARKS:
        return None
    distances = np.linalg.norm(before[known] - pose.position, axis=1)
    return float(np.median(distances / np.linalg.norm(local[known], axis=1)))
