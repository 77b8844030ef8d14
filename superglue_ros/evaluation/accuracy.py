"""All errors of a trajectory that reports show, measured in one way."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from superglue_ros.evaluation.relative import (
    RelativeErrors,
    drift_errors,
    kitti_errors,
    relative_errors,
)
from superglue_ros.evaluation.trajectory import (
    FRAMES_OF_REFERENCE,
    MAX_STAMP_GAP_S,
    TrajectoryErrors,
    absolute_trajectory_error,
    summarise_errors,
)
from superglue_ros.types import Trajectory


@dataclass(frozen=True)
class Accuracy:
    """A trajectory against its ground truth: absolute errors, and relative ones from a frame to
    the next, over segments of a stated length, and over KITTI's, where the path is long enough.
    """

    absolute: TrajectoryErrors
    per_frame: RelativeErrors
    drift: RelativeErrors
    kitti: RelativeErrors


def measure_accuracy(
    estimate: Trajectory,
    groundtruth: Trajectory,
    alignment: str,
    max_gap_s: float = MAX_STAMP_GAP_S,
) -> Accuracy:
    """All errors after an alignment ("sim3", "se3", "none"), whose scale the relative ones have,
    too. Raises ValueError for another alignment."""
    absolute = absolute_trajectory_error(estimate, groundtruth, alignment, max_gap_s)
    scale = absolute.scale if math.isfinite(absolute.scale) else 1.0
    both = estimate, groundtruth
    return Accuracy(
        absolute,
        relative_errors(*both, scale=scale, max_gap_s=max_gap_s),
        drift_errors(*both, scale=scale, max_gap_s=max_gap_s),
        kitti_errors(*both, scale=scale, max_gap_s=max_gap_s),
    )


def summarise_accuracy(accuracy: Accuracy) -> dict[str, Any]:
    """The scalar figures, for summary.json: ate, rpe_one_frame, drift, t_rel."""
    return {
        "ate": summarise_errors(accuracy.absolute),
        "rpe_one_frame": asdict(accuracy.per_frame),
        "drift": asdict(accuracy.drift),
        "t_rel": asdict(accuracy.kitti),
    }


def accuracy_rows(accuracy: Accuracy) -> list[list[str]]:
    """Rows (figure, value) of a table; one row with the reason where nothing can be computed."""
    errors = accuracy.absolute
    if errors.reason:
        return [["errors", errors.reason]]
    rows = [
        ["poses compared", f"{errors.num_poses} of {errors.num_estimated}"],
        ["ATE RMSE", f"{errors.rmse_m:.4f} m, {errors.rmse_percent:.3f} % of the path"],
        ["ATE mean, median, max",
         f"{errors.mean_m:.4f} m, {errors.median_m:.4f} m, {errors.max_m:.4f} m"],
        ["path length", f"{errors.path_length_m:.2f} m"],
        ["alignment", f"{errors.alignment}: {FRAMES_OF_REFERENCE[errors.alignment]}"],
        ["scale", f"{errors.scale:.6g}"],
    ]  # fmt: skip
    step, drift, kitti = accuracy.per_frame, accuracy.drift, accuracy.kitti
    rmse = f"{step.translation_rmse_m:.4f} m, {step.rotation_rmse_deg:.4f} deg (RMSE)"
    rows.append([f"RPE over {step.segment}", step.reason or rmse])
    for name, found in (("drift", drift), ("KITTI t_rel, r_rel", kitti)):
        if found.reason and found is kitti:
            continue
        figures = f"{found.translation_percent:.3f} %, {found.rotation_deg_per_m:.5f} deg/m"
        rows.append([f"{name} over {found.segment}", found.reason or figures])
    return rows
