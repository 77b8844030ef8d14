"""Errors of a trajectory against ground truth: absolute (ATE) and relative (RPE)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from superglue_ros.geometry import log_rotation, rotations_from_quaternions
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

    Positions are in the ground truth's world frame; errors_m (N,); rmse_percent is of the ground
    truth's path length. Where nothing can be computed the figures are NaN and `reason` says why.
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
    stamps_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    errors_m: FloatArray = field(default_factory=lambda: np.zeros(0))
    aligned_positions: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    groundtruth_positions: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))


@dataclass(frozen=True)
class RelativeErrors:
    """Errors of relative poses over N segments: RMSE of translation, mean of the shares.

    translation_percent and rotation_deg_per_m are per metre travelled (KITTI's figures).
    """

    num_segments: int
    translation_rmse_m: float = float("nan")
    rotation_rmse_deg: float = float("nan")
    translation_percent: float = float("nan")
    rotation_deg_per_m: float = float("nan")
    reason: str = ""


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
        stamps_ns=estimate.stamps_ns[indices],
        errors_m=errors,
        aligned_positions=aligned,
        groundtruth_positions=truth,
    )


def relative_errors(
    estimate: Trajectory,
    groundtruth: Trajectory,
    *,
    frames: int = 1,
    metres: float | None = None,
    scale: float = 1.0,
    max_gap_s: float = MAX_STAMP_GAP_S,
) -> RelativeErrors:
    """Errors of the motion over segments of so many frames, or of so many true metres.

    scale: of the estimate, where it is up to scale (`TrajectoryErrors.scale`). Geiger et al. 2012
    (KITTI), equations 2 and 3, for every segment start. Raises ValueError for frames < 1.
    """
    if frames < 1 or (metres is not None and metres <= 0):
        raise ValueError("a segment is at least one frame and longer than 0 m")
    indices, partners = associate(estimate, groundtruth, max_gap_s)
    estimated = pose_matrices(estimate, scale)[indices]
    truth = pose_matrices(groundtruth)[partners]
    steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])[: len(truth)]
    starts = np.arange(len(truth))
    ends = starts + frames if metres is None else np.searchsorted(travelled, travelled + metres)
    starts, ends = starts[ends < len(truth)], ends[ends < len(truth)]
    if not len(starts):
        return RelativeErrors(0, reason="the trajectory is shorter than one segment")
    true_motion = np.linalg.inv(truth[starts]) @ truth[ends]
    motion = np.linalg.inv(estimated[starts]) @ estimated[ends]
    difference = np.linalg.inv(true_motion) @ motion
    translation = np.linalg.norm(difference[:, :3, 3], axis=1)
    angles = [np.linalg.norm(log_rotation(matrix)) for matrix in difference[:, :3, :3]]
    rotation = np.degrees(angles)
    lengths = travelled[ends] - travelled[starts]
    shares = (np.nan, np.nan)
    if np.any(lengths > 0):
        # Of all segments together: a camera that stands still has segments of next to no length.
        total = lengths.sum()
        shares = (float(100 * translation.sum() / total), float(rotation.sum() / total))
    return RelativeErrors(
        num_segments=len(starts),
        translation_rmse_m=float(np.sqrt(np.mean(translation**2))),
        rotation_rmse_deg=float(np.sqrt(np.mean(rotation**2))),
        translation_percent=shares[0],
        rotation_deg_per_m=shares[1],
    )


def path_length(positions: FloatArray) -> float:
    """Metres along (N, 3) positions; 0 for fewer than two."""
    return float(np.sum(np.linalg.norm(np.diff(positions, axis=0), axis=1)))


def pose_matrices(trajectory: Trajectory, scale: float = 1.0) -> FloatArray:
    """(N, 4, 4) cameras in the world, positions multiplied by `scale`."""
    matrices = np.tile(np.eye(4), (len(trajectory), 1, 1))
    matrices[:, :3, :3] = rotations_from_quaternions(trajectory.quaternions_xyzw)
    matrices[:, :3, 3] = scale * trajectory.positions
    return matrices


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
