"""What the recorder heard, in the form that offline replays are reported in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from superglue_ros.demo.recorder import FrameKeys, Recording
from superglue_ros.evaluation.accuracy import Accuracy, accuracy_rows
from superglue_ros.msg import OdometryStatus
from superglue_ros.replay.gallery import Gallery
from superglue_ros.replay.records import FrameRecord, ReplayResult, matches_record
from superglue_ros.reporting.tables import format_table
from superglue_ros.sources import FrameSource, poses_from_trajectory
from superglue_ros.types import FrameMatches, Pose, Trajectory


def replay_result(source: FrameSource, recording: Recording, seconds: float) -> ReplayResult:
    """Result of a replay over DDS; the source gives the images of the pictures once more."""
    matches = recording.matches
    records = {key: _record(matches[key], recording.statuses.get(key)) for key in sorted(matches)}
    gallery = Gallery(len(source))
    keys = FrameKeys()
    for frame in source:
        key = keys.next(frame.stamp_ns)
        if key in matches:
            gallery.offer(frame.image, matches[key], records[key].inliers_where_judged)
    last = matches[max(matches)] if matches else None
    values = recording.diagnostics.get("/matcher_node", {})
    return ReplayResult(
        name=source.name,
        trajectory=recording.trajectory(),
        records=tuple(records.values()),
        pictures=gallery.pictures(_poses(recording.trajectory()), source.camera),
        skipped=len(source) - len(matches),
        wall_s=seconds,
        scale_is_metric=any(status.scale_is_metric for status in recording.statuses.values()),
        camera=source.camera,
        device=values.get("device", ""),
        precision=values.get("precision", ""),
        model=last.model if last else "",
        weights_hash=last.weights_hash if last else "",
    )


def demo_table(
    result: ReplayResult, recording: Recording, sent: int, accuracy: Accuracy | None
) -> str:
    """The table that the demo ends in."""
    records = result.records
    counts = [record.num_matches for record in records if record.num_matches]
    dropped = sent - len(records)
    causes = ", ".join(f"{n} {cause}" for cause, n in recording.dropped(sent).items())
    rows = [
        ["frames in", str(sent)],
        ["frames matched", str(len(records))],
        ["frames dropped", f"{dropped} ({causes})" if causes else str(dropped)],
        ["keyframes", str(result.num_keyframes)],
        ["matches per frame", f"{np.median(counts) if counts else 0:.0f} (median)"],
        ["frames/s", f"{len(records) / max(result.wall_s, 1e-9):.1f}"],
        ["frames with a pose", str(len(result.trajectory))],
        ["frames lost", str(result.num_lost)],
    ]
    rows += accuracy_rows(accuracy) if accuracy is not None else [["ATE", "no ground truth"]]
    return format_table(["figure", "value"], rows)


def _poses(trajectory: Trajectory) -> dict[int, Pose]:
    return dict(zip(trajectory.stamps_ns.tolist(), poses_from_trajectory(trajectory)))


def _record(matches: FrameMatches, status: OdometryStatus | None) -> FrameRecord:
    record = matches_record(matches)
    if status is None:
        return record
    return replace(
        record,
        odometry_ms=status.estimate_ms,
        num_inliers=status.num_inliers,
        state=status.state,
        reason=status.reason,
    )
