"""Errors of relative poses (RPE) of a trajectory: a frame on, over a length, as KITTI has them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from superglue_ros.evaluation.trajectory import MAX_STAMP_GAP_S, associate
from superglue_ros.geometry import log_rotation, rotations_from_quaternions
from superglue_ros.types import FloatArray, IntArray, Trajectory

KITTI_LENGTHS_M = (100, 200, 300, 400, 500, 600, 700, 800)
KITTI_STEP = 10
"""Frames between two starts of KITTI's segments."""

DRIFT_SHARE = 0.25
"""Of the path, at most, that the segments of `drift_errors` are long."""


@dataclass(frozen=True)
class RelativeErrors:
    """Errors of relative poses over N segments: RMSE of translation, mean of the shares.

    segment: how long each is, in words; translation_percent and rotation_deg_per_m are per metre
    travelled (KITTI's figures). Where nothing can be computed the figures are NaN and `reason`
    says why.
    """

    segment: str
    num_segments: int
    translation_rmse_m: float = float("nan")
    rotation_rmse_deg: float = float("nan")
    translation_percent: float = float("nan")
    rotation_deg_per_m: float = float("nan")
    reason: str = ""


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
    estimated, truth, travelled = _associated(estimate, groundtruth, scale, max_gap_s)
    starts = np.arange(len(truth))
    ends = starts + frames if metres is None else np.searchsorted(travelled, travelled + metres)
    starts, ends = starts[ends < len(truth)], ends[ends < len(truth)]
    segment = _frames_name(frames) if metres is None else f"{metres:g} m"
    if not len(starts):
        return RelativeErrors(segment, 0, reason="the trajectory is shorter than one segment")
    translation, rotation = _segment_errors(estimated, truth, starts, ends)
    lengths = travelled[ends] - travelled[starts]
    shares = (np.nan, np.nan)
    if np.any(lengths > 0):
        # Of all segments together: a camera that stands still has segments of next to no length.
        total = lengths.sum()
        shares = (float(100 * translation.sum() / total), float(rotation.sum() / total))
    return RelativeErrors(
        segment,
        num_segments=len(starts),
        translation_rmse_m=float(np.sqrt(np.mean(translation**2))),
        rotation_rmse_deg=float(np.sqrt(np.mean(rotation**2))),
        translation_percent=shares[0],
        rotation_deg_per_m=shares[1],
    )


def drift_errors(
    estimate: Trajectory,
    groundtruth: Trajectory,
    *,
    scale: float = 1.0,
    max_gap_s: float = MAX_STAMP_GAP_S,
) -> RelativeErrors:
    """Errors over segments of a round length (1, 2, 5, 10, ... m) of at most a quarter of the
    true path between the estimated poses; the result says which."""
    _, _, travelled = _associated(estimate, groundtruth, scale, max_gap_s)
    longest = DRIFT_SHARE * (float(travelled[-1]) if len(travelled) else 0.0)
    if not longest > 1e-6:
        return RelativeErrors("no length", 0, reason="no true motion at the estimated poses")
    power = 10.0 ** math.floor(math.log10(longest))
    metres = max(factor * power for factor in (1, 2, 5) if factor * power <= longest * (1 + 1e-9))
    return relative_errors(estimate, groundtruth, metres=metres, scale=scale, max_gap_s=max_gap_s)


def kitti_errors(
    estimate: Trajectory,
    groundtruth: Trajectory,
    *,
    scale: float = 1.0,
    max_gap_s: float = MAX_STAMP_GAP_S,
) -> RelativeErrors:
    """KITTI's t_rel and r_rel: the mean over segments of 100, 200, ... 800 m from every tenth
    frame of the errors per metre (Geiger et al. 2012, and the benchmark's development kit)."""
    estimated, truth, travelled = _associated(estimate, groundtruth, scale, max_gap_s)
    starts, ends, lengths = [], [], []
    for start in range(0, len(truth), KITTI_STEP):
        for length in KITTI_LENGTHS_M:
            end = int(np.searchsorted(travelled, travelled[start] + length, side="right"))
            if end < len(truth):
                starts.append(start)
                ends.append(end)
                lengths.append(length)
    segment = f"{KITTI_LENGTHS_M[0]} to {max(lengths, default=KITTI_LENGTHS_M[-1])} m"
    if not starts:
        reason = f"the path is shorter than {KITTI_LENGTHS_M[0]} m"
        return RelativeErrors(segment, 0, reason=reason)
    translation, rotation = _segment_errors(estimated, truth, np.array(starts), np.array(ends))
    return RelativeErrors(
        segment,
        num_segments=len(starts),
        translation_rmse_m=float(np.sqrt(np.mean(translation**2))),
        rotation_rmse_deg=float(np.sqrt(np.mean(rotation**2))),
        translation_percent=float(100 * np.mean(translation / lengths)),
        rotation_deg_per_m=float(np.mean(rotation / lengths)),
    )


def pose_matrices(trajectory: Trajectory, scale: float = 1.0) -> FloatArray:
    """(N, 4, 4) cameras in the world, positions multiplied by `scale`."""
    matrices = np.tile(np.eye(4), (len(trajectory), 1, 1))
    matrices[:, :3, :3] = rotations_from_quaternions(trajectory.quaternions_xyzw)
    matrices[:, :3, 3] = scale * trajectory.positions
    return matrices


def _associated(
    estimate: Trajectory, groundtruth: Trajectory, scale: float, max_gap_s: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N, 4, 4) poses of both that belong together, and the true metres (N,) up to each."""
    indices, partners = associate(estimate, groundtruth, max_gap_s)
    estimated = pose_matrices(estimate, scale)[indices]
    truth = pose_matrices(groundtruth)[partners]
    steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])[: len(truth)]
    return estimated, truth, travelled


def _segment_errors(
    estimated: FloatArray, truth: FloatArray, starts: IntArray, ends: IntArray
) -> tuple[FloatArray, FloatArray]:
    """(N,) metres and degrees by which the motion over each segment differs."""
    true_motion = np.linalg.inv(truth[starts]) @ truth[ends]
    motion = np.linalg.inv(estimated[starts]) @ estimated[ends]
    difference = np.linalg.inv(true_motion) @ motion
    angles = [np.linalg.norm(log_rotation(matrix)) for matrix in difference[:, :3, :3]]
    return np.linalg.norm(difference[:, :3, 3], axis=1), np.degrees(angles)


def _frames_name(frames: int) -> str:
    return "one frame" if frames == 1 else f"{frames} frames"
