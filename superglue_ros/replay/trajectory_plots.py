"""Plots of trajectories: from above, errors along and over time, each coordinate over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from superglue_ros.evaluation.kinematics import roll_pitch_yaw_deg, seconds, speeds
from superglue_ros.evaluation.trajectory import TrajectoryErrors
from superglue_ros.geometry import rotations_from_quaternions
from superglue_ros.reporting.pictures import save_figure
from superglue_ros.types import BoolArray, FloatArray, Trajectory

CAMERA_AXES = ("x (right)", "y (down)", "z (forward)")
WORLD_AXES = ("x", "y", "z")
_ESTIMATE, _TRUTH = "tab:blue", "0.45"
_FLAT = 2.0
"""Times that the vertical motion is of another axis, from which on the view is not from above."""

_GAP_STEPS, _LEAST_GAP_S = 5, 1.0
"""Poses further apart in time than so many usual steps, and than this, are not joined."""


def plot_trajectory(
    path: Path, trajectory: Trajectory, errors: TrajectoryErrors | None = None, unit: str = "m"
) -> None:
    """Write the trajectory as seen from above (`spanned_axes`); with errors over the ground truth,
    coloured by them. unit: of the lengths, where there is no ground truth."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    compared = errors is not None and len(errors.errors_m) > 0
    if errors is not None and compared:
        shown, names, unit = errors.aligned, WORLD_AXES, "m"
        i, j = spanned_axes(errors.groundtruth)
        _draw_path(axes, errors.groundtruth, (i, j), _TRUTH, "ground truth", "--")
        lines = _coloured_path(shown, errors.errors_m, (i, j))
        axes.add_collection(lines)
        axes.plot([], [], color=lines.cmap(0.5), linewidth=2.5, label="estimate")
        figure.colorbar(lines, ax=axes, label="position error (m)", shrink=0.85)
        axes.set_title(
            f"ATE {errors.rmse_m:.3f} m RMSE, {errors.rmse_percent:.2f} % of "
            f"{errors.path_length_m:.1f} m ({errors.alignment} alignment)",
            fontsize="medium",
        )
    else:
        shown, names = trajectory, CAMERA_AXES
        i, j = spanned_axes(shown)
        _draw_path(axes, shown, (i, j), _ESTIMATE, "estimate", "-")
        axes.set_title(f"{len(shown)} poses in the first camera's frame", fontsize="medium")
    for row, marker, label in ((0, "o", "start"), (-1, "s", "end")):
        if len(shown):
            x, y = shown.positions[row, [i, j]]
            axes.plot(x, y, marker, color="black", markersize=7, fillstyle="none", label=label)
    axes.set_xlabel(f"{names[i]} ({unit})")
    axes.set_ylabel(f"{names[j]} ({unit})")
    axes.set_aspect("equal", adjustable="datalim")
    if names[j].startswith("y (down)"):
        axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(path, figure)


