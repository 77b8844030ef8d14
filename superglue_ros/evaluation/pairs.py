"""Relative poses of frame pairs of a sequence with ground truth (SuperGlue, section 5.2)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from superglue_ros.errors import CameraError, SourceError
from superglue_ros.evaluation.estimators import POSE_REPEATS, Estimator, shuffled_orders
from superglue_ros.evaluation.features import detect_all
from superglue_ros.evaluation.methods import Detected, Matched, Method
from superglue_ros.evaluation.metrics import (
    EPIPOLAR_THRESHOLD,
    POSE_THRESHOLDS_DEG,
    symmetric_epipolar_errors,
)
from superglue_ros.evaluation.trajectory import associate
from superglue_ros.geometry import (
    area_under_recall,
    check_camera_fits,
    normalize_points,
    pose_errors_deg,
)
from superglue_ros.sources import (
    FrameSource,
    ImageFileSource,
    find_groundtruth,
    needs_stamps,
    open_source,
    poses_from_trajectory,
    read_trajectory,
)
from superglue_ros.types import (
    BoolArray,
    CameraModel,
    FloatArray,
    Frame,
    IntArray,
    Pose,
    Trajectory,
)


@dataclass(frozen=True)
class PairResult:
    """One method on one pair of frames; angles in degrees, infinite without an estimate.

    errors_deg: by estimator, (rotation, translation direction) of each repeated estimate; a right
    match has an epipolar error under 5e-4. frame_ms: what the second frame takes once the first
    one's features are known; nearest neighbours have those that SuperGlue encodes, too.
    """

    method: str
    gap: int
    index0: int
    index1: int
    stamps_ns: tuple[int, int]
    num_keypoints: int
    num_matches: int
    num_right: int
    frame_ms: float = field(compare=False)
    errors_deg: Mapping[str, tuple[tuple[float, float], ...]]

    def pose_errors_deg(self, estimator: str) -> list[float]:
        """Of each estimate, the larger of the rotation's and the translation direction's error."""
        return [max(errors) for errors in self.errors_deg[estimator]]


@dataclass(frozen=True)
class PairScores:
    """A row of the table: a method on all pairs of one gap; shares in percent.

    precision: right matches of all matches, mean over the pairs with matches; matching_score:
    right matches of all keypoints of the first image; frame_ms: median.
    """

    dataset: str
    gap: int
    method: str
    estimator: str
    num_pairs: int
    auc_percent: tuple[float, ...]
    precision_percent: float
    matching_score_percent: float
    mean_matches: float
    frame_ms: float


@dataclass(frozen=True)
class View:
    """A frame of a pair, its camera, its true pose, and what each detector, by its id, found."""

    frame: Frame
    camera: CameraModel
    pose: Pose
    detected: Mapping[int, Detected]


def evaluate_pairs(
    source: FrameSource,
    groundtruth: Trajectory,
    methods: Sequence[Method],
    gaps: Sequence[int],
    estimators: Mapping[str, Estimator],
    progress: bool = False,
) -> list[PairResult]:
    """Results of every method on all pairs of frames so many frames apart.

    Each image is described once per detector. Frames without ground truth are left out. Raises
    CameraError without a calibration, SourceError where no pair has ground truth, ValueError for
    gaps under 1.
    """
    if not gaps or min(gaps) < 1:
        raise ValueError("gaps between frames start at 1")
    results: list[PairResult] = []
    window: deque[View | None] = deque(maxlen=max(gaps) + 1)
    frames = tqdm(source, total=len(source) or None, desc=source.name, disable=not progress)
    for index, frame in enumerate(frames):
        window.append(_view(frame, groundtruth, methods))
        for gap in gaps:
            first = window[-1 - gap] if len(window) > gap else None
            second = window[-1]
            if first is not None and second is not None:
                for method in methods:
                    matched = match_views(first, second, method)
                    pair = (index - gap, index)
                    results.append(
                        evaluate_views(pair, first, second, method, matched, estimators)
                    )
    if not results:
        raise SourceError(f"{source.name}: no pair of frames has ground truth")
    return results


def summarise_pairs(dataset: str, results: Sequence[PairResult]) -> list[PairScores]:
    """One row per gap, estimator and method, in the order in which they were run."""
    groups: dict[tuple[int, str, str], list[PairResult]] = {}
    for result in results:
        for estimator in result.errors_deg:
            groups.setdefault((result.gap, estimator, result.method), []).append(result)
    rows = []
    for gap, estimator, method in sorted(groups, key=lambda key: key[0]):
        group = groups[gap, estimator, method]
        errors = [error for x in group for error in x.pose_errors_deg(estimator)]
        precisions = [x.num_right / x.num_matches for x in group if x.num_matches]
        scores = [x.num_right / max(x.num_keypoints, 1) for x in group]
        rows.append(
            PairScores(
                dataset=dataset,
                gap=gap,
                method=method,
                estimator=estimator,
                num_pairs=len(group),
                auc_percent=tuple(100 * a for a in area_under_recall(errors, POSE_THRESHOLDS_DEG)),
                precision_percent=100 * float(np.mean(precisions)) if precisions else 0.0,
                matching_score_percent=100 * float(np.mean(scores)),
                mean_matches=float(np.mean([x.num_matches for x in group])),
                frame_ms=float(np.median([x.frame_ms for x in group])),
            )
        )
    return rows


def open_pairs(
    folder: str | Path, groundtruth: str | Path | None = None
) -> tuple[FrameSource, Trajectory]:
    """A dataset's frames and true poses, by default its own.

    Raises SourceError.
    """
    source = open_source(folder)
    file = Path(groundtruth) if groundtruth is not None else find_groundtruth(Path(folder))
    if file is None:
        raise SourceError(f"{folder}: no true poses in it, as poses.txt or groundtruth.txt")
    return source, read_trajectory(file, frame_stamps(source) if needs_stamps(file) else None)


def frame_stamps(source: FrameSource) -> IntArray:
    """(N,) stamps of all frames of a source, also of those that cannot be decoded."""
    if isinstance(source, ImageFileSource):
        stamps: Iterator[int] = (entry.stamp_ns for entry in source.entries)
    else:
        stamps = (frame.stamp_ns for frame in source)
    return np.fromiter(stamps, np.int64)


def _view(frame: Frame, groundtruth: Trajectory, methods: Sequence[Method]) -> View | None:
    if frame.camera is None:
        raise CameraError("relative poses need a calibrated camera; give --calibration")
    check_camera_fits(frame.camera, (frame.image.shape[1], frame.image.shape[0]))
    pose = true_pose(frame.stamp_ns, groundtruth)
    if pose is None:
        return None
    return View(frame, frame.camera, pose, detect_all(frame.image, methods))


def right_matches(
    points0: FloatArray,
    points1: FloatArray,
    cameras: tuple[CameraModel, CameraModel],
    T_0to1: Pose,
) -> BoolArray:
    """(M,) matches of (M, 2) pixels whose epipolar error is under 5e-4 (SuperGlue, 5.2)."""
    errors = symmetric_epipolar_errors(
        normalize_points(points0, cameras[0]), normalize_points(points1, cameras[1]), T_0to1
    )
    right: BoolArray = errors < EPIPOLAR_THRESHOLD
    return right


def true_pose(stamp_ns: int, groundtruth: Trajectory) -> Pose | None:
    """The ground truth's pose nearest in time, None where none is near."""
    one = Trajectory(np.array([stamp_ns], np.int64), np.zeros((1, 3)), np.zeros((1, 4)))
    _, nearest = associate(one, groundtruth)
    if not len(nearest):
        return None
    row = slice(int(nearest[0]), int(nearest[0]) + 1)
    return poses_from_trajectory(
        Trajectory(
            groundtruth.stamps_ns[row],
            groundtruth.positions[row],
            groundtruth.quaternions_xyzw[row],
        )
    )[0]


