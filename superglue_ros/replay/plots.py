"""Plots of trajectories and of matches over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superglue_ros.evaluation.trajectory import TrajectoryErrors
from superglue_ros.replay.records import FrameRecord
from superglue_ros.reporting.pictures import save_figure
from superglue_ros.types import FloatArray, Trajectory

_AXIS_NAMES = "xyz"
_STATE_COLOURS = {"initialising": "tab:orange", "lost": "tab:red"}


def plot_trajectory(
    path: Path, trajectory: Trajectory, errors: TrajectoryErrors | None = None
) -> None:
    """Write a picture of the trajectory from where it is widest, with ground truth if given."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    usable = errors is not None and len(errors.errors_m) > 0
    if errors is not None and usable:
        i, j = _widest_axes(errors.groundtruth_positions)
        truth, aligned = errors.groundtruth_positions, errors.aligned_positions
        axes.plot(truth[:, i], truth[:, j], color="0.55", linewidth=3, label="ground truth")
        axes.plot(aligned[:, i], aligned[:, j], color="tab:blue", label="estimate, aligned")
        axes.set_title(
            f"ATE {errors.rmse_m:.3f} m RMSE, {errors.rmse_percent:.2f} % of "
            f"{errors.path_length_m:.1f} m ({errors.alignment} alignment)"
        )
        _label(axes, i, j, "m, ground truth's world")
    else:
        positions = trajectory.positions
        i, j = _widest_axes(positions)
        axes.plot(positions[:, i], positions[:, j], color="tab:blue", label="estimate")
        axes.set_title(f"{len(trajectory)} poses")
        _label(axes, i, j, "first camera's frame")
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(path, figure)


def plot_matches(path: Path, records: tuple[FrameRecord, ...]) -> None:
    """Write a picture of features, matches and inliers per frame, keyframes and lost frames."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    frames = np.arange(len(records))
    axes.plot(frames, [r.num_features for r in records], color="0.7", label="features")
    axes.plot(frames, [r.num_matches for r in records], color="tab:blue", label="matches")
    if any(record.state for record in records):
        axes.plot(frames, [r.num_inliers for r in records], color="tab:green", label="inliers")
    keyframes = [i for i, record in enumerate(records) if record.is_keyframe]
    heights = [records[i].num_matches for i in keyframes]
    axes.plot(keyframes, heights, "o", color="tab:blue", markersize=4, label="keyframes")
    for state, colour in _STATE_COLOURS.items():
        there = [i for i, record in enumerate(records) if record.state == state]
        if there:
            axes.plot(there, [0] * len(there), "|", color=colour, markersize=12, label=state)
    axes.set_xlabel("frame")
    axes.set_ylabel("number")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(path, figure)


def _widest_axes(positions: FloatArray) -> tuple[int, int]:
    """The two axes along which the points spread most, in the order x, y, z."""
    extents = np.ptp(positions, axis=0) if len(positions) else np.zeros(3)
    i, j = sorted(np.argsort(-extents, kind="stable")[:2].tolist())
    return i, j


def _label(axes: Axes, i: int, j: int, unit: str) -> None:
    axes.set_xlabel(f"{_AXIS_NAMES[i]} ({unit})")
    axes.set_ylabel(f"{_AXIS_NAMES[j]} ({unit})")
