"""What a replay leaves: a record of each frame, and the whole result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.odometry import TrackingState
from superglue_ros.replay.gallery import MatchPicture
from superglue_ros.types import CameraModel, FrameMatches, Trajectory


@dataclass(frozen=True)
class FrameRecord:
    """What happened to one frame; state is a TrackingState's value, "" without odometry.

    displacement_px: median over the matches, NaN for none.
    """

    stamp_ns: int
    keyframe_id: int
    is_keyframe: bool
    num_features: int
    num_matches: int
    displacement_px: float
    extract_ms: float
    match_ms: float
    odometry_ms: float = 0.0
    num_inliers: int = 0
    num_landmarks: int = 0
    state: str = ""
    reason: str = ""

    @property
    def inliers_where_judged(self) -> int | None:
        """num_inliers, None without odometry and before it has started."""
        judged = self.state in (TrackingState.TRACKING, TrackingState.LOST)
        return self.num_inliers if judged else None


@dataclass(frozen=True)
class ReplayResult:
    """A replayed sequence: the poses of tracked frames, a record per frame, pictures.

    skipped: frames that could not be read or matched; wall_s: seconds for all of it; interrupted:
    the frames are those until then; warnings: logged meanwhile, with how often each was.
    """

    name: str
    trajectory: Trajectory
    records: tuple[FrameRecord, ...]
    pictures: tuple[MatchPicture, ...]
    skipped: int
    wall_s: float
    scale_is_metric: bool
    camera: CameraModel | None
    device: str = ""
    precision: str = ""
    model: str = ""
    weights_hash: str = ""
    interrupted: bool = False
    warnings: tuple[tuple[str, int], ...] = ()

    @property
    def num_keyframes(self) -> int:
        """Frames that became keyframes."""
        return sum(record.is_keyframe for record in self.records)

    @property
    def num_lost(self) -> int:
        """Frames without a pose though an earlier one had one."""
        return sum(record.state == TrackingState.LOST for record in self.records)


def check_poses(result: ReplayResult) -> None:
    """SuperGlueRosError with the reason that most frames have for it, where there are frames and
    a camera but no pose at all, or no frames at all."""
    frames = len(result.records)
    if not frames:
        raise SuperGlueRosError(f"{result.name}: no frame could be read, {result.skipped} skipped")
    if result.camera is None or len(result.trajectory):
        return
    reasons = Counter(record.reason or "no estimate" for record in result.records)
    reason, count = reasons.most_common(1)[0]
    text = f"none of {frames} frames has a pose: {reason} ({count} frames)"
    raise SuperGlueRosError(f"{result.name}: {text}")


def matches_record(matches: FrameMatches) -> FrameRecord:
    """What a frame's matches alone say of it, as before any odometry."""
    offsets = np.linalg.norm(matches.points - matches.keyframe_points, axis=1)
    return FrameRecord(
        stamp_ns=matches.stamp_ns,
        keyframe_id=matches.keyframe_id,
        is_keyframe=matches.is_keyframe,
        num_features=matches.num_features,
        num_matches=len(matches),
        displacement_px=float(np.median(offsets)) if len(offsets) else float("nan"),
        extract_ms=matches.extract_ms,
        match_ms=matches.match_ms,
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 90th percentile of some figures, NaN for none."""
    if not len(values):
        return {"median": float("nan"), "p90": float("nan")}
    return {"median": float(np.median(values)), "p90": float(np.percentile(values, 90))}