def match_views(first: View, second: View, method: Method) -> Matched:
    """A method's matches of two views, timed."""
    detected0, detected1 = (view.detected[id(method.detector)] for view in (first, second))
    started = time.perf_counter()
    matched = method.match(detected0, detected1)
    return replace(matched, milliseconds=(time.perf_counter() - started) * 1e3)


def evaluate_views(
    pair: tuple[int, int],
    first: View,
    second: View,
    method: Method,
    matched: Matched,
    estimators: Mapping[str, Estimator],
) -> PairResult:
    """One method on two views; pair: their indices, whose difference is the gap."""
    detected0, detected1 = (view.detected[id(method.detector)] for view in (first, second))
    points0, points1 = matched.points(detected0, detected1)
    truth = second.pose.inverse() @ first.pose
    right = right_matches(points0, points1, (first.camera, second.camera), truth)
    errors: dict[str, tuple[tuple[float, float], ...]] = {}
    for name, estimate in estimators.items():
        found = [
            estimate(points0[i], points1[i], first.camera, second.camera).T_0to1
            for i in shuffled_orders(len(matched), POSE_REPEATS)
        ]
        nothing = (float("inf"), float("inf"))
        errors[name] = tuple(nothing if x is None else pose_errors_deg(x, truth) for x in found)
    return PairResult(
        method=method.name,
        gap=pair[1] - pair[0],
        index0=pair[0],
        index1=pair[1],
        stamps_ns=(first.frame.stamp_ns, second.frame.stamp_ns),
        num_keypoints=len(detected0),
        num_matches=len(matched),
        num_right=int(right.sum()),
        frame_ms=detected1.milliseconds + matched.milliseconds,
        errors_deg=errors,
    )