def plot_errors(path: Path, errors: TrajectoryErrors) -> None:
    """Write the position error over time, with its RMSE, mean and median."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*_with_gaps(seconds(errors.aligned), errors.errors_m), color="0.3", linewidth=1.2)
    for value, name, colour in (
        (errors.rmse_m, "RMSE", "tab:blue"),
        (errors.mean_m, "mean", "tab:red"),
        (errors.median_m, "median", "tab:green"),
    ):
        axes.axhline(value, color=colour, linewidth=1, label=f"{name} {value:.3f} m")
    axes.set_xlabel("time (s)")
    axes.set_ylabel("position error (m)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(ncol=3)
    save_figure(path, figure)


def plot_components(
    path: Path, trajectory: Trajectory, errors: TrajectoryErrors | None = None, unit: str = "m"
) -> None:
    """Write x, y, z, roll, pitch, yaw and speed over time, with the ground truth's if given."""
    compared = errors is not None and len(errors.errors_m) > 0
    curves: list[tuple[Trajectory, str, str, str]] = [(trajectory, _ESTIMATE, "-", "estimate")]
    names: Sequence[str] = CAMERA_AXES
    if errors is not None and compared:
        names, unit = WORLD_AXES, "m"
        curves = [
            (errors.groundtruth, _TRUTH, "--", "ground truth"),
            (errors.aligned, _ESTIMATE, "-", "estimate"),
        ]
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    grid = figure.add_gridspec(4, 2)
    panels = [figure.add_subplot(grid[row, column]) for column in (0, 1) for row in range(3)]
    speed = figure.add_subplot(grid[3, :])
    begin_ns = int(curves[-1][0].stamps_ns[0]) if len(curves[-1][0]) else 0
    for curve, colour, style, label in curves:
        times = seconds(curve, begin_ns)
        values = np.hstack([curve.positions, roll_pitch_yaw_deg(curve)])
        for panel, column in zip(panels, values.T):
            panel.plot(*_with_gaps(times, column), style, color=colour, linewidth=1.2, label=label)
        middle = (times[1:] + times[:-1]) / 2
        speed.plot(*_with_gaps(middle, speeds(curve)), style, color=colour, linewidth=1.2)
    labels = [f"{name} ({unit})" for name in names]
    labels += ["roll about x (deg)", "pitch about y (deg)", "yaw about z (deg)"]
    for panel, label in zip(panels, labels):
        panel.set_ylabel(label)
    speed.set_ylabel(f"speed ({unit}/s)")
    speed.set_xlabel("time (s)")
    speed.set_ylim(0, 1.2 * max(float(np.max(speeds(c[0]), initial=1e-9)) for c in curves))
    for panel in (*panels, speed):
        panel.grid(alpha=0.3)
        panel.margins(x=0.01)
    panels[0].legend(fontsize="small")
    save_figure(path, figure)


def spanned_axes(trajectory: Trajectory) -> tuple[int, int]:
    """The world's two axes, in the order x, y, z, that show the trajectory from above: without the
    one nearest to the cameras' vertical; without the one of least motion where that is flat."""
    if not len(trajectory):
        return 0, 2
    extents = np.ptp(trajectory.positions, axis=0)
    down = rotations_from_quaternions(trajectory.quaternions_xyzw)[:, :, 1].mean(axis=0)
    left_out = int(np.argmax(np.abs(down)))
    if extents[left_out] > _FLAT * float(np.min(np.delete(extents, left_out))):
        left_out = int(np.argmin(extents))
    i, j = (axis for axis in range(3) if axis != left_out)
    return i, j


def _draw_path(
    axes: Axes,
    trajectory: Trajectory,
    plane: tuple[int, int],
    colour: str,
    label: str,
    style: str,
) -> None:
    x, y = trajectory.positions[:, plane].T if len(trajectory) else np.zeros((2, 0))
    times = seconds(trajectory)
    axes.plot(_with_gaps(times, x)[1], _with_gaps(times, y)[1], style, color=colour, label=label)


def _coloured_path(
    trajectory: Trajectory, errors_m: FloatArray, plane: tuple[int, int]
) -> LineCollection:
    points = trajectory.positions[:, plane]
    joined = ~_jumps(seconds(trajectory))
    segments = np.stack([points[:-1], points[1:]], axis=1)[joined]
    lines = LineCollection(list(segments), cmap="viridis", linewidths=2.5)
    lines.set_array(((errors_m[:-1] + errors_m[1:]) / 2)[joined])
    lines.set_clim(0, float(errors_m.max(initial=1e-9)))
    return lines


def _with_gaps(times: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Times and values with a NaN wherever the time jumps, so that no line is drawn there."""
    jumps = np.flatnonzero(_jumps(times)) + 1
    return np.insert(times, jumps, np.nan), np.insert(values, jumps, np.nan)


def _jumps(times: FloatArray) -> BoolArray:
    """(N - 1,) where the next pose is too far away in time to be joined."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    far: BoolArray = steps > max(_GAP_STEPS * usual, _LEAST_GAP_S)
    return far
