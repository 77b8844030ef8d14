"""The page of a replay: what was run, what came of it, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from superglue_ros.evaluation.accuracy import Accuracy, accuracy_rows
from superglue_ros.provenance import source_commit
from superglue_ros.replay.records import FrameRecord, ReplayResult, spread
from superglue_ros.reporting.html import Section, cards, page, paragraph, picture, table
from superglue_ros.types import CameraModel

_MOST_LINES = 20
"""Of warnings and of stretches without a pose; more are counted."""

_MEANINGS = {
    "poses compared": "estimated poses with a true one at their time",
    "ATE RMSE": "distance from the true position after the alignment, root mean square",
    "RPE": "how wrong the motion from a frame to the next is",
    "drift": "how much the motion over such a segment is wrong, per metre travelled",
    "KITTI": "the KITTI benchmark's figures: mean over segments of 100, 200, ... 800 m",
    "scale": "metres of one unit of the estimate",
}


@dataclass(frozen=True)
class ReportPictures:
    """Files of the pictures that a page shows."""

    trajectory: Path
    components: Path
    errors: Path | None
    matches: Path
    times: Path
    pairs: tuple[Path, ...]


def report_page(
    result: ReplayResult,
    accuracy: Accuracy | None,
    about: Mapping[str, str],
    pictures: ReportPictures,
) -> str:
    """The page of a replay as HTML; raises OSError for a picture that cannot be read."""
    sections = [
        Section("What was run", _run(result, about)),
        Section("Trajectory", _trajectory(result, pictures)),
        Section("Errors", _errors(accuracy, pictures)),
        Section("Keyframes and matches", _matches(result, pictures)),
        Section("Latencies", _latencies(result, pictures)),
        Section("Frames worth a look", _pairs(result, pictures)),
        Section("Warnings", _warnings(result)),
    ]
    intro = _overview(result, accuracy)
    return page(f"Replay of {result.name}", sections, intro)


def _overview(result: ReplayResult, accuracy: Accuracy | None) -> str:
    figures = [
        (str(len(result.records)), "frames"),
        (str(len(result.trajectory)), "with a pose"),
        (str(result.num_lost), "lost"),
        (str(result.num_keyframes), "keyframes"),
        (f"{len(result.records) / max(result.wall_s, 1e-9):.1f}", "frames/s"),
    ]
    if accuracy is not None and not accuracy.absolute.reason:
        errors = accuracy.absolute
        figures.append((f"{errors.rmse_m:.3f} m", f"ATE RMSE, {errors.rmse_percent:.2f}\u00a0%"))
    text = cards(figures)
    if result.interrupted:
        text += paragraph("Interrupted: the report is of the frames until then.", "warning")
    return text


def _run(result: ReplayResult, about: Mapping[str, str]) -> str:
    scale = "metric" if result.scale_is_metric else "up to scale: one camera without depth"
    rows: list[tuple[str, object]] = [
        ("name", result.name),
        *about.items(),
        ("camera", _camera_text(result.camera)),
        ("scale", scale if result.camera is not None else "no odometry without a calibration"),
        ("networks", f"{result.model}, weights {result.weights_hash}"),
        ("device", f"{result.device}, {result.precision}"),
        ("version", source_commit()),
        ("took", f"{result.wall_s:.1f} s"),
    ]
    return table(rows)


def _camera_text(camera: CameraModel | None) -> str:
    if camera is None:
        return "none"
    k = camera.matrix
    numbers = ", ".join(f"{value:.5g}" for value in np.ravel(camera.distortion))
    lens = f"{camera.model} {numbers}" if np.any(camera.distortion) else "no distortion"
    return (
        f"{camera.width} x {camera.height} px, fx {k[0, 0]:.2f}, fy {k[1, 1]:.2f}, "
        f"cx {k[0, 2]:.2f}, cy {k[1, 2]:.2f}, {lens}"
    )


def _trajectory(result: ReplayResult, pictures: ReportPictures) -> str:
    if not len(result.trajectory):
        return paragraph("No frame has a pose.", "warning")
    top = "Seen from above, or across the axis of least motion where that is vertical."
    over_time = "Angles are about the fixed axes of the world."
    return picture(pictures.trajectory, top) + picture(pictures.components, over_time)


def _errors(accuracy: Accuracy | None, pictures: ReportPictures) -> str:
    if accuracy is None:
        return paragraph("No ground truth was given (--groundtruth).")
    rows = [
        (name, value, next((m for key, m in _MEANINGS.items() if name.startswith(key)), ""))
        for name, value in accuracy_rows(accuracy)
    ]
    text = table(rows, ("", "", "what it means"))
    return text + picture(pictures.errors) if pictures.errors is not None else text


def _matches(result: ReplayResult, pictures: ReportPictures) -> str:
    records = result.records
    rows: list[tuple[object, ...]] = []
    for name, values in (
        ("features", [r.num_features for r in records]),
        ("matches", [r.num_matches for r in records if r.num_matches]),
        ("inliers", [r.num_inliers for r in records if r.num_inliers]),
        ("displacement (px)", [r.displacement_px for r in records if r.num_matches]),
    ):
        if values:
            rows.append((name, *spread(values).values(), float(min(values)), float(max(values))))
    if not rows:
        return paragraph("No frame was matched.", "warning")
    header = ("per frame", "median", "90 %", "least", "most")
    return table(rows, header) + picture(pictures.matches)


def _latencies(result: ReplayResult, pictures: ReportPictures) -> str:
    records = result.records
    rows: list[tuple[object, ...]] = []
    for name, values in (
        ("SuperPoint", [r.extract_ms for r in records]),
        ("SuperGlue", [r.match_ms for r in records if r.num_matches]),
        ("odometry", [r.odometry_ms for r in records if r.state]),
    ):
        if values:
            rows.append((name, *spread(values).values(), float(max(values))))
    if not rows:
        return ""
    header = ("milliseconds", "median", "90 %", "most")
    return table(rows, header) + picture(pictures.times)


def _pairs(result: ReplayResult, pictures: ReportPictures) -> str:
    start = result.records[0].stamp_ns if result.records else 0
    return "".join(
        picture(
            file,
            f"{pair.title}: {pair.num_matches} matches of the keyframe at "
            f"{(pair.keyframe_stamp_ns - start) * 1e-9:.2f} s and the frame at "
            f"{(pair.stamp_ns - start) * 1e-9:.2f} s. Inliers lie within 2 px of the epipolar "
            "lines of the estimated poses, where both are known.",
        )
        for file, pair in zip(pictures.pairs, result.pictures)
    )


def _warnings(result: ReplayResult) -> str:
    lines = [f"{count} x {text}" if count > 1 else text for text, count in result.warnings]
    lines += _without_pose(result.records)
    if result.camera is not None and result.records and not len(result.trajectory):
        lines.append(f"no frame has a pose: {result.records[-1].reason}")
    if result.skipped:
        lines.append(f"{result.skipped} frames were skipped")
    if not lines:
        return paragraph("None.")
    text = "".join(paragraph(line, "warning") for line in lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        text += paragraph(f"and {len(lines) - _MOST_LINES} more (matches.csv has every frame)")
    return text


def _without_pose(records: tuple[FrameRecord, ...]) -> list[str]:
    """A line for each stretch of frames that are lost, with the reason of its first."""
    lines = []
    for state, group in groupby(enumerate(records), key=lambda item: item[1].state):
        if state == "lost":
            stretch = list(group)
            first, last = stretch[0][0], stretch[-1][0]
            frames = f"frame {first}" if first == last else f"frames {first} to {last}"
            lines.append(f"{frames}: lost: {stretch[0][1].reason}")
    return lines
