"""Plots of what `superglue_ros bench` has measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superglue_ros.benchmarks.speed import WHOLE, SpeedResult
from superglue_ros.reporting.pictures import save_figure


def plot_speed(path: Path, results: Sequence[SpeedResult]) -> None:
    """Write a picture of milliseconds a frame and of memory over the number of keypoints."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    whole, frame, attention = figure.subplots(1, 3)
    groups: dict[str, list[SpeedResult]] = {}
    for result in sorted(results, key=lambda r: r.keypoints):
        groups.setdefault(f"{result.width}x{result.height}, {result.precision}", []).append(result)
    for name, group in groups.items():
        keypoints = [r.keypoints for r in group]
        whole.plot(keypoints, [r.median_ms(WHOLE) for r in group], "o-", label=name)
        frame.plot(keypoints, _mb(r.frame_memory_mb for r in group), "o-", label=name)
        attention.plot(keypoints, _mb(r.attention_memory_mb for r in group), "o-", label=name)
    _label(whole, "ms", "a frame against a keyframe")
    _label(frame, "MiB", "memory of a frame")
    _label(attention, "MiB", "of it encoder and self-attention")
    whole.legend(fontsize="small")
    save_figure(path, figure)


def plot_soak(
    path: Path,
    frames: Sequence[int],
    names: Sequence[str],
    memory_mb: Sequence[Sequence[float]],
    frames_per_s: Sequence[float],
) -> None:
    """Write a picture of memory (a row a sample, a column a process) and of speed over frames."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    memory, speed = figure.subplots(1, 2)
    for name, values in zip(names, zip(*memory_mb)):
        memory.plot(frames, values, label=name)
    speed.plot(frames, frames_per_s)
    _label(memory, "MiB", "memory (RSS)", "frames")
    _label(speed, "frames/s", "speed", "frames")
    memory.legend(fontsize="small")
    save_figure(path, figure)


def _mb(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _label(axes: Axes, unit: str, title: str, over: str = "keypoints an image") -> None:
    axes.set_xlabel(over)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
