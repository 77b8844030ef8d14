"""Matching and odometry over a source, frame by frame: what the two nodes do, without ROS."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tqdm import tqdm

from superglue_ros.errors import CameraError, ImageError
from superglue_ros.geometry import check_camera_fits, fit_depth, stereo_depth
from superglue_ros.matching import KeyframeMatcher
from superglue_ros.odometry import OdometryEstimate, TrackingState, VisualOdometry
from superglue_ros.replay.gallery import Gallery
from superglue_ros.replay.records import FrameRecord, ReplayResult, matches_record
from superglue_ros.sources import FrameSource, trajectory_from_poses
from superglue_ros.types import CameraModel, FloatArray, Frame, FrameMatches, Pose

logger = logging.getLogger(__name__)


def run_replay(
    source: FrameSource,
    matcher: KeyframeMatcher,
    odometry: VisualOdometry | None = None,
    *,
    max_frames: int | None = None,
    progress: bool = False,
) -> ReplayResult:
    """Match every frame of a source and, with odometry, estimate its pose.

    The same input gives the same trajectory, and poses are the frames', whatever their stamps:
    frames may share one. Without odometry, or for frames without a camera, there are matches
    only. An odometry that uses depth gets that of the keyframes' frames, or of their rectified
    stereo pairs. Raises CameraError for an unusable camera, and for one of images
    of another size than the first.
    """
    records: list[FrameRecord] = []
    poses: dict[int, Pose] = {}
    gallery = Gallery(len(source))
    skipped, metric, weights = 0, False, ("", "")
    depths: dict[int, FloatArray | None] = {}
    """Of the keyframe, by its id."""
    started = time.perf_counter()

    def fits(camera: CameraModel, matches: FrameMatches) -> bool:
        try:
            check_camera_fits(camera, matches.image_size)
        except CameraError as error:
            if not records:
                raise
            logger.warning("%s: a frame without odometry: %s", source.name, error)
            return False
        return True

    for frame in _frames(source, max_frames, progress):
        try:
            matches = matcher.process(frame)
        except ImageError as error:
            skipped += 1
            logger.warning("%s: skipped a frame: %s", source.name, error)
            continue
        weights = (matches.model, matches.weights_hash)
        estimate, odometry_ms = None, 0.0
        if odometry is not None and frame.camera is not None and fits(frame.camera, matches):
            before = time.perf_counter()
            keyframe_depth = depths.get(matches.keyframe_id)
            estimate = odometry.process(matches, frame.camera, keyframe_depth)
            odometry_ms = (time.perf_counter() - before) * 1e3
            metric = estimate.scale_is_metric
            if matches.is_keyframe and odometry.use_depth:
                depth = _depth(frame, frame.camera, source.name)
                depths = {matches.keyframe_id + 1: depth}
        records.append(_record(matches, estimate, odometry_ms))
        if estimate is not None:
            _collect_poses(poses, estimate, records)
        gallery.offer(frame.image, matches)
    stamps = [record.stamp_ns for record in records]
    repeated = len(stamps) - len(set(stamps))
    if repeated:
        logger.warning("%s: %d frames have the stamp of another", source.name, repeated)
    placed = sorted(poses, key=lambda number: (stamps[number], number))
    return ReplayResult(
        name=source.name,
        trajectory=trajectory_from_poses(
            [stamps[number] for number in placed], [poses[number] for number in placed]
        ),
        records=tuple(records),
        pictures=gallery.pictures(),
        skipped=skipped + source.skipped,
        wall_s=time.perf_counter() - started,
        scale_is_metric=metric,
        camera=source.camera,
        device=matcher.matcher.device,
        precision=matcher.matcher.precision,
        model=weights[0],
        weights_hash=weights[1],
    )


def _depth(frame: Frame, camera: CameraModel, name: str) -> FloatArray | None:
    """The frame's depth (H, W) metres, measured or from its stereo pair; None without."""
    depth, problem = frame.depth_m, "neither depth nor a right image"
    if depth is None and frame.right is not None and frame.baseline_m is not None:
        try:
            focal_px = float(camera.matrix[0, 0])
            depth = stereo_depth(frame.image, frame.right, focal_px, frame.baseline_m)
        except ImageError as error:
            problem = str(error)
    if depth is not None:
        try:
            depth = fit_depth(depth, (frame.image.shape[1], frame.image.shape[0]))
        except ImageError as error:
            depth, problem = None, str(error)
    if depth is None:
        logger.warning("%s: a keyframe without depth: %s", name, problem)
    return depth


def _frames(source: FrameSource, max_frames: int | None, progress: bool) -> Iterable[Frame]:
    total = len(source) or None
    if max_frames is not None:
        total = min(total or max_frames, max_frames)
    bar = tqdm(source, total=total, desc=source.name, unit="frame", disable=not progress)
    for index, frame in enumerate(bar):
        if max_frames is not None and index >= max_frames:
            return
        yield frame


def _collect_poses(
    poses: dict[int, Pose], estimate: OdometryEstimate, records: Sequence[FrameRecord]
) -> None:
    """Poses of tracked frames, by their place among the records, and of earlier ones that only a
    later start could place: of several with one stamp the last are meant."""
    last = len(records) - 1
    if estimate.state == TrackingState.TRACKING:
        poses[last] = estimate.pose
    if not estimate.backfill:
        return
    bare: dict[int, list[int]] = {}
    for number in range(last):
        if number not in poses:
            bare.setdefault(records[number].stamp_ns, []).append(number)
    for stamp_ns, pose in reversed(estimate.backfill):
        if bare.get(stamp_ns):
            poses[bare[stamp_ns].pop()] = pose


def _record(
    matches: FrameMatches, estimate: OdometryEstimate | None, odometry_ms: float
) -> FrameRecord:
    record = matches_record(matches)
    if estimate is None:
        return replace(record, odometry_ms=odometry_ms)
    return replace(
        record,
        odometry_ms=odometry_ms,
        num_inliers=estimate.num_inliers,
        num_landmarks=len(estimate.landmarks),
        state=estimate.state.value,
        reason=estimate.reason,
    )
