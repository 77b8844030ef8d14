"""Absolute errors of a trajectory against ground truth (ATE)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from superglue_ros.geometry import quaternions_from_rotations, rotations_from_quaternions
from superglue_ros.types import FloatArray, IntArray, Trajectory

ALIGNMENTS = ("sim3", "se3", "none")
MAX_STAMP_GAP_S = 0.02
"""Poses of the two trajectories further apart in time than this do not belong together."""

MIN_POSES = 3


@dataclass(frozen=True)
class Similarity:
    """Maps points p of the estimate to the ground truth: scale * rotation @ p + translation."""

    scale: float
    rotation: FloatArray
    translation: FloatArray

    def apply(self, points: FloatArray) -> FloatArray:
        """(N, 3) mapped points."""
        return self.scale * points @ self.rotation.T + self.translation

    @staticmethod
    def identity() -> Similarity:
        """Leaves points where they are."""
        return Similarity(1.0, np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class TrajectoryErrors:
    """Absolute position errors in metres of the N associated poses, after `alignment`.

    errors_m (N,); aligned and groundtruth: both trajectories at these N poses, in the ground
    truth's world; rmse_percent is of the ground truth's path length. Where nothing can be computed
    the figures are NaN and `reason` says why.
    """

    alignment: str
    num_poses: int
    num_estimated: int
    rmse_m: float = float("nan")
    mean_m: float = float("nan")
    median_m: float = float("nan")
    max_m: float = float("nan")
    path_length_m: float = float("nan")
    rmse_percent: float = float("nan")
    scale: float = float("nan")
    reason: str = ""
    similarity: Similarity = field(default_factory=Similarity.identity)
    errors_m: FloatArray = field(default_factory=lambda: np.zeros(0))
    aligned: Trajectory = field(default_factory=lambda: no_poses())
    groundtruth: Trajectory = field(default_factory=lambda: no_poses())


def associate(
    estimate: Trajectory, groundtruth: Trajectory, max_gap_s: float = MAX_STAMP_GAP_S
) -> tuple[IntArray, IntArray]:
    """Indices (N,) of each estimated pose and of the ground-truth pose nearest in time to it."""
    if not len(estimate) or not len(groundtruth):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    wanted, have = estimate.stamps_ns, groundtruth.stamps_ns
    after = np.clip(np.searchsorted(have, wanted), 1, max(len(have) - 1, 1))
    after = np.minimum(after, len(have) - 1)
    before = np.maximum(after - 1, 0)
    nearer_before = np.abs(wanted - have[before]) <= np.abs(have[after] - wanted)
    nearest = np.where(nearer_before, before, after)
    close = np.abs(have[nearest] - wanted) <= max_gap_s * 1e9
    return np.flatnonzero(close), nearest[close]


def align_umeyama(source: FloatArray, target: FloatArray, with_scale: bool) -> Similarity:
    """Least-squares similarity (or rigid motion) from (N, 3) source to target points.

    Umeyama 1991, equations 34 to 43. Raises ValueError for points that do not move.
    """
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    centred_source, centred_target = source - mean_source, target - mean_target
    variance = np.mean(np.sum(centred_source**2, axis=1))
    if len(source) < MIN_POSES or variance < 1e-18:
        raise ValueError("points that do not move cannot be aligned")
    u, singular, vt = np.linalg.svd(centred_target.T @ centred_source / len(source))
    signs = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        signs[2] = -1.0
    rotation = u @ np.diag(signs) @ vt
    scale = float(singular @ signs / variance) if with_scale else 1.0
    return Similarity(scale, rotation, mean_target - scale * rotation @ mean_source)


def absolute_trajectory_error(
    estimate: Trajectory,
    groundtruth: Trajectory,
    alignment: str = "sim3",
    max_gap_s: float = MAX_STAMP_GAP_S,
) -> TrajectoryErrors:
    """Distances of estimated positions from the true ones (ATE; Sturm et al. 2012, section V).

    alignment: "sim3" (similarity), "se3" (rigid, for metric estimates) or "none" (both already in
    one world frame). Raises ValueError for another alignment.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"alignment {alignment!r} is none of {', '.join(ALIGNMENTS)}")
    indices, partners = associate(estimate, groundtruth, max_gap_s)
    if len(indices) < MIN_POSES:
        reason = f"{len(indices)} of {len(estimate)} poses have ground truth; {MIN_POSES} needed"
        return TrajectoryErrors(alignment, len(indices), len(estimate), reason=reason)
    positions, truth = estimate.positions[indices], groundtruth.positions[partners]
    similarity = Similarity.identity()
    if alignment != "none":
        try:
            similarity = align_umeyama(positions, truth, with_scale=alignment == "sim3")
        except ValueError as error:
            return TrajectoryErrors(alignment, len(indices), len(estimate), reason=str(error))
    aligned = similarity.apply(positions)
    errors = np.linalg.norm(aligned - truth, axis=1)
    length = path_length(truth)
    rmse = float(np.sqrt(np.mean(errors**2)))
    return TrajectoryErrors(
        alignment=alignment,
        num_poses=len(indices),
        num_estimated=len(estimate),
        rmse_m=rmse,
        mean_m=float(errors.mean()),
        median_m=float(np.median(errors)),
        max_m=float(errors.max()),
        path_length_m=length,
        rmse_percent=100.0 * rmse / length if length > 0 else float("nan"),
        scale=similarity.scale,
        similarity=similarity,
        errors_m=errors,
        aligned=apply_similarity(similarity, at_poses(estimate, indices)),
        groundtruth=at_poses(groundtruth, partners),
    )


def no_poses() -> Trajectory:
    """A trajectory without poses."""
    return Trajectory(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 4)))


def at_poses(trajectory: Trajectory, indices: IntArray) -> Trajectory:
    """The trajectory's poses of these indices."""
    return Trajectory(
        trajectory.stamps_ns[indices],
        trajectory.positions[indices],
        trajectory.quaternions_xyzw[indices],
    )


def apply_similarity(similarity: Similarity, trajectory: Trajectory) -> Trajectory:
    """The trajectory in the world that the similarity leads to."""
    if not len(trajectory):
        return trajectory
    rotations = similarity.rotation @ rotations_from_quaternions(trajectory.quaternions_xyzw)
    return Trajectory(
        trajectory.stamps_ns,
        similarity.apply(trajectory.positions),
        quaternions_from_rotations(rotations),
    )


def path_length(positions: FloatArray) -> float:
    """Metres along (N, 3) positions; 0 for fewer than two."""
    return float(np.sum(np.linalg.norm(np.diff(positions, axis=0), axis=1)))


FRAMES_OF_REFERENCE = {
    "sim3": "ground truth's world, after a similarity alignment (scale, rotation, translation)",
    "se3": "ground truth's world, after a rigid alignment (rotation, translation)",
    "none": "the world both files are in, without alignment",
}


def summarise_errors(errors: TrajectoryErrors) -> dict[str, Any]:
    """The scalar figures of absolute errors, and which frame they are in."""
    plain = {
        f.name: getattr(errors, f.name)
        for f in fields(errors)
        if isinstance(getattr(errors, f.name), str | int | float)
    }
    return {**plain, "frame": FRAMES_OF_REFERENCE[errors.alignment]}
