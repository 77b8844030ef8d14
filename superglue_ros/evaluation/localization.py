"""Whether images are found in maps: where they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from superglue_ros.errors import CameraError
from superglue_ros.evaluation.trajectory import (
    MIN_POSES,
    Similarity,
    apply_similarity,
    associate,
)
from superglue_ros.geometry import check_camera_fits, pose_errors_deg
from superglue_ros.mapping import Localization, MapLocalizer
from superglue_ros.sources import FrameSource, poses_from_trajectory, trajectory_from_poses
from superglue_ros.types import Frame, Pose, Trajectory

NEAR_M, NEAR_DEG = 0.1, 5.0
"""Errors up to which an image is found well."""


class SourcePart:
    """One of `step` frames of a source, from the one numbered `first` on."""

    def __init__(self, source: FrameSource, first: int, step: int) -> None:
        self._source, self._first, self._step = source, first, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __len__(self) -> int:
        return len(range(self._first, len(self._source), self._step))

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self._source):
            if number >= self._first and (number - self._first) % self._step == 0:
                yield frame


@dataclass(frozen=True)
class QueryResult:
    """An image that was looked for in the map `map_name`: whether a place was believed, the
    landmarks that agreed on the best one, and, where the truth is known, errors in metres and
    degrees, else NaN."""

    map_name: str
    source: str
    stamp_ns: int
    found: bool
    inliers: int
    position_m: float = float("nan")
    rotation_deg: float = float("nan")

    @property
    def near(self) -> bool:
        """Found, and where it is."""
        return self.found and self.position_m <= NEAR_M and self.rotation_deg <= NEAR_DEG


def look_for(localizer: MapLocalizer, frame: Frame) -> Localization:
    """Where a frame is in the map; CameraError where its camera is missing or does not fit."""
    if frame.camera is None:
        raise CameraError("an image is looked for by its calibration: --calibration")
    check_camera_fits(frame.camera, (frame.image.shape[1], frame.image.shape[0]))
    return localizer.localize(frame.image, frame.camera)


def judge_queries(
    name: str,
    found: Sequence[tuple[int, Localization]],
    mapped: Trajectory,
    truth: Trajectory,
    is_metric: bool,
) -> list[QueryResult]:
    """Results of the queries (stamp, what was found) in the map `name` that have a true pose.

    mapped: the poses that the map is made with; they are aligned to the truth, their scale too
    unless it is metric. Raises ValueError where they cannot be.
    """
    rows, places = associate(mapped, truth)
    if len(rows) < MIN_POSES:
        raise ValueError(f"{len(rows)} poses of the map have ground truth; {MIN_POSES} needed")
    true_poses = poses_from_trajectory(truth)
    own_poses = poses_from_trajectory(mapped)
    to_truth = _aligned(
        [own_poses[row] for row in rows], [true_poses[place] for place in places], not is_metric
    )
    results = []
    for stamp_ns, localization in found:
        asked = np.array([stamp_ns], np.int64)
        _, places = associate(_at(asked), truth)
        if not len(places):
            continue
        errors = float("nan"), float("nan")
        if localization.pose is not None:
            one = trajectory_from_poses([stamp_ns], [localization.pose])
            (moved,) = poses_from_trajectory(apply_similarity(to_truth, one))
            right = true_poses[places[0]]
            away_m = float(np.linalg.norm(moved.position - right.position))
            errors = away_m, pose_errors_deg(moved, right)[0]
        known = localization.pose is not None
        results.append(QueryResult(name, name, stamp_ns, known, localization.inliers, *errors))
    return results


def _aligned(poses: Sequence[Pose], truth: Sequence[Pose], with_scale: bool) -> Similarity:
    """The similarity that brings poses to the true ones; its rotation is that of the cameras, as
    positions along a road say nothing of a roll about it."""
    total = sum(right.rotation @ pose.rotation.T for pose, right in zip(poses, truth))
    u, _, vt = np.linalg.svd(total)
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    turned = np.array([rotation @ pose.position for pose in poses])
    true = np.array([right.position for right in truth])
    from_mean, to_mean = turned - turned.mean(axis=0), true - true.mean(axis=0)
    spread = float((from_mean**2).sum())
    if spread <= 0:
        raise ValueError("the poses of the map do not move")
    scale = float((from_mean * to_mean).sum()) / spread if with_scale else 1.0
    return Similarity(scale, rotation, true.mean(axis=0) - scale * turned.mean(axis=0))


def _at(stamps_ns: np.ndarray) -> Trajectory:
    count = len(stamps_ns)
    return Trajectory(stamps_ns, np.zeros((count, 3)), np.tile([0.0, 0, 0, 1], (count, 1)))
