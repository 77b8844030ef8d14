"""Plots of a replay over its frames: matches and keyframes, times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from superglue_ros.replay.records import FrameRecord
from superglue_ros.reporting.pictures import save_figure

_STATE_COLOURS = {"initialising": "tab:orange", "lost": "tab:red"}


def plot_matches(path: Path, records: tuple[FrameRecord, ...]) -> None:
    """Write a picture of features, matches and inliers per frame, keyframes and lost frames."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
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
    axes.legend(ncol=3, fontsize="small")
    save_figure(path, figure)


def plot_times(path: Path, records: tuple[FrameRecord, ...]) -> None:
    """Write a picture of the milliseconds of each frame's stages, above each other."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    stages = {
        "SuperPoint": [record.extract_ms for record in records],
        "SuperGlue": [record.match_ms for record in records],
        "odometry": [record.odometry_ms for record in records],
    }
    axes.stackplot(
        np.arange(len(records)),
        list(stages.values()),
        labels=list(stages),
        colors=["tab:blue", "tab:orange", "tab:green"],
        alpha=0.8,
    )
    if records:
        # The first frame warms up: it would make all others small.
        totals = np.sum(list(stages.values()), axis=0)
        axes.set_ylim(0, 1.15 * float(np.max(totals[1:] if len(totals) > 1 else totals)) + 1e-6)
    axes.set_xlabel("frame")
    axes.set_ylabel("ms")
    axes.grid(alpha=0.3)
    axes.legend(ncol=3, fontsize="small", loc="upper right")
    save_figure(path, figure)
